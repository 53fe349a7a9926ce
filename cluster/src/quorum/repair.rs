//! When a read or a page of a scan whose answers differed may be answered.

use std::{collections::BTreeMap, time::Duration};

use super::tally::{Missing, Tally, Verdict};
use crate::{error::RequestError, node_id::HostId};

/// The replicas of which it is known that they hold the newest versions that a request has met: of one key, or of all
/// keys of a page.
///
/// A page's replicas are counted page by page, not key by key: who lacks one version counts when all that it lacks is
/// written, and whoever is written to in the place of one that fails is written all versions that somebody lacked. So of
/// each key, as many hold the newest version as the level requires.
#[derive(Debug, Clone)]
pub struct RepairQuorum<W> {
    tally: Tally,
    stale: BTreeMap<HostId, W>,
    differing: W,
}

impl<W> RepairQuorum<W> {
    /// Of a request whose answers are counted in `tally`: all of them from holders of all newest versions, but for those
    /// of the `stale` replicas, each with what it lacks. `differing` is what any of them lacks.
    pub(super) fn new(mut tally: Tally, stale: BTreeMap<HostId, W>, differing: W) -> Self {
        tally.forget_asked();
        stale.keys().for_each(|host_id| tally.ask_again(*host_id));
        Self { tally, stale, differing }
    }

    /// Those that are to be written to in any case.
    pub fn stale(&self) -> Vec<HostId> {
        self.stale.keys().copied().collect()
    }

    /// What is to be written to a replica.
    pub fn lacking(&self, host_id: HostId) -> &W {
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

    /// Whether there is somebody left for [`RepairQuorum::ask_another`].
    pub fn has_another(&self) -> bool {
        self.tally.has_another()
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

    /// What to tell the client of a request whose repair is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
