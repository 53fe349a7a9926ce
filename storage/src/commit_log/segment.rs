//! One file of the commit log: its name, its header, its birth.

use std::path::Path;

use crate::{
    commit_log::{
        frame,
        header::{self, Birth, HEADER_BYTES, Magic},
    },
    disk::Disk,
    error::{Error, Result},
};

/// First bytes of a segment.
pub(crate) const MAGIC: Magic = *b"HELENLOG";

/// Starts a group: everything that one commit step wrote and that one sync makes durable.
pub(crate) const GROUP: u8 = 1;
/// One mutation: table id, encoded mutation.
pub(crate) const MUTATION: u8 = 2;
/// The engine was closed: nothing follows, and everything before was durable when this was written.
pub(crate) const SEAL: u8 = 3;

/// Bytes of the group frame: its payload is the durable position, a u64.
pub(crate) const GROUP_BYTES: usize = frame::size(8);
/// Bytes of the seal frame: it has no payload.
pub(crate) const SEAL_BYTES: usize = frame::size(0);

/// Numbers the segments of an engine, contiguously, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The segment that follows.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// What tells its frames from those of other files.
    pub(crate) fn salt(self) -> u64 {
        frame::salt(MAGIC, self.0)
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

/// The largest encoded mutation that fits an otherwise empty segment.
pub(crate) fn largest_mutation(segment_bytes: u64) -> usize {
    const TABLE_ID_BYTES: usize = 4;
    const FRAME_BYTES: usize = frame::size(0) + frame::ALIGNMENT;
    let room = usize::try_from(segment_bytes.min(1 << 30)).expect("at most 1 GiB, which fits every usize");
    room.saturating_sub(HEADER_BYTES + GROUP_BYTES + SEAL_BYTES + FRAME_BYTES + TABLE_ID_BYTES)
}

/// Reads the header only.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`].
pub(crate) fn read_birth(disk: &dyn Disk, directory: &Path, id: SegmentId) -> Result<Birth> {
    let path = directory.join(file_name(id));
    let file = disk.open(&path).map_err(|e| Error::io("open", &path, e))?;
    let file_bytes = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let mut start = vec![0; HEADER_BYTES.min(usize::try_from(file_bytes).unwrap_or(HEADER_BYTES))];
    file.read_exact_at(&mut start, 0).map_err(|e| Error::io("read", &path, e))?;
    header::check(&path, MAGIC, id.0, &start, file_bytes)
}
