//! A snapshot holds everything that was acknowledged before it was asked for, can be opened as a data directory, and
//! is there whole or not at all, wherever the power is cut.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use helenus_storage::{
    Engine, Error, Mutation, Options, Record, Step, StepOutcome, TableId, TableOptions, Timestamp,
    disk::{Damage, Disk, Fault, OsDisk, Repeat, SimulatedDisk},
};

const DATA: &str = "/data";
const TABLE: TableId = TableId(1);

fn options() -> Options {
    Options {
        segment_bytes: 4 << 10,
        memtable_bytes: 64 << 10,
        block_bytes: 512,
        table: TableOptions::tiered(2),
        ..Options::default()
    }
}

fn open(disk: &SimulatedDisk, directory: &Path) -> Result<Engine, Error> {
    Engine::open(Arc::new(disk.clone()), directory, options())
}

fn place(name: &str) -> PathBuf {
    Path::new(DATA).join("snapshots").join(name)
}

fn write(engine: &Engine, key: &str, timestamp: u64) -> Result<(), Error> {
    let record = Record::plain(Timestamp(timestamp), format!("{key}@{timestamp}").into_bytes());
    let ticket = engine.apply(TABLE, Mutation::single(key.as_bytes().to_vec(), record))?;
    while engine.step(Step::Commit)? == StepOutcome::Worked {}
    ticket.wait()
}

fn timestamp(engine: &Engine, key: &str) -> Option<u64> {
    engine.get(TABLE, key.as_bytes()).unwrap().map(|record| record.timestamp.0)
}

/// A disk with an engine that has one table, flushed in part.
fn used() -> (SimulatedDisk, Engine) {
    used_on(SimulatedDisk::new(1))
}

fn used_on(disk: SimulatedDisk) -> (SimulatedDisk, Engine) {
    let engine = open(&disk, Path::new(DATA)).unwrap();
    engine.create_table(TABLE).unwrap();
    write(&engine, "flushed", 1).unwrap();
    engine.switch_memtables().unwrap();
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
    write(&engine, "in memory", 2).unwrap();
    (disk, engine)
}

#[test]
fn a_snapshot_holds_what_was_acknowledged_before_and_nothing_of_after() {
    let (disk, engine) = used();

    let made = engine.snapshot("monday").unwrap();
    write(&engine, "in memory", 3).unwrap();
    write(&engine, "later", 4).unwrap();

    assert_eq!((made.name.as_str(), made.tables), ("monday", 2));
    assert_eq!(made.directory, place("monday"));
    let restored = open(&disk, &made.directory).unwrap();
    assert_eq!(timestamp(&restored, "flushed"), Some(1));
    assert_eq!(timestamp(&restored, "in memory"), Some(2));
    assert_eq!(timestamp(&restored, "later"), None);
    // It is a data directory: it takes writes, and keeps them.
    write(&restored, "flushed", 9).unwrap();
    restored.close().unwrap();
    let restored = open(&disk, &made.directory).unwrap();
    assert_eq!(timestamp(&restored, "flushed"), Some(9));
    assert_eq!(timestamp(&engine, "flushed"), Some(1), "and its source is another");
}

#[test]
fn a_snapshot_outlives_the_tables_it_was_made_of() {
    let (disk, engine) = used();
    engine.snapshot("before").unwrap();

    engine.compact_table(TABLE).unwrap();
    while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}

    assert_eq!(engine.counters().sstables, 1, "both were merged and removed");
    engine.close().unwrap();
    let engine = open(&disk, Path::new(DATA)).unwrap();
    assert_eq!(engine.snapshots().unwrap().len(), 1, "opening removes no snapshot");
    let restored = open(&disk, &place("before")).unwrap();
    assert_eq!(timestamp(&restored, "flushed"), Some(1));
    assert_eq!(timestamp(&restored, "in memory"), Some(2));
}

#[test]
fn snapshots_are_listed_cleared_and_never_replaced() {
    let (disk, engine) = used();
    let names = |engine: &Engine| -> Vec<String> {
        engine.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect()
    };
    assert_eq!(names(&engine), [""; 0]);

    let b = engine.snapshot("b").unwrap();
    engine.snapshot("a").unwrap();

    assert_eq!(names(&engine), ["a", "b"]);
    assert_eq!(engine.snapshots().unwrap()[1], b);
    assert!(matches!(engine.snapshot("a"), Err(Error::SnapshotExists { name }) if name == "a"));
    engine.clear_snapshot("a").unwrap();
    assert_eq!(names(&engine), ["b"]);
    assert!(matches!(engine.clear_snapshot("a"), Err(Error::NoSuchSnapshot { .. })));
    assert!(disk.list(&place("a")).is_err(), "the directory is gone too");
    assert_eq!(timestamp(&engine, "flushed"), Some(1), "the live files are not");
}

#[test]
fn names_that_leave_the_directory_or_hide_are_refused() {
    let (disk, engine) = used();
    let long = "x".repeat(65);
    for name in ["", ".", "..", ".hidden", "a/b", "../a", "a\0b", "a b", "ä", &long] {
        let refused = engine.snapshot(name);
        assert!(matches!(refused, Err(Error::SnapshotName { .. })), "{name:?}: {refused:?}");
        assert!(matches!(engine.clear_snapshot(name), Err(Error::SnapshotName { .. })), "{name:?}");
    }
    assert!(disk.list(&Path::new(DATA).join("snapshots")).is_err(), "nothing was created");
    engine.snapshot(&long[..64]).unwrap();
}

/// Writes, makes a snapshot, clears another, up to the first error.
fn work(engine: &Engine) -> Result<(), Error> {
    engine.snapshot("new")?;
    engine.clear_snapshot("old")
}

#[test]
fn a_power_cut_anywhere_leaves_a_whole_snapshot_or_nothing() {
    let damages = [
        Damage::Forgotten,
        Damage::Prefix,
        Damage::Subset,
        Damage::ZeroTail,
        Damage::NamesLost,
        Damage::NamesOnly,
        Damage::LengthOnly,
    ];
    let prepared = || {
        let (disk, engine) = used();
        engine.snapshot("old").unwrap();
        write(&engine, "third", 3).unwrap();
        (disk, engine)
    };
    let operations = {
        let (disk, engine) = prepared();
        let before = disk.operations();
        work(&engine).unwrap();
        disk.operations() - before
    };
    let (mut whole, mut none) = (0, 0);
    for number in 1..=operations {
        let (disk, engine) = prepared();
        disk.crash_at(disk.operations() + number);
        assert!(work(&engine).is_err(), "the power was cut at {number}");
        drop(engine);
        for (seed, damage) in damages.into_iter().enumerate() {
            let image = disk.crash(number * 100 + seed as u64, damage);
            let engine = open(&image, Path::new(DATA))
                .unwrap_or_else(|error| panic!("cut at {number}, {damage:?}: {error}"));
            assert_eq!(timestamp(&engine, "third"), Some(3), "cut at {number}, {damage:?}");
            let snapshots = engine.snapshots().unwrap();
            let there = image.list_directories(&Path::new(DATA).join("snapshots")).unwrap();
            assert_eq!(there.len(), snapshots.len(), "cut at {number}, {damage:?}: leftovers stay");
            for snapshot in snapshots {
                let restored = open(&image, &snapshot.directory)
                    .unwrap_or_else(|error| panic!("cut at {number}, {damage:?}: {error}"));
                assert_eq!(timestamp(&restored, "in memory"), Some(2), "cut at {number}, {damage:?}");
                let third = (snapshot.name == "new").then_some(3);
                assert_eq!(timestamp(&restored, "third"), third, "cut at {number}, {damage:?}");
                if snapshot.name == "new" {
                    whole += 1;
                }
            }
            none += usize::from(!there.contains(&"new".to_owned()));
        }
    }
    assert!(whole > 0 && none > 0, "the cuts met both sides of the moment: {whole} whole, {none} none");
}

#[test]
fn a_snapshot_that_the_next_process_lists_survives_a_power_cut() {
    // Whatever sync fails as it is made, and with it all that could clean up
    let operations = {
        let (disk, engine) = used();
        let before = disk.operations();
        engine.snapshot("s").unwrap();
        disk.operations() - before
    };
    let mut listed = 0;
    for (number, seed) in (1..=operations).flat_map(|number| (0..8).map(move |seed| (number, seed))) {
        let (disk, engine) = used_on(SimulatedDisk::new(seed));
        disk.fail_at(disk.operations() + number, Fault::Io, Repeat::Forever);
        engine.snapshot("s").unwrap_err();
        drop(engine);
        disk.repair();
        let image = disk.crash(number, Damage::ProcessOnly);
        let names = |engine: &Engine| -> Vec<String> {
            engine.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect()
        };
        let engine = open(&image, Path::new(DATA)).unwrap();
        let seen = names(&engine);
        listed += seen.len();
        drop(engine);
        let engine = open(&image.crash(number, Damage::Forgotten), Path::new(DATA)).unwrap();
        assert_eq!(names(&engine), seen, "seed {seed}: operation {number} of {operations} failed");
    }
    assert!(listed > 0, "a snapshot whose last step failed was seen");
}

#[test]
fn what_somebody_else_put_among_the_snapshots_is_left_alone_and_named() {
    let (disk, engine) = used();
    engine.snapshot("ours").unwrap();
    // Given a directory with a file of somebody else, one with a directory, one of another kind of name, and a leftover
    let paths = ["notes/todo.txt", "backup/monday/0000000000000001.sst", ".hidden/x", "ours/README"];
    for path in paths.iter().chain(&["leftover/0000000000000001.sst"]) {
        disk.create_dir_all(place(path).parent().unwrap()).unwrap();
        disk.create(&place(path)).unwrap();
    }
    drop(engine);
    disk.restart(1, Damage::ProcessOnly);

    let engine = open(&disk, Path::new(DATA)).unwrap();

    // Then it starts, removes what a crash may have left of its own, and says what is not its own
    assert!(disk.list_directories(&place("leftover")).is_err());
    let named = |name: &str| engine.remarks().iter().any(|line| line.contains(&format!("/{name} is no")));
    assert!(named("notes") && named("backup") && named(".hidden"), "{:?}", engine.remarks());
    // And snapshots are made, listed and removed beside it
    assert!(matches!(engine.snapshot("notes"), Err(Error::SnapshotExists { .. })));
    assert!(matches!(engine.clear_snapshot("backup"), Err(Error::NoSuchSnapshot { .. })));
    engine.snapshot("new").unwrap();
    assert_eq!(engine.snapshots().unwrap().len(), 2);
    engine.clear_snapshot("ours").unwrap();
    engine.clear_snapshot("new").unwrap();
    assert_eq!(engine.snapshots().unwrap().len(), 0);
    for path in paths {
        assert!(disk.contents(&place(path)).is_some(), "{path} is gone");
    }
}

#[test]
fn both_disks_link_list_and_remove_alike() {
    let temporary = tempfile::tempdir().unwrap();
    let disks: [(&dyn Disk, PathBuf); 2] =
        [(&OsDisk, temporary.path().join("x")), (&SimulatedDisk::default(), PathBuf::from("/x"))];
    for (disk, directory) in disks {
        let (below, kind) = (directory.join("below"), |e: std::io::Result<()>| e.unwrap_err().kind());
        disk.create_dir_all(&below).unwrap();
        disk.create(&directory.join("a")).unwrap().write_all_at(b"bytes", 0).unwrap();

        disk.hard_link(&directory.join("a"), &below.join("b")).unwrap();

        let exists = disk.hard_link(&directory.join("a"), &below.join("b"));
        assert_eq!(kind(exists), std::io::ErrorKind::AlreadyExists);
        let missing = disk.hard_link(&directory.join("c"), &below.join("c"));
        assert_eq!(kind(missing), std::io::ErrorKind::NotFound);
        assert_eq!(disk.list_directories(&directory).unwrap(), ["below"]);
        assert_eq!(disk.list(&directory).unwrap(), ["a"]);
        assert_eq!(kind(disk.remove_dir(&below)), std::io::ErrorKind::DirectoryNotEmpty);
        disk.remove(&directory.join("a")).unwrap();
        assert_eq!(&disk.map(&below.join("b"), 5).unwrap()[..], b"bytes", "it has another name");
        disk.remove(&below.join("b")).unwrap();
        disk.remove_dir(&below).unwrap();
        assert_eq!(disk.list_directories(&directory).unwrap(), [""; 0]);
    }
}
