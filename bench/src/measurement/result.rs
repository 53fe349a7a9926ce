//! A run as a file keeps it: everything that reports know.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    latencies::Latencies,
    machine::Host,
    tally::{Interval, Tally},
};
use crate::{client::Outcome, workload::Operation};

/// What [`RunResult::format`] says. A change that older readers misread gets a new number.
pub const RESULT_FORMAT: &str = "helenus-bench result 1";

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResult {
    /// [`RESULT_FORMAT`].
    pub format: String,
    /// When the load began, RFC 3339.
    pub started: String,
    /// What was asked for.
    pub settings: Settings,
    /// Where the load came from.
    pub host: Host,
    /// What was loaded.
    pub server: Server,
    /// From the end of the warm-up to the last answer.
    pub seconds: f64,
    /// Whole operations that succeeded.
    pub succeeded: u64,
    /// Whole operations that failed; never part of the above.
    pub failed: u64,
    /// Operations before the measurement began.
    pub warmup_operations: u64,
    /// What the load generator itself took, and where it was late.
    pub generator: Generator,
    /// By kind.
    pub operations: Vec<OperationResult>,
    /// By time.
    pub intervals: Vec<IntervalResult>,
    /// What was done to the servers meanwhile.
    pub events: Vec<Event>,
}

impl RunResult {
    /// Successes in a second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.succeeded as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Values that were read and are not those that were written, as `dataintegrity` finds out.
    #[must_use]
    pub fn wrong_values(&self) -> u64 {
        let checks = self.operations.iter().filter(|kind| kind.operation == Operation::Verify);
        checks.map(|kind| kind.failed.count).sum()
    }

    /// Whether operations were due at fixed times.
    #[must_use]
    pub fn is_open_loop(&self) -> bool {
        self.settings.target.is_some()
    }
}

/// A command that was run while the load was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// When it began, since the measurement began.
    pub at_s: f64,
    /// The command.
    pub command: String,
    /// Whether it did.
    pub succeeded: bool,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// `load` or `run`.
    pub phase: String,
    /// A name for the run.
    pub label: Option<String>,
    /// YCSB's properties, as they were given.
    pub properties: BTreeMap<String, String>,
    /// Servers.
    pub endpoints: Vec<String>,
    /// `token-aware` if clients went to replicas of each key, else `round-robin`.
    pub routing: String,
    /// `helenus` or `etcd`.
    pub protocol: String,
    /// The table.
    pub table: String,
    /// The level, if it was not left to the table.
    pub consistency: Option<String>,
    /// Clients, each with a connection and one operation at a time.
    pub clients: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Operations in a second, of all clients; none is a closed loop.
    pub target: Option<f64>,
    /// How long it was to take.
    pub duration_s: Option<f64>,
    /// Left out before it.
    pub warmup_s: f64,
    /// A client's timeout.
    pub timeout_s: f64,
    /// `overwrite` or `merge`.
    pub update: String,
    /// Of the random streams.
    pub seed: u64,
}

/// What a server says of itself, and what it was said to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Server {
    /// Version and commit.
    pub version: Option<String>,
    /// Replicas of each key.
    pub factor: Option<String>,
    /// When writes are durable, as the command line says: servers do not tell.
    pub sync_mode: Option<String>,
}

/// The load generator as a suspect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Version of this program.
    pub version: String,
    /// Processor time of the process.
    pub cpu_s: f64,
    /// The same for each operation, warm-up included.
    pub cpu_us_per_operation: f64,
    /// Processor time that everything else on this machine took for each operation, the kernel included and warm-up too:
    /// that of the servers only where they run on this machine and little else does. Earlier results lack it.
    pub others_cpu_us_per_operation: Option<f64>,
    /// Share of a processor that the busiest thread used, 0..=1.
    pub busiest_thread: f64,
    /// Share of all processors of this machine that were busy, with whatever; 0..=1.
    pub machine_busy: Option<f64>,
    /// Sent more than a millisecond after they were due although their client was free: the generator's fault.
    pub late: u64,
    /// Sent more than a millisecond after they were due, as their client had no answer yet: the server's.
    pub held_up: u64,
    /// Due before the end, but never sent.
    pub unsent: u64,
    /// Why this run may not be trusted.
    pub warnings: Vec<String>,
}

/// A kind of operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationResult {
    /// Which.
    pub operation: Operation,
    /// Of successes, from sending.
    pub latency: Latencies,
    /// Of successes, from when they were due; none in a closed loop.
    pub intended: Option<Latencies>,
    /// Of failures, from sending.
    pub failed: Latencies,
    /// Of failures, from when they were due.
    pub failed_intended: Option<Latencies>,
    /// How many of each outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// How many of each of YCSB's statuses.
    pub statuses: BTreeMap<String, u64>,
    /// What exactly failed, how often.
    pub details: BTreeMap<String, u64>,
}

impl OperationResult {
    pub(super) fn new(operation: Operation, tally: &Tally, is_paced: bool) -> Self {
        let statuses = tally.statuses.iter().map(|(&status, &count)| (status.to_owned(), count));
        Self {
            operation,
            latency: Latencies::new(&tally.latency),
            intended: is_paced.then(|| Latencies::new(&tally.intended)),
            failed: Latencies::new(&tally.failed),
            failed_intended: is_paced.then(|| Latencies::new(&tally.failed_intended)),
            outcomes: outcomes(tally),
            statuses: statuses.collect(),
            details: tally.details.clone(),
        }
    }

    /// Latencies as users of the service feel them: from the due time where there is one.
    #[must_use]
    pub fn honest(&self) -> &Latencies {
        self.intended.as_ref().unwrap_or(&self.latency)
    }
}

/// An interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IntervalResult {
    /// Since the measurement began.
    pub start_s: f64,
    /// How long.
    pub length_s: f64,
    /// Whole operations that succeeded.
    pub succeeded: u64,
    /// Whole operations that failed.
    pub failed: u64,
    /// By kind.
    pub operations: BTreeMap<Operation, OperationRow>,
}

/// A kind of operation in an interval: successes from when they were due, in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationRow {
    /// Successes.
    pub count: u64,
    /// Mean latency.
    pub mean_us: f64,
    /// Median latency.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// Largest.
    pub max_us: u64,
    /// How many of each outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
}

impl IntervalResult {
    pub(super) fn new(start_s: f64, length: Duration, interval: &Interval) -> Self {
        let row = |tally: &Tally| {
            let value = |percentile| tally.intended.value_at_percentile(percentile);
            OperationRow {
                count: tally.intended.len(),
                mean_us: tally.intended.mean(),
                p50_us: value(50.0),
                p90_us: value(90.0),
                p99_us: value(99.0),
                p999_us: value(99.9),
                max_us: tally.intended.max(),
                outcomes: outcomes(tally),
            }
        };
        Self {
            start_s,
            length_s: length.as_secs_f64(),
            succeeded: interval.succeeded,
            failed: interval.failed,
            operations: interval.operations.iter().map(|(&kind, tally)| (kind, row(tally))).collect(),
        }
    }
}

fn outcomes(tally: &Tally) -> BTreeMap<Outcome, u64> {
    let all = Outcome::ALL.into_iter().zip(tally.outcomes);
    all.filter(|&(_, count)| count > 0).collect()
}
