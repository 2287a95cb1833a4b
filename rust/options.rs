// SPDX-License-Identifier: GPL-2.0

//! Socket options: the integers of level SOL_SP with their ranges and defaults, their values on one
//! socket, and which options of other levels there are.

use crate::mem::{
    Atomic,
    Relaxed, //
};
use crate::time::Millis;
use crate::uapi;

/// The largest message that "no limit" means: what a length in the kernel can be.
const UNLIMITED: i32 = 0x7fff_f000;

/// The largest message that everybody may allow, in bytes: what is beyond, rmem_max and wmem_max would have
/// kept from anybody's buffers.
const UNPRIVILEGED: i32 = 64 << 20;

/// One option.
struct Spec {
    name: u32,
    /// Not every socket type has it.
    special: bool,
    min: i32,
    max: i32,
    default: i32,
}

/// The options, in the order of [`Options::values`].
const SPECS: [Spec; 8] = [
    // Milliseconds, 0 and below: never. A minute as in nanomsg and nng.
    Spec {
        name: uapi::SP_REQ_RESEND_IVL,
        special: true,
        min: i32::MIN,
        max: i32::MAX,
        default: 60_000,
    },
    // Milliseconds, to an hour. The default is nanomsg's.
    Spec {
        name: uapi::SP_RECONNECT_IVL,
        special: false,
        min: 1,
        max: 3_600_000,
        default: 100,
    },
    // Milliseconds, 0: the interval does not grow.
    Spec {
        name: uapi::SP_RECONNECT_IVL_MAX,
        special: false,
        min: 0,
        max: 3_600_000,
        default: 0,
    },
    // Bytes, -1: no limit. By default what is sent is also received.
    Spec {
        name: uapi::SP_RCVMAXSIZE,
        special: false,
        min: -1,
        max: UNLIMITED,
        default: 16 << 20,
    },
    // Bytes, -1: no limit.
    Spec {
        name: uapi::SP_SNDMAXSIZE,
        special: false,
        min: -1,
        max: UNLIMITED,
        default: 16 << 20,
    },
    // Tags. The default is nanomsg's.
    Spec {
        name: uapi::SP_MAXTTL,
        special: true,
        min: 1,
        max: 255,
        default: 8,
    },
    // Ranks, 1 is the first. The defaults and the range are nanomsg's.
    Spec {
        name: uapi::SP_SNDPRIO,
        special: true,
        min: 1,
        max: 16,
        default: 8,
    },
    Spec {
        name: uapi::SP_RCVPRIO,
        special: true,
        min: 1,
        max: 16,
        default: 8,
    },
];

/// Why an option is not told, or not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionError {
    /// It is not in the table, or not for this type of socket.
    Unknown,
    /// The value is out of range.
    Range,
}

/// Who comes first, of the peers of an endpoint and those of others.
#[derive(Clone, Copy)]
pub(crate) struct Priorities {
    pub(crate) send: u8,
    pub(crate) receive: u8,
}

/// The values on one socket. They can be read without a lock; a change is seen by the next use.
pub(crate) struct Options {
    /// The special ones that this type of socket has.
    special: &'static [u32],
    values: [Atomic<i32>; SPECS.len()],
}

impl Options {
    pub(crate) fn new(special: &'static [u32]) -> Self {
        Options {
            special,
            values: SPECS.map(|spec| Atomic::new(spec.default)),
        }
    }

    /// # Errors
    ///
    /// [`OptionError::Unknown`].
    pub(crate) fn get(&self, name: u32) -> Result<i32, OptionError> {
        let (_, value) = self.own(name)?;
        Ok(value.load(Relaxed))
    }

    /// # Errors
    ///
    /// As [`OptionError`] says.
    pub(crate) fn set(&self, name: u32, to: i32) -> Result<(), OptionError> {
        let (spec, value) = self.own(name)?;
        if to < spec.min || to > spec.max {
            return Err(OptionError::Range);
        }
        value.store(to, Relaxed);
        Ok(())
    }

    fn own(&self, name: u32) -> Result<(&'static Spec, &Atomic<i32>), OptionError> {
        self.find(name)
            .filter(|(spec, _)| !spec.special || self.special.contains(&spec.name))
            .ok_or(OptionError::Unknown)
    }

    fn find(&self, name: u32) -> Option<(&'static Spec, &Atomic<i32>)> {
        SPECS
            .iter()
            .zip(&self.values)
            .find(|(spec, _)| spec.name == name)
    }

    /// What counts: where the type of socket does not have it, the default.
    fn value(&self, name: u32) -> i32 {
        self.find(name).map_or(0, |(_, value)| value.load(Relaxed))
    }

    /// A size limit in bytes.
    fn size(&self, name: u32) -> usize {
        usize::try_from(self.value(name)).unwrap_or(UNLIMITED.unsigned_abs() as usize)
    }

    /// The longest message taken from a peer, without its tags, in bytes.
    pub(crate) fn rcvmaxsize(&self) -> usize {
        self.size(uapi::SP_RCVMAXSIZE)
    }

    /// The longest message taken from the program, in bytes.
    pub(crate) fn sndmaxsize(&self) -> usize {
        self.size(uapi::SP_SNDMAXSIZE)
    }

    /// The resend interval; `None` is never.
    pub(crate) fn resend_interval(&self) -> Option<Millis> {
        let ms = u64::try_from(self.value(uapi::SP_REQ_RESEND_IVL)).ok()?;
        (ms > 0).then_some(Millis(ms))
    }

    /// The reconnect interval and what it may grow to, in milliseconds.
    pub(crate) fn reconnect(&self) -> (u32, u32) {
        let ms = |name| u32::try_from(self.value(name)).unwrap_or(0);
        (ms(uapi::SP_RECONNECT_IVL), ms(uapi::SP_RECONNECT_IVL_MAX))
    }

    /// The priorities of the endpoints to come.
    pub(crate) fn priorities(&self) -> Priorities {
        let rank = |name| u8::try_from(self.value(name)).unwrap_or(u8::MAX);
        Priorities {
            send: rank(uapi::SP_SNDPRIO),
            receive: rank(uapi::SP_RCVPRIO),
        }
    }

    /// The longest backtrace, in tags.
    pub(crate) fn max_ttl(&self) -> u8 {
        u8::try_from(self.value(uapi::SP_MAXTTL)).unwrap_or(u8::MAX)
    }
}

/// Whether setting this takes a privilege.
pub(crate) fn is_privileged(name: u32, value: i32) -> bool {
    matches!(name, uapi::SP_RCVMAXSIZE | uapi::SP_SNDMAXSIZE)
        && (value == -1 || value > UNPRIVILEGED)
}

/// What an option of another level than SOL_SP is set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The socket alone.
    Socket,
    /// The socket, and the buffers of its TCP sockets are to be like its own.
    Buffers,
    /// The socket, which tells what was set, and its TCP sockets.
    Both,
    /// The TCP sockets, of which one tells what was set.
    Tcp,
}

/// Which options of other levels there are: those that do something. What a TCP socket has beyond them
/// would do nothing here (SO_RCVLOWAT), is about one connection (TCP_INFO), or would break the stream of
/// messages (TCP_REPAIR, TCP_ULP).
pub(crate) fn scope(level: u32, name: u32) -> Option<Scope> {
    match level {
        uapi::SOL_SOCKET => match name {
            uapi::SO_SNDTIMEO_OLD
            | uapi::SO_RCVTIMEO_OLD
            | uapi::SO_SNDTIMEO_NEW
            | uapi::SO_RCVTIMEO_NEW
            | uapi::SO_LINGER => Some(Scope::Socket),
            uapi::SO_SNDBUF | uapi::SO_RCVBUF | uapi::SO_SNDBUFFORCE | uapi::SO_RCVBUFFORCE => {
                Some(Scope::Buffers)
            }
            uapi::SO_REUSEADDR
            | uapi::SO_REUSEPORT
            | uapi::SO_KEEPALIVE
            | uapi::SO_DONTROUTE
            | uapi::SO_PRIORITY
            | uapi::SO_MARK
            | uapi::SO_BINDTODEVICE
            | uapi::SO_BINDTOIFINDEX
            | uapi::SO_INCOMING_CPU
            | uapi::SO_MAX_PACING_RATE => Some(Scope::Both),
            _ => None,
        },
        uapi::IPPROTO_TCP => match name {
            uapi::TCP_NODELAY
            | uapi::TCP_MAXSEG
            | uapi::TCP_KEEPIDLE
            | uapi::TCP_KEEPINTVL
            | uapi::TCP_KEEPCNT
            | uapi::TCP_SYNCNT
            | uapi::TCP_USER_TIMEOUT
            | uapi::TCP_CONGESTION
            | uapi::TCP_WINDOW_CLAMP
            | uapi::TCP_NOTSENT_LOWAT => Some(Scope::Tcp),
            _ => None,
        },
        uapi::IPPROTO_IP => match name {
            uapi::IP_TOS
            | uapi::IP_TTL
            | uapi::IP_MTU_DISCOVER
            | uapi::IP_MINTTL
            | uapi::IP_FREEBIND
            | uapi::IP_TRANSPARENT
            | uapi::IP_BIND_ADDRESS_NO_PORT
            | uapi::IP_LOCAL_PORT_RANGE => Some(Scope::Tcp),
            _ => None,
        },
        uapi::IPPROTO_IPV6 => match name {
            uapi::IPV6_V6ONLY
            | uapi::IPV6_TCLASS
            | uapi::IPV6_UNICAST_HOPS
            | uapi::IPV6_MTU_DISCOVER
            | uapi::IPV6_MINHOPCOUNT
            | uapi::IPV6_FREEBIND
            | uapi::IPV6_TRANSPARENT
            | uapi::IPV6_AUTOFLOWLABEL => Some(Scope::Tcp),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_options))]
mod tests {
    use super::*;

    /// Each option, and the options of a socket that has it.
    fn having() -> impl Iterator<Item = (&'static Spec, Options)> {
        const ALL: &[u32] = &[
            uapi::SP_REQ_RESEND_IVL,
            uapi::SP_MAXTTL,
            uapi::SP_SNDPRIO,
            uapi::SP_RCVPRIO,
        ];
        SPECS.iter().map(|spec| (spec, Options::new(ALL)))
    }

    #[test]
    fn other_types_do_not_have_it_and_what_counts_is_the_default() {
        for spec in &SPECS {
            let options = Options::new(&[]);
            assert_eq!(options.get(spec.name).is_err(), spec.special);
            assert_eq!(options.set(spec.name, spec.default).is_err(), spec.special);
            assert_eq!(options.value(spec.name), spec.default);
        }
    }

    #[test]
    fn every_option_has_its_default_in_range() {
        for (spec, options) in having() {
            assert_eq!(options.get(spec.name), Ok(spec.default));
            assert!(options.set(spec.name, spec.default).is_ok());
        }
    }

    #[test]
    fn boundaries_are_taken_and_what_is_beyond_refused() {
        for (spec, options) in having() {
            assert!(options.set(spec.name, spec.min).is_ok());
            assert_eq!(options.get(spec.name), Ok(spec.min));
            assert!(options.set(spec.name, spec.max).is_ok());
            if let Some(below) = spec.min.checked_sub(1) {
                assert_eq!(options.set(spec.name, below), Err(OptionError::Range));
            }
            if let Some(above) = spec.max.checked_add(1) {
                assert_eq!(options.set(spec.name, above), Err(OptionError::Range));
            }
            assert_eq!(options.get(spec.name), Ok(spec.max));
        }
    }

    #[test]
    fn other_levels_have_what_does_something() {
        for (level, name, expected) in [
            (uapi::SOL_SOCKET, uapi::SO_LINGER, Some(Scope::Socket)),
            (uapi::SOL_SOCKET, uapi::SO_RCVBUF, Some(Scope::Buffers)),
            (uapi::SOL_SOCKET, uapi::SO_MARK, Some(Scope::Both)),
            (uapi::IPPROTO_TCP, uapi::TCP_NODELAY, Some(Scope::Tcp)),
            (uapi::IPPROTO_IP, uapi::IP_TOS, Some(Scope::Tcp)),
            (uapi::IPPROTO_IPV6, uapi::IPV6_V6ONLY, Some(Scope::Tcp)),
            // SO_ATTACH_FILTER, TCP_REPAIR, TCP_ULP.
            (uapi::SOL_SOCKET, 26, None),
            (uapi::IPPROTO_TCP, 19, None),
            (uapi::IPPROTO_TCP, 31, None),
            (uapi::SOL_SP, uapi::SP_MAXTTL, None),
            (u32::MAX, 1, None),
        ] {
            assert_eq!(scope(level, name), expected);
        }
    }

    #[test]
    fn no_limit_is_the_largest_length() -> Result<(), OptionError> {
        let options = Options::new(&[uapi::SP_REQ_RESEND_IVL]);
        options.set(uapi::SP_RCVMAXSIZE, -1)?;
        assert_eq!(options.rcvmaxsize(), 0x7fff_f000);
        options.set(uapi::SP_RCVMAXSIZE, 0)?;
        assert_eq!(options.rcvmaxsize(), 0);
        Ok(())
    }

    #[test]
    fn sizes_above_64_mib_are_privileged() {
        for name in [uapi::SP_RCVMAXSIZE, uapi::SP_SNDMAXSIZE] {
            for (value, privileged) in [
                (0, false),
                (64 << 20, false),
                ((64 << 20) + 1, true),
                (UNLIMITED, true),
                (-1, true),
                // Refused as out of range.
                (-2, false),
            ] {
                assert_eq!(is_privileged(name, value), privileged);
            }
        }
        assert!(!is_privileged(uapi::SP_REQ_RESEND_IVL, -1));
    }

    #[test]
    fn resend_zero_and_below_is_never() -> Result<(), OptionError> {
        let options = Options::new(&[uapi::SP_REQ_RESEND_IVL]);
        for (value, interval) in [
            (1, Some(Millis(1))),
            (0, None),
            (-1, None),
            (i32::MIN, None),
        ] {
            options.set(uapi::SP_REQ_RESEND_IVL, value)?;
            assert_eq!(options.resend_interval(), interval);
        }
        Ok(())
    }
}
