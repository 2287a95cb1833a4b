// SPDX-License-Identifier: GPL-2.0

//! Kernel TCP: connections and listeners, their owners, their locks and their callbacks.
//!
//! Words: a [`TcpSocket`] owns a `struct socket`; dropping it closes the connection. A [`Stream`] is a
//! counted reference to the `struct sock` inside, enough to lock, read and send, and harmless once the
//! owner is gone. *Attaching* gives a stream's callbacks to an object, *detaching* takes them back.
//!
//! Callbacks run with the TCP lock held: in softirq from the packet path, or in whatever task releases
//! the lock after packets had to wait. They must not sleep, take another TCP lock, close or send.
//!
//! # Who can call them
//!
//! A connection is attached to only after it was dialed or accepted by us, so nobody inherits our
//! callbacks: a listener, the only sock that is ever cloned, keeps TCP's own (it is heard through its
//! wait queue, see [`TcpListener`]), and so do the connections in its queue, which another listener of
//! the SO_REUSEPORT group may get, also long after this module is gone. What comes to us from such a
//! listener loses in `sp_helper_tcp_accept` what is not ours. While attached, the user data is ours; a
//! sockmap, the one that would put other callbacks before ours and call them from its works, finds it
//! taken, as we find it taken where it was first. A ULP that would do so cannot be asked for through our
//! sockets (TCP_ULP is not among their options). Then, of what we replace,
//!
//! - `sk_state_change` is called by `tcp_done`, `tcp_fin`, the handshake and `inet_shutdown`,
//! - `sk_data_ready` by what queues received bytes, urgent ones too,
//! - `sk_write_space` by what takes acknowledged bytes off the queue, by a send that found no room and by
//!   the options that make room; not by `sock_wfree`, since TCP socks have SOCK_USE_WRITE_QUEUE,
//!
//! all of them with the TCP lock held.
//!
//! `sk_error_report` is left alone. `sock_queue_err_skb` calls it for timestamps, zerocopy and ICMP
//! messages without the lock, and it tells nothing that we need: each way to break a connection or to
//! fail to make one (a reset, a timeout, ICMP during the handshake, SOCK_DESTROY) goes through
//! `tcp_done`, which is `sk_state_change` in state TCP_CLOSE, `sk_err` set before. The others are no end:
//! ICMP on an established connection, which only counts when IP_RECVERR is set, and our own
//! `tcp_disconnect`. That routing fails at once, `connect` returns.
//!
//! C headers: [`include/net/tcp.h`](srctree/include/net/tcp.h),
//! [`include/linux/net.h`](srctree/include/linux/net.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)

use super::bindings;
use super::setting::Setting;
use super::sock::SkRef;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_int,
    c_uint,
    c_void, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};
use kernel::types::Opaque;

/// An address as the socket layer has it: the bytes of a `sockaddr_in` or a `sockaddr_in6`.
pub(crate) type SockAddr = ([u8; 28], usize);

/// How many pieces go to TCP in one call. They are listed on the stack, above all of TCP.
const SEGMENTS: usize = 8;

/// What a connected stream reports. Every method is called in the context that the file head tells.
pub(crate) trait StreamEvents: Send + Sync + 'static {
    /// Bytes, or the end of them, may be there.
    fn readable(this: ArcBorrow<'_, Self>, tcp: &mut TcpLocked<'_>);

    /// There is room again after a send that found none.
    fn writable(this: ArcBorrow<'_, Self>);

    /// The connection was made, half closed, closed or broken.
    fn changed(this: ArcBorrow<'_, Self>, tcp: &mut TcpLocked<'_>);
}

/// What a listener reports.
pub(crate) trait ListenEvents: Send + Sync + 'static {
    /// A connection may be there to be accepted, or the listener be closed from outside. In softirq or in
    /// a task, with interrupts off and the lock of the listener's wait queue held.
    fn incoming(this: ArcBorrow<'_, Self>);
}

/// A reference to a TCP `struct sock`.
///
/// # Invariants
///
/// Owns one count of `sk`, which is a TCP sock. `saved` are the callbacks that it was made with.
pub(crate) struct Stream {
    sk: NonNull<bindings::sock>,
    saved: bindings::sp_callbacks,
}

// SAFETY: A sock is shared by design; `saved` is constant.
unsafe impl Send for Stream {}
// SAFETY: As above.
unsafe impl Sync for Stream {}

impl Stream {
    /// Waits for the TCP lock. May sleep.
    pub(crate) fn lock(&self) -> StreamGuard<'_> {
        // SAFETY: By the type invariant the sock is live. Callers may sleep.
        unsafe { bindings::sp_helper_lock_sock(self.sk.as_ptr()) };
        StreamGuard(TcpLocked {
            sk: self.sk,
            _stream: PhantomData,
        })
    }

    /// Takes over SO_SNDBUF and SO_RCVBUF where the program has set them; else TCP tunes itself. May
    /// sleep.
    pub(crate) fn set_buffers(&self, sk: &SkRef) {
        let (sndbuf, rcvbuf) = sk.fixed_buffers();
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the sock is live, and it is not locked by us.
        unsafe { bindings::sp_helper_tcp_buffers(self.sk.as_ptr(), sndbuf, rcvbuf) };
    }

    /// Sets an option of this connection, whatever state it is in. May sleep. The caller keeps the
    /// [`TcpSocket`] from being dropped meanwhile.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2) on a TCP socket.
    pub(crate) fn set_option(&self, setting: &Setting) -> Result {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the sock is live. It is not locked by us, and the caller keeps it
        // from being closed.
        unsafe { setting.apply(self.sk.as_ptr()) }
    }

    /// Gives `sk` the SO_PRIORITY of this connection.
    pub(crate) fn copy_priority_to(&self, sk: &SkRef) {
        // SAFETY: By the type invariants both socks are live.
        unsafe { bindings::sp_helper_copy_priority(sk.as_ptr(), self.sk.as_ptr()) };
    }

    /// getsockopt(2) on this connection, for a caller in user space.
    pub(super) fn option(
        &self,
        level: c_int,
        name: c_int,
        value: *mut kernel::ffi::c_char,
        len: *mut c_int,
    ) -> c_int {
        // SAFETY: By the type invariant the sock is live. What the user's pointers point at is checked
        // where it is accessed.
        unsafe { bindings::sp_helper_tcp_getsockopt(self.sk.as_ptr(), level, name, value, len) }
    }

    /// Our own address, zeroes where there is none yet. Without the TCP lock: whoever asks while the
    /// connection is being made may get the one or the other.
    pub(crate) fn local(&self) -> SockAddr {
        let mut name = MaybeUninit::<kernel::bindings::sockaddr_in6>::zeroed();
        // SAFETY: By the type invariant the sock is live; `name` is valid for writes.
        let len = unsafe { bindings::sp_helper_tcp_local(self.sk.as_ptr(), name.as_mut_ptr()) };
        let mut bytes = [0_u8; 28];
        // SAFETY: `name` is 28 bytes, zeroed above.
        unsafe {
            core::ptr::copy_nonoverlapping(name.as_ptr().cast::<u8>(), bytes.as_mut_ptr(), 28)
        };
        (bytes, usize::try_from(len).unwrap_or(0))
    }

    /// Gives this stream's callbacks to `events`. May sleep.
    ///
    /// What happened before was announced to somebody else: the caller has to look.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody else (a sockmap, say) has laid hands on the socket.
    pub(crate) fn attach<E: StreamEvents>(&self, events: Arc<E>) -> Result {
        let ours = bindings::sp_callbacks {
            state_change: Some(state_change::<E>),
            data_ready: Some(data_ready::<E>),
            write_space: Some(write_space::<E>),
            error_report: self.saved.error_report,
        };
        let raw = Arc::into_raw(events);
        let guard = self.lock();
        // SAFETY: The sock is live and locked; `raw` is an `Arc<E>`, which is what our callbacks for
        // `E` expect, and stays valid until `detach`.
        let err =
            unsafe { bindings::sp_helper_attach(self.sk.as_ptr(), raw.cast_mut().cast(), &ours) };
        drop(guard);
        if err < 0 {
            // SAFETY: It was not stored, so the reference is still ours.
            drop(unsafe { Arc::from_raw(raw) });
        }
        to_result(err)
    }

    /// Takes the callbacks back: none that was given to `attach` starts or runs once this returns,
    /// because TCP calls them under the lock that is taken here. May sleep.
    pub(crate) fn detach<E: StreamEvents>(&self) -> Option<Arc<E>> {
        let guard = self.lock();
        // SAFETY: The sock is live and locked.
        let raw = unsafe {
            bindings::sp_helper_detach(self.sk.as_ptr(), Some(data_ready::<E>), &self.saved)
        };
        drop(guard);
        // SAFETY: With these callbacks it was `attach::<E>` that stored the pointer; it was just removed,
        // so the reference is handed out once.
        NonNull::new(raw).map(|raw| unsafe { Arc::from_raw(raw.cast::<E>().as_ptr()) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours. Releasing it does not sleep.
        unsafe { bindings::sp_helper_sock_put(self.sk.as_ptr()) };
    }
}

/// The TCP lock is held: by [`StreamGuard`], or by TCP itself around a callback.
///
/// # Invariants
///
/// `sk` is a live TCP sock whose lock the current context holds.
pub(crate) struct TcpLocked<'a> {
    sk: NonNull<bindings::sock>,
    _stream: PhantomData<&'a Stream>,
}

impl TcpLocked<'_> {
    fn state(&self) -> u32 {
        // SAFETY: By the type invariant the sock is live.
        u32::try_from(unsafe { bindings::sp_helper_tcp_state(self.sk.as_ptr()) }).unwrap_or(0)
    }

    /// Whether bytes can be sent: connected, and not shut down by us.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(
            self.state(),
            bindings::TCP_ESTABLISHED | bindings::TCP_CLOSE_WAIT
        )
    }

    /// Whether no more bytes will come than are queued now. Also true before a connection is made.
    pub(crate) fn at_end(&self) -> bool {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_tcp_eof(self.sk.as_ptr()) }
    }

    /// Whether bytes, or our FIN, still wait for the peer to acknowledge them. Not once the connection is
    /// broken.
    pub(crate) fn unacknowledged(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_unacked(self.sk.as_ptr()) }
    }

    /// After a send that found no room: whether that was for want of memory, so that nobody is going to
    /// report room.
    pub(crate) fn starved(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_starved(self.sk.as_ptr()) }
    }

    /// Hands the received bytes to `consume`, segment by segment, until it leaves some unread or there
    /// are no more. Lets the peer send more for what was read.
    pub(crate) fn read<F: FnMut(&mut Segment<'_>)>(&mut self, consume: F) {
        // SAFETY: By the type invariant the sock is live and locked.
        let unread = unsafe { bindings::sp_helper_tcp_unread(self.sk.as_ptr()) };
        let mut reader = Reader {
            sk: self.sk,
            unread: usize::try_from(unread).unwrap_or(0),
            consume,
        };
        let mut desc = kernel::bindings::read_descriptor_t {
            count: 1,
            ..Default::default()
        };
        desc.arg.data = (&raw mut reader).cast();
        // SAFETY: By the type invariant the sock is live and locked; `desc` and `reader` outlive the
        // call, and `actor::<F>` expects a `Reader<F>` in `desc`.
        unsafe { bindings::tcp_read_sock(self.sk.as_ptr(), &mut desc, Some(actor::<F>)) };
    }

    /// After [`Self::read`], where more is waited for: tells the peer of room that it may not know of. True
    /// if that cannot be told in this callback, and is to be done once the lock was released.
    pub(crate) fn tell_window(&mut self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_tell_window(self.sk.as_ptr()) }
    }

    /// Whether the peer has sent urgent data. The byte is never handed out, nor is what follows it.
    pub(crate) fn has_urgent(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_urgent(self.sk.as_ptr()) }
    }

    /// Whether TCP is short of memory, so that what a peer sends may be dropped.
    pub(crate) fn is_short(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_short(self.sk.as_ptr()) }
    }

    /// How long a round trip takes, in milliseconds.
    pub(crate) fn round_trip(&self) -> u64 {
        // SAFETY: By the type invariant the sock is live and locked.
        u64::from(unsafe { bindings::sp_helper_tcp_srtt_ms(self.sk.as_ptr()) })
    }

    /// Copies `parts` into TCP's queue and returns how many bytes it took: fewer than there are when it
    /// is full. `more` promises more to come at once, so that a small rest can wait for it. Task
    /// context; does not wait for room.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there was no room at all; else the connection is broken.
    pub(crate) fn send<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
        more: bool,
    ) -> Result<usize> {
        let mut parts = parts.peekable();
        let mut sent: usize = 0;
        loop {
            let mut vec = [const {
                kernel::bindings::kvec {
                    iov_base: core::ptr::null_mut(),
                    iov_len: 0,
                }
            }; SEGMENTS];
            let (mut segments, mut bytes) = (0_usize, 0_usize);
            for (slot, part) in vec.iter_mut().zip(&mut parts) {
                slot.iov_base = part.as_ptr().cast_mut().cast();
                slot.iov_len = part.len();
                segments = segments.saturating_add(1);
                bytes = bytes.saturating_add(part.len());
            }
            if segments == 0 {
                return Ok(sent);
            }
            let more = more || parts.peek().is_some();
            // SAFETY: By the type invariant the sock is live and locked, in task context; the first
            // `segments` slots describe slices that live during the call, which only reads them.
            let n = unsafe {
                bindings::sp_helper_tcp_send(
                    self.sk.as_ptr(),
                    vec.as_mut_ptr(),
                    segments,
                    bytes,
                    more,
                )
            };
            match usize::try_from(n) {
                Ok(n) => sent = sent.saturating_add(n),
                // The bytes that did go out count; the next call meets the error again.
                Err(_) if sent > 0 => return Ok(sent),
                Err(_) => return Err(Error::from_errno(n)),
            }
            if usize::try_from(n) != Ok(bytes) {
                return Ok(sent);
            }
        }
    }
}

/// The TCP lock, taken by us.
pub(crate) struct StreamGuard<'a>(TcpLocked<'a>);

impl<'a> core::ops::Deref for StreamGuard<'a> {
    type Target = TcpLocked<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl core::ops::DerefMut for StreamGuard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for StreamGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: `Stream::lock` took it, and by the type invariant of `TcpLocked` the sock is live.
        // Packets that had to wait are handled in here, callbacks included.
        unsafe { bindings::sp_helper_release_sock(self.0.sk.as_ptr()) };
    }
}

/// While this lives the task is in TCP and nowhere else. A worker then never calls the OOM killer of the
/// control group that TCP charges, as `sp_helper_worker_begin` tells; a callback leaves that while it
/// runs. The helpers that need it on the way of a message have it themselves.
///
/// # Invariants
///
/// `flags` end it in the task that made it, which it does not leave.
struct WithinTcp {
    flags: c_uint,
    _task: PhantomData<*mut ()>,
}

impl WithinTcp {
    fn enter() -> Self {
        // INVARIANT: Not `Send`.
        WithinTcp {
            // SAFETY: No requirements.
            flags: unsafe { bindings::sp_helper_worker_begin() },
            _task: PhantomData,
        }
    }
}

impl Drop for WithinTcp {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this is the task, and these are its flags.
        unsafe { bindings::sp_helper_worker_end(self.flags) };
    }
}

/// What [`TcpLocked::read`] passes to [`actor`].
///
/// # Invariants
///
/// `sk` is a live TCP sock whose lock is held.
struct Reader<F> {
    sk: NonNull<bindings::sock>,
    /// What is left in TCP, in bytes.
    unread: usize,
    consume: F,
}

/// Received bytes that still belong to TCP.
///
/// # Invariants
///
/// `skb` holds the bytes from `start` to `offset`, and at least `len` bytes from there on. `sk` is a live TCP sock whose lock is held.
pub(crate) struct Segment<'a> {
    sk: NonNull<bindings::sock>,
    skb: NonNull<kernel::bindings::sk_buff>,
    start: c_uint,
    offset: c_uint,
    len: usize,
    /// How many bytes TCP has behind these.
    behind: usize,
    _tcp: PhantomData<&'a ()>,
}

impl Segment<'_> {
    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.len
    }

    /// How many bytes are left here and in TCP behind this segment.
    pub(crate) fn available(&self) -> usize {
        self.len.saturating_add(self.behind)
    }

    /// Whether TCP may have no room for so many bytes more as long as nothing is read.
    pub(crate) fn cramped(&self, missing: usize) -> bool {
        let missing = c_uint::try_from(missing).unwrap_or(c_uint::MAX);
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_cramped(self.sk.as_ptr(), missing) }
    }

    /// Drops up to `n` bytes from the front, and returns how many.
    pub(crate) fn skip(&mut self, n: usize) -> usize {
        let n = n.min(self.len);
        // INVARIANT: What was dropped is no longer counted.
        self.offset = self.offset.wrapping_add(c_uint::try_from(n).unwrap_or(0));
        self.len = self.len.wrapping_sub(n);
        n
    }

    /// Takes the last `n` bytes back that were taken from here.
    pub(crate) fn put_back(&mut self, n: usize) {
        let taken = self.offset.wrapping_sub(self.start);
        let n = n.min(usize::try_from(taken).unwrap_or(0));
        // INVARIANT: They are bytes of the skb, right before the others.
        self.offset = self.offset.wrapping_sub(c_uint::try_from(n).unwrap_or(0));
        self.len = self.len.wrapping_add(n);
    }

    /// Moves the first bytes to `to`, which has room for `n`.
    fn copy(&mut self, to: *mut u8, n: usize) -> Result {
        let n = n.min(self.len);
        let (Ok(count), Ok(offset)) = (c_int::try_from(n), c_int::try_from(self.offset)) else {
            return Err(EINVAL);
        };
        // SAFETY: By the type invariant the skb holds these bytes; `to` has room, says the caller.
        to_result(unsafe { bindings::skb_copy_bits(self.skb.as_ptr(), offset, to.cast(), count) })?;
        // INVARIANT: What was taken is no longer counted. `count` is not negative.
        self.offset = self.offset.wrapping_add(count.unsigned_abs());
        self.len = self.len.wrapping_sub(n);
        Ok(())
    }

    /// Fills `to` from the front as far as there are bytes, and returns how many there were.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.len);
        match self.copy(to.as_mut_ptr(), n) {
            Ok(()) => n,
            Err(_) => 0,
        }
    }

    /// Appends `n` bytes to `to`, within its capacity.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are fewer, or less room.
    pub(crate) fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result {
        let spare = to.spare_capacity_mut();
        if n > spare.len() || n > self.len {
            return Err(EINVAL);
        }
        let place = spare.as_mut_ptr().cast();
        self.copy(place, n)?;
        // SAFETY: `n` bytes of the spare capacity were just written.
        unsafe { to.inc_len(n) };
        Ok(())
    }
}

/// Called by `tcp_read_sock` for each segment; returns how many bytes were read.
///
/// # Safety
///
/// `desc` is that of [`TcpLocked::read`] with an `F`.
unsafe extern "C" fn actor<F: FnMut(&mut Segment<'_>)>(
    desc: *mut kernel::bindings::read_descriptor_t,
    skb: *mut kernel::bindings::sk_buff,
    offset: c_uint,
    len: usize,
) -> c_int {
    let Some(skb) = NonNull::new(skb) else {
        return 0;
    };
    // SAFETY: `TcpLocked::read` passed `desc` and put a `Reader<F>` there, which nobody else uses meanwhile.
    let reader = unsafe { &mut *(*desc).arg.data.cast::<Reader<F>>() };
    // INVARIANT: `tcp_read_sock` passes an offset and a length inside the skb. The sock is the reader's.
    let mut segment = Segment {
        sk: reader.sk,
        skb,
        start: offset,
        offset,
        len,
        behind: reader.unread.saturating_sub(len),
        _tcp: PhantomData,
    };
    (reader.consume)(&mut segment);
    let used = len.saturating_sub(segment.len);
    reader.unread = reader.unread.saturating_sub(used);
    c_int::try_from(used).unwrap_or(c_int::MAX)
}

/// Runs `call` with the object that a stream is attached to.
///
/// # Safety
///
/// `sk` is a live sock whose lock is held, and whose user data is null or an `Arc<E>`.
unsafe fn attached<E: StreamEvents>(
    sk: *mut bindings::sock,
    call: impl FnOnce(ArcBorrow<'_, E>, &mut TcpLocked<'_>),
) {
    // SAFETY: By this function's requirements the sock is live.
    let data = unsafe { bindings::sp_helper_user_data(sk) };
    let (Some(data), Some(sk)) = (NonNull::new(data), NonNull::new(sk)) else {
        return;
    };
    // SAFETY: It came from `Arc::into_raw` in `attach`, and `detach` cannot take it away while the lock
    // is held.
    let this = unsafe { ArcBorrow::from_raw(data.cast::<E>().as_ptr()) };
    // INVARIANT: By this function's requirements.
    let mut tcp = TcpLocked {
        sk,
        _stream: PhantomData,
    };
    // SAFETY: No requirements.
    let flags = unsafe { bindings::sp_helper_callback_begin() };
    call(this, &mut tcp);
    // SAFETY: In the same context, and these are what it gave.
    unsafe { bindings::sp_helper_callback_end(flags) };
}

/// `sk_state_change` of an attached stream.
///
/// # Safety
///
/// Called by TCP, with the lock of `sk` held, where [`Stream::attach`] installed it for `E`.
unsafe extern "C" fn state_change<E: StreamEvents>(sk: *mut bindings::sock) {
    // SAFETY: TCP calls this with the lock held, and only `attach::<E>` installs it.
    unsafe { attached::<E>(sk, |this, tcp| E::changed(this, tcp)) };
}

/// `sk_data_ready` of an attached stream.
///
/// # Safety
///
/// Called by TCP, with the lock of `sk` held, where [`Stream::attach`] installed it for `E`.
unsafe extern "C" fn data_ready<E: StreamEvents>(sk: *mut bindings::sock) {
    // SAFETY: As for `state_change`.
    unsafe { attached::<E>(sk, |this, tcp| E::readable(this, tcp)) };
}

/// `sk_write_space` of an attached stream.
///
/// # Safety
///
/// Called by TCP, with the lock of `sk` held, where [`Stream::attach`] installed it for `E`.
unsafe extern "C" fn write_space<E: StreamEvents>(sk: *mut bindings::sock) {
    // SAFETY: TCP calls this with a live sock, its lock held.
    if unsafe { bindings::sp_helper_tcp_writeable(sk) } {
        // SAFETY: As for `state_change`.
        unsafe { attached::<E>(sk, |this, _| E::writable(this)) };
    }
}

/// Owns a TCP `struct socket`. Dropping it closes the connection, which may sleep.
///
/// # Invariants
///
/// `socket` is live and ours; `stream` is its sock.
pub(crate) struct TcpSocket {
    socket: NonNull<kernel::bindings::socket>,
    stream: Arc<Stream>,
}

// SAFETY: A socket may be used and released by any thread.
unsafe impl Send for TcpSocket {}
// SAFETY: The socket layer locks for itself.
unsafe impl Sync for TcpSocket {}

impl TcpSocket {
    /// Takes over `socket`; `saved` are its own callbacks, if it is not certain that they are installed.
    ///
    /// # Safety
    ///
    /// `socket` is a live TCP socket that belongs to the caller.
    unsafe fn new(
        socket: NonNull<kernel::bindings::socket>,
        saved: Option<bindings::sp_callbacks>,
    ) -> Result<Self> {
        // SAFETY: The socket is live and has its sock.
        let sk = unsafe { (*socket.as_ptr()).sk }.cast::<bindings::sock>();
        let saved = saved.unwrap_or_else(|| {
            let mut saved = bindings::sp_callbacks::default();
            // SAFETY: The sock is live, nobody changes its callbacks yet, `saved` is valid for writes.
            unsafe { bindings::sp_helper_callbacks(sk, &mut saved) };
            saved
        });
        let stream = NonNull::new(sk).ok_or(EINVAL).and_then(|sk| {
            // SAFETY: The sock is live.
            unsafe { bindings::sp_helper_sock_hold(sk.as_ptr()) };
            // INVARIANT: The count was just taken.
            Ok(Arc::new(Stream { sk, saved }, GFP_KERNEL)?)
        });
        match stream {
            // INVARIANT: By this function's requirements.
            Ok(stream) => Ok(TcpSocket { socket, stream }),
            Err(e) => {
                // SAFETY: The socket is ours, and is not used again.
                unsafe { bindings::sock_release(socket.as_ptr()) };
                Err(e)
            }
        }
    }

    /// Makes a socket in the namespace of `sk` with the credentials, the cgroup and the security label
    /// of the calling task, who is therefore asked for permission as for any TCP socket of its own.
    ///
    /// # Errors
    ///
    /// Those of socket(2).
    pub(crate) fn create(sk: &SkRef, v6: bool) -> Result<Self> {
        let family = if v6 {
            kernel::bindings::AF_INET6
        } else {
            kernel::bindings::AF_INET
        };
        let mut socket = core::ptr::null_mut();
        // CAST: All three are small constants.
        // SAFETY: The namespace lives as long as `sk`; `socket` is valid for writes. Not a kernel
        // socket, so it holds its namespace as a user's socket does.
        to_result(unsafe {
            bindings::__sock_create(
                sk.net(),
                family as c_int,
                kernel::bindings::sock_type_SOCK_STREAM as c_int,
                bindings::IPPROTO_TCP as c_int,
                &mut socket,
                0,
            )
        })?;
        let socket = NonNull::new(socket).ok_or(EINVAL)?;
        // SAFETY: It was just made for us.
        let tcp = unsafe { TcpSocket::new(socket, None) }?;
        // No Nagle, keepalive, and ports that are free again at once.
        // SAFETY: The sock is live, and nobody else knows it yet.
        unsafe { bindings::sp_helper_tcp_defaults(tcp.stream.sk.as_ptr()) };
        tcp.stream.set_buffers(sk);
        Ok(tcp)
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Starts connecting; how it ends is reported to whom the stream is attached to, maybe before this
    /// returns.
    ///
    /// # Errors
    ///
    /// What is known at once: no route, for example.
    pub(crate) fn connect(&self, name: &SockAddr) -> Result {
        let mut name = *name;
        let _within_tcp = WithinTcp::enter();
        // CAST: A length of at most 28; O_NONBLOCK is a small constant.
        // SAFETY: By the type invariant the socket is live; `name` outlives the call.
        let err = unsafe {
            bindings::kernel_connect(
                self.socket.as_ptr(),
                name.0.as_mut_ptr().cast(),
                name.1 as c_int,
                kernel::bindings::O_NONBLOCK as c_int,
            )
        };
        match to_result(err) {
            Err(e) if e == EINPROGRESS => Ok(()),
            result => result,
        }
    }

    /// Drops the connection, so that [`Self::connect`] can make a new one on the same socket: with the
    /// cgroup, the label and the owner that it was created with.
    pub(crate) fn disconnect(&self) {
        let mut unspec = [0_u8; 16];
        let _within_tcp = WithinTcp::enter();
        // CAST: 16.
        // SAFETY: As for `connect`; zeroes are AF_UNSPEC.
        unsafe {
            bindings::kernel_connect(
                self.socket.as_ptr(),
                unspec.as_mut_ptr().cast(),
                unspec.len() as c_int,
                0,
            );
            bindings::sp_helper_tcp_forget_error(self.stream.sk.as_ptr());
        }
    }

    /// Sends a FIN after what is queued; what the peer sends can still be read.
    pub(crate) fn finish_sending(&self) {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the socket is live. A failure means that there is no connection.
        let _ = unsafe {
            bindings::kernel_sock_shutdown(
                self.socket.as_ptr(),
                kernel::bindings::sock_shutdown_cmd_SHUT_WR,
            )
        };
    }

    /// Ends the connection politely, in both directions, and keeps the socket.
    pub(crate) fn hang_up(&self) {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: As in `finish_sending`.
        let _ = unsafe {
            bindings::kernel_sock_shutdown(
                self.socket.as_ptr(),
                kernel::bindings::sock_shutdown_cmd_SHUT_RDWR,
            )
        };
    }

    /// Makes closing drop what is queued and reset the connection.
    pub(crate) fn abort_on_close(&self) {
        // SAFETY: By the type invariant the sock is live, and it is not locked by us.
        unsafe { bindings::sp_helper_tcp_linger0(self.stream.sk.as_ptr()) };
    }

    /// The address of the other end, `None` if there is none (any more).
    pub(crate) fn peer(&self) -> Option<SockAddr> {
        let mut storage = MaybeUninit::<kernel::bindings::__kernel_sockaddr_storage>::zeroed();
        // SAFETY: By the type invariant the socket is live; the storage is as large as any address.
        let len = unsafe {
            bindings::kernel_getpeername(self.socket.as_ptr(), storage.as_mut_ptr().cast())
        };
        let len = usize::try_from(len).ok()?.min(28);
        let mut bytes = [0_u8; 28];
        // SAFETY: The storage is 128 bytes, zeroed above, of which 28 are copied.
        unsafe {
            core::ptr::copy_nonoverlapping(storage.as_ptr().cast::<u8>(), bytes.as_mut_ptr(), 28)
        };
        Some((bytes, len))
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the socket is ours, and it is not used again.
        unsafe { bindings::sock_release(self.socket.as_ptr()) };
    }
}

/// A listening TCP socket. Dropping it stops listening: the port is free then, and connections that
/// nobody accepted are reset, or go to another listener of the SO_REUSEPORT group. That may sleep.
///
/// It is heard as poll(2) would hear it, by an entry in the wait queue of its `struct socket`: TCP's own
/// `sk_data_ready`, `sock_def_readable`, calls the entry in the softirq in which a connection comes up (or
/// in the task that moves one here), and its own `sk_state_change` if the listener is closed from outside.
/// The entry is not exclusive and ignores the key, nobody else can wait there (there is no file), and a
/// call too many costs the acceptor one look.
///
/// It is there before the socket listens, so no connection precedes it. Whoever wakes looks for waiters
/// after the connection is in the accept queue; and it is taken away under the wait queue's lock, under
/// which it is called, so that no call is under way or begins after that. Only then is the socket
/// released, in which the queue is: a waker that still holds the queue finds it without the entry, in
/// memory that is freed an RCU grace period after the release.
///
/// # Invariants
///
/// `entry` is in the wait queue of `tcp`'s socket, for `incoming::<E>` with a pointer to what `events` is.
pub(crate) struct TcpListener<E: ListenEvents> {
    entry: Pin<KBox<Opaque<kernel::bindings::wait_queue_entry>>>,
    tcp: TcpSocket,
    _events: Arc<E>,
}

// SAFETY: The entry is only touched by the wait queue, under its lock, and to insert and to remove it. The
// other fields may be sent.
unsafe impl<E: ListenEvents> Send for TcpListener<E> {}
// SAFETY: As above; no method gives access to the entry.
unsafe impl<E: ListenEvents> Sync for TcpListener<E> {}

impl<E: ListenEvents> TcpListener<E> {
    /// Binds a fresh socket and listens, on behalf of the calling task. Connections are reported to
    /// `events`.
    ///
    /// # Errors
    ///
    /// Those of bind(2) and listen(2).
    pub(crate) fn bind(
        tcp: TcpSocket,
        name: &SockAddr,
        backlog: i32,
        events: Arc<E>,
    ) -> Result<Self> {
        let mut name = *name;
        // CAST: A length of at most 28.
        // SAFETY: The socket is live, `name` outlives the call.
        to_result(unsafe {
            bindings::kernel_bind(
                tcp.socket.as_ptr(),
                name.0.as_mut_ptr().cast(),
                name.1 as c_int,
            )
        })?;
        let entry = KBox::pin(Opaque::uninit(), GFP_KERNEL)?;
        // SAFETY: The socket is live. The entry is pinned and in no queue; it is taken out of this one
        // before it, what `data` points at and the socket go.
        unsafe {
            bindings::sp_helper_listen_wait(
                tcp.socket.as_ptr(),
                entry.get(),
                Some(incoming::<E>),
                Arc::as_ptr(&events).cast_mut().cast(),
            )
        };
        // INVARIANT: It was just inserted.
        let listener = TcpListener {
            entry,
            tcp,
            _events: events,
        };
        // SAFETY: The socket is live.
        to_result(unsafe { bindings::kernel_listen(listener.tcp.socket.as_ptr(), backlog) })?;
        Ok(listener)
    }

    /// Changes the backlog.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not listen any more.
    pub(crate) fn listen(&self, backlog: i32) -> Result {
        // SAFETY: The sock is live, and it is not locked by us.
        to_result(unsafe { bindings::sp_helper_listen(self.tcp.stream.sk.as_ptr(), backlog) })
    }

    /// Listens no more; connections that wait are reset. The port is kept. Task context.
    pub(crate) fn stop(&self) {
        // SAFETY: The socket is live, and not locked by us.
        unsafe { bindings::sp_helper_listen_stop(self.tcp.socket.as_ptr()) };
    }

    /// Whether it still listens: an administrator can close it (SOCK_DESTROY), and it stays so.
    pub(crate) fn is_listening(&self) -> bool {
        // SAFETY: The sock is live.
        let state = unsafe { bindings::sp_helper_tcp_state(self.tcp.stream.sk.as_ptr()) };
        u32::try_from(state) == Ok(bindings::TCP_LISTEN)
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.tcp.stream
    }

    /// Takes the next connection, if there is one. Does not wait. It has the options that the listener
    /// had when it arrived, and belongs to whom `sk` belongs to. Task context, in a worker.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is none; `EINVAL` if this does not listen any more; `ECONNABORTED` if that one was
    /// not to be had; `ENOMEM`, `ENFILE` and the like if it could not be taken: it still waits then, and is
    /// not reported again.
    pub(crate) fn accept(&self, sk: &SkRef) -> Result<TcpSocket> {
        let mut socket = core::ptr::null_mut();
        // What TCP itself installs, here as there.
        let saved = self.tcp.stream.saved;
        // SAFETY: Both socks are live, `socket` is valid for writes.
        to_result(unsafe {
            bindings::sp_helper_tcp_accept(
                self.tcp.socket.as_ptr(),
                &mut socket,
                sk.as_ptr(),
                &saved,
            )
        })?;
        let socket = NonNull::new(socket).ok_or(EAGAIN)?;
        // SAFETY: It was just made for us.
        let tcp = unsafe { TcpSocket::new(socket, Some(saved)) }?;
        tcp.stream.set_buffers(sk);
        Ok(tcp)
    }
}

impl<E: ListenEvents> Drop for TcpListener<E> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the entry is in this queue. The socket is released, and the entry
        // freed, after this.
        unsafe {
            bindings::sp_helper_listen_unwait(self.tcp.socket.as_ptr(), self.entry.get());
        }
    }
}

/// Called by the wait queue of a listener whenever somebody who waits for it is woken.
///
/// # Safety
///
/// Called under the lock of the wait queue, for an entry that [`TcpListener::bind`] inserted for `E`.
unsafe extern "C" fn incoming<E: ListenEvents>(
    entry: *mut kernel::bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _key: *mut c_void,
) -> c_int {
    // SAFETY: The entry is live, and its private data constant.
    let data = unsafe { (*entry).private };
    // SAFETY: `bind::<E>` had it from an `Arc<E>` that the listener holds until it has removed the entry,
    // which takes the lock that is held now.
    E::incoming(unsafe { ArcBorrow::from_raw(data.cast::<E>().cast_const()) });
    // Nobody was woken, as far as exclusive waiters are concerned.
    0
}
