//! The background threads do all the work there is, report what fails, and stop when told.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use helenus_storage::{
    Engine, Error, Mutation, Options, Step, StepOutcome, SyncMode, TableOptions,
    background::Background,
    disk::{Damage, Fault, Repeat, SimulatedDisk},
};

use crate::rig::{DIRECTORY, TABLE, everything, files, flush, open, plain, queue, read, small, write};

fn busy() -> Options {
    Options { memtable_bytes: 8 << 10, segment_bytes: 16 << 10, commit_log_bytes: 64 << 10, ..small() }
}

/// Applies, trying again while the engine is overloaded, and waits.
fn write_patiently(engine: &Engine, key: &str, timestamp: u64) {
    loop {
        match engine.apply(TABLE, Mutation::single(key.to_owned(), plain(timestamp, &"v".repeat(100)))) {
            Ok(ticket) => return ticket.wait().unwrap(),
            Err(Error::Overloaded { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn of_two_who_set_options_one_is_the_last_in_memory_and_on_disk() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for round in 0..100 {
        std::thread::scope(|scope| {
            for scaling in [3, 4, 5, 6] {
                let engine = &engine;
                scope.spawn(move || engine.set_table_options(TABLE, TableOptions::tiered(scaling)).unwrap());
            }
        });
        let reopened = open(&disk.crash(1, Damage::Forgotten), small());
        let options = [&engine, &reopened].map(|engine| engine.table_options(TABLE).unwrap());
        assert_eq!(options[0], options[1], "round {round}");
    }
}

#[test]
fn many_writers_are_served_and_their_records_survive() {
    let disk = SimulatedDisk::default();
    let engine = Arc::new(open(&disk, busy()));
    let background = Background::start(Arc::clone(&engine)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..200 {
                    write_patiently(engine, &format!("{writer}/{n}"), n);
                }
            });
        }
    });
    background.stop();
    let counters = engine.counters();
    assert!(counters.flushes > 3 && counters.compactions > 0, "{counters:?}");
    assert_eq!(everything(&engine).len(), 1600);
    drop(engine);
    assert_eq!(everything(&open(&disk.crash(1, Damage::Forgotten), busy())).len(), 1600);
}

#[test]
fn what_waited_before_the_threads_started_is_done() {
    let engine = Arc::new(open(&SimulatedDisk::default(), small()));
    let ticket = queue(&engine, "early", plain(1, "v"));
    let background = Background::start(Arc::clone(&engine)).unwrap();
    ticket.wait().unwrap();
    background.stop();
    // Stopped is not closed.
    let late = queue(&engine, "late", plain(1, "v"));
    engine.step(Step::Commit).unwrap();
    late.wait().unwrap();
}

#[test]
fn a_failed_flush_is_reported_and_tried_again() {
    let disk = SimulatedDisk::default();
    let engine = Arc::new(open(&disk, small()));
    // So that the block of file ids is reserved, and the next operation is the creation of an SSTable
    write(&engine, "a", plain(1, "v"));
    flush(&engine);
    write(&engine, "b", plain(1, "v"));
    engine.switch_memtables().unwrap();
    while engine.step(Step::Prepare).unwrap() == StepOutcome::Worked {}
    disk.fail_at(disk.operations() + 1, Fault::NoSpace, Repeat::Once);

    let (failures, reported) = mpsc::channel();
    let on_failure = move |step, error: &Error| failures.send((step, error.clone())).unwrap();
    let background = Background::start_reporting(Arc::clone(&engine), Box::new(on_failure)).unwrap();
    let (step, error) = reported.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(step, Step::Flush);
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    // The listener of the engine is the background's, so progress is watched from outside.
    while engine.counters().flushes < 2 {
        std::thread::yield_now();
    }
    background.stop();
    assert_eq!(engine.poisoned(), None);
    assert_eq!(read(&engine, "b"), Some(plain(1, "v")));
}

#[test]
fn a_poisoned_engine_ends_its_threads_after_a_report() {
    let disk = SimulatedDisk::default();
    let engine = Arc::new(open(&disk, small()));
    let (failures, reported) = mpsc::channel();
    let on_failure = move |step, error: &Error| failures.send((step, error.clone())).unwrap();
    let background = Background::start_reporting(Arc::clone(&engine), Box::new(on_failure)).unwrap();
    // So that the next operation is the write
    while engine.counters().segments_prepared == 0 {
        std::thread::yield_now();
    }
    disk.fail_at(disk.operations() + 1, Fault::Io, Repeat::Once);
    let ticket = queue(&engine, "a", plain(1, "v"));
    assert!(matches!(ticket.wait(), Err(Error::Poisoned { .. })));
    let (step, error) = reported.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(step, Step::Commit);
    assert!(matches!(error, Error::Io { .. }), "{error}");
    // All threads let go of what they share, so the channel ends without a stop.
    assert!(matches!(
        reported.recv_timeout(Duration::from_secs(60)),
        Err(mpsc::RecvTimeoutError::Disconnected)
    ));
    background.stop();
}

#[test]
fn in_periodic_mode_what_was_written_is_synced_an_interval_later() {
    let options =
        Options { sync_mode: SyncMode::Periodic, sync_interval: Duration::from_millis(1), ..small() };
    let disk = SimulatedDisk::default();
    let engine = Arc::new(open(&disk, options.clone()));
    let background = Background::start(Arc::clone(&engine)).unwrap();
    queue(&engine, "a", plain(1, "v")).wait().unwrap();
    while engine.counters().commit_log_syncs == 0 {
        std::thread::yield_now();
    }
    background.stop();
    assert_eq!(read(&open(&disk.crash(1, Damage::Forgotten), options), "a"), Some(plain(1, "v")));
}

/// An engine that is due to merge, with a damaged block in the data of one of the tables.
fn due_to_merge_rot() -> (SimulatedDisk, Engine) {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for table in 0..3 {
        // Each key once: no merge is needed to tell what a read finds.
        write(&engine, &format!("key {table}"), plain(1, &"v".repeat(100)));
        flush(&engine);
    }
    drop(engine);
    let disk = disk.crash(1, Damage::Forgotten);
    let tables = files(&disk, ".sst");
    assert_eq!(tables.len(), 3, "nothing is merged yet");
    disk.flip_bit(&Path::new(DIRECTORY).join(&tables[1]), 20, 0).unwrap();
    let engine = open(&disk, small());
    (disk, engine)
}

#[test]
fn a_merge_that_meets_rot_fails_by_name_is_counted_and_leaves_everything_as_it_was() {
    let (disk, engine) = due_to_merge_rot();
    let rotten = files(&disk, ".sst")[1].clone();
    let error = engine.step(Step::Compact).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path, .. } if path.ends_with(&rotten)), "{error}");
    assert_eq!(engine.counters().failures[Step::Compact as usize], 1);
    assert_eq!((engine.set_aside(), engine.counters().set_aside), (vec![rotten], 1));
    assert_eq!((engine.counters().sstables, files(&disk, ".sst").len()), (3, 3));
    assert_eq!(engine.poisoned(), None);
    assert_eq!(read(&engine, "key 0"), Some(plain(1, &"v".repeat(100))));
    assert!(matches!(engine.get(TABLE, b"key 1"), Err(Error::Corrupt { .. })));
}

#[test]
fn a_rotten_table_is_set_aside_and_does_not_hold_up_the_others() {
    let (disk, engine) = due_to_merge_rot();
    let rotten = files(&disk, ".sst")[1].clone();
    assert!(engine.step(Step::Compact).is_err());
    assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Idle, "two are left");
    write(&engine, "key 3", plain(1, &"v".repeat(100)));
    flush(&engine);
    assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Worked);
    let left = files(&disk, ".sst");
    assert!(left.len() == 2 && left.contains(&rotten), "{left:?}");
    engine.compact_table(TABLE).unwrap();
    assert!(files(&disk, ".sst").contains(&rotten), "not even then: what of it can be read still can");
}

#[test]
fn a_merge_that_meets_rot_is_not_tried_again_with_each_flush() {
    let engine = Arc::new(due_to_merge_rot().1);
    let (failures, reported) = mpsc::channel();
    let on_failure = move |step, error: &Error| failures.send((step, error.clone())).unwrap();
    let background = Background::start_reporting(Arc::clone(&engine), Box::new(on_failure)).unwrap();
    let (step, error) = reported.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(step == Step::Compact && matches!(error, Error::Corrupt { .. }), "{step:?}: {error}");

    // Each flush makes one table more to merge, and rings for it. The wait between two attempts doubles, so that even
    // on a slow machine there are far fewer of them than flushes.
    let flushes = 100;
    for n in 0..flushes {
        queue(&engine, &format!("later {n}"), plain(1, "v")).wait().unwrap();
        let before = engine.counters().flushes;
        engine.switch_memtables().unwrap();
        while engine.counters().flushes == before {
            std::thread::yield_now();
        }
    }
    background.stop();
    let attempts = engine.counters().failures[Step::Compact as usize];
    assert!((1..flushes / 4).contains(&attempts), "{attempts} attempts to merge in {flushes} flushes");
    assert_eq!(reported.try_iter().count() as u64 + 1, attempts, "each is reported");
}
