//! Opening a data directory: what is on disk becomes an engine's state again.
//!
//! In this order: lock; remove temporary files; read the manifest; open every live SSTable; replay the commit
//! log. Then the engine begins ([`begin`]): write a new manifest; start a new segment, whose first frame says where the
//! old log ends; only then remove what else is left over. Nothing that was there is written to; only a last segment
//! that holds nothing but what it was born with is replaced by its like. So a crash at any point, and any number of
//! them, leads back here with the same outcome.
//!
//! What is read takes no room. Where there is none to begin, reads are served from what was found, and the engine
//! begins before the first write that finds room. Rejected: a file kept in reserve, to be freed at such an opening.
//! Nobody can promise that its room is not taken by others first.
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
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use crate::{
    commit_log::{
        group::Batch,
        header::HEADER_BYTES,
        replay::{StoredSegment, Tail},
        segment::{self, LogPosition, SegmentId, Start},
        writer::{LogWriter, Segments},
    },
    disk::{Disk, LockGuard},
    error::{Error, Result, SYNC_DIRECTORY},
    manifest::{self, Edit, LiveState, Manifest},
    memtable::Writer,
    options::{Options, SyncMode},
    record::Mutation,
    snapshot,
    sstable::{self, BlockCache, FileId, TableFile, TableReader},
    table_id::TableId,
    tree::Tree,
};

/// Whose lock is that of the data directory.
pub(crate) const LOCK_FILE: &str = "lock";
const TEMPORARY_SUFFIX: &str = ".tmp";
/// Mutations that replay inserts before it looks whether memtables are full.
const INSERTED_AT_ONCE: usize = 8192;
/// So many take longer than a thread takes to start.
const WORTH_A_THREAD: usize = 1024;

/// What an engine starts with.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Held as long as the engine uses the directory.
    pub(crate) lock: Box<dyn LockGuard>,
    /// The one found; a fresh one in a new directory.
    pub(crate) manifest: Manifest,
    /// All tables, with what was replayed in their memtables.
    pub(crate) trees: BTreeMap<TableId, Arc<Tree>>,
    /// At the start of a segment that is still to be made.
    pub(crate) log: LogWriter,
    /// The first segment that is needed.
    pub(crate) log_first: SegmentId,
    /// The files that were found.
    pub(crate) found: Vec<String>,
    /// Bytes that replay put into memtables.
    pub(crate) memtable_bytes: Arc<AtomicUsize>,
    /// What an operator may want to know.
    pub(crate) remarks: Vec<String>,
}

/// Reads a data directory, or starts one.
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
    let is_temporary =
        |name: &&String| name.ends_with(TEMPORARY_SUFFIX) || name.ends_with(segment::SPARE_SUFFIX);
    remove(&**disk, directory, names.iter().filter(is_temporary))?;
    let segments: BTreeSet<_> = names.iter().filter_map(|name| segment::parse_file_name(name)).collect();
    let manifest = find_manifest(disk, directory, &names)?;
    let state = manifest.state();

    let memtable_bytes = Arc::default();
    let trees = open_trees(&**disk, directory, state, options, cache, &memtable_bytes)?;
    let mut replay = Replay { state, trees: &trees, options, read: Vec::new(), remarks: Vec::new() };
    let end = replay.run(&**disk, directory, &segments)?;
    let segments = Segments {
        disk: Arc::clone(disk),
        directory: directory.into(),
        segment_bytes: options.segment_bytes,
        are_filled: options.sync_mode != SyncMode::Periodic,
        opening: manifest.opening(),
    };
    let log = segments.first(end.next, end.start, &end.carried.batches);
    replay.insert_carried(log.start(), end.carried.needed);
    let mut remarks = replay.remarks;

    let first = trees.values().filter_map(|tree| tree.view().first_position()).map(|at| at.segment).min();
    let log_first = first.unwrap_or(log.segment());
    let foreign = snapshot::tidy(disk, directory)?;
    remarks.extend(foreign.iter().map(|path| format!("{} is no snapshot, and left alone", path.display())));
    Ok(Recovered { lock, manifest, trees, log, log_first, found: names, memtable_bytes, remarks })
}

/// Makes what writing needs, and removes what is left over then. `found` is what there was before the opening.
///
/// # Errors
/// [`Error::StorageFull`], [`Error::TooManyFiles`]: it can be tried again. [`Error::Io`].
pub(crate) fn begin(
    disk: &dyn Disk,
    directory: &Path,
    (manifest, log): (&mut Manifest, &mut LogWriter),
    log_first: SegmentId,
    found: &[String],
) -> Result<()> {
    // What the old manifest says may be in the page cache only, like the end of the log, and the new segment
    // will leave out what it calls flushed: so first the manifest.
    manifest.reserve_small()?;
    log.begin()?;
    // One that was prepared may be newer; it is there, and will be made again.
    let newest = log.segment().max(manifest.state().log_newest);
    manifest.append(&[Edit::Log { first: log_first, newest }])?;
    remove_orphans(disk, directory, found, manifest.state())
}

/// Makes durable what was found, for an opening that has no room to write it anew: what is read from here on may be in
/// the page cache only, and must not go with the power.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn sync_found(disk: &dyn Disk, directory: &Path, found: &[String]) -> Result<()> {
    let is_log = |name: &&String| {
        segment::parse_file_name(name).is_some() || manifest::parse_file_name(name).is_some()
    };
    for name in found.iter().filter(is_log) {
        let path = directory.join(name);
        let file = disk.open_to_read(&path).map_err(|e| Error::io("open", &path, e))?;
        file.sync_data().map_err(|e| Error::io("sync", path, e))?;
    }
    disk.sync_dir(directory).map_err(|e| Error::io(SYNC_DIRECTORY, directory, e))
}

/// The newest manifest; none at all is fine in a directory where nothing was ever stored.
fn find_manifest(disk: &Arc<dyn Disk>, directory: &Path, names: &[String]) -> Result<Manifest> {
    if let Some(number) = names.iter().filter_map(|name| manifest::parse_file_name(name)).max() {
        return Manifest::open(Arc::clone(disk), directory, number);
    }
    // The first manifest is durable before the first segment is created.
    let is_stored =
        |name: &str| sstable::parse_name(name).is_some() || segment::parse_file_name(name).is_some();
    let stored = names.iter().find(|name| is_stored(name));
    match stored {
        Some(name) => Err(missing(directory, &format!("a manifest (there is {name})"))),
        None => Manifest::create(Arc::clone(disk), directory, 1, LiveState::default()),
    }
}

fn open_trees(
    disk: &dyn Disk,
    directory: &Path,
    state: &LiveState,
    options: &Options,
    cache: &Arc<BlockCache>,
    memtable_bytes: &Arc<AtomicUsize>,
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
        trees.insert(table, Arc::new(Tree::new(tables, live.options.clone(), memtable_bytes)));
    }
    Ok(trees)
}

fn missing(path: &Path, what: &str) -> Error {
    Error::Corrupt { path: path.into(), offset: 0, what: format!("missing: {what}") }
}

/// Where the old log ends and the new one begins.
#[derive(Debug)]
struct LogEnd {
    /// The segment to go on in. If there is one of that id, the new one holds the same: the name of the old may not
    /// be durable, when the sync of the directory failed, and that of the new one will be.
    next: SegmentId,
    /// Where those before it end from now on.
    start: Start,
    carried: Carried,
}

/// What was valid behind the end.
#[derive(Debug, Default)]
struct Carried {
    /// What the new segment begins with.
    batches: Vec<Batch>,
    /// What of it is not in an SSTable.
    needed: Batch,
}

/// What becomes of doubtful mutations that are in an SSTable already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    LeftOut,
    /// So that all keeps its position.
    Carried,
}

/// Puts the commit log back into the memtables.
#[derive(Debug)]
struct Replay<'a> {
    state: &'a LiveState,
    trees: &'a BTreeMap<TableId, Arc<Tree>>,
    options: &'a Options,
    /// What was read and is not inserted yet.
    read: Vec<(LogPosition, TableId, Mutation)>,
    remarks: Vec<String>,
}

impl Replay<'_> {
    /// Replays every segment that is needed. What that puts into memory is what memtables held before, so
    /// [`Options::memtable_total_bytes`] bounds it.
    fn run(&mut self, disk: &dyn Disk, directory: &Path, found: &BTreeSet<SegmentId>) -> Result<LogEnd> {
        let Some(needed) = self.needed(found) else {
            let next = self.state.log_newest.next();
            return Ok(LogEnd { next, start: Start::default(), carried: Carried::default() });
        };
        if let Some(lost) = needed.clone().map(SegmentId).find(|id| !found.contains(id)) {
            let path = directory.join(segment::file_name(lost));
            return Err(missing(&path, "a segment of the commit log that is still needed"));
        }
        let (first, newest) = (SegmentId(*needed.start()), SegmentId(*needed.end()));
        let mut start = segment::read_start(disk, directory, first)?;
        let mut id = first;
        while id < newest {
            let next = segment::read_start(disk, directory, id.next())?;
            let end = match next {
                Some(next) => next.predecessor_end,
                None if id.next() < newest => self.end_before_lost_start(disk, directory, id)?,
                None => {
                    self.refuse_used(disk, directory, newest)?;
                    return self.replay_last(disk, directory, (id, newest), start);
                }
            };
            let path = directory.join(segment::file_name(id));
            self.replay(&StoredSegment::read(disk, &path, id)?, end)?;
            (id, start) = (id.next(), next);
        }
        self.replay_last(disk, directory, (id, newest), start)
    }

    /// The end of a segment whose successor has no valid first frame, from the one that recovery began behind that.
    fn end_before_lost_start(&self, disk: &dyn Disk, directory: &Path, id: SegmentId) -> Result<u64> {
        let (lost, witness) = (id.next(), id.next().next());
        match segment::read_start(disk, directory, witness)? {
            Some(Start { predecessor_end, before_end }) if predecessor_end <= HEADER_BYTES as u64 => {
                crate::sometimes!("a segment never became durable");
                Ok(before_end)
            }
            _ => {
                let what = "no valid first frame, though the log goes on behind it".into();
                Err(Error::Corrupt {
                    path: directory.join(segment::file_name(lost)),
                    offset: HEADER_BYTES as u64,
                    what,
                })
            }
        }
    }

    /// The newest segment has no valid first frame: it was prepared and never used, or not yet durably. So nothing in
    /// it may say that it was durable.
    fn refuse_used(&self, disk: &dyn Disk, directory: &Path, id: SegmentId) -> Result<()> {
        crate::sometimes!("a segment was prepared and not used");
        let path = directory.join(segment::file_name(id));
        let stored = StoredSegment::read(disk, &path, id)?;
        // What it was born with has to be there.
        stored.visit(HEADER_BYTES as u64, stored.born(), &mut |_, _| Ok(()))?;
        stored.refuse_rot(HEADER_BYTES as u64)
    }

    /// Replays the last segment that was used, of which the newest may be the successor.
    fn replay_last(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        (id, newest): (SegmentId, SegmentId),
        start: Option<Start>,
    ) -> Result<LogEnd> {
        let path = directory.join(segment::file_name(id));
        let stored = StoredSegment::read(disk, &path, id)?;
        let tail = stored.tail()?;
        // What is in an SSTable was durable in the log before.
        let flushed = self.state.tables.values().map(|live| live.flushed).filter(|at| at.segment == id);
        if let Some(lost) = flushed.map(|at| at.offset).max().filter(|&offset| offset > tail.end) {
            let what = format!("no valid frame, though the manifest says that data was durable up to {lost}");
            return Err(stored.corrupt(tail.end, &what));
        }
        if let Some(bytes) = stored.torn_bytes(tail.end) {
            let path = path.display();
            self.remarks.push(format!(
                "{path}: a group of {bytes} bytes at offset {} was written in part, and is left out: nobody was told \
                 that it is durable",
                tail.end
            ));
        }
        if let Some(start) = start.filter(|_| self.is_unused(&stored, tail)) {
            crate::sometimes!("the newest segment was not used since its birth");
            let carried = self.doubtful(&stored, (HEADER_BYTES as u64, tail.end), Flushed::Carried)?;
            return Ok(LogEnd { next: id, start, carried });
        }
        self.replay(&stored, tail.durable)?;
        let carried = self.doubtful(&stored, (tail.durable, tail.end), Flushed::LeftOut)?;
        let before_end = start.map_or(0, |start| start.predecessor_end);
        let start = Start { predecessor_end: tail.durable, before_end };
        Ok(if newest == id {
            LogEnd { next: newest.next(), start, carried }
        } else if newest > self.state.log_newest {
            // Nothing was written to it before the manifest knew it, and its name may not be durable.
            LogEnd { next: newest, start, carried }
        } else {
            let start = Start { predecessor_end: HEADER_BYTES as u64, before_end: tail.durable };
            LogEnd { next: newest.next(), start, carried }
        })
    }

    /// Whether a segment that recovery began holds nothing but what it was born with. Positions in it mean the same in
    /// its like then, provided that no table was flushed beyond: what was lost from there would be missed again.
    fn is_unused(&self, stored: &StoredSegment<'_>, tail: Tail) -> bool {
        let born = stored.position(stored.born());
        tail.end == born.offset && self.state.tables.values().all(|live| live.flushed <= born)
    }

    /// What is valid in a part of the log that may not be durable.
    fn doubtful(
        &mut self,
        stored: &StoredSegment<'_>,
        (from, to): (u64, u64),
        flushed: Flushed,
    ) -> Result<Carried> {
        let mut carried = Carried::default();
        stored.visit(from, to, &mut |position, batch| {
            let mut needed = Vec::new();
            for (table, mutation) in &batch {
                if self.is_needed(stored, position, *table)? {
                    needed.push((*table, mutation.clone()));
                } else {
                    crate::sometimes!("a doubtful mutation was flushed already, or its table dropped");
                }
            }
            match flushed {
                Flushed::Carried => carried.batches.push(batch),
                Flushed::LeftOut if !needed.is_empty() => carried.batches.push(needed.clone()),
                Flushed::LeftOut => {}
            }
            if !needed.is_empty() {
                crate::sometimes!("doubtful mutations were carried over");
            }
            carried.needed.append(&mut needed);
            Ok(())
        })?;
        Ok(carried)
    }

    /// From the first segment that the manifest needs to the last there is, or should be.
    fn needed(&self, found: &BTreeSet<SegmentId>) -> Option<RangeInclusive<u64>> {
        let first = self.state.log_first.0;
        let last = found.last().map_or(0, |id| id.0).max(self.state.log_newest.0);
        (first <= last).then_some(first..=last)
    }

    fn replay(&mut self, stored: &StoredSegment<'_>, end: u64) -> Result<()> {
        stored.visit(HEADER_BYTES as u64, end, &mut |position, batch| {
            // All of a batch has one position, so none of it may miss the memtable of the others.
            if self.read.len() >= INSERTED_AT_ONCE {
                self.insert_read();
                self.switch_full(position);
            }
            for (table, mutation) in batch {
                if self.is_needed(stored, position, table)? {
                    self.read.push((position, table, mutation));
                } else {
                    crate::sometimes!("replay skipped what was flushed or dropped");
                }
            }
            Ok(())
        })?;
        self.insert_read();
        Ok(())
    }

    /// Switches memtables that are full, between two batches.
    fn switch_full(&self, position: LogPosition) {
        for tree in self.trees.values() {
            if tree.active_bytes() >= self.options.memtable_bytes {
                crate::sometimes!("replay filled a memtable");
                tree.switch(position);
            }
        }
    }

    /// Inserts what was carried into the new segment, with its new position. All of it stays in the active
    /// memtables: the position of a switch must not lie within a group.
    fn insert_carried(&mut self, position: LogPosition, carried: Batch) {
        self.read.extend(carried.into_iter().map(|(table, mutation)| (position, table, mutation)));
        self.insert_read();
    }

    /// Inserts what was read, by two threads when that is worth starting one: it takes most of the time of an
    /// opening, and neither the records nor their sum depend on the order.
    fn insert_read(&mut self) {
        let mut read = std::mem::take(&mut self.read);
        let trees = self.trees;
        // Before the threads do: positions ascend.
        let mut entered: BTreeMap<TableId, Writer> = BTreeMap::new();
        for (position, table, _) in &read {
            entered.entry(*table).or_insert_with(|| trees[table].enter(*position));
        }
        let insert = |read: Vec<(LogPosition, TableId, Mutation)>| {
            read.into_iter().for_each(|(_, table, mutation)| {
                entered[&table].insert(&mutation);
            });
        };
        if read.len() < WORTH_A_THREAD {
            return insert(read);
        }
        let other = read.split_off(read.len() / 2);
        thread::scope(|scope| {
            scope.spawn(|| insert(other));
            insert(read);
        });
    }

    /// Whether a mutation is neither in an SSTable already nor of a table that was dropped.
    fn is_needed(&self, stored: &StoredSegment<'_>, position: LogPosition, table: TableId) -> Result<bool> {
        match self.state.tables.get(&table) {
            Some(live) => Ok(position >= live.flushed),
            None if self.state.dropped.contains(table) => Ok(false),
            None => {
                let what = format!("a mutation of table {}, which was never created", table.0);
                Err(stored.corrupt(position.offset, &what))
            }
        }
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
            || sstable::parse_name(name).is_some_and(|id| !live.contains(&id))
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
