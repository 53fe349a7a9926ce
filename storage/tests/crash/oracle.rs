//! What was asked of an engine, what it promised, and whether another one that opened what was left keeps to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, Range},
};

use bytes::Bytes;
use helenus_storage::{Engine, Error, Mutation, Record, SyncMode, TableId, TryGet};

/// How much a mutation is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// It was refused: it is not there.
    Absent,
    /// It was queued: it may be there or not, but whole.
    None,
    /// Its ticket became ready.
    Acknowledged,
    /// And the sync mode says that it survives a power cut.
    Durable,
}

#[derive(Debug)]
struct Entry {
    table: TableId,
    mutation: Mutation,
    promise: Promise,
    /// Numbers of those that happen together with it.
    batch: Range<usize>,
}

impl Entry {
    fn rows(&self) -> impl Iterator<Item = (Bytes, &Record)> {
        self.mutation.rows.iter().map(|(suffix, record)| {
            let key = [&self.mutation.key[..], &suffix[..]].concat();
            (Bytes::from(key), record)
        })
    }
}

/// Everything that was asked for, in the order of the commit log.
#[derive(Debug)]
pub(crate) struct Oracle {
    sync_mode: SyncMode,
    entries: Vec<Entry>,
    /// Tables whose creation was tried, and whether it succeeded.
    tables: BTreeMap<TableId, bool>,
    /// Tables whose drop was tried, and whether it succeeded.
    dropped: BTreeMap<TableId, bool>,
}

type Table = BTreeMap<Bytes, Record>;

impl Oracle {
    pub(crate) fn new(sync_mode: SyncMode) -> Self {
        Self { sync_mode, entries: Vec::new(), tables: BTreeMap::new(), dropped: BTreeMap::new() }
    }

    pub(crate) fn table_creation_started(&mut self, table: TableId) {
        self.tables.entry(table).or_insert(false);
    }

    pub(crate) fn table_created(&mut self, table: TableId) {
        self.tables.insert(table, true);
    }

    pub(crate) fn table_drop_started(&mut self, table: TableId) {
        self.dropped.entry(table).or_insert(false);
    }

    pub(crate) fn table_dropped(&mut self, table: TableId) {
        self.dropped.insert(table, true);
    }

    /// Notes queued mutations, which happen together, and gives their numbers.
    pub(crate) fn queued(&mut self, mutations: Vec<(TableId, Mutation)>) -> Range<usize> {
        let batch = self.entries.len()..self.entries.len() + mutations.len();
        self.entries.extend(mutations.into_iter().map(|(table, mutation)| Entry {
            table,
            mutation,
            promise: Promise::None,
            batch: batch.clone(),
        }));
        batch
    }

    pub(crate) fn acknowledged(&mut self, numbers: Range<usize>) {
        let promise = match self.sync_mode {
            SyncMode::Group | SyncMode::Batch => Promise::Durable,
            SyncMode::Periodic => Promise::Acknowledged,
        };
        self.entries[numbers].iter_mut().for_each(|entry| entry.promise = promise);
    }

    /// The engine said that they are certainly not applied.
    pub(crate) fn refused(&mut self, numbers: Range<usize>) {
        self.entries[numbers].iter_mut().for_each(|entry| entry.promise = Promise::Absent);
    }

    /// A sync step succeeded: what was acknowledged before is durable now.
    pub(crate) fn synced(&mut self) {
        for entry in &mut self.entries {
            if entry.promise == Promise::Acknowledged {
                entry.promise = Promise::Durable;
            }
        }
    }

    pub(crate) fn promised(&self, promise: Promise) -> usize {
        self.entries.iter().filter(|entry| entry.promise >= promise).count()
    }

    /// Whether the engine keeps all that was promised at least so firmly, and has invented nothing.
    pub(crate) fn check(&self, engine: &Engine, kept: Promise) -> Result<(), String> {
        let tables = self.read_tables(engine)?;
        let empty = Table::new();
        let table_of = |entry: &Entry| tables.get(&entry.table).unwrap_or(&empty);

        let mut written = BTreeSet::new();
        let mut last_seen = None;
        for entry in &self.entries {
            for (key, record) in entry.rows() {
                if entry.promise > Promise::Absent && table_of(entry).get(&key) == Some(record) {
                    written.insert((entry.table, key));
                    // A log has no holes, and what happens together is seen together.
                    last_seen = Some(entry.batch.end - 1);
                }
            }
        }
        for (table, records) in &tables {
            for (key, record) in records {
                if !written.contains(&(*table, key.clone())) {
                    return Err(format!("table {} invented {key:?}: {record:?}", table.0));
                }
            }
        }
        for (number, entry) in self.entries.iter().enumerate() {
            let before_one_seen = last_seen.is_some_and(|last| number <= last);
            let is_kept = entry.promise >= kept || before_one_seen;
            let is_gone = self.dropped.contains_key(&entry.table) && !tables.contains_key(&entry.table);
            if entry.promise == Promise::Absent || !is_kept || is_gone {
                continue;
            }
            for (key, record) in entry.rows() {
                let found = table_of(entry).get(&key);
                if !found.is_some_and(|found| found == record || found.supersedes(record)) {
                    let why = if entry.promise >= kept { "promised" } else { "a hole: later ones are there" };
                    let place = format!("mutation {number} of table {}, {key:?}", entry.table.0);
                    return Err(format!("{place} ({why}): {record:?} is lost, found {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// All records of all tables, read in every way there is.
    fn read_tables(&self, engine: &Engine) -> Result<BTreeMap<TableId, Table>, String> {
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
            let table: Table = engine.scan(id, everything, usize::MAX).map_err(text)?.into_iter().collect();
            let keys = self.entries.iter().filter(|entry| entry.table == id).flat_map(Entry::rows);
            let keys: BTreeSet<Bytes> = keys.map(|(key, _)| key).collect();
            for key in &keys {
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
            tables.insert(id, table);
        }
        Ok(tables)
    }
}
