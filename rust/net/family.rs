// SPDX-License-Identifier: GPL-2.0

//! Registering a protocol family, and the way from its system calls to a [`Family`].
//!
//! A socket is a `struct sock` with one pointer after it, to the [`Family`] object that the system calls
//! are dispatched to. The functions below only convert arguments and results.
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

use super::bindings;
use super::netns::{
    self,
    Namespace, //
};
use super::sock::SkRef;
use super::stream::{
    SockAddr,
    Stream, //
};
use crate::uapi::sp_info;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_char,
    c_int,
    c_uint,
    c_ulong,
    c_void, //
};
use kernel::iov::{
    IovIterDest,
    IovIterSource, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};
use kernel::uaccess::{
    UserPtr,
    UserSlice, //
};

pub(crate) use bindings::{
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL, //
};

/// How much of an option's value is copied in, in bytes: more than any option takes, so that a value
/// that is too long is seen to be.
const OPTION_MAX: usize = 4096 + 1;

/// What a protocol family does. All methods but `release` may be called by several tasks at once, in
/// task context, and may sleep.
pub(crate) trait Family: Send + Sync + Sized + 'static {
    /// What each network namespace has.
    type Net: Namespace;

    /// What all sockets have in common.
    type Common: Send + Sync + 'static;

    /// Makes that, once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn common() -> Result<Arc<Self::Common>>;

    /// Makes a socket; `sk` is its sock, and `net` its namespace's.
    ///
    /// # Errors
    ///
    /// Those of socket(2): `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`, `ENOMEM`.
    fn create(
        sk: SkRef,
        net: Arc<Self::Net>,
        common: Arc<Self::Common>,
        socket_type: u32,
        protocol: u32,
    ) -> Result<Arc<Self>>;

    /// The last user has let go; nothing else is called any more, except by a thread that holds a
    /// reference of its own.
    fn release(this: ArcBorrow<'_, Self>);

    fn bind(this: ArcBorrow<'_, Self>, address: &[u8]) -> Result;
    fn connect(this: ArcBorrow<'_, Self>, address: &[u8]) -> Result;
    fn listen(this: ArcBorrow<'_, Self>, backlog: i32) -> Result;
    fn shutdown(this: ArcBorrow<'_, Self>, receive: bool, send: bool) -> Result;

    /// Our name, or the peer's.
    fn name(this: ArcBorrow<'_, Self>, peer: bool) -> Result<SockAddr>;

    /// The poll events that are true now.
    fn poll(this: ArcBorrow<'_, Self>) -> u32;

    /// `EPIPE` also raises SIGPIPE, unless the caller did not want it.
    fn send(this: ArcBorrow<'_, Self>, call: &mut SendCall<'_>) -> Result<usize>;
    fn recv(this: ArcBorrow<'_, Self>, call: &mut RecvCall<'_>) -> Result<usize>;

    /// FIONREAD, SIOCOUTQ.
    fn input_len(this: ArcBorrow<'_, Self>) -> usize;
    fn output_len(this: ArcBorrow<'_, Self>) -> usize;

    /// An option of any level. `value` is cut off behind the longest that any option has.
    fn set_option(this: ArcBorrow<'_, Self>, level: u32, name: u32, value: KVec<u8>) -> Result;

    /// An option of any level but SOL_SOCKET.
    fn option(this: ArcBorrow<'_, Self>, level: u32, name: u32) -> Result<OptionValue>;
}

/// What getsockopt gives.
pub(crate) enum OptionValue {
    Int(i32),
    Info(KBox<sp_info>),
    /// What this TCP socket says.
    Tcp(Arc<Stream>),
}

/// One sendmsg.
pub(crate) struct SendCall<'a> {
    msg: &'a mut kernel::bindings::msghdr,
    len: usize,
}

impl SendCall<'_> {
    pub(crate) fn flags(&self) -> u32 {
        self.msg.msg_flags
    }

    /// Whether the caller names a destination.
    pub(crate) fn has_address(&self) -> bool {
        self.msg.msg_namelen > 0
    }

    /// The length of the message, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends the next `n` bytes of the message to `to`, within its capacity.
    ///
    /// # Errors
    ///
    /// `EFAULT` if they cannot be read.
    pub(crate) fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result {
        // SAFETY: The iterator is the caller's and outlives this call.
        let iter = unsafe { IovIterSource::from_raw(&mut self.msg.msg_iter) };
        let room = to.spare_capacity_mut().get_mut(..n).ok_or(EINVAL)?;
        if iter.copy_from_iter_raw(room).len() < n {
            return Err(EFAULT);
        }
        // SAFETY: `n` bytes of the spare capacity were just written.
        unsafe { to.inc_len(n) };
        Ok(())
    }
}

/// One recvmsg.
pub(crate) struct RecvCall<'a> {
    msg: &'a mut kernel::bindings::msghdr,
    flags: u32,
}

impl RecvCall<'_> {
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// How many bytes the caller has room for.
    pub(crate) fn room(&mut self) -> usize {
        // SAFETY: The iterator is the caller's and outlives this call.
        unsafe { IovIterDest::from_raw(&mut self.msg.msg_iter) }.len()
    }

    /// Copies `bytes` behind what was copied before.
    ///
    /// # Errors
    ///
    /// `EFAULT` if they cannot be written.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Result {
        // SAFETY: The iterator is the caller's and outlives this call.
        let iter = unsafe { IovIterDest::from_raw(&mut self.msg.msg_iter) };
        if iter.copy_to_iter(bytes) < bytes.len() {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Ends the message: it was `truncated` or not, and came from `from`.
    pub(crate) fn finish(&mut self, truncated: bool, from: Option<SockAddr>) {
        self.msg.msg_flags |= bindings::MSG_EOR;
        if truncated {
            self.msg.msg_flags |= bindings::MSG_TRUNC;
        }
        if let (Some((bytes, len)), false) = (from, self.msg.msg_name.is_null()) {
            let len = len.min(bytes.len());
            // SAFETY: The socket layer passes room for a `sockaddr_storage`, or null.
            unsafe {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.msg.msg_name.cast(), len)
            };
            self.msg.msg_namelen = i32::try_from(len).unwrap_or(0);
        }
    }
}

/// Our `struct sock`: the C part first, as `sk_alloc` wants it.
///
/// # Invariants
///
/// `object` came from `Arc::into_raw` in `create` and is taken back in `release`, once.
#[repr(C)]
struct Sock<T> {
    sk: bindings::sock,
    object: *const T,
}

/// A C structure that the kernel keeps a pointer to, and that is filled in before.
#[repr(transparent)]
struct Static<T>(UnsafeCell<T>);

// SAFETY: Written only while nobody else knows it, in `Registration::new`; locked by C afterwards.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    const fn new(value: T) -> Self {
        Static(UnsafeCell::new(value))
    }
}

/// The tables of one family. Boxed, because C keeps pointers to them.
///
/// # Invariants
///
/// `common` is the family's, which the [`Registration`] keeps.
struct Tables {
    common: *const c_void,
    proto: Static<bindings::proto>,
    net: Static<kernel::bindings::pernet_operations>,
    ops: Static<kernel::bindings::proto_ops>,
    family: Static<kernel::bindings::net_proto_family>,
}

/// A registered family. Dropping it unregisters: `create` is not called any more then.
pub(crate) struct Registration<T: Family> {
    tables: KBox<Tables>,
    _common: Arc<T::Common>,
}

/// What `create` needs; null while no family is registered.
static TABLES: core::sync::atomic::AtomicPtr<Tables> =
    core::sync::atomic::AtomicPtr::new(core::ptr::null_mut());

// SAFETY: The tables are only used by C after registration, which may happen on any thread.
unsafe impl<T: Family> Send for Registration<T> {}
// SAFETY: There is nothing to do with a `&Registration`.
unsafe impl<T: Family> Sync for Registration<T> {}

impl<T: Family> Registration<T> {
    /// Registers family `number`. One family can be registered at a time.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the number is taken, `ENOBUFS` if it is no family number, `ENOMEM`.
    pub(crate) fn new(
        number: u32,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result<Self> {
        let number = c_int::try_from(number).map_err(|_| ENOBUFS)?;
        let owner = module.as_ptr();
        let mut proto = bindings::proto {
            owner,
            obj_size: u32::try_from(core::mem::size_of::<Sock<T>>())?,
            ..pin_init::zeroed()
        };
        for (to, from) in proto.name.iter_mut().zip(name.to_bytes()) {
            *to = *from;
        }
        let common = T::common()?;
        let tables = KBox::new(
            Tables {
                // INVARIANT: It is kept below.
                common: Arc::as_ptr(&common).cast(),
                proto: Static::new(proto),
                net: Static::new(netns::operations::<T::Net>()),
                ops: Static::new(kernel::bindings::proto_ops {
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
                }),
                family: Static::new(kernel::bindings::net_proto_family {
                    family: number,
                    create: Some(create::<T>),
                    owner,
                }),
            },
            GFP_KERNEL,
        )?;
        let (proto, net) = (tables.proto.0.get(), tables.net.0.get());
        let family = tables.family.0.get();
        // SAFETY: The table lives in a box until `proto_unregister`.
        to_result(unsafe { bindings::proto_register(proto, 1) })?;
        // SAFETY: The table lives in a box until `unregister_pernet_subsys`.
        let mut result = to_result(unsafe { bindings::register_pernet_subsys(net.cast()) });
        if result.is_ok() {
            TABLES.store(
                (&raw const *tables).cast_mut(),
                core::sync::atomic::Ordering::Release,
            );
            // SAFETY: The table lives in a box until `sock_unregister`.
            result = to_result(unsafe { bindings::sock_register(family) });
            if result.is_err() {
                TABLES.store(core::ptr::null_mut(), core::sync::atomic::Ordering::Release);
                // SAFETY: It was registered above.
                unsafe { bindings::unregister_pernet_subsys(net.cast()) };
            }
        }
        if result.is_err() {
            // SAFETY: It was registered above, and no socket can have been made.
            unsafe { bindings::proto_unregister(proto) };
        }
        result.map(|()| Registration {
            tables,
            _common: common,
        })
    }
}

impl<T: Family> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: All were registered in `new`. The module is going, so no socket is left: each holds
        // a reference to it.
        unsafe {
            bindings::sock_unregister((*self.tables.family.0.get()).family);
            bindings::unregister_pernet_subsys(self.tables.net.0.get().cast());
            kernel::bindings::rcu_barrier();
            bindings::proto_unregister(self.tables.proto.0.get());
        }
        TABLES.store(core::ptr::null_mut(), core::sync::atomic::Ordering::Release);
    }
}

/// A result as C functions return it.
fn code(result: Result) -> c_int {
    result.map_or_else(|e| e.to_errno(), |()| 0)
}

/// The level or the name of an option.
fn number(value: c_int) -> Result<u32> {
    u32::try_from(value).map_err(|_| ENOPROTOOPT)
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
unsafe fn object<'a, T: Family>(sock: *mut kernel::bindings::socket) -> ArcBorrow<'a, T> {
    // SAFETY: By this function's requirements the sock is a live `Sock<T>`, and by its invariant
    // `object` came from `Arc::into_raw` and is not taken back yet.
    unsafe { ArcBorrow::from_raw((*(*sock).sk.cast::<Sock<T>>()).object) }
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

/// `net_proto_family.create`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn create<T: Family>(
    net: *mut kernel::bindings::net,
    sock: *mut kernel::bindings::socket,
    protocol: c_int,
    kern: c_int,
) -> c_int {
    let tables = TABLES.load(core::sync::atomic::Ordering::Acquire);
    let Some(tables) = NonNull::new(tables) else {
        return EAFNOSUPPORT.to_errno();
    };
    let tables = tables.as_ptr();
    // SAFETY: The family is registered, so the tables live; `net` is live, says the socket layer.
    let sk = unsafe {
        bindings::sk_alloc(
            net.cast(),
            (*(*tables).ops.0.get()).family,
            kernel::bindings::GFP_KERNEL,
            (*tables).proto.0.get(),
            kern,
        )
    };
    if sk.is_null() {
        return ENOMEM.to_errno();
    }
    // SAFETY: `sock` and `sk` are live and nobody else's yet. The family is registered, so by the invariant
    // of `Tables` what is common is there.
    let made = unsafe {
        bindings::sock_init_data(sock.cast(), sk);
        bindings::sp_helper_sock_defaults(sk);
        SkRef::new(sk).ok_or(ENOMEM).and_then(|r| {
            let net = netns::object(net);
            let common = ArcBorrow::from_raw((*tables).common.cast::<T::Common>());
            let socket_type = u32::try_from((*sock).type_).unwrap_or(0);
            let protocol = u32::try_from(protocol).unwrap_or(u32::MAX);
            T::create(r, net, common.into(), socket_type, protocol)
        })
    };
    match made {
        Ok(object) => {
            // INVARIANT: `release` takes it back.
            // SAFETY: `sk` is a `Sock<T>`, of which `proto` told the size; nobody else knows it yet.
            unsafe {
                (*sk).sk_protocol = bindings::IPPROTO_TCP as u16;
                (*sk.cast::<Sock<T>>()).object = Arc::into_raw(object);
                (*sock).ops = (*tables).ops.0.get();
                (*sock).flags |= 1 << bindings::socket_flags_SOCK_CUSTOM_SOCKOPT;
                bindings::sp_helper_sock_inuse(sk, 1);
            }
            0
        }
        Err(e) => {
            // SAFETY: As above. The socket layer must not find a sock in a socket that failed.
            unsafe {
                bindings::sp_helper_sock_orphan(sk);
                (*sock).sk = core::ptr::null_mut();
                bindings::sp_helper_sock_put(sk);
            }
            e.to_errno()
        }
    }
}

/// `proto_ops.release`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn release<T: Family>(sock: *mut kernel::bindings::socket) -> c_int {
    // SAFETY: The socket is live; it has no sock if `create` failed.
    let sk = unsafe { (*sock).sk }.cast::<Sock<T>>();
    if sk.is_null() {
        return 0;
    }
    // SAFETY: By the invariant of `Sock`; the socket layer calls this once.
    let object = unsafe { Arc::from_raw((*sk).object) };
    T::release(object.as_arc_borrow());
    // SAFETY: `sk` is live until the put, which gives up the count that `sk_alloc` left to the socket.
    unsafe {
        bindings::sp_helper_sock_inuse(sk.cast(), -1);
        bindings::sp_helper_sock_orphan(sk.cast());
        (*sock).sk = core::ptr::null_mut();
        bindings::sp_helper_sock_put(sk.cast());
    }
    0
}

/// `proto_ops.bind`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn bind<T: Family>(
    sock: *mut kernel::bindings::socket,
    address: *mut kernel::bindings::sockaddr_unsized,
    len: c_int,
) -> c_int {
    // SAFETY: The socket layer calls this on a live socket of ours with `len` bytes of address.
    unsafe { code(T::bind(object(sock), bytes(address.cast(), len))) }
}

/// `proto_ops.connect`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn connect<T: Family>(
    sock: *mut kernel::bindings::socket,
    address: *mut kernel::bindings::sockaddr_unsized,
    len: c_int,
    _flags: c_int,
) -> c_int {
    // SAFETY: As for `bind`.
    unsafe { code(T::connect(object(sock), bytes(address.cast(), len))) }
}

/// `proto_ops.getname`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn getname<T: Family>(
    sock: *mut kernel::bindings::socket,
    address: *mut kernel::bindings::sockaddr,
    peer: c_int,
) -> c_int {
    // SAFETY: A live socket of ours.
    match unsafe { T::name(object(sock), peer != 0) } {
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
    file: *mut kernel::bindings::file,
    sock: *mut kernel::bindings::socket,
    table: *mut kernel::bindings::poll_table_struct,
) -> kernel::bindings::__poll_t {
    // SAFETY: A live socket of ours; the arguments are passed on as they came. The barrier in there
    // makes that what changes after the look wakes us, and the flag that it raises SIGIO where wanted.
    unsafe {
        bindings::sp_helper_poll_wait(file, sock, table);
        bindings::sp_helper_async_nospace((*sock).sk.cast());
        T::poll(object(sock))
    }
}

/// `proto_ops.ioctl`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn ioctl<T: Family>(
    sock: *mut kernel::bindings::socket,
    cmd: c_uint,
    arg: c_ulong,
) -> c_int {
    // SAFETY: A live socket of ours.
    let this = unsafe { object::<T>(sock) };
    let value = match cmd {
        bindings::SIOCINQ => T::input_len(this),
        bindings::SIOCOUTQ => T::output_len(this),
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
unsafe extern "C" fn listen<T: Family>(
    sock: *mut kernel::bindings::socket,
    backlog: c_int,
) -> c_int {
    // SAFETY: A live socket of ours.
    unsafe { code(T::listen(object(sock), backlog)) }
}

/// `proto_ops.shutdown`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn shutdown<T: Family>(sock: *mut kernel::bindings::socket, how: c_int) -> c_int {
    // SHUT_RD, SHUT_WR, SHUT_RDWR.
    let (receive, send) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return EINVAL.to_errno(),
    };
    // SAFETY: A live socket of ours.
    unsafe { code(T::shutdown(object(sock), receive, send)) }
}

/// `proto_ops.setsockopt`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn setsockopt<T: Family>(
    sock: *mut kernel::bindings::socket,
    level: c_int,
    name: c_int,
    value: kernel::bindings::sockptr_t,
    len: c_uint,
) -> c_int {
    let set = || -> Result {
        let (level, name) = (number(level)?, number(name)?);
        // CAST: A `c_uint` fits.
        let len = (len as usize).min(OPTION_MAX);
        let mut bytes = KVec::<u8>::with_capacity(len, GFP_KERNEL_ACCOUNT)?;
        // SAFETY: There is room for `len` bytes, which the helper writes or fails.
        unsafe {
            if bindings::sp_helper_copy_optval(bytes.as_mut_ptr().cast(), value, len) != 0 {
                return Err(EFAULT);
            }
            bytes.inc_len(len);
        }
        // SAFETY: A live socket of ours.
        T::set_option(unsafe { object(sock) }, level, name, bytes)
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
    sock: *mut kernel::bindings::socket,
    level: c_int,
    name: c_int,
    value: *mut c_char,
    len: *mut c_int,
) -> c_int {
    let get = || -> Result {
        // SAFETY: A live socket of ours.
        let this = unsafe { object::<T>(sock) };
        let option = T::option(this, number(level)?, number(name)?)?;
        let known: &[u8] = match &option {
            OptionValue::Int(n) => &n.to_ne_bytes(),
            // SAFETY: `sp_info` is plain integers without padding, which the uapi header asserts.
            OptionValue::Info(info) => unsafe {
                core::slice::from_raw_parts(
                    (&raw const **info).cast(),
                    core::mem::size_of::<sp_info>(),
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
    sock: *mut kernel::bindings::socket,
    msg: *mut kernel::bindings::msghdr,
    len: usize,
) -> c_int {
    // SAFETY: A live socket of ours, and a message header that is ours during the call.
    let (this, msg) = unsafe { (object::<T>(sock), &mut *msg) };
    let quiet = msg.msg_flags & bindings::MSG_NOSIGNAL != 0;
    let result = T::send(this, &mut SendCall { msg, len });
    if result.is_err() {
        // Nothing was sent: io_uring goes on with this iterator when it tries again.
        // SAFETY: The iterator is the caller's and outlives this call. It had `len` bytes, so what is
        // missing was read from it in `send`.
        unsafe {
            let iter = IovIterSource::from_raw(&mut msg.msg_iter);
            let read = len.saturating_sub(iter.len());
            iter.revert(read);
        }
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
    sock: *mut kernel::bindings::socket,
    msg: *mut kernel::bindings::msghdr,
    _len: usize,
    flags: c_int,
) -> c_int {
    // SAFETY: As for `sendmsg`.
    let (this, msg) = unsafe { (object::<T>(sock), &mut *msg) };
    // CAST: Flags are bits.
    let flags = flags as u32;
    length(T::recv(this, &mut RecvCall { msg, flags }))
}
