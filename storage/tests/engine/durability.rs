//! What was acknowledged is durable, one sync serves all who wait for it, and nobody sees what is not
//! durable.

use helenus_storage::{
    Error, Mutation, Options, Step, StepOutcome, SyncMode, TableId,
    disk::{Damage, Fault, Repeat, SimulatedDisk},
};

use crate::rig::{TABLE, everything, files, flush, open, plain, queue, read, small, try_open, write};

fn periodic() -> Options {
    Options { sync_mode: SyncMode::Periodic, ..small() }
}

#[test]
fn an_acknowledged_write_survives_a_power_cut_and_a_queued_one_is_not_seen() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    write(&engine, "a", plain(1, "acknowledged"));
    let ticket = queue(&engine, "b", plain(1, "queued"));
    assert_eq!(read(&engine, "b"), None);

    let image = disk.crash(1, Damage::Forgotten);
    let recovered = open(&image, small());
    assert_eq!(read(&recovered, "a"), Some(plain(1, "acknowledged")));
    assert_eq!(read(&recovered, "b"), None);
    drop(ticket);
}

#[test]
fn one_sync_serves_all_who_wait() {
    let engine = open(&SimulatedDisk::default(), Options::default());
    let before = engine.counters();
    let tickets: Vec<_> = (0..100).map(|n| queue(&engine, &format!("{n}"), plain(n, "v"))).collect();
    assert_eq!(engine.step(Step::Commit).unwrap(), StepOutcome::Worked);
    assert_eq!(engine.step(Step::Commit).unwrap(), StepOutcome::Idle);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let after = engine.counters();
    assert_eq!(after.commit_log_syncs - before.commit_log_syncs, 1);
    assert_eq!(after.commit_log_groups - before.commit_log_groups, 1);
    assert_eq!(after.commit_log_mutations - before.commit_log_mutations, 100);
}

#[test]
fn periodic_mode_acknowledges_before_the_sync() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, periodic());
    write(&engine, "a", plain(1, "synced"));
    assert_eq!(engine.counters().commit_log_syncs, 0);
    assert_eq!(engine.step(Step::Sync).unwrap(), StepOutcome::Worked);
    assert_eq!(engine.step(Step::Sync).unwrap(), StepOutcome::Idle);
    assert_eq!(engine.counters().commit_log_syncs, 1);
    write(&engine, "b", plain(1, "not synced"));

    let power_cut = open(&disk.crash(1, Damage::Forgotten), periodic());
    assert_eq!(read(&power_cut, "a"), Some(plain(1, "synced")));
    assert_eq!(read(&power_cut, "b"), None);
    let process_death = open(&disk.crash(1, Damage::ProcessOnly), periodic());
    assert_eq!(read(&process_death, "b"), Some(plain(1, "not synced")));
}

#[test]
fn a_failed_sync_poisons_the_engine_and_everyone_who_waits_is_told() {
    for fault in [Fault::Io, Fault::Sync] {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, small());
        write(&engine, "a", plain(1, "before"));
        let tickets = [queue(&engine, "b", plain(1, "fails")), queue(&engine, "c", plain(1, "fails too"))];
        disk.fail_at(disk.operations() + 1, fault, Repeat::Once);

        assert!(matches!(engine.step(Step::Commit), Err(Error::Io { .. })));
        for ticket in tickets {
            assert!(matches!(ticket.wait(), Err(Error::Poisoned { .. })));
        }
        assert!(engine.poisoned().unwrap().contains("commit-"), "it names the file");
        assert!(matches!(engine.get(TABLE, b"a"), Err(Error::Poisoned { .. })));
        assert!(matches!(engine.try_get(TABLE, b"a"), Err(Error::Poisoned { .. })));
        let late = engine.apply(TABLE, Mutation::single("d", plain(1, "late")));
        assert!(matches!(late, Err(Error::Poisoned { .. })));
        for step in Step::ALL {
            assert!(matches!(engine.step(step), Err(Error::Poisoned { .. })), "{step:?}");
        }
        assert!(matches!(engine.create_table(TableId(9)), Err(Error::Poisoned { .. })));
        assert!(matches!(engine.close(), Err(Error::Poisoned { .. })));
    }
}

#[test]
fn mutations_queued_behind_a_failed_group_are_told_too() {
    // Given two groups, since one does not take everything
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    let tickets: Vec<_> =
        (0..40).map(|n| queue(&engine, &format!("{n}"), plain(n, &"v".repeat(100)))).collect();
    disk.fail_at(disk.operations() + 1, Fault::Io, Repeat::Once);
    engine.step(Step::Commit).unwrap_err();
    for ticket in tickets {
        assert!(matches!(ticket.wait(), Err(Error::Poisoned { .. })));
    }
}

#[test]
fn a_failed_manifest_poisons_but_a_failed_flush_does_not() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    write(&engine, "a", plain(1, "kept"));
    engine.switch_memtables().unwrap();
    let operations_of_a_flush = {
        let before = disk.operations();
        let dry = open(&disk.crash(1, Damage::Forgotten), small());
        flush(&dry);
        drop(dry);
        assert_eq!(disk.operations(), before, "the image is another disk");
        8
    };
    let (mut failures, mut directory_failures) = (0, 0);
    for number in 0..operations_of_a_flush {
        let image = disk.crash(1, Damage::Forgotten);
        let engine = open(&image, small());
        engine.switch_memtables().unwrap();
        image.fail_at(image.operations() + 1 + number, Fault::Io, Repeat::Once);
        let outcome = engine.step(Step::Flush);
        match engine.poisoned() {
            None => {
                // The table is as it was, and the next attempt succeeds.
                failures += usize::from(outcome.is_err());
                assert_eq!(read(&engine, "a"), Some(plain(1, "kept")));
                flush(&engine);
                assert_eq!(read(&engine, "a"), Some(plain(1, "kept")));
                assert_eq!(files(&image, ".sst").len(), 1);
                assert_eq!(files(&image, ".tmp"), Vec::<String>::new());
            }
            // Names that others created may have been lost with it.
            Some(reason) => {
                let is_directory = reason.starts_with("sync directory");
                directory_failures += usize::from(is_directory);
                assert!(is_directory || reason.contains("manifest-"), "{reason}");
            }
        }
        drop(engine);
        let recovered = open(&image.crash(1, Damage::Forgotten), small());
        assert_eq!(read(&recovered, "a"), Some(plain(1, "kept")));
    }
    assert!(failures >= 3, "creation, write, sync and rename of the SSTable can fail");
    assert_eq!(directory_failures, 1, "the directory is what everyone shares");
}

#[test]
fn what_readers_saw_after_a_failed_sync_and_a_restart_survives_a_power_cut() {
    // Given a group that was written, whose sync failed, so that the system has it and forgot that it is
    // dirty
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    write(&engine, "a", plain(1, "before"));
    let ticket = queue(&engine, "b", plain(1, "in the page cache"));
    disk.fail_at(disk.operations() + 2, Fault::Sync, Repeat::Once);
    engine.step(Step::Commit).unwrap_err();
    ticket.wait().unwrap_err();
    drop(engine);
    // When the process starts again, serves a while, and the power fails
    disk.restart(1, Damage::ProcessOnly);
    let engine = open(&disk, small());
    let seen = read(&engine, "b");
    write(&engine, "c", plain(1, "after"));
    drop(engine);
    let recovered = open(&disk.crash(2, Damage::Forgotten), small());
    // Then
    assert_eq!(read(&recovered, "a"), Some(plain(1, "before")));
    assert_eq!(read(&recovered, "b"), seen);
    assert_eq!(read(&recovered, "c"), Some(plain(1, "after")));
}

#[test]
fn a_segment_whose_name_was_not_synced_is_not_missed_after_a_restart_and_a_power_cut() {
    let mut failures = 0;
    for number in 1..30 {
        // Given a sync that fails somewhere, also that of the directory for a new segment
        let disk = SimulatedDisk::default();
        let engine = open(&disk, small());
        disk.fail_at(disk.operations() + number, Fault::Sync, Repeat::Once);
        let acknowledged: Vec<_> = (0..12)
            .map_while(|n| {
                let ticket = queue(&engine, &format!("{n:02}"), plain(n, &"v".repeat(700)));
                engine.step(Step::Commit).and_then(|_| ticket.wait()).is_ok().then_some(n)
            })
            .collect();
        failures += usize::from(acknowledged.len() < 12);
        drop(engine);
        // When the process starts again and the power fails
        disk.restart(number, Damage::ProcessOnly);
        drop(try_open(&disk, small()).unwrap());
        disk.restart(number, Damage::Forgotten);
        // Then
        let recovered = try_open(&disk, small()).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert!(everything(&recovered).len() >= acknowledged.len());
    }
    assert!(failures > 20);
}

#[test]
fn opening_again_and_again_leaves_one_segment_and_the_same_records() {
    let disk = SimulatedDisk::default();
    write(&open(&disk, small()), "a", plain(1, "v"));
    for seed in 0..6 {
        disk.restart(seed, Damage::Forgotten);
        let engine = try_open(&disk, small()).unwrap();
        assert_eq!(read(&engine, "a"), Some(plain(1, "v")));
        drop(engine);
    }
    assert_eq!(files(&disk, ".log").len(), 1, "born with the record, and never written to again");
    let engine = try_open(&disk, small()).unwrap();
    write(&engine, "b", plain(2, "v"));
    drop(engine);
    assert_eq!(everything(&try_open(&disk, small()).unwrap()).len(), 2);
}

#[test]
fn opening_again_and_again_changes_nothing() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for n in 0..200 {
        write(&engine, &format!("{:03}", n % 70), plain(n, &"v".repeat(n as usize)));
        if n % 60 == 59 {
            flush(&engine);
        }
    }
    let expected = everything(&engine);
    drop(engine);
    for seed in 0..5 {
        let engine = open(&disk, small());
        assert_eq!(everything(&engine), expected);
        drop(engine);
        disk.restart(seed, Damage::ALL[seed as usize]);
    }
    let engine = open(&disk, small());
    engine.close().unwrap();
    assert_eq!(everything(&open(&disk, small())), expected);
}

#[test]
fn what_was_flushed_is_not_replayed() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, Options::default());
    engine.create_table(TableId(2)).unwrap();
    write(&engine, "flushed", plain(1, "v"));
    flush(&engine);
    write(&engine, "kept by the log", plain(1, "v"));
    let bytes = engine.counters().memtable_bytes;
    drop(engine);
    let engine = open(&disk, Options::default());
    assert_eq!(engine.counters().memtable_bytes, bytes);
    assert_eq!(everything(&engine).len(), 2);
}

#[test]
fn segments_go_once_every_table_has_flushed_them() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    engine.create_table(TableId(2)).unwrap();
    let ticket = engine.apply(TableId(2), Mutation::single("idle", plain(1, "holds the log"))).unwrap();
    engine.step(Step::Commit).unwrap();
    ticket.wait().unwrap();
    for n in 0..200 {
        write(&engine, &format!("{n}"), plain(n, &"v".repeat(100)));
    }
    assert!(files(&disk, ".log").len() > 3);
    // When all is flushed, only the segment that is written to remains
    flush(&engine);
    assert_eq!(files(&disk, ".log").len(), 1);
    write(&engine, "last", plain(1, "v"));
    drop(engine);
    let engine = open(&disk, small());
    assert_eq!(everything(&engine).len(), 201);
    assert_eq!(engine.get(TableId(2), b"idle").unwrap(), Some(plain(1, "holds the log")));
}

#[test]
fn a_long_log_flushes_the_tables_that_hold_it() {
    let options = Options { commit_log_bytes: 16 << 10, ..small() };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options);
    engine.create_table(TableId(2)).unwrap();
    let ticket = engine.apply(TableId(2), Mutation::single("idle", plain(1, "holds the log"))).unwrap();
    engine.step(Step::Commit).unwrap();
    ticket.wait().unwrap();
    for n in 0..500 {
        write(&engine, "the same key", plain(n, &"v".repeat(100)));
        while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        assert!(files(&disk, ".log").len() <= 5, "{:?}", files(&disk, ".log"));
    }
    assert!(engine.counters().flushes >= 2);
}

#[test]
fn files_that_nothing_refers_to_are_removed_and_their_ids_never_return() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    write(&engine, "a", plain(1, "v"));
    engine.switch_memtables().unwrap();
    // Given a flush that dies after the SSTable has its name and before the manifest knows it
    let mut orphans = 0;
    for number in 1..12 {
        let image = disk.crash(1, Damage::Forgotten);
        let engine = open(&image, small());
        engine.switch_memtables().unwrap();
        image.crash_at(image.operations() + number);
        let _ = engine.step(Step::Flush);
        drop(engine);
        image.restart(1, Damage::ProcessOnly);
        let found = files(&image, ".sst");
        let engine = open(&image, small());
        let kept = files(&image, ".sst");
        let removed: Vec<_> = found.iter().filter(|name| !kept.contains(name)).collect();
        orphans += removed.len();
        assert_eq!(files(&image, ".tmp"), Vec::<String>::new());
        flush(&engine);
        for name in files(&image, ".sst") {
            assert!(!removed.contains(&&name), "{name} is used again");
        }
        assert_eq!(read(&engine, "a"), Some(plain(1, "v")));
    }
    assert!(orphans > 0, "some crash leaves an orphan");
}

#[test]
fn closing_commits_what_is_queued() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    let ticket = queue(&engine, "a", plain(1, "queued"));
    engine.close().unwrap();
    ticket.wait().unwrap();
    let recovered = try_open(&disk.crash(1, Damage::Forgotten), small()).unwrap();
    assert_eq!(read(&recovered, "a"), Some(plain(1, "queued")));
}

#[test]
fn dropping_writes_nothing() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    let ticket = queue(&engine, "a", plain(1, "queued"));
    let before = disk.operations();
    drop(engine);
    assert_eq!(disk.operations(), before);
    assert!(matches!(ticket.wait(), Err(Error::Closed)));
}
