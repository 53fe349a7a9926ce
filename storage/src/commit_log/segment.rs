//! One file of the commit log: its name, its header, its birth.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    commit_log::{
        frame::{self, Frame},
        group,
        header::{self, HEADER_BYTES, Magic},
    },
    disk::Disk,
    error::{Error, Result},
};

/// First bytes of a segment.
pub(crate) const MAGIC: Magic = *b"HELENLOG";

/// A group: what was written with one call.
pub(crate) const GROUP: u8 = 1;
/// The engine was closed: nothing follows, and everything before was durable when this was written.
pub(crate) const SEAL: u8 = 3;
/// The first two frames: the log goes on here, and the two segments before end where this says.
pub(crate) const START: u8 = 4;

/// Bytes of the start: two like frames.
pub(crate) const START_BYTES: usize = 2 * START_FRAME_BYTES;
const START_FRAME_BYTES: usize = frame::size(START_PAYLOAD_BYTES);
/// Two ends, u64 each.
const START_PAYLOAD_BYTES: usize = 16;

/// Ends the names of segments that wait to be used again.
pub(crate) const SPARE_SUFFIX: &str = ".spare";

/// Numbers the segments of an engine, contiguously, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The segment that follows.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A place in the commit log. Later records have greater positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The file.
    pub segment: SegmentId,
    /// Byte offset in it.
    pub offset: u64,
}

impl LogPosition {
    /// Before every record.
    pub(crate) const START: Self = Self { segment: SegmentId(0), offset: 0 };
}

/// Where the two segments before one end: nothing from there on counts, whatever it looks like.
///
/// Two, because the first frame of the one before may never have become durable, and what it said with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Start {
    /// The end of the predecessor.
    pub(crate) predecessor_end: u64,
    /// The end of the predecessor's predecessor.
    pub(crate) before_end: u64,
}

/// The file name of a segment.
pub(crate) fn file_name(id: SegmentId) -> String {
    format!("commit-{:016x}.log", id.0)
}

/// The segment that a file name stands for, if it is one.
pub(crate) fn parse_file_name(name: &str) -> Option<SegmentId> {
    let digits = name.strip_prefix("commit-")?.strip_suffix(".log")?;
    let id = SegmentId(u64::from_str_radix(digits, 16).ok()?);
    (file_name(id) == name).then_some(id)
}

/// The name of a segment that is no longer needed and waits to be used again.
pub(crate) fn spare_name(id: SegmentId) -> String {
    format!("commit-{:016x}{SPARE_SUFFIX}", id.0)
}

/// The salt of a segment's frames: the same for no two births of a segment, neither within a data directory, where a
/// manifest number is of one opening and an id is used once in it, nor in two directories on one disk.
pub(crate) fn salt(directory: &Path, opening: u64, id: SegmentId) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&MAGIC);
    hasher.update(&opening.to_le_bytes());
    hasher.update(&id.0.to_le_bytes());
    hasher.update(directory.as_os_str().as_encoded_bytes());
    hasher.digest()
}

/// The largest batch, encoded, that fits an otherwise empty segment.
pub(crate) fn largest_batch(segment_bytes: u64) -> usize {
    let room = usize::try_from(segment_bytes.min(1 << 30)).expect("at most 1 GiB, which fits every usize");
    room.saturating_sub(HEADER_BYTES + START_BYTES + group::MOST_OVERHEAD_BYTES + group::SEAL_BYTES)
}

/// Appends the start of a segment: a frame that is written twice, since one of the two is enough.
pub(crate) fn append_start(out: &mut Vec<u8>, salt: u64, start: Start) {
    for _ in 0..2 {
        frame::append(out, (salt, HEADER_BYTES as u64), START, START_PAYLOAD_BYTES, |out| {
            out.put_u64_le(start.predecessor_end);
            out.put_u64_le(start.before_end);
        });
    }
}

/// The start at the head of a segment's contents, from whichever of its frames is valid, as one that reaches behind
/// both.
pub(crate) fn start_frame(contents: &Bytes, salt: u64) -> Option<Frame> {
    let is_start = |frame: &Frame| frame.kind == START && frame.payload.len() == START_PAYLOAD_BYTES;
    let read = |at| frame::read(contents, salt, at).filter(is_start);
    let frame = read(HEADER_BYTES).or_else(|| {
        let second = read(HEADER_BYTES + START_FRAME_BYTES)?;
        crate::sometimes!("a start was read from its second frame");
        Some(second)
    })?;
    Some(Frame { next: HEADER_BYTES + START_BYTES, ..frame })
}

/// Where a frame of the start is not what the other one says.
pub(crate) fn damaged_start(contents: &Bytes, salt: u64) -> Option<usize> {
    start_frame(contents, salt)?;
    let places = [HEADER_BYTES, HEADER_BYTES + START_FRAME_BYTES];
    places.into_iter().find(|&at| frame::read(contents, salt, at).is_none())
}

/// The start of a segment; `None` when it has no valid one: then nothing in it was ever durable, unless it rotted.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`].
pub(crate) fn read_start(disk: &dyn Disk, directory: &Path, id: SegmentId) -> Result<Option<Start>> {
    let path = directory.join(file_name(id));
    let file = disk.open_to_read(&path).map_err(|e| Error::io("open", &path, e))?;
    let file_bytes = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let known = (HEADER_BYTES + START_BYTES).min(usize::try_from(file_bytes).unwrap_or(usize::MAX));
    let mut start = vec![0; known];
    file.read_exact_at(&mut start, 0).map_err(|e| Error::io("read", &path, e))?;
    let birth = header::check(&path, MAGIC, id.0, &start, file_bytes)?;
    Ok(start_frame(&start.into(), birth.salt).map(|mut frame| Start {
        predecessor_end: frame.payload.get_u64_le(),
        before_end: frame.payload.get_u64_le(),
    }))
}
