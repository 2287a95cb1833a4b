// SPDX-License-Identifier: GPL-2.0

//! What a family keeps for each network namespace: an object, its file in /proc/net and its knobs in
//! /proc/sys/net.
//!
//! The object is made with the namespace, or when the family is registered. A socket keeps its namespace
//! and so finds it there; it owns a reference all the same, because the object may then be looked at
//! without thinking of the namespace.
//!
//! C headers: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use super::bindings;
use super::sock::SkRef;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};
use kernel::error::to_result;
use kernel::ffi::{
    c_int,
    c_void, //
};
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};

/// What a family keeps for a network namespace. All methods may be called by several tasks at once, in
/// task context, and may sleep.
pub(crate) trait Namespace: Send + Sync + Sized + 'static {
    /// A row of the file in /proc/net.
    type Row: Send + Sync + 'static;

    /// The file's name, and that of the folder of the knobs.
    const NAME: &'static CStr;
    const KNOBS: &'static [Knob<Self>];

    /// # Errors
    ///
    /// `ENOMEM`.
    fn new() -> Result<Arc<Self>>;

    /// The calling task has written to a knob, maybe what was there before.
    fn knob_written(this: Arc<Self>);

    /// The first row at or after position `from`, and its position; positions begin at 1 and have 63 bits.
    /// Rows may come and go while the file is read. A row should be short: it is kept in memory whole.
    fn row(&self, from: u64) -> Option<(u64, Arc<Self::Row>)>;

    /// Writes what comes before the rows.
    fn show_header(&self, to: Page<'_>);

    /// Writes the row at this position. What it is about may have gone.
    fn show_row(row: &Arc<Self::Row>, at: u64, to: Page<'_>);
}

/// An integer in /proc/sys/net, from 0 to `max`.
pub(crate) struct Knob<N> {
    pub(crate) name: &'static CStr,
    pub(crate) max: &'static i32,
    pub(crate) value: fn(&N) -> &Atomic<i32>,
}

/// How many knobs there can be.
const KNOBS_MAX: usize = 4;

/// What is being written of a file.
///
/// It is made text here and not by the kernel's `%pA`, for which the kernel may have no Rust, or Rust of
/// another compiler, that knows another `Arguments`.
///
/// # Invariants
///
/// The seq file is valid, and this task's, for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a>(
    NonNull<bindings::seq_file>,
    PhantomData<&'a bindings::seq_file>,
);

impl fmt::Write for Page<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: By the type invariant; `text` is valid for reads of its length. What does not fit is
        // noted in the file, and all of it is written again to a larger buffer.
        unsafe { bindings::seq_write(self.raw(), text.as_ptr().cast(), text.len()) };
        Ok(())
    }
}

impl Page<'_> {
    pub(crate) fn print(mut self, args: fmt::Arguments<'_>) {
        // Writing does not fail, nor does what is written.
        let _ = fmt::write(&mut self, args);
    }

    /// Who made a socket, as seen by whoever opened the file.
    pub(crate) fn uid(self, sk: &SkRef) -> u32 {
        // SAFETY: By the type invariant; the sock of an `SkRef` is live.
        unsafe { bindings::sp_helper_sock_uid(self.raw(), sk.as_ptr()) }
    }

    fn raw(self) -> *mut bindings::seq_file {
        self.0.as_ptr()
    }
}

/// The memory that the namespace has for us.
///
/// # Invariants
///
/// `object` came from `Arc::into_raw` in `init` and is taken back in `exit`.
#[repr(C)]
struct Area<N> {
    object: *const N,
    sysctl: *mut c_void,
}

/// The number that finds the area of a namespace. The kernel writes it, once, as the operations are
/// registered.
static NET_ID: AtomicU32 = AtomicU32::new(0);

/// The area of namespace `net`.
///
/// # Safety
///
/// `net` is live, and the operations for `N` are registered.
unsafe fn area<N>(net: *mut bindings::net) -> *mut Area<N> {
    // SAFETY: By this function's requirements `net` is live, and the number is that of the operations.
    unsafe { bindings::sp_helper_net_generic(net, NET_ID.load(Relaxed)) }.cast()
}

/// The object of namespace `net`.
///
/// # Safety
///
/// As for [`area`], and `init` has filled it: `net` has sockets of ours, or an open file of ours.
pub(super) unsafe fn object<N: Namespace>(net: *mut bindings::net) -> Arc<N> {
    // SAFETY: By this function's requirements `net` is live and has an area.
    let area = unsafe { area::<N>(net) };
    // SAFETY: By this function's requirements `init` has filled it; it does not change before `exit`.
    let object = unsafe { (*area).object };
    // SAFETY: By the invariant of `Area`, whose reference stays.
    unsafe { ArcBorrow::from_raw(object) }.into()
}

/// What the kernel is to call as namespaces come and go. For one `N` at a time.
pub(super) fn operations<N: Namespace>() -> bindings::pernet_operations {
    bindings::pernet_operations {
        init: Some(init::<N>),
        exit: Some(exit::<N>),
        id: NET_ID.as_ptr(),
        size: size_of::<Area<N>>(),
        ..pin_init::zeroed()
    }
}

/// `pernet_operations.init`
///
/// # Safety
///
/// Called by the kernel for operations that [`operations`] made for `N`.
unsafe extern "C" fn init<N: Namespace>(net: *mut bindings::net) -> c_int {
    let operations: &'static _ = &Rows::<N>::OPERATIONS;
    let fill = || -> Result {
        let object = N::new()?;
        const { assert!(N::KNOBS.len() <= KNOBS_MAX) };
        let mut knobs = [bindings::sp_knob::default(); KNOBS_MAX];
        for (to, knob) in knobs.iter_mut().zip(N::KNOBS) {
            *to = bindings::sp_knob {
                name: knob.name.as_char_ptr(),
                value: (knob.value)(&object).as_ptr(),
                max: core::ptr::from_ref(knob.max).cast_mut(),
            };
        }
        let name = N::NAME.as_char_ptr();
        // SAFETY: `net` is live, and these operations are being registered.
        let area = unsafe { area::<N>(net) };
        let object = Arc::into_raw(object);
        // What is in the area comes first: a namespace that is in use already may have its files opened as
        // soon as they are there.
        let content = Area {
            object,
            sysctl: core::ptr::null_mut(),
        };
        // INVARIANT: `exit` takes the object back, or else the last lines below.
        // SAFETY: The area is ours, and has room for an `Area<N>`, says `operations`.
        unsafe { area.write(content) };
        // SAFETY: `net` is live; the name and the operations live for ever, and expect such an area.
        let mut err = unsafe { bindings::sp_helper_proc_create(net, name, operations) };
        if err == 0 {
            // SAFETY: `net` is live, and so is the place in the area. The knobs' integers live as long as
            // `object`, which is what `written::<N>` expects, and which is dropped after the knobs were
            // taken away.
            err = unsafe {
                bindings::sp_helper_sysctl_create(
                    net,
                    name,
                    knobs.as_ptr(),
                    N::KNOBS.len(),
                    Some(written::<N>),
                    object.cast_mut().cast(),
                    &raw mut (*area).sysctl,
                )
            };
            if err < 0 {
                // SAFETY: It was created above.
                unsafe { bindings::sp_helper_proc_remove(net, name) };
            }
        }
        if err < 0 {
            // SAFETY: It came from `Arc::into_raw` above. Both files are gone, and `exit` is not called.
            drop(unsafe { Arc::from_raw(object) });
        }
        to_result(err)
    };
    match fill() {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Called after a write to a knob.
///
/// # Safety
///
/// `object` is the one of an area that [`init`] filled for `N`, and stays during the call.
unsafe extern "C" fn written<N: Namespace>(object: *mut c_void) {
    // SAFETY: By this function's requirements, and the invariant of `Area`, whose reference stays.
    N::knob_written(unsafe { ArcBorrow::from_raw(object.cast_const().cast::<N>()) }.into());
}

/// `pernet_operations.exit`
///
/// # Safety
///
/// As for [`init`], which succeeded for this namespace.
unsafe extern "C" fn exit<N: Namespace>(net: *mut bindings::net) {
    // SAFETY: `net` is live during the call, and the operations are registered still.
    let area = unsafe { area::<N>(net) };
    // SAFETY: `init` has created it. This waits for whoever is in it.
    unsafe { bindings::sp_helper_proc_remove(net, N::NAME.as_char_ptr()) };
    // SAFETY: `init` has filled the area, and nobody else takes anything out of it.
    let Area { object, sysctl } = unsafe { area.read() };
    // SAFETY: `init` has created them. This waits for whoever writes to one.
    unsafe { bindings::sp_helper_sysctl_remove(sysctl) };
    // SAFETY: By the invariant of `Area`. Nobody but owners of references has the object any more.
    drop(unsafe { Arc::from_raw(object) });
}

/// The file in /proc/net. What the kernel holds between two calls is a row's `Arc`, as a raw pointer, or
/// the token for the header; each goes into the next call, or into `stop`.
struct Rows<N>(core::marker::PhantomData<N>);

impl<N: Namespace> Rows<N> {
    const OPERATIONS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        next: Some(Self::next),
        stop: Some(Self::stop),
        show: Some(Self::show),
    };

    /// The token for the header (SEQ_START_TOKEN): no `Arc` is there.
    const HEADER: *mut c_void = core::ptr::without_provenance_mut(1);

    /// # Safety
    ///
    /// `file` is open, a file of [`init`] for `N`.
    unsafe fn row(
        file: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
        from: u64,
    ) -> *mut c_void {
        // SAFETY: While its file is open the namespace lives, and so does its area.
        let net = unsafe { bindings::sp_helper_seq_net(file) };
        // SAFETY: By the same, `net` is live, and the file is there because `init` has filled the area.
        let object = unsafe { object::<N>(net) };
        let (at, row) = match object.row(from) {
            Some((at, row)) => (at, Arc::into_raw(row).cast_mut().cast()),
            None => (from, core::ptr::null_mut()),
        };
        // SAFETY: `pos` is valid for writes, says the caller of our caller.
        unsafe { *pos = at as bindings::loff_t };
        row
    }

    /// # Safety
    ///
    /// Called by seq_file for a file of [`init`] for `N`.
    unsafe extern "C" fn start(
        file: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: `pos` is valid.
        match u64::try_from(unsafe { *pos }) {
            Ok(0) => Self::HEADER,
            // SAFETY: By this function's requirements.
            Ok(from) => unsafe { Self::row(file, pos, from) },
            Err(_) => core::ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// As for `start`; `v` is what it or this function returned last.
    unsafe extern "C" fn next(
        file: *mut bindings::seq_file,
        v: *mut c_void,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: By this function's requirements; it is not used again.
        unsafe { Self::stop(file, v) };
        // SAFETY: `pos` is valid.
        let from = (unsafe { *pos } as u64).saturating_add(1);
        // SAFETY: By this function's requirements.
        unsafe { Self::row(file, pos, from) }
    }

    /// # Safety
    ///
    /// As for `next`.
    unsafe extern "C" fn stop(_file: *mut bindings::seq_file, v: *mut c_void) {
        if v != Self::HEADER && !v.is_null() {
            // SAFETY: It came from `Arc::into_raw` in `row`, and is passed to one call that takes it back.
            drop(unsafe { Arc::from_raw(v.cast_const().cast::<N::Row>()) });
        }
    }

    /// # Safety
    ///
    /// As for `next`, but `v` stays what it is.
    unsafe extern "C" fn show(file: *mut bindings::seq_file, v: *mut c_void) -> c_int {
        // SAFETY: seq_file passes its own.
        // INVARIANT: It is valid, and this task's, during the call.
        let page = Page(unsafe { NonNull::new_unchecked(file) }, PhantomData);
        if v == Self::HEADER {
            // SAFETY: The file is open, and was opened in a namespace.
            let net = unsafe { bindings::sp_helper_seq_net(file) };
            // SAFETY: While its file is open the namespace lives, and so does its object.
            unsafe { object::<N>(net) }.show_header(page);
        } else {
            // SAFETY: A row of `row`, whose reference is taken back by a later call.
            let row = unsafe { Arc::from_raw(v.cast_const().cast::<N::Row>()) };
            let row = core::mem::ManuallyDrop::new(row);
            // SAFETY: `file` is valid. Its index is the position that `row` has set.
            let at = unsafe { (*file).index } as u64;
            N::show_row(&row, at, page);
        }
        0
    }
}
