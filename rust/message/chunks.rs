// SPDX-License-Identifier: GPL-2.0

//! A walk over the bytes of a body, from piece to piece.

use super::{
    Chunk,
    Head,
    Kept,
    Part,
    Piece,
    Rest, //
};
use crate::mem::KVec;
use core::slice::Iter;

/// The chunks of a body. What adapters would make of that has a name too long for the kernel's tools.
pub(crate) struct Chunks<'a> {
    head: Option<&'a Head>,
    /// How long the body is.
    len: usize,
    block: Iter<'a, Part>,
    blocks: Iter<'a, KVec<Part>>,
    /// So many bytes of what is left are passed over.
    skip: usize,
}

impl<'a> Chunks<'a> {
    /// Those of a body of this length from byte `offset` on.
    pub(super) fn new(head: &'a Head, rest: Option<&'a Rest>, len: usize, offset: usize) -> Self {
        let (first, blocks) = match rest {
            Some(rest) => (rest.first.as_slice(), rest.blocks.as_slice()),
            None => (&[][..], &[][..]),
        };
        Chunks {
            head: Some(head),
            len,
            block: first.iter(),
            blocks: blocks.iter(),
            skip: offset,
        }
    }

    /// What is not passed over of the next contiguous bytes, and how many they are.
    fn next_piece(&mut self) -> Option<(Piece<'a>, usize)> {
        let skip = self.skip;
        let of_chunk = |chunk: &'a Chunk| (chunk.piece(skip), chunk.len());
        let of_kept = |kept: &'a Kept| (kept.piece(skip), kept.len());
        match self.head.take() {
            Some(Head::Inline(bytes)) => {
                let rest = bytes.get(skip..self.len).unwrap_or(&[]);
                Some((Piece::of(rest), self.len))
            }
            Some(Head::Chunk(chunk)) => Some(of_chunk(chunk)),
            Some(Head::Kept(kept)) => Some(of_kept(kept)),
            None => Some(match self.next_part()? {
                Part::Chunk(chunk) => of_chunk(chunk),
                Part::Kept(kept) => of_kept(kept),
            }),
        }
    }

    fn next_part(&mut self) -> Option<&'a Part> {
        loop {
            if let Some(part) = self.block.next() {
                return Some(part);
            }
            self.block = self.blocks.next()?.iter();
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            let (piece, len) = self.next_piece()?;
            self.skip = self.skip.saturating_sub(len);
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}
