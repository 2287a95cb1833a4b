// SPDX-License-Identifier: GPL-2.0

//! Registering a family, and making its sockets.

use super::interface::Family;
use super::ops::{
    self,
    Sock, //
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
                ops: Static::new(ops::table::<T>(number, owner)),
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
