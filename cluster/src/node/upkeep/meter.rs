//! How far a task of upkeep is, and whether it is still wanted.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use helenus_storage::RecentPace;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Shared by a task and by whoever watches it.
#[derive(Debug)]
pub struct Meter {
    done: AtomicU64,
    total: AtomicU64,
    pace: Mutex<Pace>,
    waits: AtomicBool,
    cancelled: CancellationToken,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            done: AtomicU64::default(),
            total: AtomicU64::default(),
            pace: Mutex::new(Pace::from(0, Instant::now())),
            waits: AtomicBool::default(),
            cancelled: CancellationToken::new(),
        }
    }
}

impl Meter {
    /// Bytes that are done, and bytes that there are; an estimate, and both zero as long as the task knows none.
    pub fn progress(&self) -> (u64, u64) {
        let total = self.total.load(Relaxed);
        (self.done.load(Relaxed).min(total), total)
    }

    /// Until all of it is done, at the speed of the last seconds; `None` as long as there is none, and while the task waits
    /// for others.
    pub fn remaining_seconds(&self) -> Option<f64> {
        let (done, total) = self.progress();
        let pace = self.pace.lock().per_second(done, Instant::now())?;
        Some(total.saturating_sub(done) as f64 / pace)
    }

    /// Whether it waits for others.
    pub fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// Asks the task to end early. One that cannot goes on to its end.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Whether it was asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.total.store(bytes, Relaxed);
    }

    pub(super) fn reach(&self, bytes: u64) {
        self.done.store(bytes, Relaxed);
        self.waits.store(false, Relaxed);
        self.pace.lock().note(bytes, Instant::now());
    }

    /// It has done so many bytes and waits for others, which is no part of its speed.
    pub(super) fn wait(&self, bytes: u64) {
        self.done.store(bytes, Relaxed);
        self.waits.store(true, Relaxed);
        *self.pace.lock() = Pace::from(bytes, Instant::now());
    }
}

/// How fast a task has gone lately, since it stood still.
#[derive(Debug)]
struct Pace {
    /// Bytes that were done then.
    from: u64,
    since: RecentPace,
}

impl Pace {
    fn from(bytes: u64, now: Instant) -> Self {
        Self { from: bytes, since: RecentPace::begun(now) }
    }

    fn note(&mut self, done: u64, now: Instant) {
        self.since.note(done.saturating_sub(self.from), now);
    }

    fn per_second(&self, done: u64, now: Instant) -> Option<f64> {
        self.since.per_second(done.saturating_sub(self.from), now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_is_no_part_of_the_pace() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut pace = Pace::from(0, begin);
        pace.note(500, at(1));
        assert_eq!(pace.per_second(500, at(1)), Some(500.0));

        pace = Pace::from(500, at(60));
        assert_eq!(pace.per_second(500, at(60)), None, "it waits");
        pace.note(700, at(61));
        assert_eq!(pace.per_second(700, at(61)), Some(200.0));
    }

    #[test]
    fn what_waits_has_no_time_that_remains() {
        let meter = Meter::default();
        meter.expect(1000);
        meter.reach(500);
        meter.wait(500);
        assert_eq!((meter.progress(), meter.remaining_seconds()), ((500, 1000), None));
        assert!(meter.waits());
        meter.reach(600);
        assert!(!meter.waits());
    }
}
