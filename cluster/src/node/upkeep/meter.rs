//! How far a task of upkeep is, and whether it is still wanted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;

/// Shared by a task and by whoever watches it.
#[derive(Debug, Default)]
pub struct Meter {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: CancellationToken,
}

impl Meter {
    /// Bytes that are done, and bytes that there are; an estimate, and both zero as long as the task knows none.
    pub fn progress(&self) -> (u64, u64) {
        let total = self.total.load(Relaxed);
        (self.done.load(Relaxed).min(total), total)
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
    }
}
