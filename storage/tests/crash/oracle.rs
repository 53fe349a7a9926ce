//! What was asked of an engine, what it promised, and whether another one that opened what was left keeps to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
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
}

type Table = BTreeMap<Bytes, Record>;

impl Oracle {
    pub(crate) fn new(sync_mode: SyncMode) -> Self {
        Self { sync_mode, entries: Vec::new(), tables: BTreeMap::new() }
    }

    pub(crate) fn table_creation_started(&mut self, table: TableId) {
        self.tables.entry(table).or_insert(false);
    }

    pub(crate) fn table_created(&mut self, table: TableId) {
        self.tables.insert(table, true);
    }

    /// Notes a queued mutation and gives its number.
    pub(crate) fn queued(&mut self, table: TableId, mutation: Mutation) -> usize {
        self.entries.push(Entry { table, mutation, promise: Promise::None });
        self.entries.len() - 1
    }

    pub(crate) fn acknowledged(&mut self, number: usize) {
        self.entries[number].promise = match self.sync_mode {
            SyncMode::Group | SyncMode::Batch => Promise::Durable,
            SyncMode::Periodic => Promise::Acknowledged,
        };
    }

    /// The engine said that it is certainly not applied.
    pub(crate) fn refused(&mut self, number: usize) {
        self.entries[number].promise = Promise::Absent;
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
        let mut last_seen = BTreeMap::new();
        for (number, entry) in self.entries.iter().enumerate() {
            for (key, record) in entry.rows() {
                if entry.promise > Promise::Absent && table_of(entry).get(&key) == Some(record) {
                    written.insert((entry.table, key));
                    // A log has no holes. In periodic mode a flush makes one table durable ahead of others.
                    let order = (self.sync_mode == SyncMode::Periodic).then_some(entry.table);
                    last_seen.insert(order, number);
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
            let order = (self.sync_mode == SyncMode::Periodic).then_some(entry.table);
            let before_one_seen = last_seen.get(&order).is_some_and(|last| number <= *last);
            let is_kept = entry.promise >= kept || before_one_seen;
            if entry.promise == Promise::Absent || !is_kept {
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
        if let Some((table, _)) =
            self.tables.iter().find(|(table, created)| **created && !live.contains(table))
        {
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
