// SPDX-License-Identifier: MIT

//! PF_SP sockets: REQ/REP, PUB/SUB and PUSH/PULL as sockets of the Linux kernel.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! let client = pf_sp::Socket::new(pf_sp::Type::Req)?;
//! client.connect("127.0.0.1:5577")?;
//! client.send(b"Hello")?;
//! println!("{}", String::from_utf8_lossy(&client.recv_message()?));
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `tokio` there is [`AsyncSocket`]. The constants that have their names from
//! `<linux/sp.h>` are explained there.

mod constants;
mod socket;
#[cfg(feature = "tokio")]
mod stream;

pub use constants::*;
pub use socket::Socket;
#[cfg(feature = "tokio")]
pub use stream::AsyncSocket;
