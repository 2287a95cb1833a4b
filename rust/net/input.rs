// SPDX-License-Identifier: GPL-2.0

//! What messages are read from: a segment of TCP's, a program's buffer.

use super::family::SendCall;
use super::stream::Segment;
use crate::bytes::{
    AppendError,
    Input,
    Source, //
};
use crate::mem::KVec;

impl Source for Segment<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        Segment::append(self, to, n).map_err(|_| AppendError::Fault)
    }
}

impl Input for Segment<'_> {
    fn remaining(&self) -> usize {
        Segment::remaining(self)
    }

    fn available(&self) -> usize {
        Segment::available(self)
    }

    fn cramped(&self, missing: usize) -> bool {
        Segment::cramped(self, missing)
    }

    fn read(&mut self, to: &mut [u8]) -> usize {
        Segment::read(self, to)
    }

    fn skip(&mut self, n: usize) -> usize {
        Segment::skip(self, n)
    }

    fn put_back(&mut self, n: usize) {
        Segment::put_back(self, n);
    }
}

impl Source for SendCall<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        SendCall::append(self, to, n).map_err(|_| AppendError::Fault)
    }
}
