//! When a read is answered, and with what.

use std::time::Duration;

use helenus_storage::Record;

use super::{
    block_for::BlockFor,
    tally::{Missing, Replica, Tally, Verdict},
};
use crate::{error::RequestError, node_id::HostId, time::Timestamp};

/// The answers of one read.
///
/// Versions are reconciled as they are stored, and only the winner is judged by the read's clock. The other way
/// round, of two versions with one timestamp that expire at different times, the earlier would beat the later by
/// expiring first: a replica that holds both would answer the value, two replicas that hold one each a deletion.
#[derive(Debug, Clone)]
pub struct ReadQuorum {
    tally: Tally,
    now: Timestamp,
    newest: Option<Record>,
}

impl ReadQuorum {
    /// A read as of `now` that is about to be sent to those of the natural `replicas` that are alive.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if too few are alive: then nothing must be sent.
    pub fn new<'a>(
        block_for: BlockFor,
        now: Timestamp,
        replicas: impl IntoIterator<Item = Replica<'a>>,
    ) -> Result<Self, RequestError> {
        let mut tally = Tally::new(block_for, replicas)?;
        tally.ask_all();
        Ok(Self { tally, now, newest: None })
    }

    /// A replica has answered with the newest version it holds.
    pub fn on_answer(&mut self, host_id: HostId, record: Option<Record>) {
        if self.tally.answered(host_id) {
            self.newest = match (self.newest.take(), record) {
                (Some(newest), Some(record)) => Some(newest.reconcile(record)),
                (newest, record) => newest.or(record),
            };
        }
    }

    /// A replica's answer will not come.
    pub fn on_failure(&mut self, host_id: HostId, why: Missing) {
        self.tally.missing(host_id, why);
    }

    /// Time is up: whoever has said nothing counts as silent.
    pub fn on_deadline(&mut self) {
        self.tally.all_silent();
    }

    /// Where the read stands.
    pub fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// The newest version of all answers as of the read's clock: an expired one as the tombstone it equals. `None` if
    /// no replica holds any. The result of the read once [`Verdict::Reached`].
    pub fn newest(&self) -> Option<Record> {
        self.newest.clone().map(|record| record.as_of(self.now))
    }

    /// Replicas that it requires.
    pub fn required(&self) -> u32 {
        self.tally.required()
    }

    /// Replicas that have answered.
    pub fn acknowledged(&self) -> u32 {
        self.tally.answers()
    }

    /// What to tell the client of a read that was sent and is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
