// SPDX-License-Identifier: GPL-2.0

//! A message as it goes on the wire: its length, its tags, its body.

use super::HEADER;
use crate::message::{
    Message,
    Piece, //
};

/// One message on its way out. It borrows all but the length.
pub(crate) struct Frame<'a> {
    header: [u8; HEADER],
    msg: &'a Message,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(msg: &'a Message) -> Self {
        let len = u64::try_from(msg.frame_len()).unwrap_or(u64::MAX);
        Frame {
            header: len.to_be_bytes(),
            msg,
        }
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.msg.frame_len().saturating_add(HEADER)
    }

    /// What is left of it from byte `offset` on, in pieces none of which is empty.
    pub(crate) fn parts(&self, offset: usize) -> impl Iterator<Item = Piece<'_>> {
        let tags = self.msg.tags.as_bytes();
        let behind = offset.saturating_sub(HEADER);
        let front = [
            self.header.get(offset..).unwrap_or(&[]),
            tags.get(behind..).unwrap_or(&[]),
        ];
        let body = self
            .msg
            .bytes()
            .chunks_from(behind.saturating_sub(tags.len()));
        let front = front.into_iter().filter(|part| !part.is_empty());
        Iterator::chain(front.map(Piece::of), body)
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_encode))]
mod tests {
    use super::*;
    use crate::mem::{
        NoMemory,
        GFP_KERNEL, //
    };
    use crate::message::tags::Tags;

    #[test]
    fn any_offset_gives_the_rest() -> Result<(), NoMemory> {
        let mut msg = Message::of(b"body", GFP_KERNEL)?;
        msg.tags = Tags::of(b"\0\0\0\x07\x80\0\0\x01")?;
        let frame = Frame::new(&msg);
        let wire = b"\0\0\0\0\0\0\0\x0c\0\0\0\x07\x80\0\0\x01body";
        assert_eq!(frame.len(), wire.len());
        for offset in 0..=wire.len() {
            let parts = || frame.parts(offset).flat_map(|part| part.bytes());
            assert!(parts().flatten().eq(&wire[offset..]));
            assert!(parts().all(|part| !part.is_empty()));
        }
        Ok(())
    }

    #[test]
    fn empty_message_is_its_length() -> Result<(), NoMemory> {
        let msg = Message::of(b"", GFP_KERNEL)?;
        let frame = Frame::new(&msg);
        assert_eq!(frame.len(), 8);
        let parts = frame.parts(0).flat_map(|part| part.bytes());
        assert!(parts.eq([&[0_u8; 8] as &[u8]]));
        assert!(frame.parts(8).next().is_none());
        Ok(())
    }
}
