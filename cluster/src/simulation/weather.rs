//! How a link treats what is sent over it: the weather of the whole network, and what was done to the link.

use std::time::Duration;

use rand::RngExt;

use crate::node::randomness::Stream;

/// How links treat messages while nothing else is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Least delay of one direction.
    pub least_delay: Duration,
    /// Mean of what comes on top, exponentially distributed.
    pub mean_jitter: Duration,
    /// Share of messages that take twenty times as long.
    pub slow_path: f64,
    /// Share of messages that vanish.
    pub loss: f64,
    /// Share of requests that arrive twice.
    pub duplicates: f64,
    /// Share of frames that arrive with flipped bits.
    pub corruption: f64,
    /// Whether messages of one connection may overtake each other. Those of two always may.
    pub reorders: bool,
}

impl Weather {
    /// A good network: a millisecond or two, nothing lost.
    pub const CALM: Self = Self {
        least_delay: Duration::from_millis(1),
        mean_jitter: Duration::from_millis(1),
        slow_path: 0.0,
        loss: 0.0,
        duplicates: 0.0,
        corruption: 0.0,
        reorders: false,
    };

    /// Whether a request can fail by the weather alone.
    pub fn is_fair(&self) -> bool {
        self.loss == 0.0 && self.corruption == 0.0
    }

    /// The delay of one message.
    pub(super) fn delay(&self, random: &mut Stream) -> Duration {
        let exponential = -(1.0 - random.random::<f64>()).ln();
        let delay = self.least_delay + self.mean_jitter.mul_f64(exponential.min(20.0));
        if random.random_bool(self.slow_path) { delay * 20 } else { delay }
    }
}

/// What was done to one direction of a link. Faults overlap, so they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Link {
    /// Connections break, and new ones fail.
    pub(super) broken: u32,
    /// Nothing arrives, until it heals.
    pub(super) held: u32,
    /// Nothing arrives, and is gone.
    pub(super) swallowed: u32,
    /// On top of the weather's.
    pub(super) delay: Duration,
    /// On top of the weather's.
    pub(super) loss: f64,
    /// On top of the weather's.
    pub(super) corruption: f64,
}
