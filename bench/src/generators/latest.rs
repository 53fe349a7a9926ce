//! What was inserted last is read most.

use std::sync::Arc;

use super::{AcknowledgedCounter, Random, Zipfian};

/// A Zipfian distance back from the newest acknowledged insert.
#[derive(Debug, Clone)]
pub struct SkewedLatest {
    newest: Arc<AcknowledgedCounter>,
    distance: Zipfian,
}

impl SkewedLatest {
    /// Over all records up to what `newest` says at each draw. Costs a power for each record so far.
    #[must_use]
    pub fn new(newest: Arc<AcknowledgedCounter>) -> Self {
        let distance = Zipfian::new(0, newest.last().saturating_sub(1));
        Self { newest, distance }
    }

    /// The next number.
    pub fn next(&mut self, random: &mut Random) -> u64 {
        let newest = self.newest.last();
        self.distance.grow(newest);
        newest - self.distance.next(random).min(newest)
    }
}
