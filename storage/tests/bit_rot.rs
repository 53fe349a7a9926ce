//! Rot is found or harmless: each byte of each file of a small engine and of its snapshot is damaged in several ways, one
//! at a time, or the file is cut or gone; the engine names a damaged file, or answers exactly what was written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    ops::Bound,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use helenus_storage::{
    Engine, Error, Mutation, Options, Record, SNAPSHOTS_DIRECTORY, Step, StepOutcome, TableId, TableOptions,
    Timestamp,
    disk::{Damage, Disk, SimulatedDisk},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const TABLE: TableId = TableId(1);
const DATA: &str = "/data";
const SNAPSHOT: &str = "monday";
/// What the test may take in all. A length that is believed before it is checked asks for more.
const MEMORY_BYTES: u64 = 512 << 20;

type Records = BTreeMap<Bytes, Record>;

fn options() -> Options {
    Options {
        segment_bytes: 2 << 10,
        block_bytes: 128,
        restart_interval: 2,
        table: TableOptions::tiered(2),
        ..Options::default()
    }
}

fn open(disk: &SimulatedDisk, directory: &Path) -> Result<Engine, Error> {
    Engine::open(Arc::new(disk.clone()), directory, options())
}

fn write(engine: &Engine, records: &mut Records, number: u64) {
    let key = Bytes::from(format!("key{:02}", number % 12));
    let value = vec![b'a' + number as u8 % 26; number as usize % 50];
    let record = match number % 5 {
        0 => Record::tombstone(Timestamp(number), Timestamp(number)),
        1 => Record::expiring(Timestamp(number), value, Timestamp(number + 9)),
        _ => Record::plain(Timestamp(number), value),
    };
    let ticket = engine.apply(TABLE, Mutation::single(key.clone(), record.clone())).unwrap();
    engine.step(Step::Commit).unwrap();
    ticket.wait().unwrap();
    records.insert(key, record);
}

/// What is damaged, and what it holds.
struct Sound {
    disk: SimulatedDisk,
    records: Records,
    /// What the snapshot holds.
    kept: Records,
}

impl Sound {
    /// Uses a copy in which a file is changed. Whether damage was named.
    fn names_damage(&self, path: &Path, what: &str, change: impl FnOnce(&SimulatedDisk)) -> bool {
        let image = self.disk.crash(1, Damage::Forgotten);
        change(&image);
        let read = || {
            if path.parent() == Some(Path::new(DATA)) {
                return read_all(&image, Path::new(DATA), &self.records);
            }
            let engine_goes_on = read_all(&image, Path::new(DATA), &self.records);
            // SSTables are shared with the snapshot.
            if path.extension().is_some_and(|extension| extension == "sst") {
                engine_goes_on?;
            } else {
                engine_goes_on.unwrap();
            }
            if open(&image, Path::new(DATA))?.snapshots()?.is_empty() {
                // Without its manifest it is none, and was removed.
                return Ok(());
            }
            read_all(&image, &snapshot(), &self.kept)
        };
        let place = format!("{}: {what}", path.display());
        match std::panic::catch_unwind(AssertUnwindSafe(read)) {
            Err(_) => panic!("{place}: a panic, or a wrong answer"),
            Ok(Ok(())) => false,
            Ok(Err(Error::Corrupt { path: found, .. })) => {
                // What a manifest says wrong may show first where it sends the reader.
                assert!(
                    found == *path || self.disk.files().contains(&path.to_owned()),
                    "{place}: {}",
                    found.display()
                );
                true
            }
            Ok(Err(error)) => panic!("{place}: {error:?} does not name damage"),
        }
    }
}

fn snapshot() -> PathBuf {
    Path::new(DATA).join(SNAPSHOTS_DIRECTORY).join(SNAPSHOT)
}

/// A closed engine and its snapshot: a manifest, SSTables of different levels, segments of a log that is needed.
fn closed() -> Sound {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, Path::new(DATA)).unwrap();
    engine.create_table(TABLE).unwrap();
    let (mut records, mut kept) = (Records::new(), Records::new());
    for number in 0..70 {
        write(&engine, &mut records, number);
        if [20, 40, 55].contains(&number) {
            engine.switch_memtables().unwrap();
            while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        }
        if number == 55 {
            engine.snapshot(SNAPSHOT).unwrap();
            kept = records.clone();
        }
        if number == 40 {
            while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
        }
    }
    engine.close().unwrap();
    Sound { disk: disk.crash(1, Damage::Forgotten), records, kept }
}

/// Reads everything in every way, then flushes and merges all of it, and reads again.
fn read_all(disk: &SimulatedDisk, directory: &Path, expected: &Records) -> Result<(), Error> {
    let engine = open(disk, directory)?;
    for round in 0..2 {
        for (key, record) in expected {
            assert_eq!(engine.get(TABLE, key)?.as_ref(), Some(record), "round {round}");
        }
        assert_eq!(engine.get(TABLE, b"absent")?, None);
        let found = engine.scan(TABLE, (Bound::Unbounded, Bound::Unbounded), usize::MAX)?;
        assert!(found.iter().map(|(key, record)| (key, record)).eq(expected), "round {round}: {found:?}");
        engine.switch_memtables()?;
        while engine.step(Step::Flush)? == StepOutcome::Worked {}
        engine.compact_table(TABLE)?;
        while engine.step(Step::Compact)? == StepOutcome::Worked {}
    }
    Ok(())
}

type Change = fn(u8) -> u8;

/// What may become of a byte.
const PATTERNS: [(&str, Change); 5] = [
    ("its lowest bit", |byte| byte ^ 1),
    ("its highest bit", |byte| byte ^ 0x80),
    ("all its bits", |byte| !byte),
    ("zero", |_| 0),
    ("all ones", |_| 0xff),
];

fn bound_memory() {
    let limit = getrlimit(Resource::Data);
    setrlimit(Resource::Data, Rlimit { current: Some(MEMORY_BYTES), ..limit }).unwrap();
}

/// Damages files of the data directory or of the snapshot whose name is meant.
fn damage_every_byte(directory: &Path, is_meant: impl Fn(&str) -> bool) -> usize {
    bound_memory();
    let sound = closed();
    let is_chosen = |path: &PathBuf| {
        path.parent() == Some(directory) && is_meant(&path.file_name().unwrap().to_string_lossy())
    };
    let (mut named, mut harmless) = (0, 0);
    for path in sound.disk.files().into_iter().filter(is_chosen) {
        assert!(!sound.names_damage(&path, "nothing", |_| {}));
        let whole = sound.disk.contents(&path).unwrap();
        for (offset, &byte) in whole.iter().enumerate() {
            for (name, change) in PATTERNS {
                if change(byte) == byte {
                    continue;
                }
                let mut damaged = whole.clone();
                damaged[offset] = change(byte);
                let what = format!("at {offset} {name}");
                match sound.names_damage(&path, &what, |image| image.replace(&path, damaged).unwrap()) {
                    true => named += 1,
                    false => harmless += 1,
                }
            }
        }
    }
    println!("{named} named, {harmless} harmless");
    named
}

#[test]
fn a_damaged_byte_of_a_table_is_named() {
    assert!(damage_every_byte(Path::new(DATA), |name| name.ends_with(".sst")) > 500);
}

#[test]
fn a_damaged_byte_of_the_log_is_named_or_lies_in_no_frame() {
    assert!(damage_every_byte(Path::new(DATA), |name| name.ends_with(".log")) > 500);
}

#[test]
fn a_damaged_byte_of_the_manifest_is_named_or_lies_in_no_frame_or_in_one_of_two() {
    assert!(damage_every_byte(Path::new(DATA), |name| name.starts_with("manifest-")) > 300);
}

#[test]
fn a_damaged_byte_of_any_other_file_is_harmless() {
    let is_other =
        |name: &str| !name.ends_with(".sst") && !name.ends_with(".log") && !name.starts_with("manifest-");
    assert_eq!(damage_every_byte(Path::new(DATA), is_other), 0);
}

#[test]
fn a_damaged_byte_of_a_snapshots_manifest_is_named_or_lies_in_no_frame() {
    assert!(damage_every_byte(&snapshot(), |name| name.starts_with("manifest-")) > 500);
}

#[test]
fn a_missing_or_shortened_file_is_named_or_was_not_needed() {
    bound_memory();
    let sound = closed();
    let mut named = 0;
    for path in sound.disk.files() {
        let length = sound.disk.contents(&path).unwrap().len();
        for kept in (0..length).step_by(length / 40 + 1).chain([length.saturating_sub(1)]) {
            let cut = |image: &SimulatedDisk| image.truncate(&path, kept).unwrap();
            named += usize::from(sound.names_damage(&path, &format!("cut to {kept}"), cut));
        }
        named += usize::from(sound.names_damage(&path, "gone", |image| image.remove(&path).unwrap()));
    }
    assert!(named > 100, "only {named} were noticed");
}
