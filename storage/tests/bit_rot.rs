//! Rot is found or harmless: each byte of each file of a small engine is damaged in several ways, one at a time; the
//! engine names a damaged file, or answers exactly what was written.

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
    Engine, Error, Mutation, Options, Record, Step, StepOutcome, TableId, TableOptions, Timestamp,
    disk::{Damage, SimulatedDisk},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const TABLE: TableId = TableId(1);
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

fn open(disk: &SimulatedDisk) -> Result<Engine, Error> {
    Engine::open(Arc::new(disk.clone()), Path::new("/data"), options())
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

/// A closed engine: a manifest, SSTables of different levels, segments of a log that is needed.
fn closed() -> (SimulatedDisk, Records) {
    let disk = SimulatedDisk::default();
    let engine = open(&disk).unwrap();
    engine.create_table(TABLE).unwrap();
    let mut records = Records::new();
    for number in 0..70 {
        write(&engine, &mut records, number);
        if [20, 40, 55].contains(&number) {
            engine.switch_memtables().unwrap();
            while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        }
        if number == 40 {
            while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
        }
    }
    engine.close().unwrap();
    (disk.crash(1, Damage::Forgotten), records)
}

/// Reads everything in every way, then flushes and merges all of it, and reads again.
fn read_all(disk: &SimulatedDisk, expected: &Records) -> Result<(), Error> {
    let engine = open(disk)?;
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

fn damage_every_byte(is_meant: impl Fn(&str) -> bool) {
    let limit = getrlimit(Resource::Data);
    setrlimit(Resource::Data, Rlimit { current: Some(MEMORY_BYTES), ..limit }).unwrap();
    let (disk, records) = closed();
    read_all(&disk.crash(1, Damage::Forgotten), &records).unwrap();
    let all: Vec<PathBuf> = disk.files();
    let chosen = all.iter().filter(|path| is_meant(&path.file_name().unwrap().to_string_lossy()));
    let (mut named, mut harmless) = (0, 0);
    for path in chosen {
        let whole = disk.contents(path).unwrap();
        for (offset, &byte) in whole.iter().enumerate() {
            for (name, change) in PATTERNS {
                if change(byte) == byte {
                    continue;
                }
                let mut damaged = whole.clone();
                damaged[offset] = change(byte);
                let image = disk.crash(1, Damage::Forgotten);
                image.replace(path, damaged).unwrap();
                let place = format!("{} at {offset}: {name}", path.display());
                match std::panic::catch_unwind(AssertUnwindSafe(|| read_all(&image, &records))) {
                    Err(_) => panic!("{place}: a panic, or a wrong answer"),
                    Ok(Ok(())) => harmless += 1,
                    Ok(Err(Error::Corrupt { path: found, .. })) => {
                        // What a manifest says wrong may show first where it sends the reader.
                        assert!(found == *path || all.contains(path), "{place}: {}", found.display());
                        named += 1;
                    }
                    Ok(Err(error)) => panic!("{place}: {error:?} does not name damage"),
                }
            }
        }
    }
    println!("{named} named, {harmless} harmless");
    assert!(named > 500, "only {named} were noticed, {harmless} were harmless");
}

#[test]
fn a_damaged_byte_of_a_table_is_named() {
    damage_every_byte(|name| name.ends_with(".sst"));
}

#[test]
fn a_damaged_byte_of_the_log_is_named_or_lies_in_no_frame() {
    damage_every_byte(|name| name.ends_with(".log"));
}

#[test]
fn a_damaged_byte_of_the_manifest_is_named_or_lies_in_no_frame() {
    damage_every_byte(|name| name.starts_with("manifest-"));
}
