// SPDX-License-Identifier: GPL-2.0

//! What messages are read from: a program's buffer.

use super::family::SendCall;
use crate::bytes::{
    AppendError,
    Source, //
};
use crate::mem::KVec;

impl Source for SendCall<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        SendCall::append(self, to, n).map_err(|_| AppendError::Fault)
    }
}
