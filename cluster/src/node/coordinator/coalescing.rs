//! Writes of several requests that travel together.
//!
//! ```text
//!   planned ──> is a round to these replicas under way?
//!                 ├─ no ────────────────────────────────────> a round ──> a reply to each caller
//!                 └─ yes: wait until it is over, until the        ▲
//!                    waiting ones fill a message, or LONGEST_WAIT ┘
//! ```
//!
//! Under load most of what a small write costs is not its bytes but the messages, wake-ups and syncs on its way. So writes
//! with the same replicas and level that come while others are under way wait for those and go together then, as the commits
//! of a database share a write of its log (group commit: DeWitt et al., Implementation Techniques for Main Memory Database
//! Systems, 1984, on recovery). A write that meets no other waits for nothing. A replica that is slow or silent holds up
//! those behind it no longer than [`LONGEST_WAIT`]: then their round begins beside the other.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    task::yield_now,
    time::sleep,
};

use super::{
    Coordinator,
    group::{Group, MESSAGE_BYTES, Recipients},
    put::{Outcome, told},
    trace::Trace,
};
use crate::consistency::Consistency;

/// How long writes wait for a round that was sent before them; of a short timeout no more than [`WAITING_PART`].
const LONGEST_WAIT: Duration = Duration::from_millis(3);
/// How often other tasks have their turn before a round is sent: so requests that have arrived go with it, and where there
/// are none it costs microseconds.
const TURNS_FOR_OTHERS: u32 = 4;
/// What part of its timeout a write waits for others at most.
const WAITING_PART: u32 = 8;

/// A planned group on its way to be sent, with who waits for its outcomes.
pub(super) struct Parcel {
    pub(super) group: Group,
    pub(super) caller: Caller,
}

/// A request that waits for the outcomes of its writes.
pub(super) struct Caller {
    pub(super) trace: Trace,
    /// One of those for requests that wait for their reply.
    pub(super) permit: Arc<OwnedSemaphorePermit>,
    pub(super) reply: oneshot::Sender<Vec<Outcome>>,
}

/// Writes that are sent together.
pub(super) struct Round {
    pub(super) group: Group,
    /// That of the first caller.
    pub(super) trace: Trace,
    pub(super) callers: Callers,
}

/// Who waits for a round, each with how many of the writes are its, in their order.
pub(super) struct Callers(Vec<(usize, Caller)>);

/// The writes that wait for the round before them, by what they have in common; an entry for each under way. Bounded by the
/// requests that are let in.
#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<BTreeMap<Common, Queue>>);

/// What writes have in common that are sent together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    recipients: Recipients,
    /// So that none waits for what only another one needs.
    level: Consistency,
}

/// Writes that wait while a round is under way.
#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    /// Rung when they fill a message.
    is_full: Arc<Notify>,
}

impl Coordinator {
    /// Sends a group: at once, or with others after the round that is under way to the same replicas. A request that is
    /// traced goes alone, so that its steps are its own, and so does a batch with several levels.
    pub(super) fn post(self: &Arc<Self>, parcel: Parcel) {
        let is_traced = parcel.caller.trace.request().is_traced;
        let Some(level) = parcel.group.level().filter(|_| !is_traced) else {
            self.tasks.spawn_on(Arc::clone(self).carry_out(Round::of(parcel), None), &self.runtime);
            return;
        };
        let common = Common { recipients: parcel.group.recipients.clone(), level };
        if self.rounds.add(&common, parcel) {
            self.tasks.spawn_on(Arc::clone(self).send_rounds(common), &self.runtime);
        }
    }

    /// Sends what waits, and what comes meanwhile, until nothing is left.
    async fn send_rounds(self: Arc<Self>, of: Common) {
        let longest_wait = LONGEST_WAIT.min(of.recipients.timeout / WAITING_PART);
        loop {
            for _ in 0..TURNS_FOR_OTHERS {
                yield_now().await;
            }
            let Some((round, is_full)) = self.rounds.next(&of) else { break };
            let (begun, over) = oneshot::channel();
            self.tasks.spawn_on(Arc::clone(&self).carry_out(round, Some(begun)), &self.runtime);
            tokio::select! {
                _ = over => {}
                () = is_full.notified() => {
                    helenus_storage::sometimes!("writes filled a message while they waited");
                }
                () = sleep(longest_wait) => {
                    helenus_storage::sometimes!("writes waited for others no longer");
                }
            }
        }
    }
}

impl Rounds {
    /// Has a group wait for its turn; says whether the caller has to see to it that there is one, since no round is under
    /// way.
    fn add(&self, common: &Common, parcel: Parcel) -> bool {
        let mut queues = self.0.lock();
        if let Some(queue) = queues.get_mut(common) {
            queue.push(parcel);
            return false;
        }
        queues.entry(common.clone()).or_default().push(parcel);
        true
    }

    /// The next round, with what is rung when those that still wait fill another; if there is none, none is under way any
    /// more.
    fn next(&self, of: &Common) -> Option<(Round, Arc<Notify>)> {
        let mut queues = self.0.lock();
        let queue = queues.get_mut(of)?;
        let Some(round) = queue.pop() else {
            queues.remove(of);
            return None;
        };
        Some((round, Arc::clone(&queue.is_full)))
    }
}

impl Queue {
    fn push(&mut self, parcel: Parcel) {
        self.bytes += parcel.group.bytes;
        self.parcels.push_back(parcel);
        self.ring();
    }

    /// As many as one message has room for.
    fn pop(&mut self) -> Option<Round> {
        let mut round = Round::of(self.parcels.pop_front()?);
        while let Some(next) = self.parcels.pop_front() {
            if let Some(left) = round.join(next) {
                self.parcels.push_front(left);
                break;
            }
        }
        self.bytes -= round.group.bytes;
        self.ring();
        Some(round)
    }

    fn ring(&self) {
        if self.bytes >= MESSAGE_BYTES {
            self.is_full.notify_one();
        }
    }
}

impl Round {
    fn of(Parcel { group, caller }: Parcel) -> Self {
        Self { trace: caller.trace.clone(), callers: Callers(vec![(group.writes.len(), caller)]), group }
    }

    /// Takes one more along; gives it back if the message has no room for it.
    fn join(&mut self, Parcel { group, caller }: Parcel) -> Option<Parcel> {
        let count = group.writes.len();
        if let Some(group) = self.group.join(group) {
            return Some(Parcel { group, caller });
        }
        helenus_storage::sometimes!("writes of several requests travelled together");
        self.callers.0.push((count, caller));
        None
    }
}

impl Callers {
    /// Tells each what came of its writes. Answers what they hold until nothing of the round is theirs any more.
    pub(super) fn tell(self, outcomes: Vec<Outcome>, of_round: &Trace) -> Vec<Arc<OwnedSemaphorePermit>> {
        let mut outcomes = outcomes.into_iter();
        let tell = |(count, Caller { trace, permit, reply }): (usize, Caller)| {
            if trace.request() != of_round.request() {
                trace.note(|| format!("travelled with request {}", of_round.request()));
            }
            // A client that has hung up does not hear it.
            if reply.send(told(outcomes.by_ref().take(count).collect(), &trace)).is_err() {
                helenus_storage::sometimes!("a client had hung up");
            }
            permit
        };
        self.0.into_iter().map(tell).collect()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("parcels", &self.parcels.len()).field("bytes", &self.bytes).finish()
    }
}
