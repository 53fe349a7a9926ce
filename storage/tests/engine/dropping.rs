//! A table that is dropped is gone for ever with all that it had, at once and after any crash; the others do not notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::Unbounded,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use helenus_storage::{
    Engine, Error, Mutation, Options, Record, Step, StepOutcome, TableId, TableOptions, Ticket,
    background::Background,
    disk::{Damage, Fault, OsDisk, Repeat, SimulatedDisk},
};
use proptest::prelude::*;

use crate::{
    rig::{DIRECTORY, files, plain, small, try_open},
    watch::{WatchedDisk, names},
};

const KEPT: TableId = TableId(1);
const DROPPED: TableId = TableId(2);

fn options() -> Options {
    Options { segment_bytes: 2 << 10, table: TableOptions::tiered(2), ..small() }
}

fn queue(engine: &Engine, batch: &[(TableId, &str)], timestamp: u64) -> Ticket {
    let record = plain(timestamp, &"v".repeat(100));
    let batch = batch.iter().map(|(table, key)| (*table, Mutation::single(key.to_string(), record.clone())));
    engine.apply_batch(&batch.collect::<Vec<_>>()).unwrap()
}

fn write(engine: &Engine, table: TableId, key: &str) {
    let ticket = queue(engine, &[(table, key)], 1);
    engine.step(Step::Commit).unwrap();
    ticket.wait().unwrap();
}

fn flush(engine: &Engine) {
    engine.switch_memtables().unwrap();
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
}

fn keys(engine: &Engine, table: TableId) -> Result<Vec<Bytes>, Error> {
    let records = engine.scan(table, (Unbounded, Unbounded), usize::MAX)?;
    Ok(records.into_iter().map(|(key, _)| key).collect())
}

fn is_gone<T>(answer: Result<T, Error>) -> bool {
    answer.is_err_and(|error| matches!(error, Error::NoSuchTable(2)))
}

/// Two tables, each with two SSTables, a switched memtable and an active one.
fn two_tables(disk: &SimulatedDisk) -> Engine {
    let engine = try_open(disk, options()).unwrap();
    fill(&engine);
    engine
}

fn fill(engine: &Engine) {
    for table in [KEPT, DROPPED] {
        engine.create_table(table).unwrap();
    }
    for part in 0..4 {
        for number in 0..4 {
            for table in [DROPPED, KEPT] {
                write(engine, table, &format!("{part}/{number}"));
            }
        }
        match part {
            0 | 1 => flush(engine),
            2 => engine.switch_memtables().unwrap(),
            _ => {}
        }
    }
}

fn all_keys() -> Vec<Bytes> {
    (0..4).flat_map(|part| (0..4).map(move |number| format!("{part}/{number}").into())).collect()
}

#[test]
fn a_dropped_table_leaves_no_files_no_memory_and_no_log() {
    let disk = SimulatedDisk::default();
    let engine = two_tables(&disk);
    let before = engine.counters();

    engine.drop_table(DROPPED).unwrap();

    assert_eq!(files(&disk, ".sst").len() as u64, before.sstables / 2);
    assert_eq!(engine.counters().memtable_bytes, before.memtable_bytes / 2);
    assert_eq!(engine.counters().flushes, before.flushes, "nothing was flushed for it");
    assert_eq!(engine.tables(), [KEPT]);
    assert!(is_gone(engine.get(DROPPED, b"0/0")) && is_gone(engine.try_get(DROPPED, b"0/0")));
    assert!(is_gone(keys(&engine, DROPPED)) && is_gone(engine.multi_get(DROPPED, &[b"0/0"])));
    assert!(is_gone(engine.apply(DROPPED, Mutation::single("key", plain(1, "v")))));
    assert!(is_gone(engine.apply_and_wait(DROPPED, Mutation::single("key", plain(1, "v")))));
    assert!(is_gone(engine.flush_table(DROPPED).map(drop)) && is_gone(engine.compact_table(DROPPED)));
    assert!(is_gone(engine.set_table_options(DROPPED, TableOptions::tiered(4))));
    assert_eq!(keys(&engine, KEPT).unwrap(), all_keys());
    drop(engine);
    let engine = try_open(&disk, options()).unwrap();
    assert_eq!((engine.tables(), keys(&engine, KEPT).unwrap()), (vec![KEPT], all_keys()));
}

#[test]
fn the_part_of_the_log_that_only_it_needed_is_let_go() {
    let disk = SimulatedDisk::default();
    let engine = try_open(&disk, Options { spare_segments: 0, ..options() }).unwrap();
    for table in [KEPT, DROPPED] {
        engine.create_table(table).unwrap();
    }
    (0..100).for_each(|number| write(&engine, DROPPED, &format!("{number}")));
    let before = files(&disk, ".log").len();

    engine.drop_table(DROPPED).unwrap();
    assert_eq!(engine.step(Step::Flush).unwrap(), StepOutcome::Idle);

    let after = files(&disk, ".log").len();
    assert!(before > 4 && after <= 2, "{before} segments, then {after}");
    assert_eq!(engine.counters().memtable_bytes, 0);
}

#[test]
fn an_id_never_comes_back_and_no_other_drop_is_an_error() {
    let disk = SimulatedDisk::default();
    let engine = two_tables(&disk);

    engine.drop_table(DROPPED).unwrap();
    drop(engine);
    // Each opening writes a new manifest.
    for _ in 0..3 {
        let engine = try_open(&disk, options()).unwrap();
        engine.drop_table(DROPPED).unwrap();
        assert!(matches!(engine.create_table(DROPPED), Err(Error::TableDropped(2))));
        let with = engine.create_table_with(DROPPED, TableOptions::tiered(2));
        assert!(matches!(with, Err(Error::TableDropped(2))));
        assert!(matches!(engine.drop_table(TableId(3)), Err(Error::NoSuchTable(3))), "there never was one");
        engine.close().unwrap();
        assert!(matches!(engine.drop_table(KEPT), Err(Error::Closed)));
    }
}

#[test]
fn a_thousand_tables_that_come_and_go_cost_no_flush_and_leave_a_small_manifest() {
    let disk = SimulatedDisk::default();
    let engine = two_tables(&disk);
    let flushes = engine.counters().flushes;
    for id in 10..1010 {
        engine.create_table(TableId(id)).unwrap();
        write(&engine, TableId(id), "hint");
        engine.drop_table(TableId(id)).unwrap();
    }
    assert_eq!((engine.counters().flushes, engine.tables()), (flushes, vec![KEPT, DROPPED]));
    assert_eq!(keys(&engine, KEPT).unwrap(), all_keys());
    let manifests: Vec<_> =
        disk.files().into_iter().filter(|path| path.to_string_lossy().contains("manifest-")).collect();
    let bytes: usize = manifests.iter().map(|path| disk.contents(path).unwrap().len()).sum();
    assert!(bytes < 4 << 10, "{bytes} bytes in {manifests:?}");
}

#[test]
fn what_was_accepted_before_the_drop_counts_as_applied_and_the_other_half_of_its_batch_is_there() {
    let disk = SimulatedDisk::default();
    let engine = try_open(&disk, options()).unwrap();
    for table in [KEPT, DROPPED] {
        engine.create_table(table).unwrap();
    }
    let both = queue(&engine, &[(KEPT, "both"), (DROPPED, "both")], 1);
    let alone = queue(&engine, &[(DROPPED, "alone")], 1);
    let other = queue(&engine, &[(KEPT, "other")], 1);

    engine.drop_table(DROPPED).unwrap();
    while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}

    for ticket in [both, alone, other] {
        ticket.wait().unwrap();
    }
    assert_eq!(engine.tables(), [KEPT]);
    for damage in Damage::ALL {
        let engine = try_open(&disk.crash(1, damage), options()).unwrap();
        assert_eq!((engine.tables(), keys(&engine, KEPT).unwrap().len()), (vec![KEPT], 2), "{damage:?}");
    }
}

#[test]
fn who_waits_for_its_flush_is_told() {
    let engine = two_tables(&SimulatedDisk::default());
    let (dropped, kept) = (engine.flush_table(DROPPED).unwrap(), engine.flush_table(KEPT).unwrap());
    engine.drop_table(DROPPED).unwrap();
    assert!(is_gone(dropped.wait()));
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
    kept.wait().unwrap();
}

#[test]
fn a_snapshot_keeps_what_it_has_of_it() {
    let disk = SimulatedDisk::default();
    let engine = two_tables(&disk);
    let snapshot = engine.snapshot("before").unwrap();
    engine.drop_table(DROPPED).unwrap();
    let restored = Engine::open(Arc::new(disk.clone()), &snapshot.directory, options()).unwrap();
    assert_eq!(keys(&restored, DROPPED).unwrap(), all_keys());
    // And what was dropped before it stays so.
    let later = engine.snapshot("after").unwrap();
    let restored = Engine::open(Arc::new(disk.clone()), &later.directory, options()).unwrap();
    assert!(matches!(restored.create_table(DROPPED), Err(Error::TableDropped(_))));
}

/// An engine whose table is dropped as soon as a further SSTable appears.
fn dropped_at_the_next_sstable(during: impl Fn(&Engine)) {
    let (simulated, armed) = (SimulatedDisk::default(), Arc::new(AtomicBool::new(false)));
    let engine = Arc::new(OnceLock::<Engine>::new());
    let watcher = {
        let (disk, armed, engine) = (simulated.clone(), Arc::clone(&armed), Arc::clone(&engine));
        move |_| {
            let names = disk.files();
            let is_written = names.iter().any(|path| path.to_string_lossy().ends_with(".sst.tmp"));
            if is_written && armed.swap(false, Ordering::SeqCst) {
                engine.get().unwrap().drop_table(DROPPED).unwrap();
            }
        }
    };
    let disk = Arc::new(WatchedDisk::new(simulated.clone(), Arc::new(watcher)));
    let engine = engine.get_or_init(|| Engine::open(disk, Path::new(DIRECTORY), options()).unwrap());
    fill(engine);
    armed.store(true, Ordering::SeqCst);

    during(engine);

    assert!(!armed.load(Ordering::SeqCst), "no SSTable was written");
    assert_eq!((engine.tables(), engine.poisoned()), (vec![KEPT], None));
    flush(engine);
    assert_eq!(keys(engine, KEPT).unwrap(), all_keys());
    assert_eq!((files(&simulated, ".tmp").len(), engine.counters().memtable_bytes), (0, 0));
    assert_eq!(files(&simulated, ".sst").len() as u64, engine.counters().sstables, "nothing of it is left");
    engine.close().unwrap();
    let again = try_open(&simulated, options()).unwrap();
    assert_eq!((again.tables(), keys(&again, KEPT).unwrap()), (vec![KEPT], all_keys()));
}

#[test]
fn a_flush_that_is_under_way_discards_what_it_wrote() {
    dropped_at_the_next_sstable(|engine| {
        let ticket = engine.flush_table(DROPPED).unwrap();
        // The table whose records were logged first goes first.
        while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        assert!(is_gone(ticket.wait()));
    });
}

#[test]
fn a_merge_that_is_under_way_discards_what_it_wrote() {
    dropped_at_the_next_sstable(|engine| {
        let outcome = engine.compact_table(DROPPED);
        assert!(matches!(outcome, Err(Error::Cancelled | Error::NoSuchTable(2))), "{outcome:?}");
        assert!(engine.compactions().is_empty());
    });
}

#[test]
fn a_merge_that_rests_does_not_outlive_the_table() {
    let engine =
        try_open(&SimulatedDisk::default(), Options { compaction_bytes_per_second: 1, ..options() }).unwrap();
    engine.create_table(DROPPED).unwrap();
    for part in 0..2 {
        (0..200).for_each(|number| write(&engine, DROPPED, &format!("{part}/{number}")));
        flush(&engine);
    }
    std::thread::scope(|scope| {
        let merge = scope.spawn(|| engine.compact_table(DROPPED));
        while engine.compactions().is_empty() {
            std::thread::yield_now();
        }
        engine.drop_table(DROPPED).unwrap();
        // At a byte per second it would not be done today.
        let outcome = merge.join().unwrap();
        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    });
    assert_eq!((engine.compactions(), engine.tables()), (vec![], vec![]));
}

#[test]
fn writers_readers_flushes_and_merges_go_on_while_tables_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: 8 << 10, commit_log_bytes: 64 << 10, ..options() };
    let engine = Arc::new(Engine::open(Arc::new(OsDisk), directory.path(), options.clone()).unwrap());
    engine.create_table(KEPT).unwrap();
    let background = Background::start(Arc::clone(&engine)).unwrap();
    let is_over = AtomicBool::new(false);
    let rounds = 100..130;
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (engine, is_over, rounds) = (&engine, &is_over, rounds.clone());
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::SeqCst) {
                    number += 1;
                    for table in rounds.clone().map(TableId) {
                        let mutation =
                            Mutation::single(format!("{worker}/{}", number % 500), plain(number, "v"));
                        let answer = match worker {
                            0 => keys(engine, table).map(drop),
                            _ => engine.apply_and_wait(table, mutation),
                        };
                        assert!(matches!(answer, Ok(()) | Err(Error::NoSuchTable(_))), "{answer:?}");
                    }
                }
            });
        }
        for id in rounds.clone() {
            engine.create_table(TableId(id)).unwrap();
        }
        for id in rounds.clone() {
            for number in 0..20 {
                engine
                    .apply_and_wait(KEPT, Mutation::single(format!("{id}/{number}"), plain(1, "v")))
                    .unwrap();
            }
            engine.drop_table(TableId(id)).unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    background.stop();
    assert_eq!((engine.tables(), engine.poisoned()), (vec![KEPT], None));
    flush(&engine);
    assert_eq!(engine.counters().memtable_bytes, 0);
    engine.close().unwrap();
    drop(engine);
    let engine = Engine::open(Arc::new(OsDisk), directory.path(), options).unwrap();
    assert_eq!((engine.tables(), keys(&engine, KEPT).unwrap().len()), (vec![KEPT], 30 * 20));
    let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let sstables = names.filter(|name| name.to_string_lossy().ends_with(".sst")).count();
    assert_eq!(sstables as u64, engine.counters().sstables);
}

#[test]
fn after_a_crash_anywhere_in_a_drop_the_table_is_whole_or_gone_and_the_others_are_whole() {
    let (mut whole, mut gone) = (0, 0);
    for (operation, damage) in (1..).flat_map(|operation| Damage::ALL.map(|damage| (operation, damage))) {
        let disk = SimulatedDisk::new(operation);
        let engine = two_tables(&disk);
        disk.crash_at(disk.operations() + operation);
        let dropped = engine.drop_table(DROPPED);
        // With what lets the log go.
        let _: Result<_, Error> = engine.step(Step::Flush);
        if !disk.is_off() {
            break;
        }
        let image = disk.crash(operation, damage);
        let place = format!("operation {operation}, {damage:?}");
        for opening in ["once", "twice"] {
            let engine = try_open(&image, options()).unwrap_or_else(|e| panic!("{place}, {opening}: {e}"));
            assert_eq!(keys(&engine, KEPT).unwrap(), all_keys(), "{place}, {opening}");
            match keys(&engine, DROPPED) {
                Ok(found) => {
                    assert!(dropped.is_err(), "{place}, {opening}: it is back");
                    assert_eq!(found, all_keys(), "{place}, {opening}");
                    whole += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::NoSuchTable(2)), "{place}, {opening}: {error}");
                    gone += 1;
                }
            }
        }
    }
    assert!(whole > 10 && gone > 50, "whole {whole} times, gone {gone} times");
}

#[test]
fn after_an_error_of_the_disk_in_a_drop_the_table_is_whole_or_gone_and_the_others_are_whole() {
    for fault in [Fault::Io, Fault::Sync, Fault::NoSpace] {
        let mut hit = 0;
        for operation in 1..=6 {
            let disk = SimulatedDisk::new(operation);
            let engine = two_tables(&disk);
            disk.fail_at(disk.operations() + operation, fault, Repeat::Once);
            let dropped = engine.drop_table(DROPPED);
            disk.repair();
            hit += usize::from(dropped.is_err());
            if let (Err(Error::StorageFull { .. }), Ok(found)) = (&dropped, keys(&engine, DROPPED)) {
                assert_eq!(found, all_keys(), "nothing changed");
                engine.drop_table(DROPPED).unwrap();
            }
            drop(engine);
            disk.restart(operation, Damage::Forgotten);
            let engine = try_open(&disk, options()).unwrap();
            assert_eq!(keys(&engine, KEPT).unwrap(), all_keys(), "{fault:?} at {operation}");
            match keys(&engine, DROPPED) {
                Ok(found) => assert!(dropped.is_err() && found == all_keys(), "{fault:?} at {operation}"),
                Err(error) => assert!(matches!(error, Error::NoSuchTable(2)), "{error}"),
            }
        }
        println!("{fault:?} hit {hit} times");
    }
}

#[derive(Debug, Clone)]
enum Action {
    Create(u32),
    Drop(u32),
    /// What happens together, of several tables.
    Write(Vec<(u32, u8, Record)>),
    Commit,
    Switch,
    Flush,
    Compact,
    Snapshot,
    Crash(u64, usize),
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    let record = || (0..6_u64, 0..3_usize).prop_map(|(timestamp, n)| plain(timestamp, &"v".repeat(n * 40)));
    prop_oneof![
        4 => (0..5_u32).prop_map(Action::Create),
        3 => (0..5_u32).prop_map(Action::Drop),
        16 => prop::collection::vec((0..5_u32, 0..6_u8, record()), 1..4).prop_map(Action::Write),
        8 => Just(Action::Commit),
        2 => Just(Action::Switch),
        3 => Just(Action::Flush),
        2 => Just(Action::Compact),
        1 => Just(Action::Snapshot),
        1 => (any::<u64>(), 0..Damage::ALL.len()).prop_map(|(seed, damage)| Action::Crash(seed, damage)),
        1 => Just(Action::Close),
    ]
}

type Table = BTreeMap<Bytes, Record>;

/// What tables there should be, and what was queued for them and not committed.
#[derive(Default)]
struct Model {
    tables: BTreeMap<TableId, Table>,
    dropped: BTreeSet<TableId>,
    queued: Vec<(TableId, Bytes, Record)>,
}

impl Model {
    fn commit(&mut self) {
        for (table, key, record) in self.queued.drain(..) {
            let Some(table) = self.tables.get_mut(&table) else { continue };
            let newest = match table.remove(&key) {
                Some(known) => known.reconcile(record),
                None => record,
            };
            table.insert(key, newest);
        }
    }

    fn check(&self, engine: &Engine) -> Result<(), TestCaseError> {
        prop_assert_eq!(engine.tables(), self.tables.keys().copied().collect::<Vec<_>>());
        for (id, table) in &self.tables {
            let found = engine.scan(*id, (Unbounded, Unbounded), usize::MAX).unwrap();
            prop_assert_eq!(found.into_iter().collect::<Table>(), table.clone());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_that_come_and_go_are_maps_that_come_and_go(actions in prop::collection::vec(action(), 1..80)) {
        let disk = SimulatedDisk::default();
        let options = || Options { memtable_bytes: 2 << 10, segment_bytes: 1 << 10, block_bytes: 64, ..options() };
        let mut engine = try_open(&disk, options()).unwrap();
        let mut model = Model::default();
        let mut snapshots = 0;
        for action in actions {
            match action {
                Action::Create(id) => {
                    let table = TableId(id);
                    match engine.create_table(table) {
                        Ok(()) => { model.tables.entry(table).or_default(); }
                        Err(Error::TableDropped(_)) => prop_assert!(model.dropped.contains(&table)),
                        Err(error) => panic!("{error}"),
                    }
                }
                Action::Drop(id) => {
                    let table = TableId(id);
                    match engine.drop_table(table) {
                        Ok(()) => {
                            prop_assert!(model.tables.remove(&table).is_some() || model.dropped.contains(&table));
                            model.dropped.insert(table);
                        }
                        Err(Error::NoSuchTable(_)) => prop_assert!(!model.tables.contains_key(&table)),
                        Err(error) => panic!("{error}"),
                    }
                }
                Action::Write(rows) => {
                    let rows: Vec<_> =
                        rows.into_iter().map(|(id, key, record)| (TableId(id), vec![key].into(), record)).collect();
                    let batch = rows.iter().map(|(table, key, record): &(_, Bytes, Record)| {
                        (*table, Mutation::single(key.clone(), record.clone()))
                    });
                    match engine.apply_batch(&batch.collect::<Vec<_>>()) {
                        // The ticket may be dropped: a commit tells what became of it.
                        Ok(_ticket) => model.queued.extend(rows),
                        Err(Error::NoSuchTable(id)) => prop_assert!(!model.tables.contains_key(&TableId(id))),
                        Err(error) => panic!("{error}"),
                    }
                }
                Action::Commit => {
                    while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}
                    model.commit();
                }
                Action::Switch => engine.switch_memtables().unwrap(),
                Action::Flush => { engine.step(Step::Flush).unwrap(); }
                Action::Compact => { engine.step(Step::Compact).unwrap(); }
                Action::Snapshot => {
                    snapshots += 1;
                    let snapshot = engine.snapshot(&format!("s{snapshots}")).unwrap();
                    let restored = Engine::open(Arc::new(disk.clone()), &snapshot.directory, options()).unwrap();
                    model.check(&restored)?;
                }
                Action::Crash(seed, damage) => {
                    model.queued.clear();
                    drop(engine);
                    disk.restart(seed, Damage::ALL[damage]);
                    engine = try_open(&disk, options()).unwrap();
                }
                Action::Close => {
                    engine.close().unwrap();
                    model.commit();
                    engine = try_open(&disk, options()).unwrap();
                }
            }
            model.check(&engine)?;
        }
        flush(&engine);
        prop_assert_eq!(engine.counters().memtable_bytes, 0);
        let sstables = names(&disk, Path::new(DIRECTORY)).into_iter().filter(|name| name.ends_with(".sst"));
        prop_assert_eq!(sstables.count() as u64, engine.counters().sstables);
    }
}
