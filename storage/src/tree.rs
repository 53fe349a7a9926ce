//! One table: its memtables and live SSTables, seen and replaced as one.
//!
//! ```text
//! View   active memtable ─ switched memtables, newest first ─ SSTables, newest timestamp first
//!          │ switch          │ flush                            │ merge
//!          └───────────────► └────────────────────────────────► └─► fewer SSTables
//! ```
//!
//! A [`View`] never changes; every transition swaps in another one, so a reader sees each record at least
//! once, wherever it moves meanwhile (Cassandra calls it `Tracker.View`, RocksDB the `SuperVersion`).
//!
//! A get may not stop at the first hit, since records arrive in any order: a hint or a repair may put an old
//! timestamp into a new file. It reads all memtables, then SSTables from the newest timestamp down, until
//! what it has is newer than anything in those that are left. Strictly newer: with equal timestamps the kind
//! or the bytes decide ([`Record::reconcile`]), so such a table has to be read.
//!
//! Before a table is read, its bounds are asked, then its filter; the key is hashed once, at the first filter.

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    commit_log::segment::LogPosition,
    error::Result,
    memtable::{Memtable, MemtableIter, Writer},
    merge::{Source, merge_lazily},
    read_costs::{CostMeter, ReadCost, ReadCosts},
    record::{Record, Timestamp},
    scan::{ScanLimits, ScanPage},
    sstable::{Cached, FileId, KeyHash, Stats, TableIter, TableReader},
    table_options::TableOptions,
};

/// Answer of a read that must not block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryGet {
    /// The newest record, tombstones included; `None` when the table has never seen the key.
    Ready(Option<Record>),
    /// A block of an SSTable has to be read: call [`Engine::get`](crate::Engine::get) where blocking is allowed.
    Cold,
}

/// A table of the engine.
#[derive(Debug)]
pub(crate) struct Tree {
    view: ArcSwap<View>,
    /// Unless it goes by [`Options::table`](crate::Options::table).
    options: ArcSwapOption<TableOptions>,
    /// Size of the SSTables that flushes write lately; zero before the first.
    flush_bytes: AtomicU64,
    /// First position of the active memtable when its age was last asked for, and when it was first seen to have it.
    seen: Mutex<Option<(LogPosition, Duration)>>,
    /// What reads of single keys have cost.
    costs: CostMeter,
}

/// Where the records of a table are, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Takes new records.
    pub(crate) active: Arc<Memtable>,
    /// Wait to be flushed, newest first.
    pub(crate) switched: Vec<Switched>,
    /// Live SSTables, those with the newest timestamp first.
    pub(crate) tables: Vec<Arc<TableReader>>,
}

/// A memtable that takes no more records.
#[derive(Debug, Clone)]
pub(crate) struct Switched {
    /// The memtable.
    pub(crate) memtable: Arc<Memtable>,
    /// All records of the table that were logged before this are in here, or in something older.
    pub(crate) end: LogPosition,
}

impl Tree {
    /// A table with these SSTables and nothing in memory; what its memtables will take is accounted for in
    /// `memtable_bytes`.
    pub(crate) fn new(
        mut tables: Vec<Arc<TableReader>>,
        options: Option<TableOptions>,
        memtable_bytes: &Arc<AtomicUsize>,
    ) -> Self {
        newest_first(&mut tables);
        let active = Arc::new(Memtable::new(Arc::clone(memtable_bytes)));
        let view = View { active, switched: Vec::new(), tables };
        Self {
            view: ArcSwap::from_pointee(view),
            options: ArcSwapOption::from_pointee(options),
            flush_bytes: AtomicU64::new(0),
            seen: Mutex::default(),
            costs: CostMeter::default(),
        }
    }

    /// The options that it was given.
    pub(crate) fn options(&self) -> Option<Arc<TableOptions>> {
        self.options.load_full()
    }

    /// Replaces its options.
    pub(crate) fn set_options(&self, options: TableOptions) {
        self.options.store(Some(Arc::new(options)));
    }

    /// Size of an SSTable that a flush writes, as far as it is known.
    pub(crate) fn flush_bytes(&self) -> u64 {
        let smallest = || self.view.load().tables.iter().map(|table| table.file().length_bytes).min();
        match self.flush_bytes.load(Ordering::Relaxed) {
            0 => smallest().unwrap_or(1),
            known => known,
        }
    }

    /// What it is made of right now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Lets a writer into the active memtable, see [`Memtable::enter`]. For the holder of the log's lock.
    pub(crate) fn enter(&self, position: LogPosition) -> Writer {
        self.view.load().active.enter(position)
    }

    /// Bytes of the active memtable.
    pub(crate) fn active_bytes(&self) -> usize {
        self.view.load().active.bytes()
    }

    /// Whether the active memtable was seen to hold something at least `age` before `now`. Asked again and again, as
    /// time goes on: a memtable's age begins with the first time that it is seen.
    pub(crate) fn is_older(&self, age: Duration, now: Duration) -> bool {
        let mut seen = self.seen.lock();
        let first = self.view.load().active.first_position();
        let since = match (*seen, first) {
            (_, None) => return false,
            (Some((known, since)), Some(first)) if known == first => since,
            (_, Some(first)) => {
                *seen = Some((first, now));
                now
            }
        };
        now.saturating_sub(since) >= age
    }

    /// Replaces the active memtable by an empty one, unless it is empty already; `end` is where the log ends.
    /// For the holder of the log's lock: nobody is entering.
    pub(crate) fn switch(&self, end: LogPosition) -> bool {
        if self.view.load().active.is_empty() {
            return false;
        }
        self.view.rcu(|view| {
            let mut next = View::clone(view);
            let empty = Arc::new(next.active.successor());
            let memtable = std::mem::replace(&mut next.active, empty);
            next.switched.insert(0, Switched { memtable, end });
            next
        });
        true
    }

    /// Replaces the oldest switched memtable, which must be this one, by the SSTable it was written to.
    pub(crate) fn flushed(&self, memtable: &Arc<Memtable>, table: Option<&Arc<TableReader>>) {
        self.view.rcu(|view| {
            let mut next = View::clone(view);
            next.switched.retain(|switched| !Arc::ptr_eq(&switched.memtable, memtable));
            next.tables.extend(table.map(Arc::clone));
            newest_first(&mut next.tables);
            next
        });
        if let Some(size) = table.map(|table| table.file().length_bytes) {
            let known = self.flush_bytes.load(Ordering::Relaxed);
            let next = if known == 0 { size } else { known - known / 4 + size / 4 };
            self.flush_bytes.store(next, Ordering::Relaxed);
        }
    }

    /// Replaces SSTables by what they were merged into.
    pub(crate) fn merged(&self, inputs: &[FileId], outputs: &[Arc<TableReader>]) {
        self.view.rcu(|view| {
            let mut next = View::clone(view);
            next.tables.retain(|table| !inputs.contains(&table.file().id));
            next.tables.extend(outputs.iter().map(Arc::clone));
            newest_first(&mut next.tables);
            next
        });
    }

    /// What reads of single keys have cost so far.
    pub(crate) fn read_costs(&self) -> ReadCosts {
        self.costs.read()
    }

    /// The newest record of a storage key; may block.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        let view = self.view.load();
        let mut newest = view.get_from_memory(key);
        let (mut hash, mut cost) = (None, ReadCost::default());
        for table in &view.tables {
            if is_unbeatable(newest.as_ref(), table) {
                crate::sometimes!("older tables were not read");
                break;
            }
            if !table.may_contain(key, || *hash.get_or_insert_with(|| KeyHash::of(key))) {
                cost.spared += 1;
                continue;
            }
            cost.looked_into += 1;
            if let Some(record) = table.get(key)? {
                newest = reconcile(newest, record);
            } else {
                crate::sometimes!("a filter was wrong about a key");
                cost.in_vain += 1;
            }
        }
        self.costs.record(&cost);
        Ok(newest)
    }

    /// The newest record of a storage key, if no SSTable has to be read to know it.
    pub(crate) fn try_get(&self, key: &[u8]) -> Result<TryGet> {
        let view = self.view.load();
        let mut newest = view.get_from_memory(key);
        let (mut hash, mut cost) = (None, ReadCost::default());
        for table in &view.tables {
            if is_unbeatable(newest.as_ref(), table) {
                break;
            }
            if !table.may_contain(key, || *hash.get_or_insert_with(|| KeyHash::of(key))) {
                cost.spared += 1;
                continue;
            }
            cost.looked_into += 1;
            match table.get_cached(key)? {
                Cached::Known(Some(record)) => newest = reconcile(newest, record),
                Cached::Known(None) => cost.in_vain += 1,
                // Whoever reads it from the disk counts.
                Cached::Cold => return Ok(TryGet::Cold),
            }
        }
        self.costs.record(&cost);
        Ok(TryGet::Ready(newest))
    }

    /// The newest records of several storage keys, in their order; may block.
    pub(crate) fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Record>>> {
        let view = self.view.load();
        let mut newest: Vec<_> = keys.iter().map(|key| view.get_from_memory(key)).collect();
        let hashes: Vec<_> = keys.iter().map(|key| KeyHash::of(key)).collect();
        let mut ascending: Vec<_> = (0..keys.len()).collect();
        ascending.sort_unstable_by_key(|&number| keys[number]);
        for table in &view.tables {
            ascending.retain(|&number| !is_unbeatable(newest[number].as_ref(), table));
            let wanted = ascending.iter().map(|&number| (number, keys[number]));
            let wanted = wanted.filter(|&(number, key)| table.may_contain(key, || hashes[number]));
            table.get_each(wanted, |number, record| {
                newest[number] = reconcile(newest[number].take(), record);
            })?;
        }
        Ok(newest)
    }

    /// A page of the newest records in the range, ascending; may block.
    pub(crate) fn scan(&self, range: (Bound<&[u8]>, Bound<&[u8]>), limits: &ScanLimits) -> Result<ScanPage> {
        if limits.items == 0 || is_empty_range(range) {
            return Ok(ScanPage::EMPTY);
        }
        let view = self.view.load_full();
        let mut sources = Vec::new();
        for memtable in view.memtables().filter(|memtable| !memtable.is_empty()) {
            sources.push((Bytes::new(), Part::Memtable(memtable.walk(range))));
        }
        for table in &view.tables {
            let Stats { first_key, last_key, .. } = table.stats();
            if overlaps(range, first_key, last_key) {
                sources.push((first_key.clone(), Part::Table(table.range(range))));
            }
        }
        ScanPage::fill(merge_lazily(sources), limits)
    }
}

impl View {
    /// Whether no record is anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        // An SSTable without records is never written, and a memtable without is never switched.
        self.active.is_empty() && self.switched.is_empty() && self.tables.is_empty()
    }

    /// The newest write timestamp of all records.
    pub(crate) fn newest_timestamp(&self) -> Option<Timestamp> {
        self.active.newest_timestamp().max(self.newest_elsewhere())
    }

    /// That of the records that are not in the active memtable.
    pub(crate) fn newest_elsewhere(&self) -> Option<Timestamp> {
        let switched = self.switched.iter().filter_map(|switched| switched.memtable.newest_timestamp());
        switched.chain(self.tables.first().map(|table| table.stats().max_timestamp)).max()
    }

    /// Position of the oldest record that is in no SSTable yet, or one before it.
    pub(crate) fn first_position(&self) -> Option<LogPosition> {
        self.memtables().filter_map(|memtable| memtable.first_position()).min()
    }

    /// All memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&*self.active).chain(self.switched.iter().map(|switched| &*switched.memtable))
    }

    fn get_from_memory(&self, key: &[u8]) -> Option<Record> {
        let memtables = self.memtables().filter(|memtable| !memtable.is_empty());
        memtables.filter_map(|memtable| memtable.get(key)).reduce(Record::reconcile)
    }
}

/// What a scan goes through.
enum Part<'a> {
    Memtable(MemtableIter<'a>),
    Table(TableIter),
}

impl Source for Part<'_> {
    fn advance(&mut self) -> Result<bool> {
        match self {
            Self::Memtable(memtable) => memtable.advance(),
            Self::Table(table) => table.advance(),
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Memtable(memtable) => memtable.key(),
            Self::Table(table) => table.key(),
        }
    }

    fn record(&self) -> Result<Record> {
        match self {
            Self::Memtable(memtable) => memtable.record(),
            Self::Table(table) => table.record(),
        }
    }
}

fn newest_first(tables: &mut [Arc<TableReader>]) {
    tables.sort_by_key(|table| std::cmp::Reverse(table.stats().max_timestamp));
}

/// Whether nothing in this table, nor in one that sorts behind it, can win over what was found.
fn is_unbeatable(found: Option<&Record>, table: &TableReader) -> bool {
    found.is_some_and(|record| record.timestamp > table.stats().max_timestamp)
}

fn reconcile(found: Option<Record>, record: Record) -> Option<Record> {
    Some(match found {
        Some(found) => {
            if found.timestamp > record.timestamp {
                crate::sometimes!("a later read table held an older version");
            }
            found.reconcile(record)
        }
        None => record,
    })
}

/// Whether a key of the range can be among these.
fn overlaps(range: (Bound<&[u8]>, Bound<&[u8]>), first: &[u8], last: &[u8]) -> bool {
    let begins = match range.0 {
        Bound::Included(from) => from <= last,
        Bound::Excluded(from) => from < last,
        Bound::Unbounded => true,
    };
    begins
        && match range.1 {
            Bound::Included(to) => to >= first,
            Bound::Excluded(to) => to > first,
            Bound::Unbounded => true,
        }
}

/// Whether no key is in the range; ordered maps do not agree on what a reversed one means.
fn is_empty_range(range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match range {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}
