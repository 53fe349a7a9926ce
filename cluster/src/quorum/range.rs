//! When a page of a scan is answered, and with what.

use std::time::Duration;

use helenus_storage::Mutation;

use super::{
    block_for::BlockFor,
    digest::AsOf,
    pages::{PageLimits, Reconciled, ReplicaPage, reconcile},
    repair::RepairQuorum,
    tally::{Missing, Replica, Tally, Verdict},
};
use crate::{error::RequestError, node_id::HostId};

/// The answers of one scan of a range that has the same replicas everywhere.
///
/// All are asked for their records: digests of pages that end at different keys cannot be compared.
#[derive(Debug, Clone)]
pub struct RangeQuorum {
    tally: Tally,
    as_of: AsOf,
    pages: Vec<(HostId, ReplicaPage)>,
}

impl RangeQuorum {
    /// A scan of which nothing is sent yet, by the natural `replicas`, in the order in which they are to be asked.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if too few are alive: then nothing must be sent.
    pub fn new<'a>(
        block_for: BlockFor,
        as_of: AsOf,
        replicas: impl IntoIterator<Item = Replica<'a>>,
    ) -> Result<Self, RequestError> {
        Ok(Self { tally: Tally::new(block_for, replicas)?, as_of, pages: Vec::new() })
    }

    /// Whom to ask now so that the level can be met: at the beginning, and in the place of each who fails.
    pub fn ask(&mut self) -> Vec<HostId> {
        self.tally.ask_enough()
    }

    /// Somebody beyond the need, because an answer is late; `None` if there is nobody left whose answer would count.
    pub fn ask_another(&mut self) -> Option<HostId> {
        self.tally.ask_another()
    }

    /// A replica has answered.
    pub fn on_answer(&mut self, host_id: HostId, page: ReplicaPage) {
        if self.tally.answered(host_id) {
            self.pages.push((host_id, page));
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

    /// Where it stands.
    pub fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// What to tell the client of a scan that was sent and is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }

    /// What the answers say together, and what is to be written so that it holds.
    pub fn reconcile(self, limits: &PageLimits) -> (Reconciled, Option<RepairQuorum<Vec<Mutation>>>) {
        let Self { tally, as_of, pages } = self;
        let mut reconciled = reconcile(&pages, &as_of, limits);
        let (stale, differing) =
            (std::mem::take(&mut reconciled.stale), std::mem::take(&mut reconciled.differing));
        let repair = (!stale.is_empty()).then(|| RepairQuorum::new(tally, stale, differing));
        (reconciled, repair)
    }
}
