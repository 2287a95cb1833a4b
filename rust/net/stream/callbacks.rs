// SPDX-License-Identifier: GPL-2.0

//! Giving the callbacks of a stream to an object, and taking them back.

use super::locked::TcpLocked;
use super::reference::Stream;
use crate::net::bindings;
use crate::net::lent::Lent;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;

/// What a connected stream reports. Every method is called in the context that the head of [`crate::net::stream`] tells.
pub(crate) trait StreamEvents: Send + Sync + 'static {
    /// Bytes, or the end of them, may be there.
    fn readable(this: &Arc<Self>, tcp: &mut TcpLocked<'_>);

    /// There is room again after a send that found none.
    fn writable(this: &Arc<Self>);

    /// The connection was made, or one direction or both have ended, in order or by a reset.
    fn changed(this: &Arc<Self>, tcp: &mut TcpLocked<'_>);
}

impl Stream {
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
            error_report: self.saved().error_report,
        };
        let raw = Arc::into_raw(events);
        let guard = self.lock();
        // SAFETY: The sock is live and locked; `raw` is an `Arc<E>`, which is what our callbacks for
        // `E` expect, and stays valid until `detach`.
        let err =
            unsafe { bindings::sp_helper_attach(self.as_ptr(), raw.cast_mut().cast(), &ours) };
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
            bindings::sp_helper_detach(self.as_ptr(), Some(data_ready::<E>), self.saved())
        };
        drop(guard);
        // SAFETY: With these callbacks it was `attach::<E>` that stored the pointer; it was just removed,
        // so the reference is handed out once.
        NonNull::new(raw).map(|raw| unsafe { Arc::from_raw(raw.cast::<E>().as_ptr()) })
    }
}

/// Runs `call` with the object that a stream is attached to.
///
/// # Safety
///
/// `sk` is a live sock whose lock is held, and whose user data is null or an `Arc<E>`.
unsafe fn attached<E: StreamEvents>(
    sk: *mut bindings::sock,
    call: impl FnOnce(&Arc<E>, &mut TcpLocked<'_>),
) {
    // SAFETY: By this function's requirements the sock is live.
    let data = unsafe { bindings::sp_helper_user_data(sk) };
    let (Some(data), Some(sk)) = (NonNull::new(data), NonNull::new(sk)) else {
        return;
    };
    // SAFETY: It came from `Arc::into_raw` in `attach`, and `detach` cannot take it away while the lock
    // is held.
    let this = unsafe { Lent::<E>::new(data.cast().as_ptr()) };
    // SAFETY: By this function's requirements, for as long as `call` runs.
    let mut tcp = unsafe { TcpLocked::new(sk) };
    // SAFETY: No requirements.
    let flags = unsafe { bindings::sp_helper_callback_begin() };
    call(&this, &mut tcp);
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
    // SAFETY: TCP calls this when bytes came in, with the lock held; only `attach::<E>` installs it.
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
        // SAFETY: TCP calls this, in which the lock is held; only `attach::<E>` installs it.
        unsafe { attached::<E>(sk, |this, _| E::writable(this)) };
    }
}
