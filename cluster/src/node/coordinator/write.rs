//! One write of a group under way: its quorum, who has yet to apply it, and what to tell the client.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{outrun::Outrun, put::Outcome};
use crate::{
    consistency::Consistency,
    error::RequestError,
    message::{Receipt, ReplicaError},
    node::{Failure, Met, WriteOutcome},
    node_id::HostId,
    quorum::{Missing, Verdict, WriteQuorum},
    session::{Held, Observed},
    time::Timestamp,
};

/// A write, and what its replicas have said of it.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) level: Consistency,
    pub(super) quorum: WriteQuorum,
    pub(super) timestamp: Timestamp,
    /// Whether it has to win over what was there before, and may not: not if its client has chosen its timestamp, if its
    /// level requires no more than half of the replicas, or if it is above all that was there for sure.
    pub(super) must_win: bool,
    observed: Option<Observed>,
    pub(super) grace_seconds: u32,
    /// Live replicas that are not known to have applied it.
    unheard: BTreeSet<HostId>,
    /// Live replicas that will say no more: their answer was an error, or their connection was lost.
    failed: BTreeSet<HostId>,
    /// Replicas that have refused it because it comes from the future by their clocks.
    refused_by_clock: BTreeSet<HostId>,
    /// How many replicas have applied it.
    pub(super) applied: usize,
    /// What is known of those that had something newer.
    outrun: Option<Box<Outrun>>,
}

impl Write {
    pub(super) fn new(
        level: Consistency,
        timestamp: Timestamp,
        quorum: WriteQuorum,
        alive: BTreeSet<HostId>,
        observed: Option<Observed>,
        grace_seconds: u32,
    ) -> Self {
        Self {
            level,
            quorum,
            timestamp,
            must_win: false,
            observed,
            grace_seconds,
            unheard: alive,
            failed: BTreeSet::new(),
            refused_by_clock: BTreeSet::new(),
            applied: 0,
            outrun: None,
        }
    }

    /// As it was before it was sent to these, to be sent with another timestamp.
    pub(super) fn anew(&self, alive: BTreeSet<HostId>) -> Self {
        let Self { level, timestamp, observed, grace_seconds, .. } = *self;
        Self::new(level, timestamp, self.quorum.anew(), alive, observed, grace_seconds)
    }

    pub(super) fn hear(&mut self, from: HostId, applied: Result<Receipt, Missing>, deadline: Instant) {
        match applied {
            Ok(Receipt { is_owner, newer }) => {
                if !is_owner {
                    helenus_storage::sometimes!("a write was applied by no owner");
                }
                self.applied += 1;
                self.unheard.remove(&from);
                if let Some(newer) = newer {
                    let outrun = self.outrun.get_or_insert_with(|| Box::new(Outrun::new(&self.quorum)));
                    outrun.on_newer(from, newer);
                } else if let Some(outrun) = &mut self.outrun {
                    outrun.on_ack(from);
                }
                self.quorum.on_ack(from);
                if self.is_met()
                    && let Some(outrun) = &mut self.outrun
                {
                    outrun.on_level(Instant::now(), deadline);
                }
            }
            Err(missing) => {
                if matches!(missing, Missing::Error(ReplicaError::ClockSkew)) {
                    self.refused_by_clock.insert(from);
                } else {
                    self.failed.insert(from);
                }
                if let Some(outrun) = &mut self.outrun {
                    outrun.on_failure(from, missing.clone());
                }
                self.quorum.on_failure(from, missing);
            }
        }
    }

    /// The live replicas that have missed it, which are not said again.
    ///
    /// Hints are applied whatever the clock says. So where as many have refused a write as have applied it, it is the
    /// writer's clock that is off, and no hint carries the write past those who refused it.
    pub(super) fn take_missed(&mut self) -> BTreeSet<HostId> {
        let mut missed = std::mem::take(&mut self.unheard);
        if self.refused_by_clock.len() >= self.applied {
            missed.retain(|host| !self.refused_by_clock.contains(host));
        }
        missed
    }

    /// The live replicas that have missed it for sure, which are not said again; but for this node's own, which is tried
    /// again, and for those of which [`Write::take_missed`] can judge only in the end.
    pub(super) fn take_failed(&mut self, own: HostId) -> BTreeSet<HostId> {
        let (failed, unheard) = std::mem::take(&mut self.unheard)
            .into_iter()
            .partition(|host| *host != own && self.failed.contains(host));
        self.unheard = unheard;
        failed
    }

    /// The live replicas that were not heard, which are not said again; but for those of which [`Write::take_missed`] can
    /// judge only in the end.
    pub(super) fn take_unheard(&mut self) -> BTreeSet<HostId> {
        let (refused, unheard) = std::mem::take(&mut self.unheard)
            .into_iter()
            .partition(|host| self.refused_by_clock.contains(host));
        self.unheard = refused;
        unheard
    }

    /// Whether a hint has to satisfy it: no replica has.
    pub(super) fn needs_hint(&self) -> bool {
        self.level == Consistency::Any && !self.is_met()
    }

    /// Whether its replicas have satisfied it.
    pub(super) fn is_met(&self) -> bool {
        matches!(self.quorum.verdict(), Verdict::Reached { .. })
    }

    pub(super) fn is_pending(&self) -> bool {
        match self.quorum.verdict() {
            Verdict::Pending => true,
            Verdict::Reached { .. } => self.patience().is_some(),
            Verdict::OutOfReach { .. } => false,
        }
    }

    /// Until when the last replicas are awaited at most, of one that its replicas have satisfied.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.outrun.as_ref().filter(|_| self.is_met())?.patience()
    }

    /// Whether its replicas have satisfied it, and what was there before may win over it.
    pub(super) fn is_outrun(&self) -> bool {
        self.is_met() && self.outrun.as_ref().is_some_and(|outrun| outrun.is_decided())
    }

    /// Whether it can be told what came of it, whatever comes of other writes: it has its verdict, and needs no hint first,
    /// or goes round once more. `is_whole` says that none of its replicas is down.
    pub(super) fn needs_nothing_more(&self, is_whole: bool) -> bool {
        match self.quorum.verdict() {
            _ if self.is_pending() => false,
            _ if self.is_outrun() => true,
            Verdict::Reached { .. } => is_whole && self.failed.is_empty(),
            _ => !self.needs_hint(),
        }
    }

    /// Gives it another stamp, before it is sent.
    pub(super) fn stamp(&mut self, stamp: Timestamp) {
        self.timestamp = stamp;
        if let Some(observed) = &mut self.observed {
            observed.version.timestamp = stamp;
        }
    }

    /// The newest record that was there before it.
    pub(super) fn outrun_by(&self) -> Option<Timestamp> {
        self.outrun.as_ref().map(|outrun| outrun.by)
    }

    /// It is so late: if its last replicas were to be awaited until then, they are not any more.
    pub(super) fn on_late(&mut self, now: Instant) {
        if self.patience().is_some_and(|patience| patience <= now) {
            self.outrun.iter_mut().for_each(|outrun| outrun.give_up());
        }
    }

    /// Its time is over.
    pub(super) fn on_deadline(&mut self) {
        self.quorum.on_deadline();
        self.outrun.iter_mut().for_each(|outrun| outrun.give_up());
    }

    /// What to tell the client. Of a write that its replicas have not satisfied, `settled` may say more than its quorum
    /// does: that a hint has, or why nothing has.
    pub(super) fn outcome(&self, timeout: Duration, settled: Option<Result<(), RequestError>>) -> Outcome {
        let Self { level, timestamp, observed, ref quorum, .. } = *self;
        let (acknowledged, held_by_none) = match (quorum.verdict(), settled) {
            (Verdict::Reached { acknowledged }, _) => (acknowledged, false),
            // A hint is no replica.
            (_, Some(Ok(()))) => (0, true),
            (_, settled) => {
                let error = settled.and_then(Result::err).unwrap_or_else(|| quorum.error(timeout));
                return Err(Failure { error, trace: Vec::new(), stamped: Some(timestamp) });
            }
        };
        let met = Met { level, required: quorum.required(), acknowledged, trace: Vec::new() };
        let by_none = |observed| Observed { held: Held::BY_NONE, ..observed };
        let observed = if held_by_none { observed.map(by_none) } else { observed };
        Ok(WriteOutcome { timestamp, met, observed })
    }
}
