//! Measures resident memory under load against the budgets that were given: memtables and block cache by the options,
//! indexes and filters by what is counted.
//!
//! `cargo run --release -p helenus-storage --example memory -- <directory> [bytes of a value …]`; by default 100, 1024
//! and 1048576, each in a process of its own. Two threads put, then one puts and one reads, while merges go on; a third
//! looks at resident memory every millisecond. What is resident before anything is written is not counted.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to say")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use helenus_storage::{
    Engine, Mutation, Options, Record, SyncMode, TableId, Timestamp, background::Background, disk::OsDisk,
    engine::EngineCounters,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLE: TableId = TableId(1);
const SIZES: [usize; 3] = [100, 1 << 10, 1 << 20];
/// Bytes put by a phase.
const LOAD_BYTES: usize = 1 << 30;
const MIB: f64 = (1 << 20) as f64;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory"));
    let sizes: Vec<usize> = arguments.map(|size| size.parse().expect("bytes of a value")).collect();
    if let [size] = sizes[..] {
        return measure(&directory, size);
    }
    for size in if sizes.is_empty() { SIZES.to_vec() } else { sizes } {
        // Memory that was given back by one would be lent to the next.
        let status =
            Command::new(std::env::current_exe().unwrap()).arg(&directory).arg(size.to_string()).status();
        assert!(status.unwrap().success());
    }
}

fn measure(directory: &Path, value_bytes: usize) {
    let _ = fs::remove_dir_all(directory);
    let options =
        Options { sync_mode: SyncMode::Periodic, compaction_bytes_per_second: 0, ..Options::default() };
    let budget = options.memtable_total_bytes + options.block_cache_bytes;
    let engine = Arc::new(Engine::open(Arc::new(OsDisk), directory, options).unwrap());
    engine.create_table(TABLE).unwrap();
    let background = Background::start(Arc::clone(&engine)).unwrap();
    let watch = Watch { before: resident_bytes(), ..Watch::default() };
    let is_over = AtomicBool::new(false);
    let count = (LOAD_BYTES / (value_bytes + 50)) as u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                watch.look(&engine.counters());
                thread::sleep(Duration::from_millis(1));
            }
        });
        thread::scope(|writers| {
            for writer in 0..2 {
                let engine = &engine;
                writers.spawn(move || {
                    (0..count / 2).for_each(|number| put(engine, 2 * number + writer, value_bytes));
                });
            }
        });
        watch.report("load", value_bytes, budget);
        thread::scope(|both| {
            both.spawn(|| (0..count).for_each(|number| put(&engine, number, value_bytes)));
            both.spawn(|| {
                (0..count).for_each(|number| {
                    engine.get(TABLE, &key(mix(number) % (count / 2 * 2))).unwrap().unwrap();
                });
            });
        });
        watch.report("mix", value_bytes, budget);
        is_over.store(true, Ordering::Relaxed);
    });
    background.stop();
    engine.close().unwrap();
    drop(engine);
    let _ = fs::remove_dir_all(directory);
}

/// The most that was seen, and what of it was accounted for at that moment.
#[derive(Debug, Default)]
struct Watch {
    before: u64,
    resident: AtomicU64,
    /// Of indexes and filters.
    tables: AtomicU64,
    unaccounted: AtomicU64,
}

impl Watch {
    fn look(&self, counters: &EngineCounters) {
        let resident = resident_bytes().saturating_sub(self.before);
        let tables = counters.index_bytes + counters.filter_bytes;
        let accounted = counters.memtable_bytes + counters.block_cache_bytes + tables;
        self.resident.fetch_max(resident, Ordering::Relaxed);
        self.tables.fetch_max(tables, Ordering::Relaxed);
        self.unaccounted.fetch_max(resident.saturating_sub(accounted), Ordering::Relaxed);
    }

    /// And begins anew.
    fn report(&self, phase: &str, value_bytes: usize, budget: usize) {
        let [resident, tables, unaccounted] = [&self.resident, &self.tables, &self.unaccounted]
            .map(|seen| seen.swap(0, Ordering::Relaxed) as f64);
        let stated = budget as f64 + tables;
        println!(
            "{value_bytes:>8} B {phase:<5} budgets {:6.1} MiB, resident {:6.1} MiB ({:+5.1} %), most beyond what is accounted {:5.1} MiB",
            stated / MIB,
            resident / MIB,
            (resident / stated - 1.0) * 100.0,
            unaccounted / MIB,
        );
    }
}

fn put(engine: &Engine, number: u64, value_bytes: usize) {
    let record = Record::plain(Timestamp(1_000_000 + number), value(number, value_bytes));
    engine.apply_and_wait(TABLE, Mutation::single(key(number), record)).unwrap();
}

fn key(number: u64) -> Vec<u8> {
    [*b"userdata", mix(number).to_be_bytes()].concat()
}

/// Half of it can be compressed.
fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes];
    for (at, word) in value.chunks_mut(16).enumerate() {
        let random = mix(number ^ (at as u64) << 32).to_be_bytes();
        let half = word.len() / 2;
        word[..half].copy_from_slice(&random[..half]);
    }
    value
}

/// A permutation of the numbers (SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Of this process alone: what it has mapped from files is the system's to take back.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
