//! Writes that replicas have something newer for.
//!
//! A coordinator stamps a write above all that it has heard of. It need not have heard of a record that a client has
//! stamped later than this node's clock shows: a write that was begun after that record was acknowledged would be
//! acknowledged as well, and never be seen. Where the two levels overlap, one of the replicas that acknowledge the write
//! had the record before, and says so ([`crate::message::Receipt`]): there the write was *outrun*.
//!
//! ```text
//!   the level is met                                                                 the write
//!     ├─ by replicas of which none was outrun ──────────────────────────────────────> took effect
//!     ├─ all live replicas have answered, and all were outrun: nobody has seen it ──> is stamped anew, above the record
//!     ├─ some were: the record may have been stamped while the write was under way ─> took effect, and was overwritten
//!     └─ some were, by a record from further ahead ─────────────────────────────────> has failed: nobody knows
//! ```
//!
//! Why a new stamp is right where all were outrun: a replica that had something newer when the write came never shows it,
//! and what a read finds or repairs was shown by some replica first. So nobody has seen the write of the first stamp, and
//! nobody will: all that a read at an overlapping level can ask have something newer. Had one replica shown it, a client
//! might have read it and deleted it, and the same write of a second stamp would undo that. So only what was in the memtable
//! counts: of what is newer elsewhere, or met a write that may have come twice, a replica does not know which was first. What
//! is left is the hint for a replica that was dead when the write began: it is read at level one there until that of the
//! second stamp comes, and at others if it is delivered while the write is still under way.
//!
//! Once is enough: whatever was acknowledged before the write began, the replicas had when they were outrun, and the second
//! stamp is above all of that. What outruns that one is concurrent. A write that a later one of its batch overwrites is not
//! stamped anew, since that one would lose to it then.
//!
//! A record that is newer by less than the time since the write was stamped may be a concurrent one: where many write one
//! key, that is what becomes of many writes, so it must not fail them. Where clocks are known to be apart by more than the
//! other write took, those of the replicas were asked first ([`super::clocks`]), and what outruns such a write, or one of a
//! second stamp, is concurrent for sure; if too few have told them, nothing is taken for concurrent. What is left is a
//! timestamp that a client has chosen, or a clock that nobody has measured yet, from ahead by less than the write takes: if
//! a replica has missed that record as well, or is silent, the write is acknowledged and loses to it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Coordinator, group::Group, put::Outcome, trace::Trace};
use crate::{
    error::RequestError,
    message::Newer,
    node::Failure,
    quorum::{Verdict, WriteQuorum},
    time::Timestamp,
};

/// How long the last replicas are awaited where all others were outrun by what may be concurrent.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is known of a write that was outrun.
#[derive(Debug)]
pub(super) struct Outrun {
    /// The newest record that wins over it.
    pub(super) by: Timestamp,
    /// So many replicas had one before the write came.
    replicas: usize,
    /// Whether one cannot be taken for concurrent.
    is_ahead: bool,
    /// What the others say.
    pub(super) others: WriteQuorum,
    /// Until when the last replicas are awaited, unless one is ahead.
    patience: Instant,
}

/// Where a write stands whose level is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// What the last replicas say decides.
    Open,
    /// It took effect, though it may have been overwritten since.
    TookEffect,
    /// No replica has shown it.
    Unseen,
    /// Some show it, or may; others had something newer.
    InDoubt,
}

/// A write that nobody has seen, to be stamped above what was there before it.
#[derive(Debug)]
pub(super) struct Unseen {
    pub(super) above: Timestamp,
    /// As it was before it was sent, alone.
    pub(super) group: Group,
    /// What it comes to if it cannot be stamped so.
    pub(super) error: RequestError,
}

/// How the sending of a write has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// So it is told to the client.
    Told(Outcome),
    /// It has to be sent once more.
    Unseen(Box<Unseen>),
}

impl Ended {
    pub(super) fn outcome_mut(&mut self) -> Option<&mut Outcome> {
        match self {
            Self::Told(outcome) => Some(outcome),
            Self::Unseen(_) => None,
        }
    }
}

impl Outrun {
    /// No replica has said so before; the `others` have answered so far.
    pub(super) fn new(others: &WriteQuorum) -> Self {
        Self {
            by: Timestamp(0),
            replicas: 0,
            is_ahead: false,
            others: others.clone(),
            patience: Instant::now() + PATIENCE,
        }
    }

    /// A replica has a record that wins over the write.
    pub(super) fn hear(&mut self, newer: Newer, is_ahead: bool) {
        self.by = self.by.max(newer.timestamp);
        self.replicas += usize::from(newer.was_first);
        self.is_ahead |= is_ahead;
    }

    /// Where the write stands, which `applied` replicas have acknowledged; of the other live ones, so many are `silent`,
    /// and some of these are `awaited` or none.
    pub(super) fn standing(
        &self,
        applied: usize,
        silent: usize,
        is_awaited: bool,
        may_be_stamped_anew: bool,
    ) -> Standing {
        let is_shown = self.replicas < applied;
        let is_met_by_others = matches!(self.others.verdict(), Verdict::Reached { .. });
        if is_met_by_others || (is_shown && !self.is_ahead) {
            Standing::TookEffect
        } else if is_awaited {
            Standing::Open
        } else if silent == 0 && !is_shown && may_be_stamped_anew {
            Standing::Unseen
        } else if self.is_ahead {
            Standing::InDoubt
        } else {
            Standing::TookEffect
        }
    }

    /// Until when the last replicas are awaited at most.
    pub(super) fn patience(&self) -> Option<Instant> {
        (!self.is_ahead).then_some(self.patience)
    }
}

impl Coordinator {
    /// What came of a write in the end: where nobody has seen it, it is sent once more.
    pub(super) async fn in_the_end(
        self: &Arc<Self>,
        ended: Ended,
        trace: &Trace,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Outcome {
        let Unseen { above, mut group, error } = match ended {
            Ended::Told(outcome) => return outcome,
            Ended::Unseen(unseen) => *unseen,
        };
        let unsent = Failure { error, trace: Vec::new(), stamped: Some(group.latest()) };
        let Some(stamp) = self.clock.stamp_above(above) else {
            helenus_storage::sometimes!("a write could not be stamped above what was there before it");
            trace.note(|| unsent.error.to_string());
            return Err(Failure { trace: trace.end(), ..unsent });
        };
        helenus_storage::sometimes!("a write was stamped anew");
        self.counters.restamped_writes.add(1);
        trace.note(|| format!("all replicas had a record of {}: stamped anew with {}", above.0, stamp.0));
        group.stamp(|| stamp);
        match self.send_group(group, trace.clone(), Arc::clone(permit)).await.pop() {
            Some(Ended::Told(outcome)) => outcome,
            // What has its second stamp is told.
            _ => Err(unsent),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{
        Standing::{InDoubt, Open, TookEffect, Unseen},
        *,
    };
    use crate::{
        consistency::Consistency,
        node_id::HostId,
        quorum::{BlockFor, Operation, tally::Replica},
        table::Replication,
    };

    const LIVE: usize = 3;

    fn host(number: usize) -> HostId {
        HostId(Uuid::from_u128(number as u128 + 1))
    }

    /// A write to three replicas: the first `outrun` of those that answered had something newer, the next `applied` had
    /// not.
    fn standing(
        level: Consistency,
        (outrun, applied): (usize, usize),
        is_ahead: bool,
        is_awaited: bool,
    ) -> Standing {
        let factor = u32::try_from(LIVE).expect("it is small");
        let block_for = BlockFor::of(Operation::Write, level, &Replication::Simple { factor }, "dc1");
        let replicas =
            (0..LIVE).map(|number| Replica { host_id: host(number), datacenter: "dc1", is_alive: true });
        let quorum =
            WriteQuorum::new(block_for.expect("a level of writes"), replicas).expect("all are alive");
        let mut state = Outrun::new(&quorum);
        (0..outrun).for_each(|_| state.hear(Newer { timestamp: Timestamp(1), was_first: true }, is_ahead));
        (outrun..outrun + applied).for_each(|number| state.others.on_ack(host(number)));
        let acknowledged = outrun + applied;
        let as_overwritten = state.standing(acknowledged, LIVE - acknowledged, is_awaited, false);
        assert_ne!(as_overwritten, Unseen, "what is overwritten is not stamped anew");
        state.standing(acknowledged, LIVE - acknowledged, is_awaited, true)
    }

    #[test]
    fn a_write_took_effect_if_enough_others_have_it_or_somebody_has_and_the_rest_may_be_concurrent() {
        use Consistency::{All, One, Quorum};
        let cases = [
            // Level, outrun and others:       ahead: awaited, over   maybe concurrent: awaited, over
            (One, (1, 0), [Open, InDoubt, Open, TookEffect]),
            (One, (1, 1), [TookEffect, TookEffect, TookEffect, TookEffect]),
            (Quorum, (2, 0), [Open, InDoubt, Open, TookEffect]),
            (Quorum, (1, 1), [Open, InDoubt, TookEffect, TookEffect]),
            (Quorum, (1, 2), [TookEffect, TookEffect, TookEffect, TookEffect]),
            (Quorum, (2, 1), [Open, InDoubt, TookEffect, TookEffect]),
            (Quorum, (3, 0), [Open, Unseen, Open, Unseen]),
            (All, (1, 2), [Open, InDoubt, TookEffect, TookEffect]),
            (All, (3, 0), [Open, Unseen, Open, Unseen]),
        ];
        for (level, said, expected) in cases {
            let kinds = [(true, true), (true, false), (false, true), (false, false)];
            let found = kinds.map(|(is_ahead, is_awaited)| standing(level, said, is_ahead, is_awaited));
            assert_eq!(found, expected, "{level}, {said:?}");
        }
    }
}
