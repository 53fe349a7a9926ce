//! Wall-clock time as a part that a node is given, so that a simulation can bend it.
//!
//! Durations and deadlines use `tokio::time`, which a paused runtime controls; wall time stamps records.

use std::{fmt::Debug, time::SystemTime};

pub use helenus_storage::Timestamp;

/// A source of wall-clock time. It may jump either way, as real ones do.
pub trait WallClock: Debug + Send + Sync + 'static {
    /// Microseconds since 1970, UTC.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}
