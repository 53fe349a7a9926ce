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
    outrun::{Again, Ended},
    trace::Trace,
    write::Write,
};
use crate::{
    consistency::Consistency,
    counted::counted,
    error::RequestError,
    handoff::Hint,
    message::{Applied, Receipt, Writes},
    node::known_cluster::Picture,
    node_id::HostId,
    quorum::{Missing, Verdict},
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

    /// Whether these writes can be told what came of them, whatever comes of the others.
    pub(super) fn needs_nothing_more(&self, writes: Range<usize>) -> bool {
        let is_whole = self.recipients.dead.is_empty();
        self.writes[writes].iter().all(|write| write.needs_nothing_more(is_whole))
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
        match write.outrun_by().filter(|_| write.is_outrun()) {
            Some(newer) => {
                let Write { level, quorum, .. } = write;
                let (level, required, received) = (*level, quorum.required(), quorum.acknowledged());
                let error = RequestError::Outrun { level, required, received, newer };
                let recipients = self.recipients.clone();
                let write = write.anew(recipients.alive.clone());
                let mutation = self.mutations[number].clone();
                let group = Self::new(recipients, self.deadline, &self.picture, 0, mutation, write);
                Ended::Outrun(Box::new(Again { above: newer, group, error }))
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
            write.stamp(stamp);
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
        self.writes.iter().filter_map(Write::outrun_by).max()
    }

    /// Until when the last replicas of some are awaited, if that is before the deadline.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.writes.iter().filter_map(Write::patience).min()
    }

    /// It is later than that for some of them.
    pub(super) fn on_late(&mut self, now: Instant) {
        self.writes.iter_mut().for_each(|write| write.on_late(now));
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
                let all = self.writes.iter_mut().zip(results);
                all.for_each(|(write, applied)| write.hear(from, applied, self.deadline));
            }
            Err(missing) => {
                let all = self.writes.iter_mut();
                all.for_each(|write| write.hear(from, Err(missing.clone()), self.deadline));
            }
        }
    }

    pub(super) fn on_deadline(&mut self) {
        self.writes.iter_mut().for_each(Write::on_deadline);
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
