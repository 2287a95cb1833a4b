// SPDX-License-Identifier: GPL-2.0

//! What the parts of one socket are known by.

/// Names a pipe for as long as its peer exists; then it may name another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeId(pub(crate) u32);

impl PipeId {
    /// The id after this one, to go on from.
    pub(crate) fn next(self) -> u32 {
        self.0.saturating_add(1)
    }
}

/// Names a pipe for ever: no two of one socket have the same serial number, whoever has the id by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeName {
    pub(crate) id: PipeId,
    pub(crate) serial: u64,
}

/// Names an endpoint for ever. The greater one was made later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointId(pub(crate) u64);
