//! Frames: the unit of what the commit log and the manifest write and check.
//!
//! ```text
//! frame   head varint │ crc32 u32 LE │ payload
//! head  = 8 × length of the payload + kind; a kind is 1 to 7, so no frame begins with a zero
//! crc32 = CRC32(salt u64 LE ‖ offset u64 LE ‖ head as it is stored ‖ payload)
//! salt  = what the header of the file says; of a manifest, its magic as u64 LE XOR its id
//! ```
//!
//! The checksum is salted with what no other file has and the frame's own offset, so bytes of another file
//! (a manifest and a segment may have the same number, and a segment may have been another one before), or of another
//! place in this one, never pass for a frame. Frames lie back to back, so a small one costs few bytes; whoever looks for
//! life behind a damaged one has to try every place, and wants something cheaper than the checksum to tell most of them
//! ([`peek`], and for segments `group`).

use bytes::Bytes;

use crate::varint;

/// Most bytes of head and checksum; payloads stay below 4 GiB.
pub(crate) const MOST_HEAD_BYTES: usize = varint::len((u32::MAX as u64) << KIND_BITS) + CRC_BYTES;

const KIND_BITS: u32 = 3;
const CRC_BYTES: usize = 4;

/// What is inside a valid frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its kind; every log has its own.
    pub(crate) kind: u8,
    /// A slice of the buffer it was read from.
    pub(crate) payload: Bytes,
    /// Where the next frame starts.
    pub(crate) next: usize,
}

/// What tells the frames of one file from those of all others.
pub(crate) const fn salt(magic: [u8; 8], id: u64) -> u64 {
    u64::from_le_bytes(magic) ^ id
}

/// Bytes that a frame with such a payload takes.
pub(crate) const fn size(payload_bytes: usize) -> usize {
    varint::len((payload_bytes as u64) << KIND_BITS) + CRC_BYTES + payload_bytes
}

/// Appends a frame to `out`, whose first byte will be written at `start` of the file with this [`salt`]. The kind is 1
/// to 7, and `payload` appends exactly `length` bytes, which must stay below 4 GiB: the callers' limits are far below.
pub(crate) fn append(
    out: &mut Vec<u8>,
    (salt, start): (u64, u64),
    kind: u8,
    length: usize,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let at = out.len();
    varint::put(out, (length as u64) << KIND_BITS | u64::from(kind));
    let crc_at = out.len();
    out.extend_from_slice(&[0; CRC_BYTES]);
    payload(out);
    let body_at = crc_at + CRC_BYTES;
    debug_assert_eq!(out.len() - body_at, length, "the payload has the length that its frame says");
    let crc = checksum(salt, start + at as u64, &out[at..crc_at], &out[body_at..]);
    out[crc_at..body_at].copy_from_slice(&crc.to_le_bytes());
}

/// The frame at `offset` of a file's contents, `None` unless every bit of it is as it was written.
pub(crate) fn read(file: &Bytes, salt: u64, offset: usize) -> Option<Frame> {
    let Peeked { kind, crc_at, payload } = peek(file, offset)?;
    let crc = file[crc_at..][..CRC_BYTES].try_into().map(u32::from_le_bytes).ok()?;
    (checksum(salt, offset as u64, &file[offset..crc_at], payload) == crc).then(|| {
        let start = crc_at + CRC_BYTES;
        Frame { kind, payload: file.slice(start..start + payload.len()), next: start + payload.len() }
    })
}

/// What looks like a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peeked<'a> {
    /// Its kind.
    pub(crate) kind: u8,
    /// Where its checksum lies.
    crc_at: usize,
    /// All of it lies in the file.
    pub(crate) payload: &'a [u8],
}

/// What is at `offset`, unchecked: tells cheaply whether [`read`] is worth its while.
pub(crate) fn peek(file: &[u8], offset: usize) -> Option<Peeked<'_>> {
    let mut rest = file.get(offset..)?;
    let head = varint::take(&mut rest)?;
    let kind = (head & ((1 << KIND_BITS) - 1)) as u8;
    let length = u32::try_from(head >> KIND_BITS).ok()? as usize;
    let crc_at = file.len() - rest.len();
    let payload = rest.get(CRC_BYTES..)?.get(..length)?;
    (kind != 0).then_some(Peeked { kind, crc_at, payload })
}

fn checksum(salt: u64, offset: u64, head: &[u8], payload: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&salt.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place);
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames_of(salt: u64, payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, payload) in (1..).zip(payloads) {
            append(&mut out, (salt, 64), kind, payload.len(), |out| out.extend_from_slice(payload));
        }
        out
    }

    fn two_frames() -> Vec<u8> {
        frames_of(7, &[b"first", b"the second"])
    }

    /// The frames as they lie in file 7, from offset 64 on.
    fn file(frames: &[u8]) -> Bytes {
        [&[0; 64], frames].concat().into()
    }

    #[test]
    fn frames_read_back_one_after_the_other() {
        let file = file(&two_frames());
        let first = read(&file, 7, 64).unwrap();
        assert_eq!((first.kind, &first.payload[..]), (1, &b"first"[..]));
        assert_eq!(first.next, 64 + size(5));
        let second = read(&file, 7, first.next).unwrap();
        assert_eq!((second.kind, &second.payload[..]), (2, &b"the second"[..]));
        assert_eq!(second.next, file.len());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for payload in [&b""[..], b"first", &[7; 40], &[0xff; 5000]] {
            let frame = frames_of(7, &[payload]);
            assert_eq!(frame.len(), size(payload.len()));
            // A longer length reads on into what follows.
            let followed = [frame.clone(), vec![0x81; 100]].concat();
            for bit in 0..frame.len().min(200) * 8 {
                let mut damaged = followed.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&file(&damaged), 7, 64), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_file_or_place_is_none() {
        let frames = two_frames();
        assert_eq!(read(&file(&frames), 8, 64), None);
        let moved: Bytes = [&[0; 72], &frames[..]].concat().into();
        assert_eq!(read(&moved, 7, 72), None);
    }

    #[test]
    fn a_frame_of_another_kind_of_file_is_none() {
        let file = file(&frames_of(salt(*b"HELENMAN", 1), &[b"edit"]));
        assert!(read(&file, salt(*b"HELENMAN", 1), 64).is_some());
        assert_eq!(read(&file, salt(*b"HELENLOG", 1), 64), None);
    }

    #[test]
    fn a_frame_cut_short_anywhere_is_none() {
        let whole = file(&two_frames());
        for end in 0..64 + size(5) {
            assert_eq!(read(&whole.slice(..end), 7, 64), None, "cut at {end}");
        }
        assert_eq!(read(&whole, 7, usize::MAX), None);
        assert_eq!(read(&file(&[0; 64]), 7, 64), None, "zeros are no frame");
    }
}
