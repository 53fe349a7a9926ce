//! YCSB's status lines.

use std::time::{Duration, SystemTime};

use helenus_bench::{load::Progress, measurement::Interval, report::status_line};

/// Prints a line at the beginning, after each interval of so many seconds, and at the end.
pub(super) struct Status {
    every: Duration,
    /// What ended since the last line, and how long that is, seconds.
    since: Interval,
    since_s: f64,
    /// Since the measurement began.
    elapsed: Duration,
    /// Counts of everything so far.
    total: Interval,
}

impl Status {
    /// `every` is at least a second.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            since: Interval::default(),
            since_s: 0.0,
            elapsed: Duration::ZERO,
            total: Interval::default(),
        }
    }

    /// A second has passed. `left` operations are to be done.
    pub(super) fn observe(&mut self, progress: &Progress<'_>, left: Option<u64>) {
        self.since.merge(progress.interval);
        self.since_s += progress.interval_s;
        self.elapsed = progress.elapsed;
        (self.total.succeeded, self.total.failed) = (progress.total.succeeded, progress.total.failed);
        if self.elapsed.as_secs().is_multiple_of(self.every.as_secs()) {
            self.tell(left);
        }
    }

    /// Prints a line.
    pub(super) fn tell(&mut self, left: Option<u64>) {
        let interval = std::mem::take(&mut self.since);
        let progress = Progress {
            elapsed: self.elapsed,
            interval_s: std::mem::take(&mut self.since_s),
            interval: &interval,
            total: &self.total,
        };
        eprintln!("{}", status_line(SystemTime::now(), &progress, left));
    }
}
