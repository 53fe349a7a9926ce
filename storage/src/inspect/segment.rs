//! One segment of the commit log, as it is in its file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{LOOKS, foreign};
use crate::{
    Error, Mutation, TableId,
    commit_log::{
        header::{HEADER_BYTES, Magic},
        replay::{Entry, StoredSegment},
        segment::{self, SegmentId, Start},
    },
    disk::Disk,
    error::Result,
};

/// Damages of a segment that are kept with their places.
const KEPT_DAMAGES: usize = 100;

/// A segment of the commit log.
#[derive(Debug, Clone)]
pub struct InspectedSegment {
    /// Its number, which is in its name.
    pub id: u64,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file when it got its name.
    pub length_bytes: u64,
    /// What tells its frames from those of all other files.
    pub salt: u64,
    /// It was written up to here before it got its name: more than the header if a recovery began it.
    pub born: u64,
    /// Where the segment before it ends, and the one before that; `None` if nothing was ever written to this one.
    pub predecessor_ends: Option<(u64, u64)>,
    /// Groups, each written with one call, all or nothing.
    pub groups: u64,
    /// Mutations in them.
    pub mutations: u64,
    /// What there is of each table.
    pub tables: BTreeMap<TableId, TableShare>,
    /// The file itself says that everything before this offset was durable.
    pub durable: u64,
    /// Where its last valid frame ends.
    pub end: u64,
    /// What is behind that.
    pub ends: SegmentEnd,
    /// Places that should hold a frame and do not, with their offsets; at most 100.
    pub damages: Vec<Error>,
}

/// What a segment has of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableShare {
    /// Mutations.
    pub mutations: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes, encoded.
    pub bytes: u64,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentEnd {
    /// The engine was closed.
    Sealed,
    /// The log goes on in the next segment, which says that this one ends here.
    Continued,
    /// Zeros follow.
    Open,
    /// Bytes follow that are no frame of this segment: a torn tail, or what the file held before it was used again.
    Torn,
}

impl SegmentEnd {
    /// Its name, for operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Continued => "continued",
            Self::Open => "open",
            Self::Torn => "torn",
        }
    }
}

impl InspectedSegment {
    /// The number of the segment that a file name stands for, if it is one.
    pub fn parse_file_name(name: &str) -> Option<u64> {
        segment::parse_file_name(name).map(|id| id.0)
    }

    /// The file name of a segment.
    pub fn file_name(id: u64) -> String {
        segment::file_name(SegmentId(id))
    }

    /// Whether a file name is that of a segment that waits to be used again.
    pub fn is_spare(name: &str) -> bool {
        name.starts_with("commit-") && name.ends_with(segment::SPARE_SUFFIX)
    }

    /// Reads a segment, and shows each of its groups with its offset; a damaged place is stepped over if there is
    /// something valid behind it.
    ///
    /// # Errors
    /// [`Error::Foreign`] for a file that has not the name of a segment, [`Error::Corrupt`] for one with a damaged header; [`Error::Io`]; what `show` answers.
    pub fn read<E: From<Error>>(
        disk: &dyn Disk,
        path: &Path,
        mut show: impl FnMut(u64, &[(TableId, Mutation)]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let id = Self::place(disk, path)?;
        let mut before = None;
        for _ in 1..LOOKS {
            let looked = Self::look(disk, path, id, |_, _| Ok::<_, Error>(()));
            let damage = match &looked {
                Ok(segment) => segment.damages.first().map(Error::to_string),
                Err(damage @ Error::Corrupt { .. }) => Some(damage.to_string()),
                Err(_) => None,
            };
            if damage.is_none() || damage == before {
                break;
            }
            before = damage;
        }
        Self::look(disk, path, id, &mut show)
    }

    /// The number of the segment that a file has the name of.
    fn place(disk: &dyn Disk, path: &Path) -> Result<SegmentId> {
        let file = disk.open_to_read(path).map_err(|e| Error::io("open", path, e))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(id) = segment::parse_file_name(name) {
            return Ok(id);
        }
        let mut begin = Magic::default();
        let length = file.len().map_err(|e| Error::io("measure", path, e))?;
        if length >= begin.len() as u64 {
            file.read_exact_at(&mut begin, 0).map_err(|e| Error::io("read", path, e))?;
        }
        Err(if begin == segment::MAGIC {
            let why = "its checksums count on its name, commit-, 16 hexadecimal digits and .log";
            foreign(path, "a segment of a commit log that was renamed", why)
        } else {
            foreign(path, "no segment of a commit log", "it does not begin like one")
        })
    }

    fn look<E: From<Error>>(
        disk: &dyn Disk,
        path: &Path,
        id: SegmentId,
        mut show: impl FnMut(u64, &[(TableId, Mutation)]) -> Result<(), E>,
    ) -> Result<Self, E> {
        // First, so that this one has all that it is said to have. Its own damage is its own matter.
        let directory = path.parent().unwrap_or(Path::new(""));
        let next = segment::read_start(disk, directory, id.next()).ok().flatten();
        let stored = StoredSegment::read(disk, path, id)?;
        let birth = stored.birth();
        let mut segment = Self {
            id: id.0,
            path: path.into(),
            length_bytes: birth.length,
            salt: birth.salt,
            born: birth.durable,
            predecessor_ends: None,
            groups: 0,
            mutations: 0,
            tables: BTreeMap::new(),
            durable: birth.durable,
            end: HEADER_BYTES as u64,
            ends: SegmentEnd::Continued,
            damages: Vec::new(),
        };
        let recorded = next.map(|next| next.predecessor_end);
        let mut at = HEADER_BYTES as u64;
        while recorded.is_none_or(|end| at < end) {
            let damage = match stored.entry(at) {
                Ok(Some((entry, next))) => {
                    segment.end = next;
                    if segment.take(at, entry, &mut show)? {
                        segment.ends = SegmentEnd::Sealed;
                        break;
                    }
                    at = next;
                    continue;
                }
                Ok(None) if recorded.is_none() && at >= birth.durable && stored.witness(at).is_none() => {
                    let is_open = stored.is_zero_from(at);
                    segment.ends = if is_open { SegmentEnd::Open } else { SegmentEnd::Torn };
                    break;
                }
                Ok(None) => stored.corrupt(at, "no valid frame, though data was durable here"),
                Err(damage) => damage,
            };
            if segment.damages.len() < KEPT_DAMAGES {
                segment.damages.push(damage);
            }
            match stored.witness(at) {
                Some(witness) => at = witness,
                None => break,
            }
        }
        if let Some(end) = recorded {
            segment.durable = end;
        }
        // Of what was not durable a crash may have left a part.
        if let Some(at) = stored.damaged_start().filter(|_| segment.durable > HEADER_BYTES as u64) {
            segment
                .damages
                .push(stored.corrupt(at, "one of the two frames of the start; the other one is valid"));
        }
        Ok(segment)
    }

    /// Counts what a frame says; whether it is the last.
    fn take<E: From<Error>>(
        &mut self,
        at: u64,
        entry: Entry,
        show: &mut impl FnMut(u64, &[(TableId, Mutation)]) -> Result<(), E>,
    ) -> Result<bool, E> {
        match entry {
            Entry::Start(Start { predecessor_end, before_end }) => {
                self.predecessor_ends = Some((predecessor_end, before_end));
            }
            Entry::Group { durable, batch } => {
                self.groups += 1;
                self.mutations += batch.len() as u64;
                self.durable = self.durable.max(durable);
                for (table, mutation) in &batch {
                    let share = self.tables.entry(*table).or_default();
                    share.mutations += 1;
                    share.records += mutation.rows.len() as u64;
                    share.bytes += mutation.encoded_len() as u64;
                }
                show(at, &batch)?;
            }
            Entry::Seal => {
                self.durable = at;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
