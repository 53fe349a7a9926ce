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
    pub directory: std::path::PathBuf,
    pub count: u64,
    pub value_bytes: usize,
    /// Length of each timed phase.
    pub seconds: f64,
    pub seed: u64,
}

/// Rows that one process measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Random load by one thread, then amplification; its directory is what `read` reads.
    Load,
    /// Random load by two threads.
    Load2,
    /// Synced puts.
    Sync,
    /// Gets, scans, the mix and deletes, of what `load` left.
    Read,
    /// Fills a log and is killed, then opens it.
    Reopen,
    /// The part of `reopen` that is killed.
    #[value(skip)]
    Fill,
    /// The part of `reopen` that opens.
    #[value(skip)]
    Open,
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
        Group::Open | Group::Reopen => open(task),
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
    figures.add(format!("load_rand_{threads}t ops/s"), loaded as f64 / began.elapsed().as_secs_f64(), &usage);
    if threads == 1 {
        figures.add("load_rand_1t rss MB", machine::resident_bytes() as f64 / 1e6, &usage);
        complete(&*engine, task, loaded);
        engine.settle();
        let user = (task.count * values.entry_bytes() as u64) as f64;
        figures.add("load with settle ops/s", task.count as f64 / began.elapsed().as_secs_f64(), &usage);
        figures.add("write amplification", usage.written() as f64 / user, &usage);
        engine.close();
        figures.add("space amplification", machine::disk_bytes(&task.directory) as f64 / user, &usage);
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
    for threads in [1, 2, 16] {
        let usage = Usage::begin();
        let put = |_: &mut Random| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let mut value = Vec::with_capacity(values.entry_bytes());
            values.write(number, &mut value);
            engine.put(&key(number), &value);
        };
        let phase = phase(threads, task, put);
        figures.add(format!("sync_put_{threads}w ops/s"), phase.rate, &usage);
        figures.add(format!("sync_put_{threads}w p99 us"), phase.latency(0.99), &usage);
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
    for threads in [1, 2] {
        for (name, choice) in [("uniform", &uniform), ("zipf", &zipfian)] {
            let usage = Usage::begin();
            let phase = phase(threads, task, |random| get(choice.next(random)));
            figures.add(format!("get_{name}_{threads}t ops/s"), phase.rate, &usage);
        }
    }
    let usage = Usage::begin();
    let absent = phase(1, task, |random| {
        let number = task.count + random.next() % task.count;
        assert!(!engine.get(&key(number), &mut |_| ()), "{number} was never put");
    });
    figures.add("get_absent_1t ops/s", absent.rate, &usage);
    let usage = Usage::begin();
    let scans = phase(1, task, |random| {
        let mut last = [0; 16];
        engine.scan(&key(uniform.next(random)), 100, &mut |key, value| {
            assert!(*key > last[..] && value.len() == task.value_bytes);
            last.copy_from_slice(key);
        });
    });
    figures.add("scan100_1t ops/s", scans.rate, &usage);
    figures.add("reads rss MB", machine::resident_bytes() as f64 / 1e6, &usage);
    mixed(task, engine, &zipfian, &mut figures);
    let usage = Usage::begin();
    let deletes = phase(1, task, |random| engine.delete(&key(uniform.next(random))));
    figures.add("delete_1t ops/s", deletes.rate, &usage);
    figures.0
}

fn mixed(task: &Task, engine: &dyn Engine, choice: &Choice, figures: &mut Figures) {
    let values = Values::of(task.value_bytes);
    for threads in [1, 2] {
        let usage = Usage::begin();
        let phase = two_kinds(threads, task, |random| {
            let number = choice.next(random);
            let is_put = random.next() % 2 == 0;
            if is_put {
                let mut value = Vec::with_capacity(values.entry_bytes());
                values.write(number, &mut value);
                engine.put(&key(number), &value);
            } else {
                engine.get(&key(number), &mut |value| assert!(values.is_of(number, value)));
            }
            is_put
        });
        figures.add(format!("mixed_{threads}t ops/s"), phase.rate, &usage);
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let value = phase.latency(quantile);
            figures.add(format!("mixed_{threads}t put {name} us"), value, &usage);
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
        assert!(engine.get(&key(number), &mut |value| assert!(values.is_of(number, value))), "{number} is lost");
    }
    figures.0
}

/// How a phase went: of all operations, or of those that were to be told apart.
struct Phase {
    rate: f64,
    nanos: Histogram<u64>,
}

impl Phase {
    /// Microseconds.
    fn latency(&self, quantile: f64) -> f64 {
        self.nanos.value_at_quantile(quantile) as f64 / 1e3
    }
}

fn phase(threads: u64, task: &Task, operation: impl Fn(&mut Random) + Sync) -> Phase {
    two_kinds(threads, task, |random| {
        operation(random);
        true
    })
}

/// Runs an operation over and over for the time of a phase; latencies are of those that answer `true`.
fn two_kinds(threads: u64, task: &Task, operation: impl Fn(&mut Random) -> bool + Sync) -> Phase {
    let ready = Barrier::new(threads as usize + 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (ready, stop, operation) = (&ready, &stop, &operation);
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut random = Random::new(task.seed * 1000 + thread);
                    let mut nanos = Histogram::<u64>::new(3).unwrap();
                    let mut done = 0u64;
                    ready.wait();
                    let mut last = Instant::now();
                    while !stop.load(Ordering::Relaxed) {
                        let is_counted = operation(&mut random);
                        let now = Instant::now();
                        if is_counted {
                            nanos.saturating_record((now - last).as_nanos() as u64);
                        }
                        (done, last) = (done + 1, now);
                    }
                    (done, nanos)
                })
            })
            .collect();
        ready.wait();
        let began = Instant::now();
        thread::sleep(Duration::from_secs_f64(task.seconds));
        stop.store(true, Ordering::Relaxed);
        let mut nanos = Histogram::<u64>::new(3).unwrap();
        let mut done = 0;
        for worker in workers {
            let (of_worker, latencies) = worker.join().unwrap();
            done += of_worker;
            nanos.add(latencies).unwrap();
        }
        Phase { rate: done as f64 / began.elapsed().as_secs_f64(), nanos }
    })
}

/// An empty directory.
pub fn cleared(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
}
