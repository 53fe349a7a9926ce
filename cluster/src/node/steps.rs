//! The steps of a replica's part in a request, noted where they happen.
//!
//! Of a request that nobody traces only what happens late is noted, for the log if the request turns out to be slow: to
//! note everything of each would cost more than it tells, for what was soon done is not why a request is slow.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    message::{MAX_STEPS, Step},
    node_id::HostId,
};

/// Notes the first [`MAX_STEPS`] steps that are wanted.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Instant,
    /// Earlier steps are not noted.
    wanted_after: Duration,
    steps: Mutex<Vec<Step>>,
}

/// Most steps in a line of the log.
const MAX_LOGGED: usize = 32;
/// Of a request that is slow after some time, steps are noted from this part of it on.
const LATE_DIVISOR: u32 = 10;

/// From when on the steps of a request are noted: of one that is traced, or else slow after some time.
pub(crate) fn wanted_after(is_traced: bool, slow: Duration) -> Duration {
    if is_traced { Duration::ZERO } else { slow / LATE_DIVISOR }
}

/// Milliseconds, for the log.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// The last steps for the log, each with the microseconds until it and the node if it is said: `120341 µs: applied; …`.
pub(crate) fn told<'a>(steps: impl ExactSizeIterator<Item = (u64, Option<HostId>, &'a str)>) -> String {
    let beyond = steps.len().saturating_sub(MAX_LOGGED);
    let steps = steps.skip(beyond).map(|(at_us, node, what)| match node {
        Some(node) => format!("{at_us} µs, {node}: {what}"),
        None => format!("{at_us} µs: {what}"),
    });
    steps.collect::<Vec<_>>().join("; ")
}

/// None are wanted.
impl Default for Steps {
    fn default() -> Self {
        Self::begin(Duration::MAX)
    }
}

impl Steps {
    /// Begins now, with the coming of the request. Steps before that time are not noted ([`wanted_after`]).
    pub(crate) fn begin(wanted_after: Duration) -> Self {
        let steps = Self { begun: Instant::now(), wanted_after, steps: Mutex::default() };
        steps.note(|| "received");
        steps
    }

    /// Notes that something has happened just now.
    pub(crate) fn note<S: Into<String>>(&self, what: impl FnOnce() -> S) {
        let after = self.elapsed();
        if after < self.wanted_after {
            return;
        }
        let mut steps = self.steps.lock();
        if steps.len() < MAX_STEPS {
            let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            steps.push(Step { after_us, what: what().into() });
        }
    }

    /// Time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Those until now.
    pub(crate) fn so_far(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }

    /// When they began, and all that were noted.
    pub(crate) fn end(self) -> (Instant, Vec<Step>) {
        (self.begun, self.steps.into_inner())
    }
}
