//! A process that is killed at any moment loses nothing that it acknowledged.
//!
//! The test starts itself again as several writers, which tell on their standard error what they were promised; kills
//! the process after a random number of promises, wherever its threads are by then; opens what is left. The sync modes
//! take turns.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    ops::Bound,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use helenus_storage::{
    Engine, Mutation, Options, Record, SyncMode, TableId, TableOptions, Timestamp,
    background::Background,
    disk::{Disk, OsDisk},
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const TABLE: TableId = TableId(1);
/// Every write goes to both tables, together.
const TWIN: TableId = TableId(2);
const KEYS: u64 = 200;
const KILLS: u64 = 100;
const WRITERS: u64 = 3;

/// Set for the writer: the data directory, and the number of its life.
const DIRECTORY: &str = "KILLED_WRITER_DIRECTORY";
const LIFE: &str = "KILLED_WRITER_LIFE";

fn options(life: u64) -> Options {
    Options {
        sync_mode: [SyncMode::Group, SyncMode::Batch, SyncMode::Periodic][life as usize % 3],
        segment_bytes: 32 << 10,
        memtable_bytes: 24 << 10,
        commit_log_bytes: 256 << 10,
        table: TableOptions::tiered(2),
        ..Options::default()
    }
}

fn open(directory: &Path, life: u64) -> Engine {
    let engine = Engine::open(Arc::new(OsDisk), directory, options(life)).unwrap();
    engine.create_table(TABLE).unwrap();
    engine.create_table(TWIN).unwrap();
    engine
}

fn key(number: u64) -> Vec<u8> {
    format!("key{number:04}").into_bytes()
}

/// Says which write a record comes from, many times over, so that a mixture of two would show.
fn value(timestamp: u64) -> Vec<u8> {
    timestamp.to_le_bytes().repeat(1 + timestamp as usize % 40)
}

#[test]
#[ignore = "the writer, which the other test starts"]
fn writer() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let engine = Arc::new(open(Path::new(&directory), life));
    let _background = Background::start(Arc::clone(&engine)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let engine = &engine;
            scope.spawn(move || {
                for number in 0.. {
                    let timestamp = life << 32 | number << 2 | writer;
                    let key_number = (timestamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % KEYS;
                    let record = Record::plain(Timestamp(timestamp), value(timestamp));
                    let mutation = Mutation::single(key(key_number), record);
                    engine.apply_batch_and_wait(&[(TABLE, mutation.clone()), (TWIN, mutation)]).unwrap();
                    // One write of one line: lines of several threads are not mixed.
                    let mut out = std::io::stderr().lock();
                    out.write_all(format!("promised {key_number} {timestamp}\n").as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let seed = 0x68_656c_656e;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut promised = BTreeMap::<u64, u64>::new();
    let (mut count, mut amid_a_table) = (0, 0);
    for life in 1..=KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writer", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(LIFE, life.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let patience = random.random_range(0..400);
        let mut note = |line: String| {
            // A line that the kill cut short says nothing.
            let mut words = line.split(' ');
            let (Some("promised"), Some(key), Some(timestamp)) = (words.next(), words.next(), words.next())
            else {
                assert!(!line.contains("panicked"), "life {life}: {line}");
                return;
            };
            let (key, timestamp): (u64, u64) = (key.parse().unwrap(), timestamp.parse().unwrap());
            let newest = promised.entry(key).or_default();
            *newest = timestamp.max(*newest);
            count += 1;
        };
        lines.by_ref().take(patience).map(Result::unwrap).for_each(&mut note);
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts. The last line may be torn.
        let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.pop();
        rest.into_iter().for_each(&mut note);

        // What is written under this name becomes an SSTable later.
        let is_unfinished = |name: &str| name.contains(".sst.");
        amid_a_table +=
            u64::from(OsDisk.list(directory.path()).unwrap().iter().any(|name| is_unfinished(name)));

        let engine = open(directory.path(), life);
        let all = |table| engine.scan(table, (Bound::Unbounded, Bound::Unbounded), usize::MAX).unwrap();
        assert_eq!(all(TABLE), all(TWIN), "life {life}: half of a batch");
        for (&number, &timestamp) in &promised {
            let record = engine.get(TABLE, &key(number)).unwrap();
            let record =
                record.unwrap_or_else(|| panic!("life {life}: key {number} of {timestamp:#x} is lost"));
            assert!(record.timestamp.0 >= timestamp, "life {life}: key {number} went back to {record:?}");
            assert_eq!(
                record.value().map(|value| &value[..]),
                Some(&value(record.timestamp.0)[..]),
                "life {life}"
            );
        }
    }
    println!("{count} writes, {amid_a_table} kills amid the writing of an SSTable");
    assert!(amid_a_table > 0, "no kill met a flush or merge");
    assert!(count > KILLS * 20, "only {count} writes were acknowledged");
}
