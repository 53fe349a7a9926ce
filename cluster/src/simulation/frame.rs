//! What lies on a simulated wire: a message with its lengths and a checksum, as on a real one.
//!
//! ```text
//! CRC32 u32 LE over the rest │ head length u32 LE │ head │ payload
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::Encoded;

const CHECKSUM_BYTES: usize = 4;
const START_BYTES: usize = CHECKSUM_BYTES + 4;

/// Bytes that were damaged on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame fails its checksum")]
pub(super) struct Damaged;

/// Puts a message into a frame.
pub(super) fn seal(message: &Encoded) -> BytesMut {
    let mut frame = BytesMut::with_capacity(START_BYTES + message.head.len() + message.payload.len());
    frame.put_u32_le(0);
    frame.put_u32_le(u32::try_from(message.head.len()).expect("a head is far smaller than 4 GiB"));
    frame.put_slice(&message.head);
    frame.put_slice(&message.payload);
    let checksum = crc32fast::hash(&frame[CHECKSUM_BYTES..]);
    frame[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// Takes the message out of a frame.
pub(super) fn open(frame: &Bytes) -> Result<Encoded, Damaged> {
    let (start, rest) = frame.split_at_checked(START_BYTES).ok_or(Damaged)?;
    let (checksum, length) = start.split_at(CHECKSUM_BYTES);
    if crc32fast::hash(&frame[CHECKSUM_BYTES..]).to_le_bytes() != checksum {
        return Err(Damaged);
    }
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > rest.len() {
        return Err(Damaged);
    }
    let end = START_BYTES + length;
    Ok(Encoded { head: frame.slice(START_BYTES..end), payload: frame.slice(end..) })
}
