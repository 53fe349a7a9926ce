//! Counts and histograms of one kind of operation.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use crate::{
    client::{Judgement, Outcome},
    workload::Operation,
};

/// Reasons that are told apart; a server can think of many.
const MOST_DETAILS: usize = 32;

/// What is counted under when there are too many reasons.
const OTHER_DETAILS: &str = "others";

/// One kind of operation.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Of successes, from sending, µs.
    pub latency: Histogram<u64>,
    /// Of successes, from when they were due.
    pub intended: Histogram<u64>,
    /// Of failures, from sending.
    pub failed: Histogram<u64>,
    /// Of failures, from when they were due.
    pub failed_intended: Histogram<u64>,
    /// By [`Outcome`], in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// By YCSB's status.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Failures by what exactly failed.
    pub details: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let empty = || Histogram::new(3).expect("three digits are few enough");
        Self {
            latency: empty(),
            intended: empty(),
            failed: empty(),
            failed_intended: empty(),
            outcomes: [0; Outcome::ALL.len()],
            statuses: BTreeMap::new(),
            details: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counts an operation that took `latency`, and `intended` since it was due.
    pub fn record(&mut self, judgement: &Judgement, latency: Duration, intended: Duration) {
        let (plain, from_due) = if judgement.is_ok() {
            (&mut self.latency, &mut self.intended)
        } else {
            (&mut self.failed, &mut self.failed_intended)
        };
        plain.record(micros(latency)).expect(GROWS);
        from_due.record(micros(intended)).expect(GROWS);
        self.outcomes[judgement.outcome as usize] += 1;
        *self.statuses.entry(judgement.status).or_default() += 1;
        if let Some(detail) = &judgement.detail {
            count_detail(&mut self.details, detail, 1);
        }
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (into, from) in [
            (&mut self.latency, &other.latency),
            (&mut self.intended, &other.intended),
            (&mut self.failed, &other.failed),
            (&mut self.failed_intended, &other.failed_intended),
        ] {
            into.add(from).expect(GROWS);
        }
        for (into, from) in self.outcomes.iter_mut().zip(other.outcomes) {
            *into += from;
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (detail, &count) in &other.details {
            count_detail(&mut self.details, detail, count);
        }
    }
}

/// Histograms grow by themselves; `saturating_record` would not let them.
const GROWS: &str = "a histogram grows to hold a day";

fn micros(duration: Duration) -> u64 {
    const DAY_US: u64 = 86_400_000_000;
    // An HdrHistogram holds values from 1.
    u64::try_from(duration.as_micros()).unwrap_or(DAY_US).clamp(1, DAY_US)
}

fn count_detail(details: &mut BTreeMap<String, u64>, detail: &str, count: u64) {
    if let Some(known) = details.get_mut(detail) {
        *known += count;
    } else {
        let name = if details.len() < MOST_DETAILS { detail } else { OTHER_DETAILS };
        *details.entry(name.to_owned()).or_default() += count;
    }
}

/// All that ended in an interval.
#[derive(Debug, Clone, Default)]
pub struct Interval {
    /// By kind.
    pub operations: BTreeMap<Operation, Box<Tally>>,
    /// Whole operations of the workload that succeeded; a read-modify-write is one.
    pub succeeded: u64,
    /// Whole operations that failed.
    pub failed: u64,
}

impl Interval {
    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (&operation, tally) in &other.operations {
            self.operations.entry(operation).or_default().merge(tally);
        }
        self.succeeded += other.succeeded;
        self.failed += other.failed;
    }
}
