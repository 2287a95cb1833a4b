// SPDX-License-Identifier: GPL-2.0

// The pure files, for a crate root to include. A file that is new, or that moves, needs its line here,
// unless a `mod.rs` that is named here has it.

#[path = "mem.rs"]
mod mem;
#[path = "net.rs"]
mod net;

#[path = "../../rust/address.rs"]
mod address;
#[path = "../../rust/bytes.rs"]
mod bytes;
#[path = "../../rust/caller.rs"]
mod caller;
#[path = "../../rust/endpoint"]
mod endpoint {
    mod backoff;
    mod pace;
}
#[path = "../../rust/error.rs"]
mod error;
#[path = "../../rust/ids.rs"]
mod ids;
#[path = "../../rust/ledger.rs"]
mod ledger;
#[path = "../../rust/message/mod.rs"]
mod message;
#[path = "../../rust/options.rs"]
mod options;
#[path = "../../rust/pattern/mod.rs"]
mod pattern;
#[path = "../../rust/pipe"]
mod pipe {
    mod rx;
    mod tx;
}
#[path = "../../rust/socket"]
mod socket {
    mod cadence;
}
#[path = "../../rust/stats.rs"]
mod stats;
#[path = "../../rust/time.rs"]
mod time;
#[path = "../../rust/uapi.rs"]
mod uapi;
#[path = "../../rust/wire/mod.rs"]
mod wire;
