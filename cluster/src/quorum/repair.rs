//! When a read whose answers differed may be answered.

use std::time::Duration;

use helenus_storage::Record;

use super::tally::{Missing, Tally, Verdict};
use crate::{error::RequestError, node_id::HostId};

/// The replicas of which it is known that they hold the newest version that a read has met.
#[derive(Debug, Clone)]
pub struct RepairQuorum {
    tally: Tally,
    record: Record,
    stale: Vec<HostId>,
}

impl RepairQuorum {
    /// Of a read whose answers are counted in `tally`: all of them from holders of `record`, but for those of the `stale`
    /// replicas.
    pub(super) fn new(mut tally: Tally, record: Record, stale: Vec<HostId>) -> Self {
        tally.forget_asked();
        stale.iter().for_each(|host_id| tally.ask_again(*host_id));
        Self { tally, record, stale }
    }

    /// What is to be written.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// To whom, in any case.
    pub fn stale(&self) -> &[HostId] {
        &self.stale
    }

    /// Who else is to be written to so that the level can be met, in the place of each who fails.
    pub fn ask(&mut self) -> Vec<HostId> {
        self.tally.ask_enough()
    }

    /// Somebody beyond the need, because an acknowledgement is late.
    pub fn ask_another(&mut self) -> Option<HostId> {
        self.tally.ask_another()
    }

    /// Whether there is somebody left for [`RepairQuorum::ask_another`].
    pub fn has_another(&self) -> bool {
        self.tally.has_another()
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

    /// Reached when as many replicas as the level requires hold the version.
    pub fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// What to tell the client of a read whose repair is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
