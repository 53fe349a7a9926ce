//! A thread's measurements, handed on interval by interval.

use std::{
    sync::mpsc::{SyncSender, TrySendError},
    time::{Duration, Instant},
};

use super::{collector::Parcel, tally::Interval};
use crate::{client::Judgement, workload::Operation};

/// An operation that has ended.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Its kind.
    pub operation: Operation,
    /// When it was due.
    pub due: Instant,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer was there.
    pub ended: Instant,
    /// What came of it.
    pub judgement: &'a Judgement,
}

/// The measurements of one thread's clients.
#[derive(Debug)]
pub struct Recorder {
    worker: usize,
    measured_from: Instant,
    length: Duration,
    index: u64,
    interval: Interval,
    warmup_operations: u64,
    parcels: SyncSender<Parcel>,
}

impl Recorder {
    /// Measures what is due at `measured_from` or later, in intervals of `length`.
    #[must_use]
    pub fn new(worker: usize, measured_from: Instant, length: Duration, parcels: SyncSender<Parcel>) -> Self {
        let (index, interval, warmup_operations) = (0, Interval::default(), 0);
        Self { worker, measured_from, length, index, interval, warmup_operations, parcels }
    }

    /// Counts an operation, or a part of one.
    pub fn record(&mut self, measured: &Measured<'_>) {
        if measured.due < self.measured_from {
            return;
        }
        self.hand_on(measured.ended);
        let Measured { due, sent, ended, judgement, .. } = *measured;
        let tally = self.interval.operations.entry(measured.operation).or_default();
        tally.record(judgement, ended - sent, ended - due);
    }

    /// Counts a whole operation of the workload.
    pub fn finish(&mut self, due: Instant, is_success: bool) {
        if due < self.measured_from {
            self.warmup_operations += 1;
        } else if is_success {
            self.interval.succeeded += 1;
        } else {
            self.interval.failed += 1;
        }
    }

    /// Hands on the current interval if it is over. If the collector is behind, its counts join the next interval.
    pub fn hand_on(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.measured_from);
        let index = u64::try_from(since.as_nanos() / self.length.as_nanos().max(1)).unwrap_or(u64::MAX);
        if index <= self.index {
            return;
        }
        let parcel = Parcel::Interval {
            worker: self.worker,
            index: self.index,
            interval: std::mem::take(&mut self.interval),
        };
        if let Err(TrySendError::Full(Parcel::Interval { interval, .. })) = self.parcels.try_send(parcel) {
            self.interval = interval;
        }
        self.index = index;
    }

    /// Hands on what is left; waits for the collector.
    pub fn close(self) {
        let Self { worker, index, interval, warmup_operations, parcels, .. } = self;
        // Only fails when the collector is gone, and with it whoever wanted to know.
        let _ = parcels.send(Parcel::Interval { worker, index, interval });
        let _ = parcels.send(Parcel::Done { worker, warmup_operations });
    }
}
