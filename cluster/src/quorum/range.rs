//! When a page of a scan is answered, and with what.

use std::{collections::BTreeMap, time::Duration};

use helenus_storage::Mutation;

use super::{
    block_for::BlockFor,
    digest::AsOf,
    pages::{PageLimits, Reconciled, ReplicaPage, reconcile},
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
    pub fn reconcile(self, limits: &PageLimits) -> (Reconciled, Option<RangeRepair>) {
        let Self { mut tally, as_of, pages } = self;
        let mut reconciled = reconcile(&pages, &as_of, limits);
        let (stale, differing) =
            (std::mem::take(&mut reconciled.stale), std::mem::take(&mut reconciled.differing));
        if stale.is_empty() {
            return (reconciled, None);
        }
        tally.forget_asked();
        stale.keys().for_each(|host_id| tally.ask_again(*host_id));
        (reconciled, Some(RangeRepair { tally, stale, differing }))
    }
}

/// The replicas of which it is known that they hold the newest versions of all keys of a page.
///
/// They are counted page by page, not key by key: who lacks one version counts when all that it lacks is written, and
/// whoever is written to in the place of one that fails is written all versions that somebody lacked. So of each key, as
/// many hold the newest version as the level requires.
#[derive(Debug, Clone)]
pub struct RangeRepair {
    tally: Tally,
    stale: BTreeMap<HostId, Vec<Mutation>>,
    differing: Vec<Mutation>,
}

impl RangeRepair {
    /// Those that are to be written to in any case.
    pub fn stale(&self) -> Vec<HostId> {
        self.stale.keys().copied().collect()
    }

    /// What is to be written to a replica.
    pub fn lacking(&self, host_id: HostId) -> &[Mutation] {
        self.stale.get(&host_id).unwrap_or(&self.differing)
    }

    /// Who else is to be written to so that the level can be met, in the place of each who fails.
    pub fn ask(&mut self) -> Vec<HostId> {
        self.tally.ask_enough()
    }

    /// Somebody beyond the need, because an acknowledgement is late.
    pub fn ask_another(&mut self) -> Option<HostId> {
        self.tally.ask_another()
    }

    /// A replica has applied all of it.
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

    /// Reached when as many replicas as the level requires hold the versions.
    pub fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// What to tell the client of a scan whose repair is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
