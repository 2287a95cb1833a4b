// SPDX-License-Identifier: GPL-2.0

//! From the system calls on a socket to its object: the functions of `struct proto_ops`.

use super::calls::{
    RecvCall,
    SendCall, //
};
use super::interface::{
    Family,
    OptionValue, //
};
use crate::errno::ENOPROTOOPT;
use crate::net::bindings;
use crate::net::lent::Lent;
use crate::uapi;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_char,
    c_int,
    c_uint,
    c_ulong,
    c_void, //
};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::{
    UserPtr,
    UserSlice, //
};

/// How much of an option's value is copied in, in bytes: more than any option takes, so that a value
/// that is too long is seen to be.
const OPTION_MAX: usize = 4096 + 1;

/// Our `struct sock`: the C part first, as `sk_alloc` wants it.
///
/// # Invariants
///
/// `object` came from `Arc::into_raw` in `create` and is taken back in `release`, once.
#[repr(C)]
pub(super) struct Sock<T> {
    sk: bindings::sock,
    pub(super) object: *const T,
}

/// The table of these functions; `number` is the family's.
pub(super) fn table<T: Family>(number: c_int, owner: *mut bindings::module) -> bindings::proto_ops {
    bindings::proto_ops {
        family: number,
        owner,
        release: Some(release::<T>),
        bind: Some(bind::<T>),
        connect: Some(connect::<T>),
        socketpair: Some(bindings::sock_no_socketpair),
        accept: Some(bindings::sock_no_accept),
        getname: Some(getname::<T>),
        poll: Some(poll::<T>),
        ioctl: Some(ioctl::<T>),
        gettstamp: Some(bindings::sock_gettstamp),
        listen: Some(listen::<T>),
        shutdown: Some(shutdown::<T>),
        setsockopt: Some(setsockopt::<T>),
        getsockopt: Some(getsockopt::<T>),
        sendmsg: Some(sendmsg::<T>),
        recvmsg: Some(recvmsg::<T>),
        mmap: Some(bindings::sock_no_mmap),
        ..pin_init::zeroed()
    }
}

/// A result as C functions return it.
fn code(result: Result) -> c_int {
    result.map_or_else(|e| e.to_errno(), |()| 0)
}

/// The level or the name of an option.
fn number(value: c_int) -> Result<u32> {
    u32::try_from(value).map_err(|_| ENOPROTOOPT.into())
}

/// A length as C functions return it.
fn length(result: Result<usize>) -> c_int {
    match result {
        Ok(n) => c_int::try_from(n).unwrap_or(c_int::MAX),
        Err(e) => e.to_errno(),
    }
}

/// The object of a socket.
///
/// # Safety
///
/// `sock` is a socket of family `T` that is not released during `'a`.
unsafe fn object<'a, T: Family>(sock: *mut bindings::socket) -> Lent<'a, T> {
    // SAFETY: By this function's requirements the socket is live, and its sock does not change.
    let sk = unsafe { (*sock).sk }.cast::<Sock<T>>();
    // SAFETY: By this function's requirements that is a live `Sock<T>`, whose object does not change.
    let object = unsafe { (*sk).object };
    // SAFETY: By the invariant of `Sock` it came from `Arc::into_raw`, and it is not taken back yet.
    unsafe { Lent::new(object) }
}

/// The bytes of an address.
///
/// # Safety
///
/// `address` points at `len` bytes that live during `'a`, if `len` is positive.
unsafe fn bytes<'a>(address: *const c_void, len: c_int) -> &'a [u8] {
    match (NonNull::new(address.cast_mut()), usize::try_from(len)) {
        // SAFETY: By this function's requirements.
        (Some(p), Ok(len)) => unsafe { core::slice::from_raw_parts(p.as_ptr().cast(), len) },
        _ => &[],
    }
}

/// `proto_ops.release`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn release<T: Family>(sock: *mut bindings::socket) -> c_int {
    // SAFETY: The socket is live; it has no sock if `create` failed.
    let sk = unsafe { (*sock).sk }.cast::<Sock<T>>();
    if sk.is_null() {
        return 0;
    }
    // SAFETY: The sock is a live `Sock<T>`: `create` succeeded.
    let object = unsafe { (*sk).object };
    // SAFETY: By the invariant of `Sock`; the socket layer calls this once.
    let object = unsafe { Arc::from_raw(object) };
    T::release(&object);
    // SAFETY: `sk` is live until the put below. `create` has counted it.
    unsafe { bindings::sp_helper_sock_inuse(sk.cast(), -1) };
    // SAFETY: `sk` is live until the put below, and its socket until this function returns.
    unsafe { bindings::sp_helper_sock_orphan(sk.cast()) };
    // SAFETY: The socket is live, and nobody else calls it any more.
    unsafe { (*sock).sk = core::ptr::null_mut() };
    // SAFETY: It gives up the count that `sk_alloc` left to the socket; `sk` is not used again.
    unsafe { bindings::sp_helper_sock_put(sk.cast()) };
    0
}

/// `proto_ops.bind`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn bind<T: Family>(
    sock: *mut bindings::socket,
    address: *mut bindings::sockaddr_unsized,
    len: c_int,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    // SAFETY: The socket layer passes `len` bytes, a copy that lives during the call.
    let address = unsafe { bytes(address.cast(), len) };
    code(T::bind(&this, address))
}

/// `proto_ops.connect`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn connect<T: Family>(
    sock: *mut bindings::socket,
    address: *mut bindings::sockaddr_unsized,
    len: c_int,
    _flags: c_int,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    // SAFETY: The socket layer passes `len` bytes, a copy that lives during the call.
    let address = unsafe { bytes(address.cast(), len) };
    code(T::connect(&this, address))
}

/// `proto_ops.getname`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn getname<T: Family>(
    sock: *mut bindings::socket,
    address: *mut bindings::sockaddr,
    peer: c_int,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    match T::name(&this, peer != 0) {
        Ok((name, len)) => {
            // SAFETY: The socket layer has room for 128 bytes.
            unsafe {
                core::ptr::copy_nonoverlapping(name.as_ptr(), address.cast(), len.min(name.len()))
            };
            length(Ok(len))
        }
        Err(e) => e.to_errno(),
    }
}

/// `proto_ops.poll`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn poll<T: Family>(
    file: *mut bindings::file,
    sock: *mut bindings::socket,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // The barrier in there makes that what changes after the look below wakes us.
    // SAFETY: The socket is live, and the arguments are passed on as they came.
    unsafe { bindings::sp_helper_poll_wait(file, sock, table) };
    // SAFETY: The socket is live and keeps its sock during the call.
    let sk = unsafe { (*sock).sk };
    // The flag makes that it raises SIGIO where wanted.
    // SAFETY: The sock of a live socket is live.
    unsafe { bindings::sp_helper_async_nospace(sk.cast()) };
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    T::poll(&this)
}

/// `proto_ops.ioctl`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn ioctl<T: Family>(
    sock: *mut bindings::socket,
    cmd: c_uint,
    arg: c_ulong,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    let value = match cmd {
        bindings::SIOCINQ => T::input_len(&this),
        bindings::SIOCOUTQ => T::output_len(&this),
        _ => return ENOIOCTLCMD.to_errno(),
    };
    let value = c_int::try_from(value).unwrap_or(c_int::MAX);
    let mut writer = UserSlice::new(UserPtr::from_addr(arg), size_of::<c_int>()).writer();
    code(writer.write(&value))
}

/// `proto_ops.listen`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn listen<T: Family>(sock: *mut bindings::socket, backlog: c_int) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    code(T::listen(&this, backlog))
}

/// `proto_ops.shutdown`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn shutdown<T: Family>(sock: *mut bindings::socket, how: c_int) -> c_int {
    // SHUT_RD, SHUT_WR, SHUT_RDWR.
    let (receive, send) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return EINVAL.to_errno(),
    };
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    code(T::shutdown(&this, receive, send))
}

/// `proto_ops.setsockopt`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn setsockopt<T: Family>(
    sock: *mut bindings::socket,
    level: c_int,
    name: c_int,
    value: bindings::sockptr_t,
    len: c_uint,
) -> c_int {
    let set = || -> Result {
        let (level, name) = (number(level)?, number(name)?);
        // CAST: A `c_uint` fits.
        let len = (len as usize).min(OPTION_MAX);
        let mut bytes = KVec::<u8>::with_capacity(len, GFP_KERNEL_ACCOUNT)?;
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: There is room for `len` bytes. Where they come from is checked as they are read.
        if unsafe { bindings::sp_helper_copy_optval(to, value, len) } != 0 {
            return Err(EFAULT);
        }
        // SAFETY: The helper has written all `len` bytes, for which there is room.
        unsafe { bytes.inc_len(len) };
        // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
        let this = unsafe { object::<T>(sock) };
        T::set_option(&this, level, name, bytes)
    };
    code(set())
}

/// `proto_ops.getsockopt`, the one with user pointers, because that of TCP has them too. (The socket
/// layer answers SOL_SOCKET itself.)
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn getsockopt<T: Family>(
    sock: *mut bindings::socket,
    level: c_int,
    name: c_int,
    value: *mut c_char,
    len: *mut c_int,
) -> c_int {
    let get = || -> Result {
        // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
        let this = unsafe { object::<T>(sock) };
        let option = T::option(&this, number(level)?, number(name)?)?;
        let known: &[u8] = match &option {
            OptionValue::Int(n) => &n.to_ne_bytes(),
            // SAFETY: `sp_info` is plain integers without padding, which the uapi header asserts.
            OptionValue::Info(info) => unsafe {
                core::slice::from_raw_parts(
                    (&raw const **info).cast(),
                    core::mem::size_of::<uapi::sp_info>(),
                )
            },
            OptionValue::Tcp(stream) => {
                return to_result(stream.option(level, name, value, len));
            }
        };
        let user = |ptr: usize, len| UserSlice::new(UserPtr::from_addr(ptr), len);
        let room: c_int = user(len.addr(), size_of::<c_int>()).reader().read()?;
        let room = usize::try_from(room).map_err(|_| EINVAL)?;
        let part = known.get(..room).unwrap_or(known);
        user(value.addr(), part.len()).writer().write_slice(part)?;
        let part_len = c_int::try_from(part.len())?;
        user(len.addr(), size_of::<c_int>())
            .writer()
            .write(&part_len)
    };
    code(get())
}

/// `proto_ops.sendmsg`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn sendmsg<T: Family>(
    sock: *mut bindings::socket,
    msg: *mut bindings::msghdr,
    len: usize,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    // SAFETY: The header is live, and ours during the call.
    let msg = unsafe { &mut *msg };
    let quiet = msg.msg_flags & bindings::MSG_NOSIGNAL != 0;
    // SAFETY: The socket layer passes an iterator over `len` bytes to send.
    let mut call = unsafe { SendCall::new(msg, len) };
    let result = T::send(&this, &mut call);
    if result.is_err() {
        // Nothing was sent: io_uring goes on with this iterator when it tries again.
        call.rewind();
    }
    if !quiet && matches!(result, Err(e) if e == EPIPE) {
        // SAFETY: No requirements.
        unsafe { bindings::sp_helper_sigpipe() };
    }
    length(result)
}

/// `proto_ops.recvmsg`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn recvmsg<T: Family>(
    sock: *mut bindings::socket,
    msg: *mut bindings::msghdr,
    _len: usize,
    flags: c_int,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours, and releases none in a call.
    let this = unsafe { object::<T>(sock) };
    // SAFETY: The header is live, and ours during the call.
    let msg = unsafe { &mut *msg };
    // CAST: Flags are bits.
    let flags = flags as u32;
    // SAFETY: The socket layer passes an iterator to receive into, and a name that is null or has room
    // for any address.
    let mut call = unsafe { RecvCall::new(msg, flags) };
    length(T::recv(&this, &mut call))
}
