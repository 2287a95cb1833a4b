// SPDX-License-Identifier: GPL-2.0

//! The greeting, the first bytes of a connection.
//!
//! Both ends of a connection send a greeting at once and read the other's (sp-tcp-mapping-01 §2):
//!
//! ```text
//! byte   0    1    2    3        4     5     6    7
//!      +----+----+----+--------+-----------+-----------+
//!      | 00 | 53 | 50 | 00     | endpoint  | 00   00   |
//!      |    | 'S'| 'P'| version| type      | reserved  |
//!      +----+----+----+--------+-----------+-----------+
//! ```
//!
//! All numbers are big endian.
//!
//! The endpoint type is the protocol, 12 bits, and the role in it, 4 bits. The numbers are those in use
//! (nanomsg: src/reqrep.h and its siblings; nng: src/sp/protocol): the request/reply draft has 16 and
//! 17 where everybody sends 48 and 49. `pattern/role.rs` has those of the roles that are here; taken by
//! others:
//!
//! | type | number | peer | type | number | peer |
//! |---|---|---|---|---|---|
//! | PAIR | 0x10 | PAIR | SURVEYOR | 0x62 | RESPONDENT |
//! | PAIR v1 (nng) | 0x11 | PAIR v1 | RESPONDENT | 0x63 | SURVEYOR |
//! | PUSH | 0x50 | PULL | BUS | 0x70 | BUS |
//! | PULL | 0x51 | PUSH | an older survey | 0x60, 0x61 | dead |
//!
//! Pure.

/// Bytes of a greeting.
pub(super) const GREETING: usize = 8;

/// A greeting as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) struct Greeting {
    pub(in crate::wire) endpoint_type: u16,
}

/// How much of a greeting has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Good so far, but not all.
    More,
    /// All of it. What follows are messages.
    Complete,
}

/// The peer does not speak SP, or not this version, or plays the wrong role. Its pipe ends;
/// all that it is told is our own greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadGreeting;

impl Greeting {
    /// The bytes to send.
    pub(in crate::wire) const fn to_bytes(self) -> [u8; GREETING] {
        let [high, low] = self.endpoint_type.to_be_bytes();
        [0, b'S', b'P', 0, high, low, 0, 0]
    }
}

/// Looks at what has arrived of a peer's greeting: nothing yet, a part of it, or more than it.
///
/// Every byte of it is known beforehand, the reserved ones too (nanomsg alone ignores those), so
/// that a wrong one is noticed as it arrives.
pub(super) fn check_prefix(bytes: &[u8], expect_peer: u16) -> Result<Progress, BadGreeting> {
    let expected = Greeting {
        endpoint_type: expect_peer,
    }
    .to_bytes();
    if bytes.iter().zip(&expected).any(|(byte, good)| byte != good) {
        return Err(BadGreeting);
    }
    Ok(if bytes.len() < GREETING {
        Progress::More
    } else {
        Progress::Complete
    })
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_greeting))]
mod tests {
    use super::*;

    const GOOD: [u8; 8] = [0, 0x53, 0x50, 0, 0, 0x30, 0, 0];

    const REQ: u16 = 0x30;

    #[test]
    fn greeting_sent_is_good_for_its_type_only() {
        let types = [
            0,
            0x10,
            0x11,
            0x20,
            0x21,
            REQ,
            0x31,
            0x3000,
            0x1234,
            u16::MAX,
        ];
        for endpoint_type in types {
            let greeting = Greeting { endpoint_type }.to_bytes();
            for expected in types {
                let good = endpoint_type == expected;
                assert_eq!(check_prefix(&greeting, expected).is_ok(), good);
            }
        }
        let req = Greeting { endpoint_type: REQ };
        assert_eq!(req.to_bytes(), GOOD);
        // The high byte is sent too.
        let other = Greeting {
            endpoint_type: 0x1234,
        };
        assert_eq!(other.to_bytes(), [0, 0x53, 0x50, 0, 0x12, 0x34, 0, 0]);
    }

    #[test]
    fn good_greeting_in_parts_is_complete_at_eight_bytes() {
        let mut early = [0xee; 12];
        for (to, from) in early.iter_mut().zip(GOOD) {
            *to = from;
        }
        for len in 0..=12 {
            let expected = if len < 8 {
                Progress::More
            } else {
                Progress::Complete
            };
            // Beyond the greeting are messages that did not wait: not looked at.
            let bytes = early.get(..len).unwrap_or_default();
            assert_eq!(check_prefix(bytes, REQ), Ok(expected));
        }
    }

    #[test]
    fn wrong_byte_arrived_is_refused_then_and_later() {
        for at in 0..8 {
            for wrong in [0x01, 0x58, 0x80, 0xff] {
                let mut bytes = GOOD;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= wrong;
                }
                for len in 0..=8 {
                    let expected = if len > at {
                        Err(BadGreeting)
                    } else {
                        Ok(Progress::More)
                    };
                    let bytes = bytes.get(..len).unwrap_or_default();
                    assert_eq!(check_prefix(bytes, REQ), expected);
                }
            }
        }
    }

    #[test]
    fn zmtp_greeting_is_refused() {
        // Conformance case 10.
        let signature = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];
        assert_eq!(check_prefix(&signature, REQ), Err(BadGreeting));
    }
}
