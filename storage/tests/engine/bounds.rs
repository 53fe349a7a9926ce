//! Everything is bounded, and hitting a bound, or knocking at a door that is shut, is a typed error that
//! changes nothing.

use std::{path::Path, sync::Arc};

use helenus_storage::{
    Engine, Error, Mutation, Options, Step, StepOutcome, TableId,
    disk::{Damage, OsDisk, SimulatedDisk},
};

use crate::rig::{TABLE, everything, flush, open, plain, queue, read, small, try_open, write};

#[test]
fn a_data_directory_has_one_engine() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    assert!(matches!(try_open(&disk, small()), Err(Error::Locked { path }) if path == Path::new("/data")));
    engine.close().unwrap();
    let second = try_open(&disk, small()).unwrap();
    drop(second);
    try_open(&disk, small()).unwrap();
}

#[test]
fn a_full_queue_refuses_until_it_is_committed() {
    let engine = open(&SimulatedDisk::default(), Options { commit_queue_bytes: 1000, ..small() });
    let mut tickets = Vec::new();
    let refusal = loop {
        match engine.apply(TABLE, Mutation::single("key", plain(1, &"v".repeat(100)))) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, Error::Overloaded { .. }));
    assert!((5..10).contains(&tickets.len()), "{}", tickets.len());
    while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    write(&engine, "key", plain(2, "room again"));
}

#[test]
fn full_memory_refuses_until_it_is_flushed() {
    let options = Options { memtable_bytes: 4 << 10, memtable_total_bytes: 16 << 10, ..small() };
    let engine = open(&SimulatedDisk::default(), options);
    let mut written = 0;
    let refusal = loop {
        match engine.apply(TABLE, Mutation::single(format!("{written:05}"), plain(1, &"v".repeat(100)))) {
            Ok(ticket) => drop(ticket),
            Err(error) => break error,
        }
        engine.step(Step::Commit).unwrap();
        written += 1;
        assert!(written < 1000, "memory is not bounded");
    };
    assert!(matches!(refusal, Error::Overloaded { .. }));
    assert!(engine.counters().memtable_bytes < 17 << 10);
    // Nobody has to switch anything by hand.
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
    write(&engine, "zz", plain(2, "room again"));
    assert_eq!(everything(&engine).len(), written + 1);
}

#[test]
fn many_small_tables_cannot_fill_memory_for_ever() {
    let options = Options { memtable_bytes: 64 << 10, memtable_total_bytes: 16 << 10, ..small() };
    let engine = open(&SimulatedDisk::default(), options);
    for id in 0..20 {
        engine.create_table(TableId(id)).unwrap();
    }
    let apply = |n: u32| {
        let mutation = Mutation::single(n.to_be_bytes().to_vec(), plain(1, &"v".repeat(100)));
        engine.apply(TableId(n % 20), mutation).map(drop)
    };
    // When more is queued than memory is for
    (0..200).for_each(|n| apply(n).unwrap());
    while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}
    assert!(matches!(apply(200), Err(Error::Overloaded { .. })));
    // Then flushing alone makes room again, one table after the other.
    let mut flushes = 0;
    while apply(200).is_err() {
        assert_eq!(
            engine.step(Step::Flush).unwrap(),
            StepOutcome::Worked,
            "nothing to flush, and yet refused"
        );
        flushes += 1;
    }
    assert!(flushes > 5, "{flushes}");
}

#[test]
fn a_long_log_refuses_until_it_is_flushed_also_after_a_restart() {
    let options = Options { commit_log_bytes: 8 << 10, ..small() };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options.clone());
    let mut written = 0;
    loop {
        match engine.apply(TABLE, Mutation::single("the same key", plain(written, &"v".repeat(500)))) {
            Ok(ticket) => drop(ticket),
            Err(Error::Overloaded { .. }) => break,
            Err(error) => panic!("{error}"),
        }
        engine.step(Step::Commit).unwrap();
        written += 1;
        assert!(written < 1000, "the log is not bounded");
    }
    drop(engine);
    let engine = open(&disk.crash(1, Damage::Forgotten), options);
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
    write(&engine, "the same key", plain(9999, "room again"));
}

#[test]
fn the_largest_mutation_is_accepted_and_one_byte_more_is_not() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    let too_large = engine.apply(TABLE, Mutation::single("key", plain(1, &"v".repeat(10_000)))).unwrap_err();
    let Error::MutationTooLarge { size_bytes, limit_bytes } = too_large else { panic!("{too_large}") };
    let largest = 10_000 - (size_bytes - limit_bytes);

    let record = plain(1, &"v".repeat(largest));
    write(&engine, "key", record.clone());
    write(&engine, "another in the next segment", plain(1, "v"));
    let one_more = engine.apply(TABLE, Mutation::single("key", plain(2, &"v".repeat(largest + 1))));
    assert!(matches!(one_more, Err(Error::MutationTooLarge { .. })));
    drop(engine);
    assert_eq!(read(&open(&disk.crash(1, Damage::Forgotten), small()), "key"), Some(record));
}

#[test]
fn smaller_segments_after_a_restart_still_take_over_what_was_accepted() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, Options::default());
    let record = plain(1, &"v".repeat(100_000));
    write(&engine, "large", record.clone());
    drop(engine);
    let engine = open(&disk.crash(1, Damage::ProcessOnly), small());
    assert_eq!(read(&engine, "large"), Some(record));
    write(&engine, "small", plain(1, "v"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let engine = open(&SimulatedDisk::default(), small());
    let nowhere = TableId(77);
    assert!(matches!(
        engine.apply(nowhere, Mutation::single("a", plain(1, "v"))),
        Err(Error::NoSuchTable(77))
    ));
    assert!(matches!(engine.get(nowhere, b"a"), Err(Error::NoSuchTable(77))));
    assert!(matches!(engine.try_get(nowhere, b"a"), Err(Error::NoSuchTable(77))));
    assert!(matches!(engine.is_empty(nowhere), Err(Error::NoSuchTable(77))));
    assert!(matches!(engine.newest_timestamp(nowhere), Err(Error::NoSuchTable(77))));
    let rowless = Mutation { key: "a".into(), rows: Vec::new() };
    assert!(matches!(engine.apply(TABLE, rowless), Err(Error::Malformed { .. })));
    assert_eq!(engine.step(Step::Commit).unwrap(), StepOutcome::Idle, "nothing was queued");
}

#[test]
fn a_closed_engine_says_so() {
    let engine = open(&SimulatedDisk::default(), small());
    write(&engine, "a", plain(1, "v"));
    engine.close().unwrap();
    assert!(matches!(engine.apply(TABLE, Mutation::single("a", plain(2, "v"))), Err(Error::Closed)));
    assert!(matches!(engine.get(TABLE, b"a"), Err(Error::Closed)));
    assert!(matches!(engine.create_table(TableId(2)), Err(Error::Closed)));
    assert!(matches!(engine.switch_memtables(), Err(Error::Closed)));
    assert!(matches!(engine.close(), Err(Error::Closed)));
    for step in Step::ALL {
        assert!(matches!(engine.step(step), Err(Error::Closed)), "{step:?}");
    }
}

#[test]
fn tables_are_created_once_and_known_after_a_restart() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for id in [5, 3, 5, 1, 3] {
        engine.create_table(TableId(id)).unwrap();
    }
    assert_eq!(engine.tables(), [1, 3, 5].map(TableId));
    let recovered = try_open(&disk.crash(1, Damage::Forgotten), small()).unwrap();
    assert_eq!(recovered.tables(), [1, 3, 5].map(TableId));
}

#[test]
fn the_operating_systems_files_do_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not/there/yet");
    let open = || Engine::open(Arc::new(OsDisk), &path, small()).unwrap();
    let engine = open();
    engine.create_table(TABLE).unwrap();
    for n in 0..300 {
        write(&engine, &format!("{:03}", n % 100), plain(n, &"v".repeat(n as usize)));
        if n % 50 == 0 {
            flush(&engine);
        }
    }
    while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
    drop(queue(&engine, "queued", plain(1, "v")));
    let expected = everything(&engine);
    drop(engine);
    let engine = open();
    assert_eq!(everything(&engine), expected);
    engine.close().unwrap();
    assert_eq!(everything(&open()), expected);
}
