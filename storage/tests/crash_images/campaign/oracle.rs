//! What was asked of an engine, what it promised, and whether another one that opened what was left keeps to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use helenus_storage::{Engine, Error, Mutation, Options, Record, SyncMode, TableId, Timestamp, TryGet};

/// Time after which merges take its value from what has expired, in microseconds.
const EXPIRY_MARGIN: u64 = 3600 * 1_000_000;

/// How much a write is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// It was refused: it is not there.
    Absent,
    /// It was queued: it may be there or not, but whole.
    None,
    /// Its ticket became ready.
    Acknowledged,
    /// And the sync mode says that it survives a power cut, or it was read after a restart.
    Durable,
}

/// Mutations that happen together.
#[derive(Debug, Clone)]
struct Write {
    rows: Vec<(TableId, Bytes, Record)>,
    promise: Promise,
    /// Starts of the engine before it.
    life: u32,
    /// The time when it was queued.
    at: u64,
}

/// A snapshot that was asked for.
#[derive(Debug, Clone)]
struct Kept {
    /// Whether it is certainly there.
    is_sure: bool,
    /// What was known when it was asked for.
    oracle: Arc<Oracle>,
}

/// Records of all tables.
pub(crate) type Tables = BTreeMap<TableId, BTreeMap<Bytes, Record>>;

/// Everything that was asked for, in the order of the commit log.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    sync_mode: SyncMode,
    gc_grace: Duration,
    /// The time, in microseconds.
    now: u64,
    writes: Vec<Write>,
    life: u32,
    /// Tables whose creation was tried, and whether it succeeded.
    tables: BTreeMap<TableId, bool>,
    /// Tables whose drop was tried, and whether it succeeded.
    dropped: BTreeMap<TableId, bool>,
    keys: BTreeMap<TableId, BTreeSet<Bytes>>,
    snapshots: BTreeMap<String, Kept>,
}

impl Oracle {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            sync_mode: options.sync_mode,
            gc_grace: options.table.gc_grace,
            now: 0,
            writes: Vec::new(),
            life: 0,
            tables: BTreeMap::new(),
            dropped: BTreeMap::new(),
            keys: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        }
    }

    pub(crate) fn time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub(crate) fn table_drop_started(&mut self, table: TableId) {
        self.dropped.entry(table).or_insert(false);
    }

    pub(crate) fn table_dropped(&mut self, table: TableId) {
        self.dropped.insert(table, true);
    }

    pub(crate) fn snapshot_started(&mut self, name: &str) {
        let oracle = Arc::new(Self { snapshots: BTreeMap::new(), ..self.clone() });
        self.snapshots.insert(name.to_owned(), Kept { is_sure: false, oracle });
    }

    pub(crate) fn snapshot_made(&mut self, name: &str) {
        self.snapshots.entry(name.to_owned()).and_modify(|kept| kept.is_sure = true);
    }

    /// Its removal begins; whether it was certainly there.
    pub(crate) fn snapshot_clearing(&mut self, name: &str) -> bool {
        self.snapshots.get_mut(name).is_some_and(|kept| std::mem::replace(&mut kept.is_sure, false))
    }

    pub(crate) fn snapshot_cleared(&mut self, name: &str) {
        self.snapshots.remove(name);
    }

    /// What was known when a snapshot was asked for.
    pub(crate) fn of_snapshot(&self, name: &str) -> Option<Arc<Self>> {
        self.snapshots.get(name).map(|kept| Arc::clone(&kept.oracle))
    }

    /// All snapshots that are owed are there, and none that nobody asked for. Answers which are.
    pub(crate) fn check_snapshots(&self, engine: &Engine) -> Result<Vec<String>, String> {
        let there = engine.snapshots().map_err(|error| error.to_string())?;
        let there: Vec<_> = there.into_iter().map(|snapshot| snapshot.name).collect();
        if let Some(name) = there.iter().find(|name| !self.snapshots.contains_key(*name)) {
            return Err(format!("snapshot {name} was cleared, or never made"));
        }
        match self.snapshots.iter().find(|(name, kept)| kept.is_sure && !there.contains(name)) {
            Some((name, _)) => Err(format!("snapshot {name} is lost")),
            None => Ok(there),
        }
    }

    pub(crate) fn table_creation_started(&mut self, table: TableId) {
        self.tables.entry(table).or_insert(false);
    }

    pub(crate) fn table_created(&mut self, table: TableId) {
        self.tables.insert(table, true);
    }

    /// Notes a write that is about to be queued, and gives its number.
    pub(crate) fn queued(&mut self, batch: &[(TableId, Mutation)]) -> usize {
        let mut rows = Vec::new();
        for (table, mutation) in batch {
            for (suffix, record) in &mutation.rows {
                let key = Bytes::from([&mutation.key[..], &suffix[..]].concat());
                self.keys.entry(*table).or_default().insert(key.clone());
                rows.push((*table, key, record.clone()));
            }
        }
        self.writes.push(Write { rows, promise: Promise::None, life: self.life, at: self.now });
        self.writes.len() - 1
    }

    pub(crate) fn acknowledged(&mut self, number: usize) {
        self.writes[number].promise = match self.sync_mode {
            SyncMode::Periodic => Promise::Acknowledged,
            _ => Promise::Durable,
        };
    }

    /// The engine said that it is certainly not applied.
    pub(crate) fn refused(&mut self, number: usize) {
        self.writes[number].promise = Promise::Absent;
    }

    /// A sync succeeded: what was acknowledged before is durable now.
    pub(crate) fn synced(&mut self) {
        for write in &mut self.writes {
            if write.promise == Promise::Acknowledged {
                write.promise = Promise::Durable;
            }
        }
    }

    /// The power went: what was only acknowledged is not owed any more.
    pub(crate) fn power_cut(&mut self) {
        for write in &mut self.writes {
            if write.promise == Promise::Acknowledged {
                write.promise = Promise::None;
            }
        }
    }

    /// The engine was opened anew and found this: it is durable, whatever it was before. Of what was not found
    /// nothing is owed any more.
    pub(crate) fn recovered(&mut self, found: &Tables, snapshots: &[String]) {
        self.life += 1;
        self.snapshots.retain(|name, _| snapshots.contains(name));
        self.snapshots.values_mut().for_each(|kept| kept.is_sure = true);
        for (table, is_dropped) in &mut self.dropped {
            *is_dropped |= !found.contains_key(table);
        }
        let now = self.now;
        for write in &mut self.writes {
            if write.promise == Promise::Absent {
                continue;
            }
            let is_seen = write.rows.iter().any(|(table, key, record)| {
                found
                    .get(table)
                    .and_then(|table| table.get(key))
                    .is_some_and(|found| is_of(found, record, now))
            });
            if is_seen {
                write.promise = Promise::Durable;
            } else if write.promise == Promise::Acknowledged {
                // It may be hidden by one that superseded it.
                write.promise = Promise::None;
            }
        }
        for table in found.keys() {
            self.tables.insert(*table, true);
        }
    }

    /// How many writes are promised at least so firmly.
    pub(crate) fn promised(&self, promise: Promise) -> usize {
        self.writes.iter().filter(|write| write.promise >= promise).count()
    }

    /// Whether the engine keeps all that was promised at least so firmly, and has invented nothing. Answers what it
    /// has.
    pub(crate) fn check(&self, engine: &Engine, kept: Promise) -> Result<Tables, String> {
        let tables = self.read_tables(engine)?;
        let found = |table: &TableId, key: &Bytes| tables.get(table).and_then(|table| table.get(key));

        let mut written = 0;
        let mut last_seen = BTreeMap::new();
        for (number, write) in self.writes.iter().enumerate() {
            for (table, key, record) in &write.rows {
                if !found(table, key).is_some_and(|found| is_of(found, record, self.now)) {
                    continue;
                }
                if write.promise == Promise::Absent {
                    return Err(format!(
                        "write {number} was refused, and {key:?} of table {} is there",
                        table.0
                    ));
                }
                written += 1;
                // A log has no holes, and what happens together is seen together.
                last_seen.insert(write.life, number);
            }
        }
        // No two writes have the same timestamp, so each record comes from one row.
        if written != tables.values().map(BTreeMap::len).sum::<usize>() {
            return Err(self.describe_invention(&tables));
        }
        for (number, write) in self.writes.iter().enumerate() {
            let before_one_seen = last_seen.get(&write.life).is_some_and(|last| number <= *last);
            if write.promise == Promise::Absent || (write.promise < kept && !before_one_seen) {
                continue;
            }
            for (table, key, record) in &write.rows {
                let found = found(table, key);
                let is_gone = self.dropped.contains_key(table) && !tables.contains_key(table);
                let is_kept = |found: &Record| is_of(found, record, self.now) || found.supersedes(record);
                if !is_gone && !found.is_some_and(is_kept) && !self.was_purged(*table, key, record, found) {
                    let why = if write.promise >= kept { "promised" } else { "a hole: later ones are there" };
                    let place = format!("write {number} of table {}, {key:?}", table.0);
                    return Err(format!("{place} ({why}): {record:?} is lost, found {found:?}"));
                }
            }
        }
        Ok(tables)
    }

    /// Whether merges may have purged what hid a record, or the record itself: before now if nothing is found, or, if
    /// something older is, before that was queued.
    fn was_purged(&self, table: TableId, key: &Bytes, record: &Record, found: Option<&Record>) -> bool {
        let rows =
            |write: &Write| write.rows.clone().into_iter().filter(|row| row.0 == table && row.1 == *key);
        let source = |found: &Record| {
            self.writes.iter().position(|write| rows(write).any(|row| is_of(found, &row.2, self.now)))
        };
        let (end, at) = match found.map(source) {
            None => (self.writes.len(), self.now),
            Some(Some(number)) => (number, self.writes[number].at),
            Some(None) => return false,
        };
        let hides = |row: &(TableId, Bytes, Record)| row.2 == *record || row.2.supersedes(record);
        let could_go = |write: &Write| rows(write).any(|row| hides(&row) && self.is_past_grace(&row.2, at));
        self.writes[..end].iter().any(|write| write.promise > Promise::Absent && could_go(write))
    }

    fn is_past_grace(&self, record: &Record, now: u64) -> bool {
        let Some(end) = record.end() else { return false };
        end.max(record.timestamp).0 < now.saturating_sub(self.gc_grace.as_micros() as u64)
    }

    /// Whether merges that run now may leave this of a record.
    pub(crate) fn may_be_left(&self, record: &Record, found: Option<&Record>) -> bool {
        found.map_or_else(|| self.is_past_grace(record, self.now), |found| is_of(found, record, self.now))
    }

    fn describe_invention(&self, tables: &Tables) -> String {
        let rows = self.writes.iter().flat_map(|write| &write.rows);
        let written: BTreeSet<_> = rows.map(|(table, key, record)| (table, key, record.timestamp)).collect();
        for (id, table) in tables {
            for (key, record) in table {
                if !written.contains(&(id, key, record.timestamp)) {
                    return format!("table {} invented {key:?}: {record:?}", id.0);
                }
            }
        }
        "a record is not what was written under its timestamp".to_owned()
    }

    /// All records of all tables, read in every way there is.
    pub(crate) fn read_tables(&self, engine: &Engine) -> Result<Tables, String> {
        let text = |error: Error| error.to_string();
        let live = engine.tables();
        if let Some(table) = live.iter().find(|table| !self.tables.contains_key(table)) {
            return Err(format!("table {} was never created", table.0));
        }
        if let Some(table) = live.iter().find(|table| self.dropped.get(table) == Some(&true)) {
            return Err(format!("table {} is back", table.0));
        }
        let is_lost = |table: &TableId| !live.contains(table) && !self.dropped.contains_key(table);
        if let Some((table, _)) = self.tables.iter().find(|(table, created)| **created && is_lost(table)) {
            return Err(format!("table {} is lost", table.0));
        }
        let mut tables = BTreeMap::new();
        for id in live {
            let everything = (Bound::Unbounded, Bound::Unbounded);
            let table: BTreeMap<_, _> =
                engine.scan(id, everything, usize::MAX).map_err(text)?.into_iter().collect();
            for key in self.keys.get(&id).into_iter().flatten() {
                let found = engine.get(id, key).map_err(text)?;
                if found.as_ref() != table.get(key) {
                    return Err(format!("{key:?}: get says {found:?}, scan says {:?}", table.get(key)));
                }
                let quick = engine.try_get(id, key).map_err(text)?;
                if !matches!(&quick, TryGet::Cold) && quick != TryGet::Ready(found.clone()) {
                    return Err(format!("{key:?}: get says {found:?}, try_get says {quick:?}"));
                }
            }
            if engine.is_empty(id).map_err(text)? != table.is_empty() {
                return Err(format!("table {} is wrong about being empty", id.0));
            }
            let newest = table.values().map(|record| record.timestamp).max();
            if engine.newest_timestamp(id).map_err(text)? < newest {
                return Err(format!("table {} has records newer than it knows", id.0));
            }
            tables.insert(id, table);
        }
        Ok(tables)
    }
}

/// Whether this is the record, or what merges make of it once it has expired for everyone.
fn is_of(found: &Record, record: &Record, now: u64) -> bool {
    found == record || *found == record.clone().as_of(Timestamp(now.saturating_sub(EXPIRY_MARGIN)))
}
