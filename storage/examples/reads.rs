//! Measures reads of a settled engine, one thread: hot gets (zipfian and uniform), absent keys, scans of 100, gets of
//! many keys at once.
//!
//! ```text
//! cargo run --release -p helenus-storage --example reads -- DIRECTORY [--keys N] [--value BYTES]
//!     [--block BYTES] [--cache MIB] [--standard] [--restart N] [--seconds S] [--only WORKLOAD]
//! ```
//!
//! The directory is filled when it is empty, and kept. Values are half random; no compression. All workloads run in
//! turn, three times; the figures are operations per second.

#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::{
    ops::Bound,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use helenus_storage::{
    AccessMode, Compression, Engine, Mutation, Options, Record, ScanLimits, Step, StepOutcome, TableId,
    TableOptions, Timestamp, disk::OsDisk,
};

/// The allocator of the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLE: TableId = TableId(1);
const WORKLOADS: [&str; 6] = ["get_zipf", "get_uniform", "try_get", "absent", "scan100", "multi_get16"];

struct Settings {
    directory: PathBuf,
    keys: u64,
    value_bytes: usize,
    seconds: f64,
    only: Option<String>,
    options: Options,
}

fn main() {
    let settings = settings();
    let fresh = !settings.directory.exists();
    let engine = Engine::open(Arc::new(OsDisk), &settings.directory, settings.options.clone()).unwrap();
    if fresh {
        fill(&engine, &settings);
    }
    let started = Instant::now();
    let records = read_everything(&engine);
    println!("{records} records in {:?}, {:?}", started.elapsed(), engine.counters());
    let zipf = Zipf::new(settings.keys);
    for _ in 0..3 {
        for workload in WORKLOADS {
            if settings.only.as_deref().is_none_or(|only| only == workload) {
                let rate = measure(&engine, &settings, &zipf, workload);
                print!("{workload} {rate:.0}  ");
            }
        }
        println!();
    }
    println!("{:?}", engine.counters());
}

fn settings() -> Settings {
    let mut arguments = std::env::args().skip(1);
    let mut settings = Settings {
        directory: PathBuf::from(arguments.next().expect("usage: reads DIRECTORY [options]")),
        keys: 1_000_000,
        value_bytes: 100,
        seconds: 1.0,
        only: None,
        options: Options {
            compression: Compression::None,
            segment_bytes: 64 << 20,
            commit_log_bytes: 2 << 30,
            memtable_total_bytes: 1 << 30,
            table: TableOptions::tiered(2),
            ..Options::default()
        },
    };
    while let Some(name) = arguments.next() {
        if name == "--mmap" {
            settings.options.access_mode = AccessMode::Mmap;
            continue;
        }
        let value = arguments.next().unwrap();
        match name.as_str() {
            "--keys" => settings.keys = value.parse().unwrap(),
            "--value" => settings.value_bytes = value.parse().unwrap(),
            "--block" => settings.options.block_bytes = value.parse().unwrap(),
            "--cache" => settings.options.block_cache_bytes = value.parse::<usize>().unwrap() << 20,
            "--restart" => settings.options.restart_interval = value.parse().unwrap(),
            "--seconds" => settings.seconds = value.parse().unwrap(),
            "--only" => settings.only = Some(value),
            name => panic!("{name} is no option"),
        }
    }
    settings
}

/// Writes all keys in random order, and waits until there is nothing to flush or merge.
fn fill(engine: &Engine, settings: &Settings) {
    engine.create_table(TABLE).unwrap();
    let mut value = vec![0_u8; settings.value_bytes];
    let records_per_commit = (16 << 20) / (settings.value_bytes as u64 + 100) + 1;
    for number in 0..settings.keys {
        let half = value.len() / 2;
        let words = value[..half].chunks_mut(8).enumerate();
        words.for_each(|(at, word)| {
            word.copy_from_slice(&scatter(number + at as u64).to_le_bytes()[..word.len()]);
        });
        let record = Record::plain(Timestamp(number), value.clone());
        drop(engine.apply(TABLE, Mutation::single(key(number).to_vec(), record)).unwrap());
        if number % records_per_commit == 0 {
            while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}
            while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
        }
    }
    while engine.step(Step::Commit).unwrap() == StepOutcome::Worked {}
    engine.switch_memtables().unwrap();
    for step in [Step::Flush, Step::Compact] {
        while engine.step(step).unwrap() == StepOutcome::Worked {}
    }
}

fn read_everything(engine: &Engine) -> usize {
    let limits = ScanLimits { items: 1000, ..ScanLimits::NONE };
    let mut page = engine.scan_page(TABLE, (Bound::Unbounded, Bound::Unbounded), &limits).unwrap();
    let mut records = page.records.len();
    while let Some(lower) = page.resume_after() {
        page = engine.scan_page(TABLE, (lower, Bound::Unbounded), &limits).unwrap();
        records += page.records.len();
    }
    records
}

fn measure(engine: &Engine, settings: &Settings, zipf: &Zipf, workload: &str) -> f64 {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random = random.wrapping_add(1);
        scatter(random)
    };
    let limits = ScanLimits { items: 100, ..ScanLimits::NONE };
    let (started, mut operations) = (Instant::now(), 0_u64);
    while started.elapsed() < Duration::from_secs_f64(settings.seconds) {
        for _ in 0..100 {
            let uniform = next() % settings.keys;
            match workload {
                "get_zipf" => assert!(engine.get(TABLE, &key(zipf.pick(next()))).unwrap().is_some()),
                "get_uniform" => assert!(engine.get(TABLE, &key(uniform)).unwrap().is_some()),
                "try_get" => drop(std::hint::black_box(engine.try_get(TABLE, &key(uniform)).unwrap())),
                "absent" => assert!(engine.get(TABLE, &key(settings.keys + uniform)).unwrap().is_none()),
                "scan100" => {
                    let from = key(uniform);
                    let range = (Bound::Included(&from[..]), Bound::Unbounded);
                    let page = engine.scan_page(TABLE, range, &limits).unwrap();
                    assert!(!page.records.is_empty());
                }
                _ => {
                    let keys: [_; 16] = std::array::from_fn(|_| key(next() % settings.keys));
                    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                    assert_eq!(engine.multi_get(TABLE, &keys).unwrap().len(), 16);
                }
            }
        }
        operations += 100;
    }
    operations as f64 / started.elapsed().as_secs_f64()
}

/// Sixteen bytes: a common prefix, and the number scattered over all others.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"userdata........";
    key[8..].copy_from_slice(&scatter(number).to_be_bytes());
    key
}

/// Splitmix64: a bijection.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Zipfian ranks of constant 0.99 (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994,
/// §3.2), scattered over the keys.
struct Zipf {
    keys: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    const THETA: f64 = 0.99;

    fn new(keys: u64) -> Self {
        let zeta = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-Self::THETA)).sum::<f64>();
        let (all, count) = (zeta(keys), keys as f64);
        let eta = (1.0 - (2.0 / count).powf(1.0 - Self::THETA)) / (1.0 - zeta(2) / all);
        Self { keys: count, zeta: all, alpha: 1.0 / (1.0 - Self::THETA), eta }
    }

    fn pick(&self, random: u64) -> u64 {
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let scaled = share * self.zeta;
        let rank = if scaled < 1.0 {
            0.0
        } else if scaled < 1.0 + 0.5_f64.powf(Self::THETA) {
            1.0
        } else {
            self.keys * (self.eta * share - self.eta + 1.0).powf(self.alpha)
        };
        scatter(rank as u64) % self.keys as u64
    }
}
