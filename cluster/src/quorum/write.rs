//! When a write is acknowledged.

use std::time::Duration;

use super::tally::{Missing, Tally, Verdict};
use crate::{consistency::Consistency, error::RequestError, node_id::HostId};

/// The acknowledgements of one write.
#[derive(Debug, Clone)]
pub struct WriteQuorum {
    tally: Tally,
}

impl WriteQuorum {
    /// A write that is about to be sent to the `candidates`, natural and pending replicas that are alive. `required`
    /// is what [`super::required()`] says of the level; `pending` the number of pending replicas of the key, alive or
    /// not.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the candidates are too few: then nothing must be sent.
    pub fn new(
        level: Consistency,
        required: u32,
        pending: u32,
        candidates: impl IntoIterator<Item = HostId>,
    ) -> Result<Self, RequestError> {
        Ok(Self { tally: Tally::new(level, required.saturating_add(pending), candidates)? })
    }

    /// A replica has applied it.
    pub fn on_ack(&mut self, host_id: HostId) {
        self.tally.answered(host_id);
    }

    /// A replica's acknowledgement will not come.
    pub fn on_failure(&mut self, host_id: HostId, why: Missing) {
        self.tally.missing(host_id, why);
    }

    /// Time is up: whoever has said nothing counts as silent.
    pub fn on_deadline(&mut self) {
        self.tally.all_silent();
    }

    /// Where the write stands.
    pub fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// Replicas that it requires, pending ones included.
    pub fn required(&self) -> u32 {
        self.tally.required()
    }

    /// Replicas that have acknowledged it.
    pub fn acknowledged(&self) -> u32 {
        self.tally.acknowledged()
    }

    /// What to tell the client of a write that was sent and is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
