//! What was asked of an engine, what it promised, and whether another one that opened what was left keeps to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;
use helenus_storage::{Engine, Error, Mutation, Record, SyncMode, TableId, TryGet};

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
}

/// Records of all tables.
pub(crate) type Tables = BTreeMap<TableId, BTreeMap<Bytes, Record>>;

/// Everything that was asked for, in the order of the commit log.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    sync_mode: SyncMode,
    writes: Vec<Write>,
    life: u32,
    /// Tables whose creation was tried, and whether it succeeded.
    tables: BTreeMap<TableId, bool>,
    keys: BTreeMap<TableId, BTreeSet<Bytes>>,
}

impl Oracle {
    pub(crate) fn new(sync_mode: SyncMode) -> Self {
        Self { sync_mode, writes: Vec::new(), life: 0, tables: BTreeMap::new(), keys: BTreeMap::new() }
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
        self.writes.push(Write { rows, promise: Promise::None, life: self.life });
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
    pub(crate) fn recovered(&mut self, found: &Tables) {
        self.life += 1;
        for write in &mut self.writes {
            if write.promise == Promise::Absent {
                continue;
            }
            let is_seen = write.rows.iter().any(|(table, key, record)| {
                found.get(table).and_then(|table| table.get(key)) == Some(record)
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
                if found(table, key) != Some(record) {
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
                if !found.is_some_and(|found| found == record || found.supersedes(record)) {
                    let why = if write.promise >= kept { "promised" } else { "a hole: later ones are there" };
                    let place = format!("write {number} of table {}, {key:?}", table.0);
                    return Err(format!("{place} ({why}): {record:?} is lost, found {found:?}"));
                }
            }
        }
        Ok(tables)
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
        if let Some((table, _)) =
            self.tables.iter().find(|(table, created)| **created && !live.contains(table))
        {
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
