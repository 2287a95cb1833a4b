// SPDX-License-Identifier: GPL-2.0

//! Addresses of TCP sockets.

/// An address as the socket layer has it: the bytes of a `sockaddr_in` or a `sockaddr_in6`.
pub(crate) type SockAddr = ([u8; 28], usize);
