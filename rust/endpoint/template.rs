// SPDX-License-Identifier: GPL-2.0

//! What the TCP sockets of one socket have in common: the options that the program has set.
//!
//! A setting is noted and carried out again on each TCP socket to come, in the order of the calls and with
//! the credentials of the caller. What decides whether a TCP option can be set, and tells what is set, is
//! one TCP socket that is never bound nor connected; it is made by the first such call. It is an IPv6 one
//! where possible, because those have the options of IPv4 as well.

use crate::errno::EAFNOSUPPORT;
use crate::mem::GFP_KERNEL_ACCOUNT;
use crate::net::setting::Setting;
use crate::net::sock::SkRef;
use crate::net::stream::{
    Stream,
    TcpSocket, //
};
use crate::uapi;
use kernel::prelude::*;
use kernel::sync::Arc;

pub(crate) struct Template {
    tcp: Option<TcpSocket>,
    /// No two of the same option, so at most as many as there are options.
    settings: KVec<Setting>,
}

impl Template {
    pub(crate) const fn new() -> Self {
        Template {
            tcp: None,
            settings: KVec::new(),
        }
    }

    /// The TCP socket that stands for the others.
    ///
    /// # Errors
    ///
    /// The errors of socket(2).
    pub(crate) fn stream(&mut self, sk: &SkRef) -> Result<Arc<Stream>> {
        if let Some(tcp) = &self.tcp {
            return Ok(tcp.stream().clone());
        }
        let tcp = match TcpSocket::create(sk, true) {
            Err(e) if e == EAFNOSUPPORT => TcpSocket::create(sk, false),
            made => made,
        }?;
        let stream = tcp.stream().clone();
        self.tcp = Some(tcp);
        Ok(stream)
    }

    /// Makes room for one more setting.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve(&mut self) -> Result {
        Ok(self.settings.reserve(1, GFP_KERNEL_ACCOUNT)?)
    }

    /// Notes a setting that was found good, after [`Self::reserve`].
    pub(crate) fn note(&mut self, setting: Setting) {
        let replaced = |old: &Setting| {
            // The type of service decides the priority as well; who comes last is right.
            let by_tos = setting.is(uapi::IPPROTO_IP, uapi::IP_TOS)
                && old.is(uapi::SOL_SOCKET, uapi::SO_PRIORITY);
            setting.is_like(old) || by_tos
        };
        self.settings.retain(|old| !replaced(old));
        // There is room.
        let _ = self.settings.push_within_capacity(setting);
    }

    /// A TCP socket for an endpoint, made by the calling task.
    ///
    /// # Errors
    ///
    /// The errors of socket(2), and of a setting that is not possible any more.
    pub(crate) fn create(&self, sk: &SkRef, v6: bool) -> Result<TcpSocket> {
        let tcp = TcpSocket::create(sk, v6)?;
        for setting in self
            .settings
            .iter()
            .filter(|s| v6 || !s.is_of(uapi::IPPROTO_IPV6))
        {
            tcp.stream().set_option(setting)?;
        }
        Ok(tcp)
    }

    /// Carries out all settings where some were before. One that does not apply there (an IPv6 one on
    /// IPv4, one that was only possible before bind) has no effect.
    pub(crate) fn prepare(&self, stream: &Stream) {
        for setting in &self.settings {
            let _ = stream.set_option(setting);
        }
    }
}
