//! A full disk refuses writes with a typed error and harms nothing: reads go on, what was refused is certainly
//! not there, and once there is room again everything works without a restart.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use helenus_storage::{
    Engine, Error, Mutation, Step, StepOutcome, SyncMode, TableId,
    background::Background,
    disk::{Damage, Fault, Repeat, SimulatedDisk},
};

use crate::rig::{
    DIRECTORY, TABLE, everything, files, flush, open, plain, queue, read, small, try_open, write,
};

fn fill(disk: &SimulatedDisk) {
    disk.fail_at(disk.operations() + 1, Fault::NoSpace, Repeat::Forever);
}

/// Writes until a segment is full and no other can be created. Answers how many writes succeeded.
fn write_until_full(engine: &Engine) -> u64 {
    for n in 0..1000 {
        let ticket = queue(engine, &format!("{n:03}"), plain(n, &"v".repeat(100)));
        match engine.step(Step::Commit) {
            Ok(_) => ticket.wait().unwrap(),
            Err(failure) => {
                assert!(matches!(failure, Error::StorageFull { .. }), "{failure}");
                assert!(failure.to_string().contains("No space left on device"), "{failure}");
                assert!(matches!(ticket.wait(), Err(Error::StorageFull { .. })));
                return n;
            }
        }
    }
    panic!("the disk is full and nothing noticed");
}

#[test]
fn without_room_for_the_next_segment_writes_are_refused_and_nothing_else_changes() {
    for sync_mode in [SyncMode::Group, SyncMode::Periodic] {
        let options = || helenus_storage::Options { sync_mode, ..small() };
        let disk = SimulatedDisk::default();
        let engine = open(&disk, options());
        fill(&disk);
        let written = write_until_full(&engine);
        assert!(written > 5, "what was preallocated can be filled");
        // Then it is refused again and again, and reads go on
        let refused = queue(&engine, "refused", plain(9, &"v".repeat(100)));
        assert!(matches!(engine.step(Step::Commit), Err(Error::StorageFull { .. })));
        assert!(matches!(refused.wait(), Err(Error::StorageFull { .. })));
        assert_eq!(engine.poisoned(), None);
        assert_eq!(read(&engine, "refused"), None);
        assert_eq!(everything(&engine).len() as u64, written);
        assert_eq!(files(&disk, ".tmp"), Vec::<String>::new());
        // And once there is room, applies succeed
        disk.make_room();
        write(&engine, "after", plain(1, "v"));
        let expected = everything(&engine);
        assert_eq!(expected.len() as u64, written + 1);
        engine.close().unwrap();
        let recovered = try_open(&disk.crash(1, Damage::Forgotten), options()).unwrap();
        assert_eq!(everything(&recovered), expected, "what was refused stays away");
    }
}

#[test]
fn every_way_to_find_no_room_for_a_segment_is_harmless() {
    // Given an engine that needs a new segment for its next write
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    fill(&disk);
    let written = write_until_full(&engine);
    drop(engine);
    let recovered = |image: &SimulatedDisk| {
        let engine = open(image, small());
        (0..written).for_each(|n| write(&engine, &format!("more {n:03}"), plain(n, &"v".repeat(100))));
        engine
    };
    for number in 1..6 {
        let image = disk.crash(1, Damage::Forgotten);
        let engine = recovered(&image);
        image.fail_at(image.operations() + number, Fault::NoSpace, Repeat::Once);
        for n in 0..8 {
            let ticket = queue(&engine, &format!("late {n}"), plain(n, &"v".repeat(400)));
            let stepped = engine.step(Step::Commit);
            let told = ticket.wait();
            assert_eq!(stepped.is_ok(), told.is_ok());
            assert_eq!(read(&engine, &format!("late {n}")).is_some(), told.is_ok());
            assert!(told.is_ok() || matches!(told, Err(Error::StorageFull { .. })), "{told:?}");
        }
        assert_eq!(engine.poisoned(), None, "operation {number}");
        let expected = everything(&engine);
        drop(engine);
        assert_eq!(everything(&open(&image.crash(2, Damage::Forgotten), small())), expected);
    }
}

#[test]
fn a_flush_without_room_is_tried_again_and_back_pressure_holds_meanwhile() {
    let options = || helenus_storage::Options {
        segment_bytes: 1 << 20,
        memtable_bytes: 4 << 10,
        memtable_total_bytes: 16 << 10,
        ..small()
    };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    fill(&disk);
    let mut written = 0;
    let refusal = loop {
        match engine.apply(TABLE, Mutation::single(format!("{written:03}"), plain(1, &"v".repeat(100)))) {
            Ok(ticket) => drop(ticket),
            Err(refusal) => break refusal,
        }
        engine.step(Step::Commit).unwrap();
        assert!(matches!(engine.step(Step::Flush), Ok(StepOutcome::Idle) | Err(Error::StorageFull { .. })));
        assert!(files(&disk, ".tmp").is_empty() && files(&disk, ".sst").is_empty());
        written += 1;
    };
    assert!(matches!(refusal, Error::Overloaded { .. }), "{refusal}");
    assert_eq!((engine.poisoned(), everything(&engine).len()), (None, written));
    disk.make_room();
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
    write(&engine, "after", plain(1, "v"));
    assert_eq!(everything(&engine).len(), written + 1);
}

#[test]
fn a_merge_without_room_leaves_its_inputs_and_succeeds_later() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for n in 0..3 {
        write(&engine, &format!("{n}"), plain(n, "v"));
        flush(&engine);
    }
    fill(&disk);
    assert!(matches!(engine.step(Step::Compact), Err(Error::StorageFull { .. })));
    assert_eq!((engine.poisoned(), files(&disk, ".sst").len(), everything(&engine).len()), (None, 3, 3));
    disk.make_room();
    assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Worked);
    assert_eq!((files(&disk, ".sst").len(), everything(&engine).len()), (1, 3));
}

#[test]
fn a_manifest_without_room_for_its_successor_records_nothing_and_everything_later() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    fill(&disk);
    // Given so many tables that the manifest is full
    let first = (100..).find(|&id| {
        let created = engine.create_table(TableId(id));
        assert!(matches!(created, Ok(()) | Err(Error::StorageFull { .. })), "{created:?}");
        created.is_err()
    });
    let first = TableId(first.unwrap());
    assert_eq!(engine.poisoned(), None);
    assert!(!engine.tables().contains(&first));
    assert!(matches!(engine.apply(first, Mutation::single("a", plain(1, "v"))), Err(Error::NoSuchTable(_))));
    let image = disk.crash(1, Damage::Forgotten);
    assert_eq!(try_open(&image, small()).unwrap().tables(), engine.tables());
    disk.make_room();
    engine.create_table(first).unwrap();
    drop(engine);
    let recovered = try_open(&disk.crash(1, Damage::Forgotten), small()).unwrap();
    assert!(recovered.tables().contains(&first));
}

#[test]
fn a_flush_that_the_manifest_has_no_room_for_leaves_no_file_and_the_log_goes_once_it_has() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for n in 0..60 {
        write(&engine, &format!("{n:03}"), plain(n, &"v".repeat(100)));
    }
    engine.switch_memtables().unwrap();
    // Given every remaining capacity of the manifest, from full to enough
    for spared in 0..12 {
        let image = disk.crash(1, Damage::Forgotten);
        let engine = open(&image, small());
        let room = {
            let dry = open(&disk.crash(1, Damage::Forgotten), small());
            let probe = disk.crash(1, Damage::Forgotten);
            drop(dry);
            let dry = open(&probe, small());
            fill(&probe);
            (100..).take_while(|&id| dry.create_table(TableId(id)).is_ok()).count() as u32
        };
        (0..room.saturating_sub(spared)).for_each(|id| engine.create_table(TableId(100 + id)).unwrap());
        engine.switch_memtables().unwrap();
        let ours = || image.files().iter().filter(|path| path.starts_with(DIRECTORY)).count();
        let before = ours();
        // When only what the manifest needs is refused: it is created after the SSTable
        image.fail_at(image.operations() + 4, Fault::NoSpace, Repeat::Forever);
        let outcome = engine.step(Step::Flush);
        assert!(matches!(outcome, Ok(_) | Err(Error::StorageFull { .. })), "{outcome:?}");
        assert_eq!(engine.poisoned(), None);
        if outcome.is_err() && files(&image, ".sst").is_empty() {
            assert_eq!(ours(), before, "{:?}", image.files());
        }
        assert_eq!(everything(&engine).len(), 60);
        image.make_room();
        while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        assert_eq!(files(&image, ".log").len(), 1, "spared {spared}: the log is trimmed late, not never");
        drop(engine);
        assert_eq!(everything(&open(&image.crash(2, Damage::Forgotten), small())).len(), 60);
    }
}

#[test]
fn temporary_files_are_gone_before_recovery_needs_room() {
    // Given a power cut during a flush that leaves a temporary file, and a disk that is full on restart
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    write(&engine, "a", plain(1, "v"));
    engine.switch_memtables().unwrap();
    disk.crash_at(disk.operations() + 3);
    engine.step(Step::Flush).unwrap_err();
    drop(engine);
    disk.restart(1, Damage::ProcessOnly);
    assert_eq!(files(&disk, ".tmp").len(), 1);
    fill(&disk);
    assert_eq!(read(&try_open(&disk, small()).unwrap(), "a"), Some(plain(1, "v")));
    assert_eq!(files(&disk, ".tmp"), Vec::<String>::new());
}

/// A disk with records in SSTables and in the log, cut off at any moment; and how many they are.
fn used(seed: u64) -> (SimulatedDisk, usize) {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for n in 0..60 {
        write(&engine, &format!("{n:03}"), plain(n, &"v".repeat(100)));
        if n == 20 {
            flush(&engine);
        }
    }
    drop(engine);
    (disk.crash(seed, Damage::Forgotten), 60)
}

fn is_full<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::StorageFull { .. }))
}

#[test]
fn an_engine_opens_on_a_full_disk_serves_reads_and_writes_once_there_is_room() {
    for first in [Step::Commit, Step::Flush, Step::Compact, Step::Prepare] {
        let (disk, count) = used(1);
        let before = files(&disk, "");
        fill(&disk);
        let engine = try_open(&disk, small()).unwrap();
        assert!(engine.remarks().iter().any(|remark| remark.contains("No space left")));
        assert_eq!(everything(&engine).len(), count);

        // Then all that would write is refused, whatever it is
        let ticket = queue(&engine, "refused", plain(9, "v"));
        assert!(is_full(&engine.step(Step::Commit)) && is_full(&ticket.wait()));
        assert!(is_full(&engine.apply_and_wait(TABLE, Mutation::single("refused", plain(9, "v")))));
        engine.switch_memtables().unwrap();
        for step in [Step::Flush, Step::Compact, Step::Prepare] {
            assert!(is_full(&engine.step(step)), "{step:?}");
        }
        assert!(is_full(&engine.create_table(TableId(9))));
        assert!(is_full(&engine.set_table_options(TABLE, small().table)));
        assert!(is_full(&engine.drop_table(TABLE)));
        assert!(is_full(&engine.compact_table(TABLE)));
        assert!(is_full(&engine.snapshot("s")));
        assert_eq!((engine.poisoned(), everything(&engine).len()), (None, count));
        assert_eq!(files(&disk, ""), before, "the disk is as it was found");

        // And with room whatever comes first begins
        disk.make_room();
        if first != Step::Commit {
            engine.step(first).unwrap();
        }
        write(&engine, "after", plain(1, "v"));
        while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        assert_eq!(everything(&engine).len(), count + 1);
        drop(engine);
        let recovered = open(&disk.crash(2, Damage::Forgotten), small());
        assert_eq!((everything(&recovered).len(), read(&recovered, "refused")), (count + 1, None));
    }
}

#[test]
fn an_engine_that_never_found_room_closes_and_loses_nothing() {
    let (disk, count) = used(1);
    for _ in 0..3 {
        fill(&disk);
        let engine = try_open(&disk, small()).unwrap();
        engine.close().unwrap();
    }
    disk.make_room();
    assert_eq!(everything(&open(&disk, small())).len(), count);
}

#[test]
fn a_power_cut_at_any_moment_of_a_beginning_that_found_no_room_at_first_loses_nothing() {
    // Given a disk that is full from any operation of the opening on
    for full_from in 1..10 {
        for cut_at in 0..24 {
            let (disk, count) = used(full_from);
            disk.fail_at(disk.operations() + full_from, Fault::NoSpace, Repeat::Forever);
            let engine = try_open(&disk, small()).unwrap();
            assert_eq!(everything(&engine).len(), count);
            let _ = engine.apply_and_wait(TABLE, Mutation::single("000", plain(0, &"v".repeat(100))));
            engine.switch_memtables().unwrap();
            disk.make_room();
            // When it begins later, and the power is cut meanwhile
            disk.crash_at(disk.operations() + 1 + cut_at);
            let acknowledged = engine.apply_and_wait(TABLE, Mutation::single("after", plain(1, "v"))).is_ok();
            let _ = engine.step(Step::Flush);
            drop(engine);
            let seed = full_from * 100 + cut_at;
            disk.restart(seed, Damage::Forgotten);

            let engine = open(&disk, small());
            let place = format!("full from {full_from}, cut at {cut_at}");
            assert!(!acknowledged || read(&engine, "after").is_some(), "{place}");
            let found = everything(&engine).len() - usize::from(read(&engine, "after").is_some());
            assert_eq!(found, count, "{place}");
        }
    }
}

#[test]
fn the_threads_refuse_at_once_report_once_and_go_on() {
    let disk = SimulatedDisk::default();
    let engine = Arc::new(open(&disk, small()));
    let reports = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reports);
    let report = move |step, error: &Error| {
        assert!(matches!((step, error), (Step::Commit, Error::StorageFull { .. })), "{step:?}: {error}");
        count.fetch_add(1, Ordering::SeqCst);
    };
    let background = Background::start_reporting(Arc::clone(&engine), Box::new(report)).unwrap();
    fill(&disk);
    let outcomes: Vec<_> =
        (0..100).map(|n| queue(&engine, &format!("{n}"), plain(n, &"v".repeat(400))).wait()).collect();
    assert!(outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::StorageFull { .. }))).count() > 80);
    assert_eq!(reports.load(Ordering::SeqCst), 1);
    disk.make_room();
    queue(&engine, "after", plain(1, "v")).wait().unwrap();
    background.stop();
    engine.close().unwrap();
}

/// Writes that fill segments, flush, merge and set options, whatever they answer.
fn use_everything(engine: &Engine) {
    for n in 0..12 {
        let ticket = queue(engine, &format!("{n:02}"), plain(n, &"v".repeat(700)));
        let _ = engine.step(Step::Commit);
        let _ = ticket.wait();
        for step in [Step::Prepare, Step::Flush, Step::Compact] {
            let _ = engine.step(step);
        }
        if n % 4 == 3 {
            engine.switch_memtables().unwrap();
        }
    }
}

#[test]
fn too_many_open_files_at_any_moment_harm_nothing() {
    // Given an engine that may open no more files, once or until further notice, from each operation on
    let fresh = || {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, small());
        (disk, engine)
    };
    let (disk, engine) = fresh();
    let before = disk.operations();
    use_everything(&engine);
    let operations = disk.operations() - before;
    assert!(operations > 60, "{operations}");
    for number in 1..operations {
        for repeat in [Repeat::Once, Repeat::Forever] {
            let (disk, engine) = fresh();
            disk.fail_at(disk.operations() + number, Fault::Files, repeat);

            use_everything(&engine);

            // Then it goes on as soon as it may, and nothing is left lying about
            assert_eq!(engine.poisoned(), None, "operation {number}, {repeat:?}");
            disk.repair();
            flush(&engine);
            write(&engine, "after", plain(1, "v"));
            assert_eq!(read(&engine, "after"), Some(plain(1, "v")));
            assert_eq!(files(&disk, ".tmp"), [""; 0], "operation {number}, {repeat:?}");
            let live = engine.counters().sstables as usize;
            assert_eq!(files(&disk, ".sst").len(), live, "operation {number}, {repeat:?}");
        }
    }
}

#[test]
fn an_engine_that_is_closed_on_a_full_disk_has_sealed_its_log() {
    // Given one of which everything is flushed, with any amount of room left in its manifest
    for edits in 0..120 {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, small());
        write(&engine, "k", plain(1, "v"));
        flush(&engine);
        (0..edits).for_each(|_| engine.set_table_options(TABLE, small().table).unwrap());
        fill(&disk);

        engine.close().unwrap();

        disk.repair();
        let engine = try_open(&disk, small()).unwrap();
        assert_eq!(read(&engine, "k"), Some(plain(1, "v")));
    }
}

#[test]
fn what_is_read_after_a_start_without_room_survives_a_power_cut() {
    // Given a write that is in the page cache only, and a process that dies as the disk is full
    let options = || helenus_storage::Options { sync_mode: SyncMode::Periodic, ..small() };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    write(&engine, "k", plain(1, "v"));
    drop(engine);
    let image = disk.crash(1, Damage::ProcessOnly);
    fill(&image);
    // When it is read by the next process
    let engine = try_open(&image, options()).unwrap();
    assert_eq!(read(&engine, "k"), Some(plain(1, "v")));
    drop(engine);
    // Then it stays
    let engine = try_open(&image.crash(1, Damage::Forgotten), options()).unwrap();
    assert_eq!(read(&engine, "k"), Some(plain(1, "v")));
}
