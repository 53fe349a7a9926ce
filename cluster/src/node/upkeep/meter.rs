//! How far a task of upkeep is, and whether it is still wanted.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
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
    pace: Mutex<RecentPace>,
    cancelled: CancellationToken,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            done: AtomicU64::default(),
            total: AtomicU64::default(),
            pace: Mutex::new(RecentPace::begun(Instant::now())),
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

    /// Until all of it is done, at the speed of the last seconds; `None` as long as there is none.
    pub fn remaining_seconds(&self) -> Option<f64> {
        let (done, total) = self.progress();
        let pace = self.pace.lock().per_second(done, Instant::now())?;
        Some(total.saturating_sub(done) as f64 / pace)
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
        self.pace.lock().note(bytes, Instant::now());
    }
}
