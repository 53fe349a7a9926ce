//! Writes that replicas have something newer for.
//!
//! A coordinator stamps a write above all that it has heard of. It need not have heard of a record that was stamped later
//! than this node's clock shows, by a client or by a node whose clock is ahead: a write that was begun after that record was
//! acknowledged would be acknowledged as well, and never be seen. Where the two levels overlap, one of the replicas that
//! acknowledge the write had the record before, and says so ([`crate::message::Receipt`]): there the write was *outrun*.
//!
//! ```text
//!   the level is met                                                     the write
//!     ├─ by replicas that had nothing newer ───────────────────────────> took effect
//!     ├─ by others too, and by the former it can still be: for PATIENCE
//!     │  the rest is awaited
//!     └─ by the former alone it cannot be any more ────────────────────> is stamped anew, above what outran it, and sent
//!                                                                        once more
//! ```
//!
//! In the first case nothing newer was acknowledged before: it would have been at one of those that met the level. What wins
//! over the write is concurrent. In the last case it may have been acknowledged before, or be concurrent, and nobody can tell
//! by timestamps: so the write is made to win, by what a replica could have told it first. The two phases, to learn what is
//! there and to write above it, are those of a write in Lynch and Shvartsman, "Robust emulation of shared memory using
//! dynamic quorum-acknowledged broadcasts" (FTCS 1997). There the first one is always needed; here the write itself asks,
//! since it is mostly right.
//!
//! Once is enough: whatever was acknowledged before the write began, the replicas had when they were outrun, and the second
//! stamp is above all of that, or cannot be given out: then the client hears that the write may be seen or not. What outruns
//! that one is concurrent.
//!
//! What became of the first stamp: where more than half of the replicas were outrun, a read that asks as many finds what
//! outran the write, never the write. At a replica that was not, a read at a lower level may find it before it is overwritten
//! or written once more; and so may a read that asks more than half, where fewer were outrun: the others were silent, or the
//! level is one like `all`, which one outrun replica leaves unmet. To such a reader it is as if the client had made the write
//! twice: what he writes or deletes in between, while the write is not acknowledged yet, is overwritten.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Coordinator, group::Group, put::Outcome, trace::Trace};
use crate::{
    error::RequestError,
    node::Failure,
    node_id::HostId,
    quorum::{Missing, Verdict, WriteQuorum},
    time::Timestamp,
};

/// How long others are awaited that may not have been outrun; of a short timeout no more than [`PATIENT_PART`] of what is
/// left, since there has to be time to write once more.
const PATIENCE: Duration = Duration::from_millis(20);
const PATIENT_PART: u32 = 8;

/// What is known of a write that was outrun.
#[derive(Debug)]
pub(super) struct Outrun {
    /// The newest record that wins over it.
    pub(super) by: Timestamp,
    /// What the replicas say that had nothing newer.
    others: WriteQuorum,
    /// Until when they are awaited, once the level is met.
    patience: Option<Instant>,
}

/// A write that has to be stamped above what was there before it.
#[derive(Debug)]
pub(super) struct Again {
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
    Outrun(Box<Again>),
}

impl Ended {
    pub(super) fn outcome_mut(&mut self) -> Option<&mut Outcome> {
        match self {
            Self::Told(outcome) => Some(outcome),
            Self::Outrun(_) => None,
        }
    }
}

impl Outrun {
    /// A replica was the first to say so; the `others` have answered so far.
    pub(super) fn new(others: &WriteQuorum) -> Self {
        Self { by: Timestamp(0), others: others.clone(), patience: None }
    }

    /// A replica had a record that wins over the write.
    pub(super) fn on_newer(&mut self, from: HostId, newer: Timestamp) {
        self.by = self.by.max(newer);
        // It has said nothing that would count here.
        self.others.on_failure(from, Missing::Silence);
    }

    /// A replica had nothing newer.
    pub(super) fn on_ack(&mut self, from: HostId) {
        self.others.on_ack(from);
    }

    /// A replica has not applied the write.
    pub(super) fn on_failure(&mut self, from: HostId, why: Missing) {
        self.others.on_failure(from, why);
    }

    /// The level is met by all that have answered.
    pub(super) fn on_level(&mut self, now: Instant, deadline: Instant) {
        let left = deadline.saturating_duration_since(now);
        self.patience.get_or_insert(now + PATIENCE.min(left / PATIENT_PART));
    }

    /// The others are awaited no longer.
    pub(super) fn give_up(&mut self) {
        self.others.on_deadline();
    }

    /// Until when the others are awaited, if the level is met and what they say may still decide.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.patience.filter(|_| self.others.verdict() == Verdict::Pending)
    }

    /// Whether the others cannot meet the level of the write.
    pub(super) fn is_decided(&self) -> bool {
        matches!(self.others.verdict(), Verdict::OutOfReach { .. })
    }
}

impl Coordinator {
    /// What came of a write in the end: one that was outrun is sent once more.
    pub(super) async fn in_the_end(
        self: &Arc<Self>,
        ended: Ended,
        trace: &Trace,
        permit: &Arc<OwnedSemaphorePermit>,
    ) -> Outcome {
        let Again { above, mut group, error } = match ended {
            Ended::Told(outcome) => return outcome,
            Ended::Outrun(again) => *again,
        };
        let unsent = Failure { error, trace: Vec::new(), stamped: Some(group.latest()) };
        let Some(stamp) = self.clock.stamp_above(above) else {
            helenus_storage::sometimes!("a write could not be stamped above what was there before it");
            trace.note(|| unsent.error.to_string());
            return Err(Failure { trace: trace.end(), ..unsent });
        };
        helenus_storage::sometimes!("a write was stamped anew");
        self.counters.restamped_writes.add(1);
        trace.note(|| format!("replicas had a record of {}: stamped anew with {}", above.0, stamp.0));
        group.stamp(stamp);
        match self.send_group(group, trace.clone(), Arc::clone(permit)).await.pop() {
            Some(Ended::Told(outcome)) => outcome,
            // What has its second stamp is told.
            _ => Err(Failure { stamped: Some(stamp), ..unsent }),
        }
    }
}
