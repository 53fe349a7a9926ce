//! The ways into the engine: blocking and queued, alone and together, in every sync mode; and what keeps writers from
//! waiting, or from filling memory and disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    ops::Bound::Unbounded,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use helenus_storage::{
    Engine, Error, Mutation, Options, Record, Step, StepOutcome, SyncMode, TableId, TableOptions, Ticket,
    Timestamp,
    background::Background,
    disk::{Damage, Fault, Repeat, SimulatedDisk},
    engine::Pressure,
};

const ONE: TableId = TableId(1);
const OTHER: TableId = TableId(2);

fn options() -> Options {
    Options { segment_bytes: 4 << 10, memtable_bytes: 64 << 10, block_bytes: 512, ..Options::default() }
}

fn open(disk: &SimulatedDisk, options: Options) -> Engine {
    let engine = Engine::open(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    engine.create_table(ONE).unwrap();
    engine.create_table(OTHER).unwrap();
    engine
}

fn put(key: &str, timestamp: u64, value_bytes: usize) -> Mutation {
    Mutation::single(key.to_owned(), Record::plain(Timestamp(timestamp), vec![b'v'; value_bytes]))
}

fn keys(engine: &Engine, table: TableId) -> usize {
    engine.scan(table, (Unbounded, Unbounded), usize::MAX).unwrap().len()
}

fn work_off(engine: &Engine, step: Step) {
    while engine.step(step).unwrap() == StepOutcome::Worked {}
}

fn is_ready(ticket: &mut Ticket) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(ticket).poll(&mut context) {
        Poll::Ready(outcome) => outcome.map(|_| true).unwrap(),
        Poll::Pending => false,
    }
}

#[test]
fn a_blocking_write_is_durable_as_its_mode_says_and_visible_when_it_returns() {
    for (sync_mode, survives) in [(SyncMode::Group, 1), (SyncMode::Batch, 1), (SyncMode::Periodic, 0)] {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, Options { sync_mode, ..options() });
        engine.apply_and_wait(ONE, put("a", 1, 10)).unwrap();
        assert_eq!(keys(&engine, ONE), 1);
        let image = disk.crash(1, Damage::Forgotten);
        assert_eq!(keys(&open(&image, options()), ONE), survives, "{sync_mode:?}");
        let image = disk.crash(1, Damage::ProcessOnly);
        assert_eq!(keys(&open(&image, options()), ONE), 1, "{sync_mode:?}");
    }
}

#[test]
fn blocking_and_queued_writers_lose_nothing_while_everything_happens() {
    for sync_mode in [SyncMode::Group, SyncMode::Batch, SyncMode::Periodic] {
        let options = || Options {
            sync_mode,
            sync_interval: Duration::from_millis(1),
            segment_bytes: 16 << 10,
            memtable_bytes: 8 << 10,
            commit_log_bytes: 64 << 10,
            ..options()
        };
        let disk = SimulatedDisk::default();
        let engine = Arc::new(open(&disk, options()));
        let background = Background::start(Arc::clone(&engine)).unwrap();
        thread::scope(|scope| {
            for writer in 0..6 {
                let engine = &engine;
                scope.spawn(move || {
                    for n in 0..150 {
                        let batch = vec![
                            (ONE, put(&format!("{writer}/{n}"), n, 100)),
                            (OTHER, put(&format!("{writer}/{n}"), n, 10)),
                        ];
                        if n % 3 > 0 {
                            engine.apply_batch_and_wait(&batch).unwrap();
                            continue;
                        }
                        loop {
                            match engine.apply_batch(&batch) {
                                Ok(ticket) => break ticket.wait().unwrap(),
                                Err(Error::Overloaded { .. }) => thread::yield_now(),
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                });
            }
        });
        background.stop();
        let counters = engine.counters();
        assert!(counters.flushes > 3 && counters.segments_prepared > 0, "{counters:?}");
        assert_eq!((keys(&engine, ONE), keys(&engine, OTHER)), (900, 900));
        engine.close().unwrap();
        let recovered = open(&disk.crash(1, Damage::Forgotten), options());
        assert_eq!((keys(&recovered, ONE), keys(&recovered, OTHER)), (900, 900), "{sync_mode:?}");
    }
}

#[test]
fn writers_of_the_same_keys_leave_the_newest_records_and_a_true_account() {
    let engine = open(&SimulatedDisk::default(), Options { memtable_bytes: 1 << 20, ..options() });
    thread::scope(|scope| {
        for writer in 0..4_u64 {
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..400 {
                    let timestamp = n * 4 + writer;
                    let mutation = put(&format!("{}", n % 7), timestamp, 1 + timestamp as usize % 50);
                    engine.apply_and_wait(ONE, mutation).unwrap();
                }
            });
        }
    });
    // What is left is what one writer would have left
    let alone = open(&SimulatedDisk::default(), options());
    for (key, record) in engine.scan(ONE, (Unbounded, Unbounded), usize::MAX).unwrap() {
        let newest = (0..400).filter(|n| format!("{}", n % 7).as_bytes() == &key[..]).max().unwrap() * 4 + 3;
        assert_eq!(record.timestamp, Timestamp(newest));
        alone.apply_and_wait(ONE, Mutation::single(key, record)).unwrap();
    }
    assert_eq!(engine.counters().memtable_bytes, alone.counters().memtable_bytes);
}

#[test]
fn a_failed_sync_is_told_to_all_who_write() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    disk.fail_at(disk.operations() + 20, Fault::Sync, Repeat::Once);
    let acknowledged: Vec<Vec<String>> = thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let engine = &engine;
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    loop {
                        let key = format!("{writer}/{}", acknowledged.len());
                        match engine.apply_and_wait(ONE, put(&key, 1, 10)) {
                            Ok(()) => acknowledged.push(key),
                            Err(Error::Poisoned { .. }) => return acknowledged,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(engine.poisoned().is_some());
    drop(engine);
    let recovered = open(&disk.crash(1, Damage::Forgotten), options());
    for key in acknowledged.iter().flatten() {
        assert!(recovered.get(ONE, key.as_bytes()).unwrap().is_some(), "{key} was acknowledged");
    }
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all_wherever_the_log_is_torn() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    let batch = || (0..8).map(|n| (if n % 2 == 0 { ONE } else { OTHER }, put(&format!("{n}"), 1, 90)));
    let ticket = engine.apply_batch(&batch().collect::<Vec<_>>()).unwrap();
    disk.crash_at(disk.operations() + 2);
    engine.step(Step::Commit).unwrap_err();
    drop((ticket, engine));
    let mut found = [0; 2];
    for seed in 0..100 {
        let damage = Damage::ALL[seed as usize % Damage::ALL.len()];
        let recovered = open(&disk.crash(seed, damage), options());
        let there = (keys(&recovered, ONE), keys(&recovered, OTHER));
        assert!(there == (0, 0) || there == (4, 4), "seed {seed}, {damage:?}: {there:?}");
        found[usize::from(there == (4, 4))] += 1;
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

#[test]
fn a_batch_stays_whole_when_one_of_its_tables_is_flushed_before_the_log_is_synced() {
    let disk = SimulatedDisk::default();
    let options = || Options { sync_mode: SyncMode::Periodic, ..options() };
    let engine = open(&disk, options());
    engine.apply_batch_and_wait(&[(ONE, put("a", 1, 10)), (OTHER, put("a", 1, 10))]).unwrap();
    let mut flushed = engine.flush_table(ONE).unwrap();
    work_off(&engine, Step::Flush);
    assert!(is_ready(&mut flushed));
    let recovered = open(&disk.crash(1, Damage::Forgotten), options());
    assert_eq!((keys(&recovered, ONE), keys(&recovered, OTHER)), (1, 1));
}

#[test]
fn a_batch_that_makes_no_sense_is_refused_as_a_whole() {
    let engine = open(&SimulatedDisk::default(), options());
    assert!(matches!(engine.apply_batch::<Mutation>(&[]), Err(Error::Malformed { .. })));
    let unknown = vec![(ONE, put("a", 1, 1)), (TableId(77), put("a", 1, 1))];
    assert!(matches!(engine.apply_batch_and_wait(&unknown), Err(Error::NoSuchTable(77))));
    let large: Vec<_> = (0..9).map(|n| (ONE, put(&format!("{n}"), 1, 500))).collect();
    assert!(matches!(engine.apply_batch(&large), Err(Error::MutationTooLarge { .. })));
    work_off(&engine, Step::Commit);
    assert_eq!(keys(&engine, ONE), 0);
}

#[test]
fn nothing_of_what_a_recycled_segment_held_comes_back() {
    for (seed, damage) in Damage::ALL.into_iter().enumerate() {
        // Given segments that were used again and again, each full of groups of the same size
        let disk = SimulatedDisk::default();
        let engine = open(&disk, options());
        for n in 0..300 {
            engine.apply_and_wait(ONE, put(&format!("{n:03}"), n, 100)).unwrap();
            work_off(&engine, Step::Prepare);
            if n % 20 == 0 {
                drop(engine.flush_table(ONE).unwrap());
                work_off(&engine, Step::Flush);
            }
        }
        assert!(engine.counters().segments_recycled > 5);
        // When the newest holds a few new groups before the old ones, and the power fails
        let expected = engine.counters().memtable_bytes;
        let image = disk.crash(seed as u64, damage);
        // Then only the new ones are replayed
        let recovered = open(&image, options());
        assert_eq!(recovered.counters().memtable_bytes, expected, "{damage:?}");
        assert_eq!(keys(&recovered, ONE), 300);
    }
}

#[test]
fn a_power_cut_at_any_operation_of_recycling_harms_nothing() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    for n in 0..60 {
        engine.apply_and_wait(ONE, put(&format!("{n:03}"), n, 100)).unwrap();
    }
    drop(engine.flush_table(ONE).unwrap());
    let before = disk.operations();
    let prepare = |engine: &Engine| {
        engine.step(Step::Flush)?;
        engine.step(Step::Prepare)?;
        engine.apply_and_wait(ONE, put("new", 1, 100))
    };
    prepare(&engine).unwrap();
    assert_eq!(engine.counters().segments_recycled, 1);
    let operations = disk.operations() - before;
    assert!(operations > 15, "{operations}");
    for number in 1..=operations {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, options());
        for n in 0..60 {
            engine.apply_and_wait(ONE, put(&format!("{n:03}"), n, 100)).unwrap();
        }
        drop(engine.flush_table(ONE).unwrap());
        disk.crash_at(disk.operations() + number);
        prepare(&engine).unwrap_err();
        for damage in Damage::ALL {
            let recovered = open(&disk.crash(number, damage), options());
            assert!(keys(&recovered, ONE) >= 60, "operation {number}, {damage:?}");
        }
    }
}

#[test]
fn with_the_next_segment_prepared_a_write_costs_a_write_and_a_sync() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, Options { commit_log_bytes: 1 << 20, ..options() });
    let mut segments = 0;
    for n in 0..200 {
        work_off(&engine, Step::Prepare);
        let before = disk.operations();
        engine.apply_and_wait(ONE, put(&format!("{n}"), n, 100)).unwrap();
        assert_eq!(disk.operations() - before, 2, "write {n}");
        segments = engine.counters().segments_prepared;
    }
    assert!(segments > 5, "{segments}");
}

#[test]
fn spare_segments_are_bounded_and_given_back_to_a_full_disk() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, Options { spare_segments: 2, ..options() });
    let write_and_flush = || {
        for n in 0..200 {
            engine.apply_and_wait(ONE, put(&format!("{n}"), n, 100)).unwrap();
        }
        drop(engine.flush_table(ONE).unwrap());
    };
    write_and_flush();
    work_off(&engine, Step::Flush);
    assert_eq!(spares(&disk), 2);
    // A flush that does not fit
    write_and_flush();
    disk.fail_at(disk.operations() + 1, Fault::NoSpace, Repeat::Once);
    engine.step(Step::Flush).unwrap_err();
    assert_eq!(spares(&disk), 0);
    work_off(&engine, Step::Flush);
    assert_eq!(spares(&disk), 0, "the room is left to others");
    // After a while they are kept again, until a merge does not fit
    engine.switch_older(Duration::MAX, Duration::ZERO).unwrap();
    for _ in 0..4 {
        write_and_flush();
        work_off(&engine, Step::Flush);
    }
    assert_eq!(spares(&disk), 2);
    disk.fail_at(disk.operations() + 1, Fault::NoSpace, Repeat::Once);
    let merge = engine.step(Step::Compact);
    assert!(matches!(merge, Err(Error::StorageFull { .. })), "{merge:?}");
    assert_eq!(spares(&disk), 0);
    work_off(&engine, Step::Compact);
}

fn spares(disk: &SimulatedDisk) -> usize {
    disk.files().iter().filter(|path| path.extension().is_some_and(|name| name == "spare")).count()
}

#[test]
fn at_rest_there_are_no_spares_and_a_closed_engine_has_next_to_no_log() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    for n in 0..200 {
        engine.apply_and_wait(ONE, put(&format!("{n}"), n, 100)).unwrap();
    }
    let (hour, now) = (Duration::from_secs(3600), Duration::ZERO);
    drop(engine.flush_table(ONE).unwrap());
    work_off(&engine, Step::Flush);
    engine.apply_and_wait(ONE, put("a", 1, 10)).unwrap();
    engine.switch_older(hour, now).unwrap();
    assert!(spares(&disk) > 0, "something is not flushed, so there is load");
    drop(engine.flush_table(ONE).unwrap());
    work_off(&engine, Step::Flush);
    engine.switch_older(hour, now).unwrap();
    assert_eq!(spares(&disk), 0);
    // Closed, and after a power cut, what is left of the log is one small segment, and nothing is lost
    work_off(&engine, Step::Prepare);
    engine.close().unwrap();
    let logs = disk.files().into_iter().filter(|path| path.extension().is_some_and(|name| name == "log"));
    let lengths: Vec<_> = logs.map(|path| disk.contents(&path).unwrap().len()).collect();
    assert!(lengths.len() == 1 && lengths[0] < 128, "{lengths:?}");
    let image = disk.crash(1, Damage::Forgotten);
    let engine = open(&image, options());
    assert_eq!(keys(&engine, ONE), 201);
    engine.apply_and_wait(ONE, put("b", 1, 10)).unwrap();
    drop(engine);
    assert_eq!(keys(&open(&image, options()), ONE), 202);
    // With something that is not flushed, the log stays
    let engine = open(&image, options());
    engine.close().unwrap();
    assert_eq!(keys(&open(&image, options()), ONE), 202);
}

#[test]
fn a_table_is_in_sstables_when_its_ticket_says_so() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    assert!(is_ready(&mut engine.flush_table(ONE).unwrap()), "nothing to flush");
    assert!(matches!(engine.flush_table(TableId(77)), Err(Error::NoSuchTable(77))));
    engine.apply_and_wait(ONE, put("a", 1, 10)).unwrap();
    engine.apply_and_wait(OTHER, put("a", 1, 10)).unwrap();
    let (mut one, mut again) = (engine.flush_table(ONE).unwrap(), engine.flush_table(ONE).unwrap());
    assert!(!is_ready(&mut one) && !is_ready(&mut again));
    // A failed attempt changes nothing
    disk.fail_at(disk.operations() + 1, Fault::NoSpace, Repeat::Forever);
    engine.step(Step::Flush).unwrap_err();
    assert!(!is_ready(&mut one));
    disk.make_room();
    engine.step(Step::Flush).unwrap();
    assert!(is_ready(&mut one) && is_ready(&mut again));
    assert_eq!(engine.counters().sstables, 1, "the other table was not asked for");
    // Whoever waits when the engine goes is told
    engine.apply_and_wait(ONE, put("b", 1, 10)).unwrap();
    let late = engine.flush_table(ONE).unwrap();
    engine.close().unwrap();
    assert!(matches!(late.wait(), Err(Error::Closed)));
}

#[test]
fn a_ticket_for_what_was_switched_long_ago_does_not_wait_for_the_log_of_today() {
    let engine = open(&SimulatedDisk::default(), options());
    engine.apply_and_wait(ONE, put("a", 1, 10)).unwrap();
    let mut first = engine.flush_table(ONE).unwrap();
    engine.apply_and_wait(OTHER, put("a", 1, 10)).unwrap();
    let mut second = engine.flush_table(ONE).unwrap();
    engine.step(Step::Flush).unwrap();
    assert!(is_ready(&mut first) && is_ready(&mut second));
}

#[test]
fn a_memtable_is_switched_when_it_is_old() {
    let engine = open(&SimulatedDisk::default(), options());
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    assert!(!engine.switch_older(hour, minute).unwrap(), "nothing is there");
    engine.apply_and_wait(ONE, put("a", 1, 10)).unwrap();
    assert!(!engine.switch_older(hour, 10 * minute).unwrap(), "seen for the first time");
    assert!(!engine.switch_older(hour, 69 * minute).unwrap());
    assert!(engine.switch_older(hour, 70 * minute).unwrap());
    work_off(&engine, Step::Flush);
    assert_eq!(engine.counters().flushes, 1);
    // The next one has an age of its own
    engine.apply_and_wait(ONE, put("b", 1, 10)).unwrap();
    assert!(!engine.switch_older(hour, 135 * minute).unwrap());
    assert!(engine.switch_older(hour, 200 * minute).unwrap());
}

#[test]
fn writers_are_slowed_down_more_and_more_and_then_refused() {
    let engine = open(
        &SimulatedDisk::default(),
        Options {
            memtable_bytes: 16 << 10,
            memtable_total_bytes: 32 << 10,
            segment_bytes: 64 << 10,
            stall_limit: Duration::ZERO,
            slow_down: Duration::from_micros(10),
            ..options()
        },
    );
    let mut delays = Vec::new();
    let refusal = (0..).find_map(|n| {
        if let Pressure::Slow { delay } = engine.pressure() {
            delays.push(delay);
        }
        engine.apply_and_wait(ONE, put(&format!("{n:04}"), 1, 100)).err()
    });
    assert!(matches!(refusal, Some(Error::Overloaded { .. })), "{refusal:?}");
    assert!(matches!(engine.pressure(), Pressure::Refused { .. }));
    assert!(matches!(engine.apply(ONE, put("a", 1, 1)), Err(Error::Overloaded { .. })));
    assert!(delays.len() > 5 && delays.is_sorted() && delays[0] < delays[delays.len() - 1], "{delays:?}");
    assert!(engine.counters().memtable_bytes < 33 << 10);
    work_off(&engine, Step::Flush);
    assert_eq!(engine.pressure(), Pressure::None);
}

#[test]
fn tables_that_wait_to_be_merged_slow_writers_down_and_stop_them() {
    let options = Options { compaction_debt_runs: 4, table: TableOptions::tiered(2), ..options() };
    let engine = open(&SimulatedDisk::default(), options);
    let mut pressures = Vec::new();
    for n in 0..4 {
        pressures.push(engine.pressure());
        engine.apply_and_wait(ONE, put("k", n, 10)).unwrap();
        drop(engine.flush_table(ONE).unwrap());
        work_off(&engine, Step::Flush);
    }
    assert!(
        matches!(
            pressures[..],
            [Pressure::None, Pressure::None, Pressure::None | Pressure::Slow { .. }, Pressure::Slow { .. }]
        ),
        "{pressures:?}"
    );
    assert!(matches!(engine.pressure(), Pressure::Refused { .. }));
    work_off(&engine, Step::Compact);
    assert_eq!(engine.pressure(), Pressure::None);
}

#[test]
fn a_blocking_writer_waits_for_room() {
    let options = Options {
        memtable_bytes: 4 << 10,
        memtable_total_bytes: 8 << 10,
        slow_down: Duration::ZERO,
        stall_limit: Duration::from_secs(60),
        ..options()
    };
    let engine = Arc::new(open(&SimulatedDisk::default(), options));
    let background = Background::start(Arc::clone(&engine)).unwrap();
    for n in 0..300 {
        engine.apply_and_wait(ONE, put(&format!("{n:04}"), 1, 100)).unwrap();
    }
    background.stop();
    assert_eq!(keys(&engine, ONE), 300);
}

#[test]
fn what_is_written_behind_carried_mutations_that_were_flushed_is_replayed() {
    // Given a segment that was born with mutations of two tables, of which one is flushed afterwards
    let options = || Options { sync_mode: SyncMode::Periodic, ..options() };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    engine.apply_and_wait(ONE, put("long", 1, 500)).unwrap();
    engine.apply_and_wait(OTHER, put("a", 1, 10)).unwrap();
    drop(engine);
    disk.restart(1, Damage::ProcessOnly);
    let engine = open(&disk, options());
    drop(engine.flush_table(ONE).unwrap());
    work_off(&engine, Step::Flush);
    drop(engine);
    // When it is opened again, and written to
    let engine = open(&disk, options());
    engine.apply_and_wait(ONE, put("new", 2, 10)).unwrap();
    drop(engine);
    // Then that has a place behind what was flushed
    let engine = open(&disk, options());
    assert_eq!((keys(&engine, ONE), keys(&engine, OTHER)), (2, 1));
}

#[test]
fn rot_of_what_was_flushed_is_no_torn_tail_since_another_table_may_have_had_something_there() {
    // Given a segment of recovery's in which one group was written, flushed, and then rotted: it looks torn
    let disk = SimulatedDisk::default();
    drop(open(&disk, options()));
    let engine = open(&disk, options());
    engine.apply_batch_and_wait(&[(ONE, put("a", 1, 500)), (OTHER, put("b", 1, 10))]).unwrap();
    drop(engine.flush_table(ONE).unwrap());
    work_off(&engine, Step::Flush);
    drop(engine);
    let segment =
        disk.files().into_iter().rfind(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    // Behind the header of the file and the two frames of its start.
    let group = 48 + 2 * 22 + 10;
    disk.flip_bit(&segment, group, 0).unwrap();
    // Then half of the batch is not lost in silence: the manifest says that the log was durable there
    let refused = Engine::open(Arc::new(disk), Path::new("/data"), options());
    assert!(matches!(refused, Err(Error::Corrupt { path, .. }) if path == segment));
}
