//! Opening a data directory: what is on disk becomes an engine's state again.
//!
//! In this order: lock; remove temporary files; read the manifest; open every live SSTable; replay the commit
//! log; write a new manifest; start a new segment, whose header says where the old log ends; only then remove
//! what else is left over. Nothing that was there is written to; only a last segment that holds nothing but what
//! it was born with is replaced by its like. So a crash at any point, and any number of them, leads back here
//! with the same outcome.
//!
//! # Doubtful mutations
//!
//! What lies at the end of the log may be valid to read and yet not durable: it was written, then its sync
//! failed or never came, and it is in the page cache only; after a failed sync another one may do nothing and
//! succeed (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). It may also be
//! the last thing that was acknowledged. So the old log is declared to end before it, and its mutations are
//! carried into the new segment, which is synced before it has a name. Rejected: writing it once more where
//! it is, since a power cut in the midst of that may destroy what was durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    commit_log::{
        header::HEADER_BYTES,
        replay::StoredSegment,
        segment::{self, LogPosition, SegmentId},
        writer::LogWriter,
    },
    disk::{Disk, LockGuard},
    error::{Error, Result},
    manifest::{self, Edit, LiveState, Manifest},
    memtable,
    options::Options,
    record::Mutation,
    sstable::{BlockCache, FileId, TableFile, TableReader},
    table_id::TableId,
    tree::Tree,
};

const LOCK_FILE: &str = "lock";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// What an engine starts with.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Held as long as the engine uses the directory.
    pub(crate) lock: Box<dyn LockGuard>,
    /// A fresh manifest.
    pub(crate) manifest: Manifest,
    /// All tables, with what was replayed in their memtables.
    pub(crate) trees: BTreeMap<TableId, Arc<Tree>>,
    /// At the start of a fresh segment.
    pub(crate) log: LogWriter,
    /// Bytes that replay put into memtables.
    pub(crate) memtable_bytes: usize,
}

/// Recovers a data directory, or starts one.
///
/// # Errors
/// [`Error::Locked`], [`Error::Corrupt`], [`Error::Io`].
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    options: &Options,
    cache: &Arc<BlockCache>,
) -> Result<Recovered> {
    disk.create_dir_all(directory).map_err(|e| Error::io("create directory", directory, e))?;
    let lock_path = directory.join(LOCK_FILE);
    let lock = disk
        .lock(&lock_path)
        .map_err(|e| Error::io("lock", &lock_path, e))?
        .ok_or_else(|| Error::Locked { path: directory.into() })?;
    let names = disk.list(directory).map_err(|e| Error::io("list", directory, e))?;
    // Nothing ever refers to them, and on a full disk they may be in the way.
    remove(&**disk, directory, names.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX)))?;
    let segments: BTreeSet<_> = names.iter().filter_map(|name| segment::parse_file_name(name)).collect();
    let (number, state) = read_manifest(&**disk, directory, &names)?;

    let trees = open_trees(&**disk, directory, &state, options, cache)?;
    let mut replay = Replay { state: &state, trees: &trees, options, memtable_bytes: 0 };
    let end = replay.run(&**disk, directory, &segments)?;
    // What the old manifest says may be in the page cache only, like the end of the log, and the new segment
    // will leave out what it calls flushed: so first the manifest.
    let mut manifest = Manifest::create(Arc::clone(disk), directory, number + 1, state.clone())?;
    let log = end.continued(disk, directory, options.segment_bytes)?;
    replay.insert_carried(log.start(), end.doubtful);
    let memtable_bytes = replay.memtable_bytes;

    let first = trees.values().filter_map(|tree| tree.view().first_position()).map(|at| at.segment).min();
    let first = first.unwrap_or(log.segment());
    manifest.append(&[Edit::Log { first, newest: log.segment() }])?;
    remove_orphans(&**disk, directory, &names, manifest.state())?;
    Ok(Recovered { lock, manifest, trees, log, memtable_bytes })
}

/// The newest manifest; none at all is fine in a directory where nothing was ever stored.
fn read_manifest(disk: &dyn Disk, directory: &Path, names: &[String]) -> Result<(u64, LiveState)> {
    if let Some(number) = names.iter().filter_map(|name| manifest::parse_file_name(name)).max() {
        return Ok((number, manifest::read(disk, directory, number)?));
    }
    // The first manifest is durable before the first segment is created.
    let is_stored = |name: &str| parse_table_name(name).is_some() || segment::parse_file_name(name).is_some();
    let stored = names.iter().find(|name| is_stored(name));
    match stored {
        Some(name) => Err(missing(directory, &format!("a manifest (there is {name})"))),
        None => Ok((0, LiveState::default())),
    }
}

fn open_trees(
    disk: &dyn Disk,
    directory: &Path,
    state: &LiveState,
    options: &Options,
    cache: &Arc<BlockCache>,
) -> Result<BTreeMap<TableId, Arc<Tree>>> {
    let open = |file: TableFile| -> Result<Arc<TableReader>> {
        let name = TableReader::file_name(file.id);
        match TableReader::open_with(disk, directory, file, options.access_mode, Arc::clone(cache)) {
            Err(Error::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
                Err(missing(&directory.join(name), "the SSTable, which the manifest lists"))
            }
            opened => Ok(Arc::new(opened?)),
        }
    };
    let mut trees = BTreeMap::new();
    for (&table, live) in &state.tables {
        let tables = live.files().map(open).collect::<Result<Vec<_>>>()?;
        trees.insert(table, Arc::new(Tree::new(tables, live.options.clone())));
    }
    Ok(trees)
}

fn missing(path: &Path, what: &str) -> Error {
    Error::Corrupt { path: path.into(), offset: 0, what: format!("missing: {what}") }
}

/// Where the old log ends and the new one begins.
#[derive(Debug)]
struct LogEnd {
    newest: SegmentId,
    /// Where `newest` ends from now on.
    durable: u64,
    /// What was valid behind that: carried into the next segment.
    doubtful: Vec<(TableId, Mutation)>,
    /// If `newest` was never written to after its birth: where its predecessor ends, and its frames.
    unused: Option<(u64, Bytes)>,
}

impl LogEnd {
    /// Starts the segment to go on in: the next one, or the newest once more if it is unused. Its name may not be
    /// durable, when the sync of the directory failed, and only a new one will be.
    fn continued(&self, disk: &Arc<dyn Disk>, directory: &Path, segment_bytes: u64) -> Result<LogWriter> {
        let disk = Arc::clone(disk);
        match &self.unused {
            Some((end, frames)) => {
                LogWriter::create_with(disk, directory, self.newest, segment_bytes, *end, frames)
            }
            None => {
                let next = self.newest.next();
                LogWriter::create(disk, directory, next, segment_bytes, self.durable, &self.doubtful)
            }
        }
    }
}

/// Puts the commit log back into the memtables.
#[derive(Debug)]
struct Replay<'a> {
    state: &'a LiveState,
    trees: &'a BTreeMap<TableId, Arc<Tree>>,
    options: &'a Options,
    memtable_bytes: usize,
}

impl Replay<'_> {
    /// Replays every segment that is needed. What that puts into memory is what memtables held before, so
    /// [`Options::memtable_total_bytes`] bounds it.
    fn run(&mut self, disk: &dyn Disk, directory: &Path, found: &BTreeSet<SegmentId>) -> Result<LogEnd> {
        let nothing =
            LogEnd { newest: self.state.log_newest, durable: 0, doubtful: Vec::new(), unused: None };
        let Some(needed) = self.needed(found) else { return Ok(nothing) };
        let last = SegmentId(*needed.end());
        if let Some(lost) = needed.clone().map(SegmentId).find(|id| !found.contains(id)) {
            let path = directory.join(segment::file_name(lost));
            return Err(missing(&path, "a segment of the commit log that is still needed"));
        }
        for id in (*needed.start()..last.0).map(SegmentId) {
            let end = segment::read_birth(disk, directory, id.next())?.predecessor_end;
            let path = directory.join(segment::file_name(id));
            let stored = StoredSegment::read(disk, &path, id)?;
            self.replay(&stored, end)?;
        }
        let path = directory.join(segment::file_name(last));
        let stored = StoredSegment::read(disk, &path, last)?;
        let tail = stored.tail()?;
        self.replay(&stored, tail.durable)?;
        let mut doubtful = Vec::new();
        stored.visit(tail.durable, tail.end, &mut |position, table, mutation| {
            if position >= self.flushed(&stored, position, table)? {
                crate::sometimes!("doubtful mutations were carried over");
                doubtful.push((table, mutation));
            } else {
                crate::sometimes!("a doubtful mutation was flushed already");
            }
            Ok(())
        })?;
        Ok(LogEnd { newest: last, durable: tail.durable, doubtful, unused: stored.unused() })
    }

    /// From the first segment that the manifest needs to the last there is, or should be.
    fn needed(&self, found: &BTreeSet<SegmentId>) -> Option<RangeInclusive<u64>> {
        let first = self.state.log_first.0;
        let last = found.last().map_or(0, |id| id.0).max(self.state.log_newest.0);
        (first <= last).then_some(first..=last)
    }

    fn replay(&mut self, stored: &StoredSegment<'_>, end: u64) -> Result<()> {
        stored.visit(HEADER_BYTES as u64, end, &mut |position, table, mutation| {
            if position >= self.flushed(stored, position, table)? {
                let tree = &self.trees[&table];
                if tree.active_bytes() >= self.options.memtable_bytes {
                    crate::sometimes!("replay filled a memtable");
                    tree.switch(position);
                }
                self.insert(position, table, mutation);
            } else {
                crate::sometimes!("replay skipped what was flushed");
            }
            Ok(())
        })
    }

    /// Inserts what was carried into the new segment, with its new position. All of it stays in the active
    /// memtables: the position of a switch must not lie within a group.
    fn insert_carried(&mut self, position: LogPosition, carried: Vec<(TableId, Mutation)>) {
        for (table, mutation) in carried {
            self.insert(position, table, mutation);
        }
    }

    fn insert(&mut self, position: LogPosition, table: TableId, mutation: Mutation) {
        let grown = self.trees[&table].insert(position, memtable::detached(mutation));
        self.memtable_bytes = self.memtable_bytes.wrapping_add_signed(grown);
    }

    /// Where replay starts for a table.
    fn flushed(
        &self,
        stored: &StoredSegment<'_>,
        position: LogPosition,
        table: TableId,
    ) -> Result<LogPosition> {
        let live = self.state.tables.get(&table).ok_or_else(|| {
            stored.corrupt(
                position.offset,
                &format!("a mutation of table {}, which was never created", table.0),
            )
        })?;
        Ok(live.flushed)
    }
}

/// Removes what a crash left behind and nothing refers to. None of it needs to be durable: whatever comes
/// back is removed next time.
fn remove_orphans(disk: &dyn Disk, directory: &Path, names: &[String], state: &LiveState) -> Result<()> {
    let live: BTreeSet<FileId> =
        state.tables.values().flat_map(|table| table.files.keys().copied()).collect();
    let is_orphan = |name: &str| {
        // The one in use was created after the names were listed.
        manifest::parse_file_name(name).is_some()
            || segment::parse_file_name(name).is_some_and(|id| id < state.log_first)
            || parse_table_name(name).is_some_and(|id| !live.contains(&id))
    };
    remove(disk, directory, names.iter().filter(|name| is_orphan(name)))
}

fn remove<'a>(disk: &dyn Disk, directory: &Path, mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    names.try_for_each(|name| {
        crate::sometimes!("recovery removed an orphan");
        let path = directory.join(name);
        disk.remove(&path).map_err(|e| Error::io("remove", path, e))
    })
}

fn parse_table_name(name: &str) -> Option<FileId> {
    let id = FileId(u64::from_str_radix(name.strip_suffix(".sst")?, 16).ok()?);
    (TableReader::file_name(id) == name).then_some(id)
}
