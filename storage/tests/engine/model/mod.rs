//! Whatever is done in whatever order, the engine holds what a map with [`Record::reconcile`] would, except for what
//! merges may leave out by then; and a snapshot holds for ever what the map held when it was made.
//!
//! [`action`] draws what is done, [`map`] is what is expected.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use helenus_storage::{
    Clock, Engine, Error, Mutation, Options, Record, SNAPSHOTS_DIRECTORY, ScanEnd, ScanLimits, ScanPage,
    Step, StepOutcome, TableId, Timestamp, TryGet,
    disk::{Damage, SimulatedDisk},
};
use proptest::prelude::*;

use crate::rig::{DIRECTORY, flush, try_open};
use action::{Action, HOUR, Place, Rows, SNAPSHOTS, TABLES, actions, options};
use map::{Model, Records, Table};

mod action;
mod map;

/// In a row; many times what any case needs.
const MOST_MERGES: u32 = 10_000;

type Checked = Result<(), TestCaseError>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_is_a_map_that_reconciles(actions in actions(), options in options()) {
        let mut pair = Pair::new(options)?;
        for action in actions {
            pair.act(action)?;
        }
        pair.compare()?;
        for name in SNAPSHOTS {
            pair.open_snapshot(name)?;
        }
    }
}

/// The engine, and what it is to be.
struct Pair {
    disk: SimulatedDisk,
    clock: Arc<AtomicU64>,
    options: Options,
    engine: Engine,
    model: Model,
    snapshots: BTreeMap<&'static str, Model>,
}

impl Pair {
    fn new(options: Options) -> Result<Self, TestCaseError> {
        let clock = Arc::<AtomicU64>::default();
        let asked = Arc::clone(&clock);
        let clock_of_engine = Clock::new(move || Timestamp(asked.load(Ordering::Relaxed)));
        let options = Options { clock: Some(clock_of_engine), ..options };
        let disk = SimulatedDisk::default();
        let engine = try_open(&disk, options.clone()).unwrap();
        let model = Model::default();
        let mut pair = Self { disk, clock, options, engine, model, snapshots: BTreeMap::new() };
        pair.act(Action::Create(TABLES[0], None))?;
        pair.act(Action::Create(TABLES[1], None))?;
        Ok(pair)
    }

    fn act(&mut self, action: Action) -> Checked {
        match action {
            Action::Write(mutations) => self.write(mutations)?,
            Action::Get(table, place) => self.get(table, place)?,
            Action::MultiGet(table, places) => self.multi_get(table, &places)?,
            Action::Scan { table, from, to, is_open, limits } => {
                let (from, to) = (storage_key(from), storage_key(to));
                let (from, to) = if from <= to { (from, to) } else { (to, from) };
                let range = match is_open {
                    true => (Bound::Excluded(from), Bound::Unbounded),
                    false => (Bound::Included(from), Bound::Included(to)),
                };
                self.scan(table, range, &limits)?;
            }
            Action::Switch => self.engine.switch_memtables().unwrap(),
            Action::Flush => drop(self.engine.step(Step::Flush).unwrap()),
            Action::FlushAll => flush(&self.engine),
            Action::Compact => {
                let mut merges = 0;
                while self.engine.step(Step::Compact).unwrap() == StepOutcome::Worked {
                    merges += 1;
                    prop_assert!(merges < MOST_MERGES, "merges go on for ever");
                }
                self.settle()?;
            }
            Action::CompactTable(table) => self.compact_table(table)?,
            Action::FlushAndCompactTable(table) => {
                flush(&self.engine);
                self.compact_table(table)?;
                let now = self.model.now;
                let Some(model) = self.model.tables.get(&table) else { return Ok(()) };
                for (key, record) in &model.records {
                    let rest = model.rest_of(record, now);
                    prop_assert_eq!(rest.as_ref(), Some(record), "of {:?}", key);
                }
            }
            Action::Pass(hours) => {
                self.model.now += hours * HOUR;
                self.clock.store(self.model.now, Ordering::Relaxed);
            }
            Action::Create(table, options) => {
                let outcome = match options.clone() {
                    Some(options) => self.engine.create_table_with(table, options),
                    None => self.engine.create_table(table),
                };
                if self.model.dropped.contains(&table) {
                    let is_refused = matches!(outcome, Err(Error::TableDropped(id)) if id == table.0);
                    prop_assert!(is_refused, "{:?}", outcome);
                    return Ok(());
                }
                outcome.unwrap();
                let options = options.unwrap_or_else(|| self.options.table.clone());
                self.model.tables.entry(table).or_insert_with(|| Table::new(options));
            }
            Action::Drop(table) => {
                let outcome = self.engine.drop_table(table);
                if self.model.dropped.contains(&table) {
                    outcome.unwrap();
                } else if self.known(table, outcome)?.is_some() {
                    self.model.tables.remove(&table);
                    self.model.dropped.insert(table);
                }
            }
            Action::SetOptions(table, options) => {
                let outcome = self.engine.set_table_options(table, options.clone());
                if let Some(table) = self.known(table, outcome)? {
                    table.options = options;
                }
            }
            Action::Snapshot(name) => self.snapshot(name)?,
            Action::ClearSnapshot(name) => {
                let outcome = self.engine.clear_snapshot(name);
                match self.snapshots.remove(name) {
                    Some(_) => outcome.unwrap(),
                    None => {
                        prop_assert!(matches!(outcome, Err(Error::NoSuchSnapshot { .. })), "{:?}", outcome);
                    }
                }
            }
            Action::OpenSnapshot(name) => self.open_snapshot(name)?,
            Action::Crash { seed, damage } => {
                self.disk.restart(seed, damage);
                self.reopen()?;
            }
            Action::Close => {
                self.engine.close().unwrap();
                self.reopen()?;
            }
        }
        Ok(())
    }

    /// The table of the model; if there is none, the engine must have said so.
    fn known(
        &mut self,
        table: TableId,
        outcome: Result<(), Error>,
    ) -> Result<Option<&mut Table>, TestCaseError> {
        let known = self.model.tables.get_mut(&table);
        match known {
            Some(_) => outcome.unwrap(),
            None => prop_assert!(matches!(outcome, Err(Error::NoSuchTable(id)) if id == table.0)),
        }
        Ok(known)
    }

    fn write(&mut self, mutations: Vec<Rows>) -> Checked {
        let missing = mutations.iter().find(|(table, ..)| !self.model.tables.contains_key(table));
        let missing = missing.map(|(table, ..)| *table);
        let mut batch = Vec::new();
        for (table, key, rows) in &mutations {
            let suffixed =
                |(suffix, record): &(u8, _)| (vec![b's'; (*suffix).into()].into(), Clone::clone(record));
            let rows = rows.iter().map(suffixed).collect();
            batch.push((*table, Mutation { key: vec![b'k', *key].into(), rows }));
        }
        let outcome = self.engine.apply_batch(&batch);
        if let Some(missing) = missing {
            prop_assert!(matches!(outcome, Err(Error::NoSuchTable(id)) if id == missing.0));
            return Ok(());
        }
        let ticket = outcome.unwrap();
        self.engine.step(Step::Commit).unwrap();
        ticket.wait().unwrap();
        for (table, key, rows) in mutations {
            let table = self.model.tables.get_mut(&table).expect("none is missing");
            rows.iter().for_each(|(suffix, record)| table.apply(storage_key((key, *suffix)), record));
        }
        Ok(())
    }

    fn get(&mut self, table: TableId, place: Place) -> Checked {
        let key = storage_key(place);
        let (found, quick) = (self.engine.get(table, &key), self.engine.try_get(table, &key));
        let outcome = found.as_ref().map(drop).map_err(Clone::clone);
        let Some(model) = self.known(table, outcome)? else { return Ok(()) };
        let expected = model.records.get(&key);
        let found = found.unwrap();
        prop_assert_eq!(found.as_ref(), expected);
        if let TryGet::Ready(quick) = quick.unwrap() {
            prop_assert_eq!(quick.as_ref(), expected);
        }
        Ok(())
    }

    fn multi_get(&mut self, table: TableId, places: &[Place]) -> Checked {
        let keys: Vec<_> = places.iter().copied().map(storage_key).collect();
        let found = self.engine.multi_get(table, &keys.iter().map(|key| &key[..]).collect::<Vec<_>>());
        let outcome = found.as_ref().map(drop).map_err(Clone::clone);
        let Some(model) = self.known(table, outcome)? else { return Ok(()) };
        prop_assert_eq!(
            found.unwrap(),
            keys.iter().map(|key| model.records.get(key).cloned()).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Page after page; each goes on where the one before ended, and ends for the reason that it says.
    fn scan(&mut self, table: TableId, range: (Bound<Bytes>, Bound<Bytes>), limits: &ScanLimits) -> Checked {
        let Some(model) = self.model.tables.get(&table) else { return Ok(()) };
        let expected = model.records.iter().filter(|(key, _)| range.contains(*key));
        let expected: Vec<_> = expected.map(|(key, record)| (key.clone(), record.clone())).collect();
        let (mut from, to) = range;
        let mut found = Vec::new();
        loop {
            let bounds = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
            let page = self.engine.scan_page(table, bounds, limits).unwrap();
            let next = page.resume_after().map(|bound| bound.map(Bytes::copy_from_slice));
            ends_rightly(&page, expected.get(found.len() + page.records.len()), limits)?;
            found.extend(page.records);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        prop_assert_eq!(found, expected);
        Ok(())
    }

    fn compact_table(&mut self, table: TableId) -> Checked {
        let outcome = self.engine.compact_table(table);
        self.known(table, outcome)?;
        self.settle()
    }

    /// After merges: what is gone was allowed to go, and is not expected from here on.
    fn settle(&mut self) -> Checked {
        let now = self.model.now;
        for (&id, table) in &mut self.model.tables {
            let found = records(&self.engine, id);
            for (key, record) in &table.records {
                let left = found.get(key);
                prop_assert!(
                    table.may_be_left(record, left, now),
                    "at {now} a merge made {left:?} of {key:?}: {record:?}"
                );
            }
            let invented = found.keys().find(|key| !table.records.contains_key(*key));
            prop_assert_eq!(invented, None);
            table.records = found;
        }
        Ok(())
    }

    fn snapshot(&mut self, name: &'static str) -> Checked {
        let outcome = self.engine.snapshot(name);
        if self.snapshots.contains_key(name) {
            prop_assert!(matches!(outcome, Err(Error::SnapshotExists { .. })), "{:?}", outcome);
        } else {
            outcome.unwrap();
            self.snapshots.insert(name, self.model.clone());
        }
        Ok(())
    }

    /// Opens a copy of a snapshot that survived a power cut, and finds what was there when it was made.
    fn open_snapshot(&self, name: &'static str) -> Checked {
        let Some(model) = self.snapshots.get(name) else { return Ok(()) };
        let image = self.disk.crash(1, Damage::Forgotten);
        let directory = Path::new(DIRECTORY).join(SNAPSHOTS_DIRECTORY).join(name);
        let engine = Engine::open(Arc::new(image), &directory, self.options.clone()).unwrap();
        same(&engine, model)
    }

    fn reopen(&mut self) -> Checked {
        // Its lock first.
        let elsewhere = try_open(&SimulatedDisk::default(), self.options.clone()).unwrap();
        drop(std::mem::replace(&mut self.engine, elsewhere));
        self.engine = try_open(&self.disk, self.options.clone()).unwrap();
        self.compare()
    }

    /// Holds all that can be asked against the model.
    fn compare(&self) -> Checked {
        same(&self.engine, &self.model)?;
        let names: Vec<_> =
            self.engine.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect();
        prop_assert!(names.iter().map(String::as_str).eq(self.snapshots.keys().copied()), "{:?}", names);
        Ok(())
    }
}

fn storage_key((key, suffix): Place) -> Bytes {
    [&[b'k', key][..], &b"sss"[..suffix.into()]].concat().into()
}

fn records(engine: &Engine, table: TableId) -> Records {
    engine.scan(table, (Bound::Unbounded, Bound::Unbounded), usize::MAX).unwrap().into_iter().collect()
}

/// A page keeps to its limits, and ends where one is reached and not before.
fn ends_rightly(page: &ScanPage, next: Option<&(Bytes, Record)>, limits: &ScanLimits) -> Checked {
    let bytes_of = |(key, record): &(Bytes, Record)| key.len() + record.value().map_or(0, Bytes::len);
    let items = page.records.len();
    let bytes: usize = page.records.iter().map(bytes_of).sum();
    let tombstones = page.records.iter().filter(|(_, record)| record.is_gone(limits.now)).count();
    prop_assert!(items <= limits.items && tombstones <= limits.tombstones, "{:?}", page);
    prop_assert!(items - tombstones <= limits.live, "{:?}", page);
    prop_assert!(bytes <= limits.bytes || items == 1, "{:?}", page);
    match page.end {
        ScanEnd::Finished => prop_assert_eq!(next, None),
        ScanEnd::Items => prop_assert_eq!(items, limits.items),
        ScanEnd::Live => prop_assert_eq!(items - tombstones, limits.live),
        ScanEnd::Tombstones => prop_assert_eq!(tombstones, limits.tombstones),
        ScanEnd::Bytes => prop_assert!(bytes + next.map_or(0, bytes_of) >= limits.bytes, "{:?}", page),
    }
    Ok(())
}

/// Everything that can be read of an engine is as in the model.
fn same(engine: &Engine, model: &Model) -> Checked {
    prop_assert!(engine.tables().iter().eq(model.tables.keys()));
    let all: Vec<_> = (0..8).flat_map(|key| (0..3).map(move |suffix| storage_key((key, suffix)))).collect();
    for (&id, table) in &model.tables {
        prop_assert_eq!(engine.table_options(id).unwrap(), table.options.clone());
        prop_assert_eq!(&records(engine, id), &table.records);
        let expected: Vec<_> = all.iter().map(|key| table.records.get(key).cloned()).collect();
        let many = engine.multi_get(id, &all.iter().map(|key| &key[..]).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(&many, &expected);
        for (key, expected) in all.iter().zip(expected) {
            prop_assert_eq!(&engine.get(id, key).unwrap(), &expected);
            if let TryGet::Ready(found) = engine.try_get(id, key).unwrap() {
                prop_assert_eq!(&found, &expected);
            }
            let range = (Bound::Included(&key[..]), Bound::Included(&key[..]));
            prop_assert_eq!(engine.scan(id, range, 9).unwrap().len(), usize::from(expected.is_some()));
        }
        prop_assert_eq!(engine.is_empty(id).unwrap(), table.records.is_empty());
        let newest = table.records.values().map(|record| record.timestamp).max();
        prop_assert_eq!(engine.newest_timestamp(id).unwrap(), newest);
    }
    Ok(())
}
