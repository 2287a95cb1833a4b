// SPDX-License-Identifier: GPL-2.0

//! SP on a TCP connection: the greeting and the frames (sp-tcp-mapping-01). Pure: bytes in, messages
//! out.

pub(crate) mod frame;
pub(crate) mod header;
