//! When a write is acknowledged.

use std::time::Duration;

use super::{
    block_for::BlockFor,
    tally::{Missing, Replica, Tally, Verdict},
};
use crate::{error::RequestError, node_id::HostId};

/// The acknowledgements of one write.
#[derive(Debug, Clone)]
pub struct WriteQuorum {
    tally: Tally,
}

impl WriteQuorum {
    /// A write that is about to be sent to those of the `replicas`, natural and pending ones, that are alive, wherever
    /// they stand. What `block_for` requires includes the pending replicas, alive or not.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if too few are alive: then nothing must be sent. Never at level `any`, which a hint
    /// satisfies, as its caller has to see: the verdict counts replicas only.
    pub fn new<'a>(
        block_for: BlockFor,
        replicas: impl IntoIterator<Item = Replica<'a>>,
    ) -> Result<Self, RequestError> {
        let mut tally = Tally::new(block_for, replicas)?;
        tally.ask_all();
        Ok(Self { tally })
    }

    /// The same of another write to the same replicas, which is about to be sent.
    #[must_use]
    pub fn anew(&self) -> Self {
        let mut tally = self.tally.clone();
        tally.ask_all();
        Self { tally }
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

    /// Whether there was a replica to send it to; at level `any` there need not be.
    pub fn was_sent(&self) -> bool {
        self.tally.has_candidates()
    }

    /// Replicas that have acknowledged it and count.
    pub fn acknowledged(&self) -> u32 {
        self.tally.answers()
    }

    /// What to tell the client of a write that was sent and is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
