// SPDX-License-Identifier: MIT

use crate::constants::*;
use socket2::{Domain, MaybeUninitSlice, Protocol, SockAddr};
use std::ffi::c_void;
use std::io::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What the module takes unless [`Opt::RcvMaxSize`] says otherwise.
const LIMIT: usize = 16 << 20;

/// A socket of family PF_SP.
///
/// It is a descriptor: `socket2::SockRef::from(&socket)` has the settings of `SOL_SOCKET` and
/// TCP, and `OwnedFd` converts to and from it.
#[derive(Debug)]
pub struct Socket(socket2::Socket);

impl Socket {
    /// Opens a socket.
    pub fn new(r#type: Type) -> Result<Self> {
        let r#type = socket2::Type::from(r#type as i32);
        socket2::Socket::new(Domain::from(PF_SP), r#type, Some(Protocol::TCP)).map(Self)
    }

    /// Listens at an address. May be called again, for more of them.
    pub fn bind(&self, address: impl ToSocketAddrs) -> Result<()> {
        self.0.bind(&first(address)?)
    }

    /// Dials an address, and redials for as long as the socket lives; does not wait. May be
    /// called again, for more of them.
    pub fn connect(&self, address: impl ToSocketAddrs) -> Result<()> {
        self.0.connect(&first(address)?)
    }

    /// Removes the endpoint that `bind` or `connect` made, with its peers.
    pub fn remove(&self, address: impl ToSocketAddrs) -> Result<()> {
        let address = first(address)?;
        self.set(SP_REMOVE, address.as_ptr().cast(), address.len() as usize)
    }

    /// Where the last `bind` listens.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        let address = self.0.local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Sends one message. Waits while no peer can take it; `Pub` never does.
    pub fn send(&self, message: &[u8]) -> Result<()> {
        self.0
            .send_with_flags(message, libc::MSG_NOSIGNAL)
            .map(drop)
    }

    /// Receives one message into a buffer, and gives its length.
    ///
    /// One that is longer than the buffer is lost: `EMSGSIZE`. `UnexpectedEof` is that nothing
    /// comes any more, after [`shutdown`](Self::shutdown).
    pub fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        // SAFETY: What is initialised may be taken for what need not be, by who only writes
        // what is.
        self.recv_uninit(unsafe { &mut *(buffer as *mut [u8] as *mut [MaybeUninit<u8>]) })
    }

    /// Receives one message, whole, of 16 MiB at most: as [`recv_limited`](Self::recv_limited).
    pub fn recv_message(&self) -> Result<Vec<u8>> {
        self.recv_limited(LIMIT)
    }

    /// Receives one message of `limit` bytes at most. A longer one is lost: `EMSGSIZE`.
    pub fn recv_limited(&self, limit: usize) -> Result<Vec<u8>> {
        // Memory that the message does not fill is never touched.
        let mut message = Vec::with_capacity(limit);
        let n = self.recv_uninit(&mut message.spare_capacity_mut()[..limit])?;
        // SAFETY: So many bytes have been received.
        unsafe { message.set_len(n) };
        message.shrink_to_fit();
        Ok(message)
    }

    fn recv_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let buffers = &mut [MaybeUninitSlice::new(buffer)];
        let (n, flags) = self.0.recv_vectored(buffers)?;
        if flags.is_truncated() {
            return Err(Error::from_raw_os_error(libc::EMSGSIZE));
        }
        // Every message has this flag, and only messages have.
        if !flags.is_end_of_record() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(n)
    }

    /// Asks for the messages that begin with `topic`: all, if it is empty. For `Sub`; before
    /// `connect`, to miss nothing.
    pub fn subscribe(&self, topic: impl AsRef<[u8]>) -> Result<()> {
        let topic = topic.as_ref();
        self.set(SP_SUBSCRIBE, topic.as_ptr().cast(), topic.len())
    }

    /// Takes back one `subscribe` of that topic.
    pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> Result<()> {
        let topic = topic.as_ref();
        self.set(SP_UNSUBSCRIBE, topic.as_ptr().cast(), topic.len())
    }

    /// Sets an option.
    pub fn set_option(&self, option: Opt, value: i32) -> Result<()> {
        self.set(option as i32, (&raw const value).cast(), size_of::<i32>())
    }

    /// The value of an option.
    pub fn option(&self, option: Opt) -> Result<i32> {
        let mut value = 0_i32;
        self.get(option as i32, (&raw mut value).cast(), size_of::<i32>())?;
        Ok(value)
    }

    /// How many peers are connected now.
    pub fn peers(&self) -> Result<usize> {
        self.option(Opt::Peers).map(|peers| peers as usize)
    }

    /// State and counters. What an older module does not tell is zero.
    pub fn info(&self) -> Result<Info> {
        let mut info = Info::default();
        self.get(SP_INFO, (&raw mut info).cast(), size_of::<Info>())?;
        Ok(info)
    }

    /// Ends receiving, sending or both, and wakes who waits.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.0.shutdown(how)
    }

    /// After how long `recv` gives up, with `WouldBlock`.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// After how long `send` gives up, with `WouldBlock`.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.0.set_write_timeout(timeout)
    }

    /// Whether calls give `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// Another descriptor of this socket.
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }

    fn set(&self, option: i32, value: *const c_void, size: usize) -> Result<()> {
        // SAFETY: The callers' `value` has so many bytes.
        let result =
            unsafe { libc::setsockopt(self.as_raw_fd(), SOL_SP, option, value, size as u32) };
        done(result)
    }

    fn get(&self, option: i32, value: *mut c_void, size: usize) -> Result<()> {
        let mut size = size as libc::socklen_t;
        // SAFETY: The callers' `value` has room for so many bytes, and any will do.
        done(unsafe { libc::getsockopt(self.as_raw_fd(), SOL_SP, option, value, &mut size) })
    }
}

fn done(result: i32) -> Result<()> {
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}

fn first(address: impl ToSocketAddrs) -> Result<SockAddr> {
    let found = address.to_socket_addrs()?.next();
    found
        .map(SockAddr::from)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "no address"))
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl IntoRawFd for Socket {
    fn into_raw_fd(self) -> RawFd {
        self.0.into_raw_fd()
    }
}

impl FromRawFd for Socket {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: The caller owns the descriptor.
        Self(unsafe { socket2::Socket::from_raw_fd(fd) })
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.0.into()
    }
}
