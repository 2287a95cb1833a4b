// SPDX-License-Identifier: GPL-2.0

//! setsockopt(2) and getsockopt(2).

use super::{
    Origin,
    Socket, //
};
use crate::endpoint::Endpoints;
use crate::endpoint::Host;
use crate::errno::ENOPROTOOPT;
use crate::net::family::OptionValue;
use crate::net::setting::Setting;
use crate::net::sock::may_force;
use crate::net::stream::Stream;
use crate::net::work;
use crate::options::{
    is_privileged,
    scope,
    OptionError,
    Scope, //
};
use crate::pattern::{
    Pattern,
    TopicError, //
};
use crate::pipe::Upper;
use crate::time::Millis;
use crate::uapi;
use kernel::prelude::*;
use kernel::sync::Arc;

impl Socket {
    pub(super) fn set(self: &Arc<Self>, level: u32, name: u32, value: KVec<u8>) -> Result {
        if level == uapi::SOL_SP {
            return self.set_ours(name, value);
        }
        let scope = scope(level, name).ok_or(ENOPROTOOPT)?;
        let mut setting = Setting::new(level, name, &value)?;
        match scope {
            Scope::Socket => self.sk.set_option(&setting),
            Scope::Buffers => {
                self.sk.set_option(&setting)?;
                self.buffers_changed();
                Ok(())
            }
            Scope::Both | Scope::Tcp => {
                let mut endpoints = self.endpoints.lock();
                let template = &mut endpoints.template;
                template.reserve()?;
                match (scope, name) {
                    // Our own sock does not take it from the socket layer.
                    (Scope::Both, uapi::SO_REUSEPORT) => {
                        template.stream(&self.sk)?.set_option(&setting)?;
                        self.sk.set_reuseport(leading_integer(&value)? != 0);
                    }
                    (Scope::Both, uapi::SO_BINDTODEVICE) => {
                        self.sk.set_option(&setting)?;
                        // As on any socket it is this device, and not another that gets its name.
                        let device = self.sk.bound_device().to_ne_bytes();
                        setting = Setting::new(level, uapi::SO_BINDTOIFINDEX, &device)?;
                    }
                    (Scope::Both, _) => self.sk.set_option(&setting)?,
                    (Scope::Tcp, uapi::IP_TOS) if level == uapi::IPPROTO_IP => {
                        let stream = template.stream(&self.sk)?;
                        stream.set_option(&setting)?;
                        stream.copy_priority_to(&self.sk);
                    }
                    (Scope::Tcp | Scope::Socket | Scope::Buffers, _) => {
                        template.stream(&self.sk)?.set_option(&setting)?;
                    }
                }
                self.each_stream(&endpoints, |stream| {
                    // Where it has no effect, it is for those to come.
                    let _ = stream.set_option(&setting);
                });
                endpoints.template.note(setting);
                Ok(())
            }
        }
    }

    fn set_ours(self: &Arc<Self>, name: u32, value: KVec<u8>) -> Result {
        match name {
            uapi::SP_SUBSCRIBE | uapi::SP_UNSUBSCRIBE if !self.role.options.contains(&name) => {
                Err(ENOPROTOOPT.into())
            }
            // CAST: A small constant.
            uapi::SP_SUBSCRIBE | uapi::SP_UNSUBSCRIBE
                if value.len() > uapi::SP_TOPIC_MAX as usize =>
            {
                Err(EINVAL)
            }
            uapi::SP_SUBSCRIBE => self.subscribe(value),
            uapi::SP_UNSUBSCRIBE => self.unsubscribe(&value),
            uapi::SP_REMOVE => {
                let address = Self::parse(&value)?;
                if self.remove(address) {
                    Ok(())
                } else {
                    Err(ENOENT)
                }
            }
            uapi::SP_PEERS | uapi::SP_INFO => Err(ENOPROTOOPT.into()),
            _ => {
                self.options.get(name)?;
                self.set_integer(name, integer(&value)?)
            }
        }
    }

    /// An option of any level but SOL_SOCKET, which the socket layer tells from what was set on our sock.
    pub(super) fn get(&self, level: u32, name: u32) -> Result<OptionValue> {
        match (level, name) {
            (uapi::SOL_SP, uapi::SP_INFO) => self.info(),
            (uapi::SOL_SP, uapi::SP_PEERS) => {
                let up = self.state.lock().peers.count_up();
                Ok(OptionValue::Int(i32::try_from(up).unwrap_or(i32::MAX)))
            }
            (uapi::SOL_SP, _) => Ok(OptionValue::Int(self.options.get(name)?)),
            _ => {
                scope(level, name).ok_or(ENOPROTOOPT)?;
                let stream = self.endpoints.lock().template.stream(&self.sk)?;
                Ok(OptionValue::Tcp(stream))
            }
        }
    }

    fn subscribe(&self, topic: KVec<u8>) -> Result {
        let mut state = self.state.lock();
        state.machine.subscribe(topic).map_err(topic_error)
    }

    /// Takes a topic back, with what is queued and nobody wants any more.
    fn unsubscribe(self: &Arc<Self>, topic: &[u8]) -> Result {
        let effects = self.state.lock().machine.unsubscribe(topic);
        let mut from = effects.map_err(topic_error)?.purge.then_some(0);
        while let Some(id) = from {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let purged = state.machine.purge(&mut state.peers, id);
            drop(guard);
            from = purged.map(|(_gone, next)| next);
        }
        self.resume();
        Ok(())
    }

    /// Sets an integer option and tells whom it concerns.
    fn set_integer(self: &Arc<Self>, name: u32, value: i32) -> Result {
        if is_privileged(name, value) && !may_force() {
            return Err(EPERM);
        }
        self.options.set(name, value)?;
        match name {
            uapi::SP_RECONNECT_IVL | uapi::SP_RECONNECT_IVL_MAX => self.reconnect_changed(),
            uapi::SP_RCVMAXSIZE | uapi::SP_SNDMAXSIZE | uapi::SP_MAXTTL => {
                self.limits_changed();
            }
            _ => self.machine_changed(),
        }
        Ok(())
    }

    /// An option of the machine may have changed.
    fn machine_changed(self: &Arc<Self>) {
        let now = work::now();
        let todo = {
            let mut state = self.state.lock();
            // Read under the lock, so that of two changes the later one stays.
            let settings = self.settings();
            let effects = state.with(now, |machine, world| machine.settings(world, &settings));
            self.note(&mut state, effects)
        };
        self.perform(todo, Origin::Task);
    }

    /// Dialers that wait longer than they now should are woken.
    fn reconnect_changed(self: &Arc<Self>) {
        let mut endpoints = self.endpoints.lock();
        // Read under the mutex, so that of two changes the later one stays.
        let reconnect = self.reconnect();
        for dialer in &mut endpoints.dialers {
            dialer.reconnect_changed(reconnect);
        }
        drop(endpoints);
        self.attend_in(Millis::ZERO);
    }

    /// Calls `f` with every TCP socket there is, with some of them twice. None is closed meanwhile: that
    /// happens under the same mutex, or under that of the pipe which has it.
    fn each_stream(&self, endpoints: &Endpoints<Socket>, mut f: impl FnMut(&Stream)) {
        for listener in &endpoints.listeners {
            f(listener.tcp.stream());
        }
        for dialer in &endpoints.dialers {
            f(dialer.tcp.stream());
        }
        self.each_pipe(|pipe| pipe.with_open(&mut f));
    }

    /// SO_SNDBUF or SO_RCVBUF was set.
    fn buffers_changed(self: &Arc<Self>) {
        self.each_stream(&self.endpoints.lock(), |stream| {
            stream.set_buffers(&self.sk)
        });
        // What was collected is no more than pipes had room for.
        self.send_edition();
        self.limits_changed();
        self.each_pipe(|pipe| Self::writable(self, pipe));
    }
}

impl From<OptionError> for Error {
    fn from(error: OptionError) -> Error {
        match error {
            OptionError::Unknown => ENOPROTOOPT.into(),
            OptionError::Range => EINVAL,
        }
    }
}

fn topic_error(error: TopicError) -> Error {
    match error {
        TopicError::Full => ENOSPC,
        TopicError::NoMemory => ENOMEM,
        TopicError::Absent => EINVAL,
    }
}

/// The value of an integer option.
fn integer(value: &[u8]) -> Result<i32> {
    let bytes = value.try_into().map_err(|_| EINVAL)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// The value of an integer option that may be longer, as those of the socket layer may.
fn leading_integer(value: &[u8]) -> Result<i32> {
    integer(value.get(..size_of::<i32>()).ok_or(EINVAL)?)
}
