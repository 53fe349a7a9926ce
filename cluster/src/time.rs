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

/// For serde: a timestamp, if there is one, as a number of microseconds.
pub(crate) mod microseconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Timestamp;

    pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.0).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::deserialize(from)?.map(Timestamp))
    }
}

/// How far ahead of the own clock a start of a node may lie. Beyond, it could not be superseded
/// within a lifetime: the fact is taken for damage.
pub(crate) const MAX_AHEAD_SECONDS: u64 = 365 * 24 * 60 * 60;

/// Whether an instant, in seconds since 1970, lies more than a year after `now`.
pub(crate) fn is_far_future(seconds: u64, now: Timestamp) -> bool {
    seconds > (now.0 / 1_000_000).saturating_add(MAX_AHEAD_SECONDS)
}
