// SPDX-License-Identifier: GPL-2.0

//! Points in time and lengths of it, in milliseconds.

/// A point in time, in milliseconds of a clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) u64);

/// A length of time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Millis(pub(crate) u64);

impl Instant {
    pub(crate) fn after(self, time: Millis) -> Instant {
        Instant(self.0.saturating_add(time.0))
    }

    /// How long ago `earlier` was; nothing if it is yet to come.
    pub(crate) fn since(self, earlier: Instant) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Millis {
    pub(crate) const ZERO: Millis = Millis(0);

    pub(crate) fn and(self, more: Millis) -> Millis {
        Millis(self.0.saturating_add(more.0))
    }
}

/// The earlier of two points in time that may be none.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
