// SPDX-License-Identifier: GPL-2.0

//! A `sockaddr_in` or `sockaddr_in6` as a value.
//!
//! An [`Address`] can always be written back, and two are equal exactly if all that they say is:
//! port, address, and for IPv6 flow information and scope. Whether they name one endpoint, their
//! [canonical](Address::canonical) forms tell. Layouts, from Linux's uapi headers
//! (`linux/in.h`, `linux/in6.h`); family and scope are in the machine's byte order, the rest is big
//! endian:
//!
//! ```text
//! byte         0       2     4          8                   24      28
//! sockaddr_in  | family| port| address  | zero (8)   (16 bytes)
//! sockaddr_in6 | family| port| flowinfo | address (16)       | scope|
//! ```
//!
//! Pure. What is parsed comes from programs; the kernel has copied it, and nothing else is checked.

use core::fmt;
use core::net::{
    SocketAddrV4,
    SocketAddrV6, //
};

/// Families, as in `linux/socket.h`.
const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Lengths in bytes.
const FAMILY: usize = 2;
const SOCKADDR_IN: usize = 16;
const SOCKADDR_IN6: usize = 28;
/// Before RFC 2553 there was no scope, and Linux still takes such addresses (SIN6_LEN_RFC2133).
const SOCKADDR_IN6_NO_SCOPE: usize = 24;
/// `struct sockaddr_storage`: the kernel copies no more.
const SOCKADDR_MAX: usize = 128;

/// An Internet address and port, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `sockaddr_in`.
    V4 {
        /// In the order it is written, first byte first.
        ip: [u8; 4],
        port: u16,
    },
    /// `sockaddr_in6`.
    V6 {
        /// In the order it is written, first byte first.
        ip: [u8; 16],
        port: u16,
        /// Traffic class and flow label, as a number.
        flowinfo: u32,
        /// The interface of a link-local address.
        scope: u32,
    },
    /// AF_UNSPEC: no address. Given to connect() it has a meaning.
    Unspec,
}

/// Why bytes are no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// Too short for its family, or longer than any address (EINVAL).
    Length,
    /// Neither IPv4 nor IPv6 (EAFNOSUPPORT).
    Family,
}

impl Address {
    /// Reads the bytes given to bind(), connect() or SP_REMOVE.
    ///
    /// More bytes than the family needs are ignored, as TCP sockets do; AF_UNSPEC needs no more than
    /// the family.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Address, AddressError> {
        if bytes.len() > SOCKADDR_MAX {
            return Err(AddressError::Length);
        }
        match u16::from_ne_bytes(field(bytes, 0)?) {
            AF_UNSPEC => Ok(Address::Unspec),
            AF_INET if bytes.len() < SOCKADDR_IN => Err(AddressError::Length),
            AF_INET => Ok(Address::V4 {
                port: u16::from_be_bytes(field(bytes, 2)?),
                ip: field(bytes, 4)?,
            }),
            AF_INET6 if bytes.len() < SOCKADDR_IN6_NO_SCOPE => Err(AddressError::Length),
            AF_INET6 => Ok(Address::V6 {
                port: u16::from_be_bytes(field(bytes, 2)?),
                flowinfo: u32::from_be_bytes(field(bytes, 4)?),
                ip: field(bytes, 8)?,
                scope: field(bytes, 24).map_or(0, u32::from_ne_bytes),
            }),
            _ => Err(AddressError::Family),
        }
    }

    /// The address in a `sockaddr` of the kernel, with its length.
    pub(crate) fn of((bytes, len): ([u8; SOCKADDR_IN6], usize)) -> Option<Address> {
        Address::parse(bytes.get(..len)?).ok()
    }

    /// Writes the `sockaddr` and returns how long it is. The rest is zero. [`Address::Unspec`] is its
    /// family and nothing else.
    pub(crate) fn emit(&self) -> ([u8; SOCKADDR_IN6], usize) {
        let mut bytes = [0; SOCKADDR_IN6];
        match self {
            Address::V4 { ip, port } => {
                put(&mut bytes, 0, &AF_INET.to_ne_bytes());
                put(&mut bytes, 2, &port.to_be_bytes());
                put(&mut bytes, 4, ip);
                (bytes, SOCKADDR_IN)
            }
            Address::V6 {
                ip,
                port,
                flowinfo,
                scope,
            } => {
                put(&mut bytes, 0, &AF_INET6.to_ne_bytes());
                put(&mut bytes, 2, &port.to_be_bytes());
                put(&mut bytes, 4, &flowinfo.to_be_bytes());
                put(&mut bytes, 8, ip);
                put(&mut bytes, 24, &scope.to_ne_bytes());
                (bytes, SOCKADDR_IN6)
            }
            // The family is zero.
            Address::Unspec => (bytes, FAMILY),
        }
    }

    /// What the kernel makes of it, in one form for all that it makes the same of: an IPv4 address mapped
    /// to IPv6 is that IPv4 address, flow information does not matter, and a scope only where the address is
    /// link-local. There `device`, the interface that the socket is bound to, stands for a missing one; 0 if
    /// there is none.
    pub(crate) fn canonical(self, device: u32) -> Address {
        match self {
            Address::V6 {
                ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d],
                port,
                ..
            } => Address::V4 {
                ip: [a, b, c, d],
                port,
            },
            Address::V6 {
                ip, port, scope, ..
            } => Address::V6 {
                ip,
                port,
                flowinfo: 0,
                scope: match (self.is_link_local(), scope) {
                    (true, 0) => device,
                    (true, scope) => scope,
                    (false, _) => 0,
                },
            },
            Address::V4 { .. } | Address::Unspec => self,
        }
    }

    /// Whether it takes an IPv6 socket; `None` if it is no address.
    pub(crate) fn is_v6(&self) -> Option<bool> {
        match self {
            Address::V4 { .. } => Some(false),
            Address::V6 { .. } => Some(true),
            Address::Unspec => None,
        }
    }

    /// Whether it is one of fe80::/10, which mean nothing without an interface.
    pub(crate) fn is_link_local(&self) -> bool {
        match self {
            Address::V6 {
                ip: [first, second, ..],
                ..
            } => *first == 0xfe && *second & 0xc0 == 0x80,
            Address::V4 { .. } | Address::Unspec => false,
        }
    }

    /// The port; zero if there is none, as in a bind() that leaves the choice to us.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Address::V4 { port, .. } | Address::V6 { port, .. } => *port,
            Address::Unspec => 0,
        }
    }
}

/// As in a URL: `192.0.2.1:80`, `[2001:db8::1]:80`, a scope as a number (`[fe80::1%2]:80`); `-` for none.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Address::V4 { ip, port } => SocketAddrV4::new(ip.into(), port).fmt(f),
            Address::V6 {
                ip,
                port,
                flowinfo,
                scope,
            } => SocketAddrV6::new(ip.into(), port, flowinfo, scope).fmt(f),
            Address::Unspec => f.write_str("-"),
        }
    }
}

/// The bytes of a field at its offset.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], AddressError> {
    let rest = bytes.get(at..).ok_or(AddressError::Length)?;
    rest.first_chunk().copied().ok_or(AddressError::Length)
}

/// Writes a field at its offset.
fn put(bytes: &mut [u8; SOCKADDR_IN6], at: usize, field: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(field) {
        *to = *from;
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_address))]
mod tests {
    use super::*;

    /// 130 bytes of `family`, port 5577 and then a pattern without repetition.
    fn sockaddr(family: u16) -> [u8; 130] {
        let mut bytes = [0; 130];
        for (number, byte) in (1..).zip(bytes.iter_mut()) {
            *byte = number;
        }
        for (to, from) in bytes.iter_mut().zip(family.to_ne_bytes()) {
            *to = from;
        }
        for (to, from) in bytes.iter_mut().skip(2).zip([0x15, 0xc9]) {
            *to = from;
        }
        bytes
    }

    fn cut(bytes: &[u8], len: usize) -> &[u8] {
        bytes.get(..len).unwrap_or_default()
    }

    const V4: Address = Address::V4 {
        ip: [5, 6, 7, 8],
        port: 5577,
    };

    const V6: Address = Address::V6 {
        ip: [
            9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        ],
        port: 5577,
        flowinfo: 0x0506_0708,
        scope: 0,
    };

    const MAPPED: Address = Address::V6 {
        ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1],
        port: 80,
        flowinfo: 1,
        scope: 2,
    };

    /// What is printed, as far as it fits.
    struct Text {
        bytes: [u8; 64],
        len: usize,
    }

    impl fmt::Write for Text {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            let rest = self.bytes.get_mut(self.len..).unwrap_or_default();
            for (to, from) in rest.iter_mut().zip(s.bytes()) {
                *to = from;
                self.len += 1;
            }
            Ok(())
        }
    }

    #[test]
    fn printed_as_in_a_url() {
        use fmt::Write;
        let mut scoped = MAPPED;
        if let Address::V6 { ip, .. } = &mut scoped {
            *ip = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        }
        for (address, expected) in [
            (V4, "5.6.7.8:5577"),
            (V6, "[90a:b0c:d0e:f10:1112:1314:1516:1718]:5577"),
            (MAPPED, "[::ffff:192.0.2.1%2]:80"),
            (scoped, "[fe80::1%2]:80"),
            (Address::Unspec, "-"),
        ] {
            let mut text = Text {
                bytes: [0; 64],
                len: 0,
            };
            assert!(write!(text, "{address}").is_ok());
            assert_eq!(cut(&text.bytes, text.len), expected.as_bytes());
        }
    }

    #[test]
    fn v4_parsed_from_16_to_128_bytes() {
        let bytes = sockaddr(AF_INET);
        for len in 0..=130 {
            let expected = if (16..=128).contains(&len) {
                Ok(V4)
            } else {
                Err(AddressError::Length)
            };
            assert_eq!(Address::parse(cut(&bytes, len)), expected);
        }
    }

    #[test]
    fn v6_parsed_from_24_to_128_bytes() {
        let bytes = sockaddr(AF_INET6);
        let with_scope = match V6 {
            Address::V6 {
                ip, port, flowinfo, ..
            } => Address::V6 {
                ip,
                port,
                flowinfo,
                scope: u32::from_ne_bytes([25, 26, 27, 28]),
            },
            Address::V4 { .. } | Address::Unspec => V4,
        };
        for len in 0..=130 {
            let expected = match len {
                24..=27 => Ok(V6),
                28..=128 => Ok(with_scope),
                _ => Err(AddressError::Length),
            };
            assert_eq!(Address::parse(cut(&bytes, len)), expected);
        }
    }

    #[test]
    fn unspecified_family_parsed_from_2_to_128_bytes() {
        let bytes = sockaddr(AF_UNSPEC);
        for len in 0..=130 {
            let expected = if (2..=128).contains(&len) {
                Ok(Address::Unspec)
            } else {
                Err(AddressError::Length)
            };
            assert_eq!(Address::parse(cut(&bytes, len)), expected);
        }
    }

    #[test]
    fn other_family_parsed_is_refused() {
        // AF_UNIX, neighbours of ours, PF_SP itself, and our families in the wrong byte order.
        let swapped = [AF_INET.swap_bytes(), AF_INET6.swap_bytes()];
        for family in [1, 3, 9, 11, 18, u16::MAX].into_iter().chain(swapped) {
            for len in [2, 16, 28, 128] {
                assert_eq!(
                    Address::parse(cut(&sockaddr(family), len)),
                    Err(AddressError::Family)
                );
            }
        }
    }

    #[test]
    fn any_address_emitted_parses_to_itself() {
        for (address, len) in [(V4, 16), (V6, 28), (MAPPED, 28), (Address::Unspec, 2)] {
            let (bytes, emitted) = address.emit();
            assert_eq!(emitted, len);
            assert_eq!(Address::parse(cut(&bytes, len)), Ok(address));
            assert!(bytes.iter().skip(len).all(|byte| *byte == 0));
        }
    }

    #[test]
    fn v4_emitted_has_zeros_where_the_kernel_looks_for_none() {
        let mut expected = [0; 28];
        for (to, from) in expected.iter_mut().zip(cut(&sockaddr(AF_INET), 8)) {
            *to = *from;
        }
        assert_eq!(V4.emit(), (expected, 16));
    }

    #[test]
    fn any_address_differing_in_one_byte_is_not_equal() {
        for address in [V4, V6] {
            let (bytes, len) = address.emit();
            let significant = if len == 16 { 2..8 } else { 2..28 };
            for at in significant {
                let mut other = bytes;
                if let Some(byte) = other.get_mut(at) {
                    *byte ^= 0x10;
                }
                let other = Address::parse(cut(&other, len));
                assert!(other.is_ok());
                assert!(other != Ok(address));
            }
        }
    }

    fn v6(ip: [u8; 16], flowinfo: u32, scope: u32) -> Address {
        Address::V6 {
            ip,
            port: 80,
            flowinfo,
            scope,
        }
    }

    const fn with_ends(first: [u8; 2], last: u8) -> [u8; 16] {
        let [a, b] = first;
        [a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
    }

    #[test]
    fn canonical_mapped_is_v4_whatever_the_rest() {
        let v4 = Address::V4 {
            ip: [192, 0, 2, 1],
            port: 80,
        };
        for device in [0, 5] {
            assert_eq!(MAPPED.canonical(device), v4);
            assert_eq!(v4.canonical(device), v4);
            assert_eq!(Address::Unspec.canonical(device), Address::Unspec);
        }
        // Neighbours of ::ffff:0:0/96.
        for (at, byte) in [(9, 1), (10, 0), (11, 0xfe)] {
            let Address::V6 { mut ip, .. } = MAPPED else {
                continue;
            };
            if let Some(to) = ip.get_mut(at) {
                *to = byte;
            }
            assert_eq!(v6(ip, 1, 2).canonical(5), v6(ip, 0, 0));
        }
    }

    #[test]
    fn canonical_scope_stays_where_it_is_link_local() {
        for (first, is_link_local) in [
            ([0xfe, 0x7f], false),
            ([0xfe, 0x80], true),
            ([0xfe, 0xbf], true),
            ([0xfe, 0xc0], false),
            ([0xff, 0x80], false),
            ([0xff, 0x02], false),
            ([0x20, 0x01], false),
            ([0, 0], false),
        ] {
            let ip = with_ends(first, 1);
            assert_eq!(v6(ip, 7, 2).is_link_local(), is_link_local);
            // (scope, device, what it becomes)
            for (scope, device, expected) in [(2, 0, 2), (2, 5, 2), (0, 5, 5), (0, 0, 0)] {
                let expected = if is_link_local { expected } else { 0 };
                let canonical = v6(ip, 7, scope).canonical(device);
                assert_eq!(canonical, v6(ip, 0, expected));
                assert_eq!(canonical.canonical(device), canonical);
            }
        }
        assert!(!V4.is_link_local());
        assert!(!Address::Unspec.is_link_local());
    }

    #[test]
    fn port_asked_is_the_one_given_or_none() {
        assert_eq!(V4.port(), 5577);
        assert_eq!(V6.port(), 5577);
        assert_eq!(MAPPED.port(), 80);
        assert_eq!(Address::Unspec.port(), 0);
    }
}
