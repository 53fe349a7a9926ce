//! A wall clock that follows the paused runtime and can be set wrong.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use helenus_cluster::time::{Timestamp, WallClock};
use tokio::time::Instant;

/// Microseconds since 1970 at which every test begins: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600_000_000;

#[derive(Debug)]
pub struct TestClock {
    begun: Instant,
    error_us: AtomicI64,
}

impl TestClock {
    pub fn started_at(begun: Instant) -> Self {
        Self { begun, error_us: AtomicI64::new(0) }
    }

    pub fn run_ahead_by(&self, error: Duration) {
        self.error_us.store(error.as_micros() as i64, Ordering::SeqCst);
    }

    pub fn run_behind_by(&self, error: Duration) {
        self.error_us.store(-(error.as_micros() as i64), Ordering::SeqCst);
    }
}

impl WallClock for TestClock {
    fn now(&self) -> Timestamp {
        let right = BEGINNING + self.begun.elapsed().as_micros() as u64;
        Timestamp(right.saturating_add_signed(self.error_us.load(Ordering::SeqCst)))
    }
}
