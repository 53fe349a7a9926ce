//! All threads' measurements.

use std::{collections::BTreeMap, sync::mpsc::Receiver, time::Duration};

use super::{
    result::{IntervalResult, OperationResult},
    tally::Interval,
};

/// What threads send.
#[derive(Debug)]
pub enum Parcel {
    /// An interval is over.
    Interval {
        /// The thread.
        worker: usize,
        /// The interval's number, from 0.
        index: u64,
        /// What ended in it.
        interval: Interval,
    },
    /// The thread has nothing more to send.
    Done {
        /// The thread.
        worker: usize,
        /// Operations before the measurement began.
        warmup_operations: u64,
    },
}

/// Rows that are kept; a longer run has its last hours in its last row.
const MOST_ROWS: usize = 86_400;

/// Adds up what threads send.
#[derive(Debug)]
pub struct Collector {
    length: Duration,
    /// For each thread, the first interval it has not handed on yet.
    reached: Vec<u64>,
    pending: BTreeMap<u64, Interval>,
    total: Interval,
    rows: Vec<IntervalResult>,
    warmup_operations: u64,
}

impl Collector {
    /// Of `workers` threads.
    #[must_use]
    pub fn new(workers: usize, length: Duration) -> Self {
        let (pending, total, rows) = (BTreeMap::new(), Interval::default(), Vec::new());
        Self { length, reached: vec![0; workers], pending, total, rows, warmup_operations: 0 }
    }

    /// Receives until all threads are done; `observe` sees each interval, by number and in order, and the total.
    pub fn collect(
        &mut self,
        parcels: &Receiver<Parcel>,
        mut observe: impl FnMut(u64, &Interval, &Interval),
    ) {
        while self.reached.iter().any(|&reached| reached != u64::MAX) {
            let Ok(parcel) = parcels.recv() else { break };
            match parcel {
                Parcel::Interval { worker, index, interval } => {
                    self.pending.entry(index).or_default().merge(&interval);
                    self.reached[worker] = index + 1;
                }
                Parcel::Done { worker, warmup_operations } => {
                    self.warmup_operations += warmup_operations;
                    self.reached[worker] = u64::MAX;
                }
            }
            let complete = self.reached.iter().copied().min().unwrap_or(u64::MAX);
            while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < complete) {
                let (index, interval) = entry.remove_entry();
                self.total.merge(&interval);
                observe(index, &interval, &self.total);
                if self.rows.len() < MOST_ROWS {
                    let start_s = self.length.as_secs_f64() * index as f64;
                    self.rows.push(IntervalResult::new(start_s, self.length, &interval));
                }
            }
        }
    }

    /// Whole operations that succeeded and failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.total.succeeded, self.total.failed)
    }

    /// Totals by kind, rows by interval, and the operations of the warm-up.
    #[must_use]
    pub fn finish(self, is_paced: bool) -> (Vec<OperationResult>, Vec<IntervalResult>, u64) {
        let operations = self.total.operations.iter();
        let operations =
            operations.map(|(&kind, tally)| OperationResult::new(kind, tally, is_paced)).collect();
        (operations, self.rows, self.warmup_operations)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;
    use crate::{
        client::Judgement,
        measurement::{Measured, Recorder},
        workload::Operation,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn operations_count_in_the_interval_in_which_they_ended_and_warm_up_not_at_all() {
        let (sender, receiver) = mpsc::sync_channel(16);
        let zero = Instant::now() + SECOND;
        let at = |millis: u64| zero + Duration::from_millis(millis);
        let mut recorders = [0, 1].map(|worker| Recorder::new(worker, zero, SECOND, sender.clone()));
        let mut done = |worker: usize, due: Instant, ended: Instant, judgement: &Judgement| {
            let operation = Operation::Read;
            recorders[worker].record(&Measured { operation, due, sent: due, ended, judgement });
            recorders[worker].finish(due, judgement.is_ok());
        };
        done(0, zero - SECOND, at(100), &Judgement::OK); // due in the warm-up
        done(0, at(0), at(10), &Judgement::OK);
        done(1, at(0), at(1_500), &Judgement::OK);
        done(0, at(2_100), at(2_200), &Judgement::silence());
        for recorder in recorders {
            recorder.close();
        }
        let mut collector = Collector::new(2, SECOND);
        let mut seen = Vec::new();
        collector
            .collect(&receiver, |index, interval, _| seen.push((index, interval.succeeded, interval.failed)));
        assert_eq!(seen, [(0, 1, 0), (1, 1, 0), (2, 0, 1)]);
        assert_eq!(collector.counts(), (2, 1));
        let (operations, rows, warmup) = collector.finish(true);
        assert_eq!((operations[0].latency.count, operations[0].failed.count), (2, 1));
        assert_eq!((rows.len(), warmup), (3, 1));
    }
}
