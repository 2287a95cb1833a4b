// SPDX-License-Identifier: GPL-2.0

//! SP on a TCP connection (sp-tcp-mapping-01): both ends greet, then each message is a frame: its length,
//! 64 bits, and that many bytes, tags included. There is nothing else on the wire.

mod arriving;
mod batch;
mod decode;
mod encode;
mod greeting;

pub(crate) use batch::{
    Batch,
    Edition,
    Rest, //
};
pub(super) use decode::Decoder;
pub(crate) use encode::Frame;
pub(super) use greeting::Greeting;

/// Bytes of the length before each message.
const HEADER: usize = 8;
