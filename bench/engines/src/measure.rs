//! One run of one group of rows, in a process of its own.

use std::{
    fs,
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Engine, Kind, Opening},
    machine::{self, Usage},
    workload::{Choice, Random, Values, key},
};

/// What is asked of a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub kind: Kind,
    pub group: Group,
    /// The rows that are asked for; of other groups too.
    pub rows: Vec<Row>,
    pub directory: std::path::PathBuf,
    pub count: u64,
    pub value_bytes: usize,
    /// Length of each timed phase.
    pub seconds: f64,
    pub seed: u64,
}

/// What one process measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Random load by one thread, then amplification; its directory is what `Read` reads.
    Load,
    /// Random load by two threads.
    Load2,
    /// Synced puts.
    Sync,
    /// Gets, scans, the mix and deletes, of what `Load` left.
    Read,
    /// Fills a log and is killed.
    Fill,
    /// Opens what `Fill` left.
    Open,
}

/// What can be asked for; some print several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Row {
    /// Random load by one thread, memory, write and space amplification
    #[value(name = "load_rand_1t")]
    LoadRand1t,
    /// Random load by two threads
    #[value(name = "load_rand_2t")]
    LoadRand2t,
    /// Synced puts by one writer
    #[value(name = "sync_put_1w")]
    SyncPut1w,
    /// Synced puts by two writers
    #[value(name = "sync_put_2w")]
    SyncPut2w,
    /// Synced puts by sixteen writers
    #[value(name = "sync_put_16w")]
    SyncPut16w,
    /// Gets of keys that are there, each as often as any other
    #[value(name = "get_uniform_1t")]
    GetUniform1t,
    /// The same by two threads
    #[value(name = "get_uniform_2t")]
    GetUniform2t,
    /// Gets of few keys most of the time
    #[value(name = "get_zipf_1t")]
    GetZipf1t,
    /// The same by two threads
    #[value(name = "get_zipf_2t")]
    GetZipf2t,
    /// Gets of keys that were never put
    #[value(name = "get_absent_1t")]
    GetAbsent1t,
    /// Scans of a hundred entries
    #[value(name = "scan100_1t")]
    Scan100,
    /// Half gets, half puts, by one thread, and how long they take
    #[value(name = "mixed_1t")]
    Mixed1t,
    /// The same by two threads
    #[value(name = "mixed_2t")]
    Mixed2t,
    /// Deletes
    #[value(name = "delete_1t")]
    Delete1t,
    /// Opening after SIGKILL with 256 MiB of records in the log
    #[value(name = "reopen")]
    Reopen,
}

impl Row {
    /// Which process measures it.
    pub fn group(self) -> Group {
        match self {
            Self::LoadRand1t => Group::Load,
            Self::LoadRand2t => Group::Load2,
            Self::SyncPut1w | Self::SyncPut2w | Self::SyncPut16w => Group::Sync,
            Self::Reopen => Group::Open,
            _ => Group::Read,
        }
    }
}

impl Task {
    fn has(&self, row: Row) -> bool {
        self.rows.contains(&row)
    }
}

/// A figure of a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    pub row: String,
    pub value: f64,
    /// Share of one CPU that other processes took meanwhile.
    pub foreign: f64,
}

/// Does it and prints a figure a line.
pub fn run(task: &Task) {
    let measured = match task.group {
        Group::Load => load(task, 1),
        Group::Load2 => load(task, 2),
        Group::Sync => synced(task),
        Group::Read => read(task),
        Group::Fill => fill(task),
        Group::Open => open(task),
    };
    for figure in measured {
        println!("{}", serde_json::to_string(&figure).unwrap());
    }
}

const UNSYNCED: Opening = Opening { is_synced: false, memtable_bytes: 64 << 20 };
const SYNCED: Opening = Opening { is_synced: true, memtable_bytes: 64 << 20 };
/// So that all of the log of `reopen` is needed.
const ONE_MEMTABLE: Opening = Opening { is_synced: false, memtable_bytes: 1 << 30 };
/// Records in the log of `reopen`.
const LOG_BYTES: u64 = 256 << 20;
/// B-trees commit a transaction per put and would load for minutes.
const LONGEST_LOAD: Duration = Duration::from_secs(20);

/// Figures as they are measured.
struct Figures(Vec<Figure>);

impl Figures {
    fn add(&mut self, row: impl Into<String>, value: f64, usage: &Usage) {
        self.0.push(Figure { row: row.into(), value, foreign: usage.foreign() });
    }

    /// A rate, and what an operation took of the CPUs, which others disturb less.
    fn add_rate(&mut self, row: &str, rate: f64, operations: u64, usage: &Usage) {
        self.add(format!("{row} ops/s"), rate, usage);
        self.add(format!("{row} cpu us"), usage.cpu_micros() / operations.max(1) as f64, usage);
    }
}

fn load(task: &Task, threads: u64) -> Vec<Figure> {
    let mut figures = Figures(Vec::new());
    let values = Values::of(task.value_bytes);
    let engine = task.kind.open(&task.directory, UNSYNCED);
    let usage = Usage::begin();
    let began = Instant::now();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (engine, values, done) = (&*engine, &values, &done);
            scope.spawn(move || {
                let mut value = Vec::new();
                for number in (thread..task.count).step_by(threads as usize) {
                    if number % 1024 == 0 && began.elapsed() > LONGEST_LOAD {
                        break;
                    }
                    values.write(number, &mut value);
                    engine.put(&key(number), &value);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let loaded = done.load(Ordering::Relaxed);
    figures.add_rate(
        &format!("load_rand_{threads}t"),
        loaded as f64 / began.elapsed().as_secs_f64(),
        loaded,
        &usage,
    );
    if threads == 1 {
        figures.add("load_rand_1t rss MB", machine::resident_bytes() as f64 / 1e6, &usage);
        complete(&*engine, task, loaded);
        engine.settle();
        let user = (task.count * values.entry_bytes() as u64) as f64;
        figures.add("load with settle ops/s", task.count as f64 / began.elapsed().as_secs_f64(), &usage);
        figures.add("write amplification", usage.written() as f64 / user, &usage);
        figures.add("write calls amplification", usage.written_by_calls() as f64 / user, &usage);
        engine.close();
        figures.add("space amplification", machine::disk_bytes(&task.directory) as f64 / user, &usage);
        if !task.kind.is_persistent() {
            figures.0.retain(|figure| figure.row.starts_with("load_rand"));
        }
    } else {
        engine.close();
    }
    figures.0
}

/// The rest of a load that took too long.
fn complete(engine: &dyn Engine, task: &Task, loaded: u64) {
    let values = Values::of(task.value_bytes);
    let mut value = Vec::new();
    for number in loaded..task.count {
        values.write(number, &mut value);
        engine.put(&key(number), &value);
    }
}

fn synced(task: &Task) -> Vec<Figure> {
    let mut figures = Figures(Vec::new());
    let values = Values::of(task.value_bytes);
    let engine = task.kind.open(&task.directory, SYNCED);
    let next = AtomicU64::new(0);
    for (threads, row) in [(1, Row::SyncPut1w), (2, Row::SyncPut2w), (16, Row::SyncPut16w)] {
        if !task.has(row) {
            continue;
        }
        let usage = Usage::begin();
        let put = |_: &mut Random| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let mut value = Vec::with_capacity(values.entry_bytes());
            values.write(number, &mut value);
            engine.put(&key(number), &value);
        };
        let phase = phase(threads, task, put);
        figures.add_rate(&format!("sync_put_{threads}w"), phase.rate, phase.operations, &usage);
        figures.add(
            format!("sync_put_{threads}w p99 us"),
            phase.nanos.value_at_quantile(0.99) as f64 / 1e3,
            &usage,
        );
    }
    engine.close();
    figures.0
}

fn read(task: &Task) -> Vec<Figure> {
    let mut figures = Figures(Vec::new());
    let values = Values::of(task.value_bytes);
    let engine = task.kind.open(&task.directory, UNSYNCED);
    if !task.kind.is_persistent() {
        complete(&*engine, task, 0);
    }
    let engine = &*engine;
    let uniform = Choice::Uniform { count: task.count };
    let zipfian = Choice::zipfian(task.count);
    let get = |number: u64| {
        let found = engine.get(&key(number), &mut |value| assert!(values.is_of(number, value), "{number}"));
        assert!(found, "{number} is lost");
    };
    for choice in [&uniform, &zipfian] {
        phase(2, task, |random| get(choice.next(random)));
    }
    for (threads, name, choice, row) in [
        (1, "uniform", &uniform, Row::GetUniform1t),
        (1, "zipf", &zipfian, Row::GetZipf1t),
        (2, "uniform", &uniform, Row::GetUniform2t),
        (2, "zipf", &zipfian, Row::GetZipf2t),
    ] {
        if task.has(row) {
            let usage = Usage::begin();
            let phase = phase(threads, task, |random| get(choice.next(random)));
            figures.add_rate(&format!("get_{name}_{threads}t"), phase.rate, phase.operations, &usage);
        }
    }
    absent(task, engine, &mut figures);
    scans(task, engine, &uniform, &mut figures);
    let usage = Usage::begin();
    figures.add("reads rss MB", machine::resident_bytes() as f64 / 1e6, &usage);
    mixed(task, engine, &zipfian, &mut figures);
    if task.has(Row::Delete1t) {
        let usage = Usage::begin();
        let deletes = phase(1, task, |random| engine.delete(&key(uniform.next(random))));
        figures.add_rate("delete_1t", deletes.rate, deletes.operations, &usage);
    }
    figures.0
}

fn absent(task: &Task, engine: &dyn Engine, figures: &mut Figures) {
    if !task.has(Row::GetAbsent1t) {
        return;
    }
    let usage = Usage::begin();
    let absent = phase(1, task, |random| {
        let number = task.count + random.next() % task.count;
        assert!(!engine.get(&key(number), &mut |_| ()), "{number} was never put");
    });
    figures.add_rate("get_absent_1t", absent.rate, absent.operations, &usage);
}

fn scans(task: &Task, engine: &dyn Engine, choice: &Choice, figures: &mut Figures) {
    if !task.has(Row::Scan100) {
        return;
    }
    let usage = Usage::begin();
    let scans = phase(1, task, |random| {
        let mut last = [0; 16];
        let first = key(choice.next(random));
        let found = engine.scan(&first, 100, &mut |key, value| {
            assert!(*key > last[..] && value.len() == task.value_bytes);
            last.copy_from_slice(key);
        });
        assert!(found > 0, "at least the key it began at is there");
    });
    figures.add_rate("scan100_1t", scans.rate, scans.operations, &usage);
}

fn mixed(task: &Task, engine: &dyn Engine, choice: &Choice, figures: &mut Figures) {
    let values = Values::of(task.value_bytes);
    for (threads, row) in [(1, Row::Mixed1t), (2, Row::Mixed2t)] {
        if !task.has(row) {
            continue;
        }
        let usage = Usage::begin();
        let phase = two_kinds(threads, task, |random| {
            let number = choice.next(random);
            let is_put = random.next() % 2 == 0;
            if is_put {
                let mut value = Vec::with_capacity(values.entry_bytes());
                values.write(number, &mut value);
                engine.put(&key(number), &value);
            } else {
                let found =
                    engine.get(&key(number), &mut |value| assert!(values.is_of(number, value), "{number}"));
                assert!(found, "{number} is lost");
            }
            is_put
        });
        figures.add_rate(&format!("mixed_{threads}t"), phase.rate, phase.operations, &usage);
        for (kind, nanos) in [("put", &phase.nanos), ("get", &phase.other_nanos)] {
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
                let value = nanos.value_at_quantile(quantile) as f64 / 1e3;
                figures.add(format!("mixed_{threads}t {kind} {name} us"), value, &usage);
            }
        }
    }
}

fn fill(task: &Task) -> Vec<Figure> {
    let values = Values::of(100);
    let engine = task.kind.open(&task.directory, ONE_MEMTABLE);
    let mut value = Vec::new();
    for number in 0..LOG_BYTES / values.entry_bytes() as u64 {
        values.write(number, &mut value);
        engine.put(&key(number), &value);
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("it was killed")
}

fn open(task: &Task) -> Vec<Figure> {
    let mut figures = Figures(Vec::new());
    let values = Values::of(100);
    let usage = Usage::begin();
    let began = Instant::now();
    let engine = task.kind.open(&task.directory, ONE_MEMTABLE);
    figures.add("reopen 256 MiB log ms", began.elapsed().as_secs_f64() * 1e3, &usage);
    let last = LOG_BYTES / values.entry_bytes() as u64 - 1;
    for number in [0, last / 2, last] {
        assert!(
            engine.get(&key(number), &mut |value| assert!(values.is_of(number, value))),
            "{number} is lost"
        );
    }
    figures.0
}

/// How a phase went.
struct Phase {
    rate: f64,
    operations: u64,
    /// How long each operation took, of the first kind.
    nanos: Histogram<u64>,
    /// The same of the second kind, where there are two.
    other_nanos: Histogram<u64>,
}

impl Phase {
    fn empty() -> Self {
        // From a nanosecond to a minute, by three digits.
        let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        Self { rate: 0.0, operations: 0, nanos: histogram(), other_nanos: histogram() }
    }
}

fn phase(threads: u64, task: &Task, operation: impl Fn(&mut Random) + Sync) -> Phase {
    two_kinds(threads, task, |random| {
        operation(random);
        true
    })
}

/// Runs an operation over and over for the time of a phase; it tells whether it was of the first kind.
fn two_kinds(threads: u64, task: &Task, operation: impl Fn(&mut Random) -> bool + Sync) -> Phase {
    let ready = Barrier::new(threads as usize + 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (ready, stop, operation) = (&ready, &stop, &operation);
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut random = Random::new(task.seed * 1000 + thread);
                    let mut seen = Phase::empty();
                    ready.wait();
                    let began = Instant::now();
                    let (mut last, mut done) = (began, 0_u64);
                    while !stop.load(Ordering::Relaxed) {
                        let is_first = operation(&mut random);
                        let now = Instant::now();
                        let nanos = if is_first { &mut seen.nanos } else { &mut seen.other_nanos };
                        nanos.saturating_record(((now - last).as_nanos() as u64).max(1));
                        (last, done) = (now, done + 1);
                    }
                    seen.operations = done;
                    seen.rate = done as f64 / (last - began).as_secs_f64();
                    seen
                })
            })
            .collect();
        ready.wait();
        thread::sleep(Duration::from_secs_f64(task.seconds));
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().fold(Phase::empty(), |mut total, worker| {
            let of_worker = worker.join().unwrap();
            total.rate += of_worker.rate;
            total.operations += of_worker.operations;
            total.nanos.add(of_worker.nanos).unwrap();
            total.other_nanos.add(of_worker.other_nanos).unwrap();
            total
        })
    })
}

/// An empty directory.
pub fn cleared(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
}
