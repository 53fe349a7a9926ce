//! Frames: the unit of what the commit log and the manifest write and check.
//!
//! ```text
//! frame   length u32 LE │ crc32 u32 LE │ kind u8 │ payload (length bytes) │ zeros up to a multiple of 8
//! crc32 = CRC32(salt u64 LE ‖ offset u64 LE ‖ length u32 LE ‖ kind ‖ payload ‖ zeros)
//! salt  = what the header of the file says; of a manifest, its magic as u64 LE XOR its id
//! ```
//!
//! The checksum is salted with what no other file has and the frame's own offset, so bytes of another file
//! (a manifest and a segment may have the same number, and a segment may have been another one before), or of another
//! place in this one, never pass for a frame. Frames start at multiples of [`ALIGNMENT`]: whoever looks for life behind a damaged frame has few
//! places to try.

use bytes::Bytes;

/// Frames start at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// Length, checksum and kind.
pub(crate) const HEAD_BYTES: usize = 9;

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
    (HEAD_BYTES + payload_bytes).next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `out`, whose first byte will be written at `start` of the file with this [`salt`].
///
/// The payload must stay below 4 GiB: the callers' limits are far below.
pub(crate) fn append(out: &mut Vec<u8>, salt: u64, start: u64, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES - 1]);
    out.push(kind);
    payload(out);
    let length = out.len() - at - HEAD_BYTES;
    out.resize(at + size(length), 0);
    let length = u32::try_from(length).expect("payloads are bounded far below 4 GiB by the callers");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(salt, start + at as u64, length, &out[at + HEAD_BYTES - 1..]);
    out[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The frame at `offset` of a file's contents, `None` unless every bit of it is as it was written.
pub(crate) fn read(file: &Bytes, salt: u64, offset: usize) -> Option<Frame> {
    let head = file.get(offset..offset.checked_add(HEAD_BYTES)?)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?);
    let crc = u32::from_le_bytes(head[4..8].try_into().ok()?);
    let kind = head[8];
    let payload = offset + HEAD_BYTES;
    let payload_end = payload.checked_add(length as usize)?;
    let next = payload_end.checked_next_multiple_of(ALIGNMENT)?;
    let checked = file.get(payload - 1..next)?;
    (checksum(salt, offset as u64, length, checked) == crc).then(|| Frame {
        kind,
        payload: file.slice(payload..payload_end),
        next,
    })
}

/// Length field and kind of whatever is at `offset`, unchecked: tells cheaply whether [`read`] is worth its
/// while.
pub(crate) fn peek(file: &[u8], offset: usize) -> Option<(u32, u8)> {
    let head = file.get(offset..offset.checked_add(HEAD_BYTES)?)?;
    Some((u32::from_le_bytes(head[..4].try_into().ok()?), head[8]))
}

/// `body` is the kind, the payload and the zeros behind it.
fn checksum(salt: u64, offset: u64, length: u32, body: &[u8]) -> u32 {
    let mut head = [0; 20];
    head[..8].copy_from_slice(&salt.to_le_bytes());
    head[8..16].copy_from_slice(&offset.to_le_bytes());
    head[16..].copy_from_slice(&length.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_frames() -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, 7, 64, 1, |payload| payload.extend_from_slice(b"first"));
        append(&mut out, 7, 64, 2, |payload| payload.extend_from_slice(b"the second"));
        out
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
        assert_eq!(first.next % ALIGNMENT, 0);
        let second = read(&file, 7, first.next).unwrap();
        assert_eq!((second.kind, &second.payload[..]), (2, &b"the second"[..]));
        assert_eq!(second.next, file.len());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let frames = two_frames();
        let first_bytes = size(5);
        for bit in 0..first_bytes * 8 {
            let mut damaged = frames.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&file(&damaged), 7, 64), None, "bit {bit}");
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
        let mut frame = Vec::new();
        append(&mut frame, salt(*b"HELENMAN", 1), 64, 2, |payload| payload.extend_from_slice(b"edit"));
        let file = file(&frame);
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
    }
}
