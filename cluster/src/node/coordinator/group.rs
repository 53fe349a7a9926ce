//! Writes that are sent together, and what their replicas say of each.
//!
//! ```text
//!            ┌─ Written: applied, applied, refused ─── replica
//!   group ───┼─ Written: applied, applied, applied ─── replica        each write: its quorum, who has yet to apply it
//!            └─ nothing ─────────────────────────────── replica       (a hint in the end)
//! ```

use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use helenus_storage::{Mutation, TableId};
use tokio::time::Instant;

use super::{
    fan_out::{Answer, describe, missing_error},
    missed::Missed,
    outrun::{Again, Ended, Outrun},
    put::Outcome,
    trace::Trace,
};
use crate::{
    consistency::Consistency,
    counted::counted,
    error::RequestError,
    handoff::Hint,
    message::{Applied, Receipt, ReplicaError, Writes},
    node::{Failure, Met, WriteOutcome, known_cluster::Picture},
    node_id::HostId,
    quorum::{Missing, Verdict, WriteQuorum},
    session::{Held, Observed},
    time::Timestamp,
};

/// The writes of one message are no longer than this together, or there is but one. So a message fits into the smallest
/// frame that a node may be told to take, and a group into its commit log; what longer messages would save is little.
pub(super) const MESSAGE_BYTES: usize = 48 << 10;

/// Who is to get some writes, and how long they are given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Recipients {
    /// In no order but their own: it is a set, whoever owns which token.
    pub(super) alive: BTreeSet<HostId>,
    /// Replicas that miss the writes.
    pub(super) dead: BTreeSet<HostId>,
    pub(super) timeout: Duration,
}

/// Writes with the same replicas, enough of which are alive for each.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) recipients: Recipients,
    /// The earliest of theirs.
    pub(super) deadline: Instant,
    /// The cluster that they were placed by.
    pub(super) picture: Arc<Picture>,
    /// What is sent.
    pub(super) mutations: Writes,
    /// Of each its place among the requests of the client.
    pub(super) places: Vec<usize>,
    pub(super) writes: Vec<Write>,
    /// What they take of a message.
    pub(super) bytes: usize,
}

/// One write of a group under way.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) level: Consistency,
    pub(super) quorum: WriteQuorum,
    timestamp: Timestamp,
    /// Whether it has to win over what was there before, and may not: not if its client has chosen its timestamp, nor if that is
    /// above all that was there for sure.
    pub(super) must_win: bool,
    observed: Option<Observed>,
    grace_seconds: u32,
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
    fn anew(&self, alive: BTreeSet<HostId>) -> Self {
        let Self { level, timestamp, observed, grace_seconds, .. } = *self;
        Self::new(level, timestamp, self.quorum.anew(), alive, observed, grace_seconds)
    }

    fn hear(&mut self, from: HostId, applied: Result<Receipt, Missing>) {
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
                    outrun.on_level(Instant::now());
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
    fn take_missed(&mut self) -> BTreeSet<HostId> {
        let mut missed = std::mem::take(&mut self.unheard);
        if self.refused_by_clock.len() >= self.applied {
            missed.retain(|host| !self.refused_by_clock.contains(host));
        }
        missed
    }

    /// The live replicas that have missed it for sure, which are not said again; but for this node's own, which is tried
    /// again, and for those of which [`Write::take_missed`] can judge only in the end.
    fn take_failed(&mut self, own: HostId) -> BTreeSet<HostId> {
        let (failed, unheard) = std::mem::take(&mut self.unheard)
            .into_iter()
            .partition(|host| *host != own && self.failed.contains(host));
        self.unheard = unheard;
        failed
    }

    /// The live replicas that were not heard, which are not said again; but for those of which [`Write::take_missed`] can
    /// judge only in the end.
    fn take_unheard(&mut self) -> BTreeSet<HostId> {
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

    fn is_pending(&self) -> bool {
        match self.quorum.verdict() {
            Verdict::Pending => true,
            Verdict::Reached { .. } => self.patience().is_some(),
            Verdict::OutOfReach { .. } => false,
        }
    }

    /// Until when the last replicas are awaited at most, of one that its replicas have satisfied.
    fn patience(&self) -> Option<Instant> {
        self.outrun.as_ref().filter(|_| self.is_met())?.patience()
    }

    /// Whether its replicas have satisfied it, and what was there before may win over it.
    pub(super) fn is_outrun(&self) -> bool {
        self.is_met() && self.outrun.as_ref().is_some_and(|outrun| outrun.is_decided())
    }

    /// What to tell the client. Of a write that its replicas have not satisfied, `settled` may say more than its quorum
    /// does: that a hint has, or why nothing has.
    fn outcome(&self, timeout: Duration, settled: Option<Result<(), RequestError>>) -> Outcome {
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

impl Group {
    /// Of one write.
    pub(super) fn new(
        recipients: Recipients,
        deadline: Instant,
        picture: &Arc<Picture>,
        place: usize,
        (table, mutation): (TableId, Mutation),
        write: Write,
    ) -> Self {
        Self {
            recipients,
            deadline,
            picture: Arc::clone(picture),
            bytes: size_of::<TableId>() + mutation.encoded_len(),
            mutations: Arc::new(vec![(table, mutation)]),
            places: vec![place],
            writes: vec![write],
        }
    }

    /// Takes the writes of another group with the same recipients; gives them back if one message has no room for all.
    pub(super) fn join(&mut self, mut other: Self) -> Option<Self> {
        if self.bytes + other.bytes > MESSAGE_BYTES {
            return Some(other);
        }
        helenus_storage::sometimes!("writes travelled together");
        Arc::make_mut(&mut self.mutations).append(Arc::make_mut(&mut other.mutations));
        self.places.append(&mut other.places);
        self.writes.append(&mut other.writes);
        self.bytes += other.bytes;
        self.deadline = self.deadline.min(other.deadline);
        None
    }

    /// The table and level of all, if they are the same.
    pub(super) fn table_and_level(&self) -> Option<(TableId, Consistency)> {
        let of_each =
            || self.mutations.iter().map(|(table, _)| *table).zip(self.writes.iter().map(|one| one.level));
        let first = of_each().next()?;
        of_each().all(|other| other == first).then_some(first)
    }

    /// Whether these writes can be told what came of them, whatever comes of the others: each has its verdict, and needs
    /// no hint first, or goes round once more.
    pub(super) fn needs_nothing_more(&self, writes: Range<usize>) -> bool {
        self.writes[writes].iter().all(|write| match write.quorum.verdict() {
            _ if write.is_pending() => false,
            _ if write.is_outrun() => true,
            Verdict::Reached { .. } => self.recipients.dead.is_empty() && write.failed.is_empty(),
            _ => !write.needs_hint(),
        })
    }

    /// How each has ended; what `settled` says of some, see [`Write::outcome`].
    pub(super) fn ends(
        &self,
        settled: impl Fn(usize, &Write) -> Option<Result<(), RequestError>>,
    ) -> Vec<Ended> {
        (0..self.writes.len()).map(|number| self.end(number, settled(number, &self.writes[number]))).collect()
    }

    /// Likewise, of one.
    pub(super) fn end(&self, number: usize, settled: Option<Result<(), RequestError>>) -> Ended {
        let write = &self.writes[number];
        match write.outrun.as_ref().filter(|_| write.is_outrun()) {
            Some(outrun) => {
                let Write { level, quorum, .. } = write;
                let (level, required, received) = (*level, quorum.required(), quorum.acknowledged());
                let error = RequestError::Outrun { level, required, received, newer: outrun.by };
                let recipients = self.recipients.clone();
                let write = write.anew(recipients.alive.clone());
                let mutation = self.mutations[number].clone();
                let group = Self::new(recipients, self.deadline, &self.picture, 0, mutation, write);
                Ended::Outrun(Box::new(Again { above: outrun.by, group, error }))
            }
            None => Ended::Told(write.outcome(self.recipients.timeout, settled)),
        }
    }

    /// What the first of them writes to, and how: of those for which this is the same, the newest wins whatever is there.
    pub(super) fn first_aim(&self) -> Option<(TableId, Bytes, Consistency, bool)> {
        let of_first = |((table, mutation), write): (&(TableId, Mutation), &Write)| {
            (*table, mutation.key.clone(), write.level, write.must_win)
        };
        self.mutations.iter().zip(&self.writes).next().map(of_first)
    }

    /// Which of them must win.
    pub(super) fn must_win(&self) -> Vec<bool> {
        self.writes.iter().map(|write| write.must_win).collect()
    }

    /// Gives them another stamp, before they are sent.
    pub(super) fn stamp(&mut self, stamp: Timestamp) {
        let mutations = Arc::make_mut(&mut self.mutations);
        for (write, (_, mutation)) in self.writes.iter_mut().zip(mutations) {
            write.timestamp = stamp;
            if let Some(observed) = &mut write.observed {
                observed.version.timestamp = stamp;
            }
            mutation.rows.iter_mut().for_each(|(_, record)| record.timestamp = stamp);
        }
    }

    /// The newest of the timestamps.
    pub(super) fn latest(&self) -> Timestamp {
        self.writes.iter().map(|write| write.timestamp).max().unwrap_or_default()
    }

    pub(super) fn is_pending(&self) -> bool {
        self.writes.iter().any(Write::is_pending)
    }

    /// Whether one of them has yet to meet its level.
    pub(super) fn is_below_level(&self) -> bool {
        self.writes.iter().any(|write| write.quorum.verdict() == Verdict::Pending)
    }

    /// The newest record that wins over one of them.
    pub(super) fn outrun_by(&self) -> Option<Timestamp> {
        self.writes.iter().filter_map(|write| Some(write.outrun.as_ref()?.by)).max()
    }

    /// Until when the last replicas of some are awaited, if that is before the deadline.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.writes.iter().filter_map(Write::patience).min()
    }

    /// It is later than that for some of them.
    pub(super) fn on_late(&mut self, now: Instant) {
        let is_late = |write: &&mut Write| write.patience().is_some_and(|patience| patience <= now);
        let late = self.writes.iter_mut().filter(is_late);
        late.filter_map(|write| write.outrun.as_mut()).for_each(|outrun| outrun.give_up());
    }

    pub(super) fn hear(&mut self, Answer { from, result }: Answer<Vec<Applied>>, trace: &Trace) {
        let result = match result {
            // Of some of them nothing is said.
            Ok(results) if results.len() != self.writes.len() => Err(Missing::Silence),
            result => result,
        };
        trace.note_at(from, || match &result {
            Ok(results) => tell(results),
            Err(missing) => describe(missing),
        });
        let results = result.map(|results| results.into_iter().map(|applied| applied.map_err(missing_error)));
        match results {
            Ok(results) => {
                self.writes.iter_mut().zip(results).for_each(|(write, applied)| write.hear(from, applied));
            }
            Err(missing) => {
                self.writes.iter_mut().for_each(|write| write.hear(from, Err(missing.clone())));
            }
        }
    }

    pub(super) fn on_deadline(&mut self) {
        for write in &mut self.writes {
            write.quorum.on_deadline();
            write.outrun.iter_mut().for_each(|outrun| outrun.give_up());
        }
    }

    /// The hints that are due for replicas that are down.
    pub(super) fn missed_by_dead(&self, made_at: Timestamp) -> Vec<Missed> {
        let dead = || self.recipients.dead.iter().copied();
        (0..self.writes.len()).flat_map(|write| self.hints(write, made_at, dead())).collect()
    }

    /// The hints that are due for live replicas by the time of the reply: for those that have failed, and for all that were
    /// not heard where a hint has to satisfy a write. Nobody is told of one twice, here and in the end.
    pub(super) fn missed_before_reply(&mut self, made_at: Timestamp, own: HostId) -> Vec<Missed> {
        self.take_hints(made_at, |write| {
            if write.needs_hint() { write.take_unheard() } else { write.take_failed(own) }
        })
    }

    /// The hints that are due in the end, for live replicas which have not applied these writes.
    pub(super) fn missed_by_live(&mut self, made_at: Timestamp) -> Vec<Missed> {
        self.take_hints(made_at, Write::take_missed)
    }

    fn take_hints(
        &mut self,
        made_at: Timestamp,
        take: impl Fn(&mut Write) -> BTreeSet<HostId>,
    ) -> Vec<Missed> {
        let missed: Vec<_> = self.writes.iter_mut().map(take).collect();
        missed.into_iter().enumerate().flat_map(|(write, hosts)| self.hints(write, made_at, hosts)).collect()
    }

    fn hints(
        &self,
        write: usize,
        made_at: Timestamp,
        hosts: impl IntoIterator<Item = HostId>,
    ) -> impl Iterator<Item = Missed> {
        hosts.into_iter().map(move |host| {
            let (table, mutation) = self.mutations[write].clone();
            let grace_seconds = self.writes[write].grace_seconds;
            Missed { write, host, hint: Hint { table, made_at, grace_seconds, mutation } }
        })
    }
}

/// What a replica made of some writes, in the words of a trace.
fn tell(results: &[Applied]) -> String {
    match results {
        [Ok(Receipt { is_owner, newer })] => {
            let of_whom = if *is_owner { "" } else { ", though not an owner by its ring" };
            let behind = newer.map_or_else(String::new, |newer| format!(", behind a record of {}", newer.0));
            format!("applied{of_whom}{behind}")
        }
        [Err(error)] => describe(&missing_error(error.clone())),
        many => {
            let applied = many.iter().filter(|applied| applied.is_ok()).count();
            format!("applied {applied} of {}", counted(many.len(), "write"))
        }
    }
}
