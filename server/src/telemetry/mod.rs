//! What a node tells about itself: structured logs on standard error, and numbers for Prometheus.
//!
//! The registry of the numbers belongs to the node and not to the process, so that several nodes in one process
//! (tests, simulations) stay apart. Nothing on the way of a request takes a lock: the coordinator's counters are a
//! table of atomics indexed by operation, level and result, its latencies a [`histogram`] of atomics; both are
//! turned into text only when someone asks. Labels come from closed lists, never from keys.
//!
//! Reading order: [`logs`], [`repeats`], [`metrics`], [`membership`], [`replication`], [`process`], [`storage_events`].

use std::time::Duration;

mod handoff;
mod logs;
mod membership;
mod metrics;
mod process;
mod repeats;
mod replication;
mod storage;
mod storage_events;

pub(crate) use logs::{LEVEL_NAMES, is_target};
pub use logs::{LogFilter, LogFormat, LogsError, start_logs};
pub(crate) use metrics::Operation;
pub use metrics::{Counters, METRICS_CONTENT_TYPE, Metrics};
pub use process::{DiskSpace, resident_bytes};
pub(crate) use storage_events::{StallWatch, log_events};

/// How durations are logged: fields in milliseconds, whose names end so.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Version of the build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit of the build, if whoever built it said so in the environment (`HELENUS_COMMIT`).
pub const COMMIT: &str = match option_env!("HELENUS_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
