// SPDX-License-Identifier: GPL-2.0

//! Registering a family, and making its sockets.

use super::interface::Family;
use super::ops::{
    self,
    Sock, //
};
use crate::errno::{
    EAFNOSUPPORT,
    ENOBUFS, //
};
use crate::net::bindings;
use crate::net::netns;
use crate::net::sock::SkRef;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_int,
    c_void, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};

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
    number: c_int,
    common: *const c_void,
    proto: Static<bindings::proto>,
    net: Static<bindings::pernet_operations>,
    ops: Static<bindings::proto_ops>,
    family: Static<bindings::net_proto_family>,
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
        // SAFETY: The table is ours, and not registered yet.
        unsafe { bindings::sp_helper_proto_memory(&mut proto) };
        for (to, from) in proto.name.iter_mut().zip(name.to_bytes()) {
            *to = *from;
        }
        let common = T::common()?;
        let tables = KBox::new(
            Tables {
                number,
                // INVARIANT: It is kept below.
                common: Arc::as_ptr(&common).cast(),
                proto: Static::new(proto),
                net: Static::new(netns::operations::<T::Net>()),
                ops: Static::new(ops::table::<T>(number, owner)),
                family: Static::new(bindings::net_proto_family {
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
        let mut result = to_result(unsafe { bindings::register_pernet_subsys(net) });
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
                unsafe { bindings::unregister_pernet_subsys(net) };
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
        // The module is going, so no socket is left: each holds a reference to it.
        // SAFETY: `new` registered the family under this number.
        unsafe { bindings::sock_unregister(self.tables.number) };
        // SAFETY: `new` registered these operations. No socket needs its namespace's object any more, and
        // none can be made.
        unsafe { bindings::unregister_pernet_subsys(self.tables.net.0.get()) };
        // SAFETY: A destructor of a module may sleep.
        unsafe { bindings::rcu_barrier() };
        // SAFETY: `new` registered it, and the last sock was freed before the barrier returned.
        unsafe { bindings::proto_unregister(self.tables.proto.0.get()) };
        TABLES.store(core::ptr::null_mut(), core::sync::atomic::Ordering::Release);
    }
}

/// `net_proto_family.create`
///
/// # Safety
///
/// Called by the socket layer as that callback of a family registered for `T`.
unsafe extern "C" fn create<T: Family>(
    net: *mut bindings::net,
    sock: *mut bindings::socket,
    protocol: c_int,
    kern: c_int,
) -> c_int {
    let tables = TABLES.load(core::sync::atomic::Ordering::Acquire);
    let Some(tables) = NonNull::new(tables) else {
        return EAFNOSUPPORT.to_errno();
    };
    // SAFETY: The family is registered during this call, and as long as it is the tables live. What C
    // changes in them is in cells.
    let tables = unsafe { tables.as_ref() };
    // SAFETY: `net` is live, says the socket layer, and `proto` was registered before the family.
    let sk = unsafe {
        bindings::sk_alloc(
            net,
            tables.number,
            bindings::GFP_KERNEL,
            tables.proto.0.get(),
            kern,
        )
    };
    if sk.is_null() {
        return ENOMEM.to_errno();
    }
    // SAFETY: Both are live, and nobody else's yet.
    unsafe { bindings::sock_init_data(sock, sk) };
    // SAFETY: `sk` was just initialised, and nobody else knows it yet.
    unsafe { bindings::sp_helper_sock_defaults(sk) };
    let make = || -> Result<Arc<T>> {
        // SAFETY: `sk` is live, and `sock_init_data` has initialised it.
        let r = unsafe { SkRef::new(sk) }.ok_or(ENOMEM)?;
        // SAFETY: The operations for `T::Net` were registered before the family, and `net` has this socket.
        let net = unsafe { netns::object(net) };
        // SAFETY: By the invariant of `Tables`; the registration keeps it while the family is registered.
        let common = unsafe { ArcBorrow::from_raw(tables.common.cast::<T::Common>()) };
        // SAFETY: `sock` is live, and its type was set before this call.
        let socket_type = unsafe { (*sock).type_ };
        let socket_type = u32::try_from(socket_type).unwrap_or(0);
        let protocol = u32::try_from(protocol).unwrap_or(u32::MAX);
        T::create(r, net, common.into(), socket_type, protocol)
    };
    match make() {
        Ok(object) => {
            // INVARIANT: `release` takes it back.
            // SAFETY: `sk` is a `Sock<T>`, of which `proto` told the size; nobody else knows it yet.
            unsafe { (*sk.cast::<Sock<T>>()).object = Arc::into_raw(object) };
            // SAFETY: `sock` is live and nobody else's yet; the table outlives all sockets.
            unsafe { (*sock).ops = tables.ops.0.get() };
            // SAFETY: `sock` is live, and nobody else changes its flags yet.
            unsafe { (*sock).flags |= 1 << bindings::socket_flags_SOCK_CUSTOM_SOCKOPT };
            // SAFETY: `sk` is live and has its namespace. `release` takes it off the count.
            unsafe { bindings::sp_helper_sock_inuse(sk, 1) };
            0
        }
        Err(e) => {
            // SAFETY: `sk` is live: the count of `sk_alloc` is still ours.
            unsafe { bindings::sp_helper_sock_orphan(sk) };
            // SAFETY: `sock` is live. The socket layer must not find a sock in one that failed.
            unsafe { (*sock).sk = core::ptr::null_mut() };
            // SAFETY: It gives up the count of `sk_alloc`; `sk` is not used again.
            unsafe { bindings::sp_helper_sock_put(sk) };
            e.to_errno()
        }
    }
}
