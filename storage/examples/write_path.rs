//! Measures the write path on a real disk: load by one and two writers, synced puts by many, a mix with the
//! latency of its puts, reopening with a long log, and how far the accounting of memtables is from resident
//! memory.
//!
//! `cargo run --release -p helenus-storage --example write_path -- <directory> [phase …]`; without a phase, all.

#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to say")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use helenus_storage::{
    Engine, Mutation, Options, Record, SyncMode, TableId, Timestamp, background::Background, disk::OsDisk,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLE: TableId = TableId(1);
const PHASES: [&str; 6] = ["load1", "load2", "sync1", "sync16", "mix", "reopen"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory"));
    let chosen: Vec<String> = arguments.collect();
    let phases: Vec<&str> = match chosen.is_empty() {
        true => PHASES.to_vec(),
        false => chosen.iter().map(String::as_str).collect(),
    };
    for phase in phases {
        let _ = std::fs::remove_dir_all(&directory);
        match phase {
            "load1" => load(&directory, 1, 100),
            "load2" => load(&directory, 2, 100),
            "load1k" => load(&directory, 1, 1024),
            "load2k" => load(&directory, 2, 1024),
            "sync1" => synced(&directory, 1),
            "sync16" => synced(&directory, 16),
            "mix" => mix(&directory),
            "reopen" => reopen(&directory),
            "memory10" => memory(&directory, 10),
            "memory100" => memory(&directory, 100),
            "memory1k" => memory(&directory, 1000),
            other => {
                panic!("there is no phase {other}, only {PHASES:?}, load1k, load2k and memory10 to memory1k")
            }
        }
    }
    let _ = std::fs::remove_dir_all(&directory);
}

/// An engine with its threads.
struct Running {
    engine: Arc<Engine>,
    background: Background,
}

impl Running {
    fn open(directory: &Path, options: Options) -> Self {
        let engine = Arc::new(Engine::open(Arc::new(OsDisk), directory, options).unwrap());
        engine.create_table(TABLE).unwrap();
        let background = Background::start(Arc::clone(&engine)).unwrap();
        Self { engine, background }
    }

    fn put(&self, number: u64, value: &[u8]) {
        let record = Record::plain(Timestamp(1_000_000 + number), value.to_vec());
        self.engine.apply_and_wait(TABLE, Mutation::single(key(number), record)).unwrap();
    }

    fn stop(self) {
        self.background.stop();
        self.engine.close().unwrap();
    }
}

fn options(sync_mode: SyncMode) -> Options {
    Options { sync_mode, ..Options::default() }
}

/// Eight constant bytes and eight of a permutation of the numbers.
fn key(number: u64) -> Vec<u8> {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    [*b"userdata", (mixed ^ (mixed >> 31)).to_be_bytes()].concat()
}

fn value(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| if at % 2 == 0 { 0 } else { (at * 97 + at / 7) as u8 }).collect()
}

fn load(directory: &Path, writers: u64, value_bytes: usize) {
    let count = if value_bytes > 500 { 400_000 } else { 1_000_000 };
    let running = Running::open(directory, options(SyncMode::Periodic));
    let value = value(value_bytes);
    let began = Instant::now();
    let mut latencies = by_threads(writers, |writer| {
        let mut latencies = Vec::with_capacity((count / writers) as usize);
        for number in 0..count / writers {
            let began = Instant::now();
            running.put(writer + number * writers, &value);
            latencies.push(began.elapsed());
        }
        latencies
    });
    report(&format!("load {value_bytes} B"), writers, began.elapsed(), &mut latencies);
    running.stop();
}

fn synced(directory: &Path, writers: u64) {
    let running = Running::open(directory, options(SyncMode::Group));
    let value = value(100);
    let began = Instant::now();
    let mut latencies = by_threads(writers, |writer| {
        let mut latencies = Vec::new();
        let mut number = writer;
        while began.elapsed() < Duration::from_secs(3) {
            let began = Instant::now();
            running.put(number, &value);
            latencies.push(began.elapsed());
            number += writers;
        }
        latencies
    });
    let elapsed = began.elapsed();
    let counters = running.engine.counters();
    report("synced puts", writers, elapsed, &mut latencies);
    println!(
        "    {} syncs of {:.0} us, {:.1} puts each",
        counters.commit_log_syncs,
        counters.commit_log_sync_nanos as f64 / 1e3 / counters.commit_log_syncs as f64,
        counters.commit_log_mutations as f64 / counters.commit_log_syncs as f64
    );
    running.stop();
}

/// Half gets, half puts of random keys that are there, by two threads.
fn mix(directory: &Path) {
    let running = Running::open(directory, options(SyncMode::Periodic));
    let value = value(100);
    let keys = 1_000_000;
    (0..keys).for_each(|number| running.put(number, &value));
    let began = Instant::now();
    let mut latencies = by_threads(2, |writer| {
        let mut latencies = Vec::new();
        let mut state = writer + 1;
        while began.elapsed() < Duration::from_secs(5) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (state >> 33) % keys;
            if state >> 63 == 0 {
                running.engine.get(TABLE, &key(number)).unwrap().unwrap();
                continue;
            }
            let began = Instant::now();
            running.put(number, &value);
            latencies.push(began.elapsed());
        }
        latencies
    });
    report("puts of a mix", 2, began.elapsed(), &mut latencies);
    running.stop();
}

/// As after `kill -9` with 256 MiB of user data in the log.
fn reopen(directory: &Path) {
    let value = value(100);
    let count = (256 << 20) / 116;
    let options = || Options {
        memtable_bytes: 1 << 30,
        memtable_total_bytes: 4 << 30,
        commit_log_bytes: 4 << 30,
        ..options(SyncMode::Periodic)
    };
    let running = Running::open(directory, options());
    (0..count).for_each(|number| running.put(number, &value));
    running.background.stop();
    drop(running.engine);
    for memtable_bytes in [1 << 30, 64 << 20] {
        let began = Instant::now();
        let engine =
            Engine::open(Arc::new(OsDisk), directory, Options { memtable_bytes, ..options() }).unwrap();
        println!(
            "reopen with {count} records in the log, memtables of {memtable_bytes}: {:?}",
            began.elapsed()
        );
        assert!(engine.get(TABLE, &key(count - 1)).unwrap().is_some());
    }
}

/// What a memtable accounts for, and by how much resident memory grew. Alone in its process: memory that was given back
/// is not given to anyone else before.
fn memory(directory: &Path, value_bytes: usize) {
    let options = Options {
        memtable_bytes: 1 << 30,
        memtable_total_bytes: 4 << 30,
        commit_log_bytes: 4 << 30,
        ..options(SyncMode::Periodic)
    };
    let engine = Engine::open(Arc::new(OsDisk), directory, options).unwrap();
    engine.create_table(TABLE).unwrap();
    let before = resident_bytes();
    let value = value(value_bytes);
    for number in 0..300_000 {
        let record = Record::plain(Timestamp(1_700_000_000_000_000 + number), value.clone());
        engine.apply_and_wait(TABLE, Mutation::single(key(number), record)).unwrap();
    }
    let unread = resident_bytes() - before;
    for number in 0..300_000 {
        engine.get(TABLE, &key(number)).unwrap().unwrap();
    }
    let accounted = engine.counters().memtable_bytes;
    let read = resident_bytes() - before;
    println!(
        "values of {value_bytes}: accounted {accounted}, resident {unread} ({:+.1} %), once read {read} ({:+.1} %)",
        (accounted as f64 / unread as f64 - 1.0) * 100.0,
        (accounted as f64 / read as f64 - 1.0) * 100.0
    );
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn by_threads(count: u64, work: impl Fn(u64) -> Vec<Duration> + Sync) -> Vec<Duration> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn report(what: &str, writers: u64, elapsed: Duration, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{what}, {writers} writers: {:.0}/s, p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
