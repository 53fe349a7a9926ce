//! A wall clock that follows the paused runtime and can be wrong: by an offset, a drift and jumps both ways.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::time::{Timestamp, WallClock};

/// Microseconds since 1970 at which every simulation begins: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600_000_000;

/// The clock of one machine.
#[derive(Debug)]
pub struct SimulatedClock {
    begun: Instant,
    error: Mutex<Error>,
}

#[derive(Debug)]
struct Error {
    offset_us: i64,
    drift_ppm: i64,
    /// The drift counts from here.
    since: Instant,
}

impl SimulatedClock {
    /// A clock that is right but for its offset and drift.
    pub(super) fn new(begun: Instant, offset_us: i64, drift_ppm: i64) -> Self {
        Self { begun, error: Mutex::new(Error { offset_us, drift_ppm, since: begun }) }
    }

    /// Puts it forward or back.
    pub(super) fn jump(&self, by_us: i64) {
        self.error.lock().offset_us += by_us;
    }

    /// Sets it right, as far as an offset, and takes its drift away.
    pub(super) fn correct(&self, offset_us: i64) {
        *self.error.lock() = Error { offset_us, drift_ppm: 0, since: Instant::now() };
    }

    /// How far it is from the right time.
    pub fn error_us(&self) -> i64 {
        let error = self.error.lock();
        let run = i64::try_from(error.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        error.offset_us + run.saturating_mul(error.drift_ppm) / 1_000_000
    }
}

impl WallClock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let elapsed: Duration = self.begun.elapsed();
        let right = BEGINNING + u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX / 4);
        Timestamp(right.saturating_add_signed(self.error_us()))
    }
}
