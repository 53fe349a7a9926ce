//! Writes of several requests that travel together.
//!
//! ```text
//!   planned ──> is a round to these replicas under way?
//!                 ├─ no ────────────────────────────────────> a round ──> a reply to each caller
//!                 └─ yes: wait until it is over and most of as    ▲
//!                    many have come as it had, until they fill a  │
//!                    message, or LONGEST_WAIT since it was sent ──┘
//! ```
//!
//! Under load most of what a small write costs is not its bytes but the messages, wake-ups and syncs on its way. So writes
//! of one table with the same replicas and level that come while others are under way wait for those and go together then,
//! as the commits of a database share a write of its log (group commit: DeWitt et al., Implementation Techniques for Main
//! Memory Database Systems, 1984, on recovery). Those who heard of a round together come again soon, but one by one: if the
//! first of them did not wait for the others, rounds would become small and dear. A write that comes when no round was sent
//! for [`LONGEST_WAIT`] waits for nothing. A replica that is slow or silent holds up those behind a round no longer than
//! that either: then theirs begins beside it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use helenus_storage::TableId;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    task::yield_now,
    time::{Instant, timeout},
};

use super::{
    Coordinator,
    group::{Group, MESSAGE_BYTES, Recipients},
    outrun::Ended,
    put::told,
    trace::Trace,
};
use crate::consistency::Consistency;

/// How long after a round was sent those behind it wait at most; of a short timeout no more than [`WAITING_PART`].
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
    pub(super) reply: oneshot::Sender<Vec<Ended>>,
}

/// Writes that are sent together.
pub(super) struct Round {
    pub(super) group: Group,
    /// That of the first caller.
    pub(super) trace: Trace,
    pub(super) callers: Callers,
}

/// Who waits for a round and is not told yet, each with the numbers of its writes.
pub(super) struct Callers {
    waiting: Vec<(Range<usize>, Caller)>,
    /// What those hold who are told.
    held: Vec<Arc<OwnedSemaphorePermit>>,
}

/// The writes that wait for the round before them, by what they have in common. There is an entry as long as a task sees to
/// it that they are sent. Bounded by the requests that are let in.
#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<BTreeMap<Common, Queue>>);

/// What writes have in common that are sent together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    recipients: Recipients,
    /// So that none waits while a replica learns of a table that only another one needs.
    table: TableId,
    /// So that none waits for acknowledgements that only another one needs.
    level: Consistency,
}

/// Writes that wait while a round is under way.
#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    /// So many requests are worth a round; no number of them while one is under way.
    enough: usize,
    /// Rung when they are worth a round.
    is_due: Arc<Notify>,
}

/// Sees to it that what waits is sent, or at least not left behind if the task ends that should send it: then the callers
/// are told that nobody knows.
struct Duty {
    coordinator: Arc<Coordinator>,
    common: Common,
    is_done: bool,
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.is_done {
            self.coordinator.rounds.0.lock().remove(&self.common);
        }
    }
}

impl Coordinator {
    /// Sends a group: at once, or with others after the round that is under way to the same replicas. A request that is
    /// traced goes alone, so that its steps are its own; and so does one that fills half a message, since there is little
    /// left to save, and a batch with several tables or levels.
    pub(super) fn post(self: &Arc<Self>, parcel: Parcel) {
        let goes_alone = parcel.caller.trace.request().is_traced || parcel.group.bytes >= MESSAGE_BYTES / 2;
        let Some((table, level)) = parcel.group.table_and_level().filter(|_| !goes_alone) else {
            self.tasks.spawn_on(Arc::clone(self).carry_out(Round::of(parcel), None), &self.runtime);
            return;
        };
        let common = Common { recipients: parcel.group.recipients.clone(), table, level };
        if self.rounds.add(&common, parcel) {
            let duty = Duty { coordinator: Arc::clone(self), common, is_done: false };
            self.tasks.spawn_on(Self::send_rounds(duty), &self.runtime);
        }
    }

    /// Sends what waits, and what comes meanwhile, until nothing is left.
    async fn send_rounds(mut duty: Duty) {
        let longest_wait = LONGEST_WAIT.min(duty.common.recipients.timeout / WAITING_PART);
        let (coordinator, common) = (&duty.coordinator, &duty.common);
        loop {
            // What fills a message is not held up for what might come.
            let turns = if coordinator.rounds.have_full_message(common) { 0 } else { TURNS_FOR_OTHERS };
            for _ in 0..turns {
                yield_now().await;
            }
            let Some(Next { round, is_due }) = coordinator.rounds.next(common) else { break };
            let company = round.callers.waiting.len();
            // Fewer than all, since some may be slow or gone; and none where the timer is too coarse for a short timeout.
            let expected = if longest_wait < LONGEST_WAIT { 0 } else { company * 3 / 4 };
            let (begun, over) = oneshot::channel();
            let sent = Arc::clone(coordinator).carry_out(round, Some(begun));
            coordinator.tasks.spawn_on(sent, &coordinator.runtime);
            let due = async {
                tokio::select! {
                    biased;
                    () = is_due.notified() => {}
                    _ = over => {
                        coordinator.rounds.expect(common, expected);
                        is_due.notified().await;
                    }
                }
            };
            if timeout(longest_wait, due).await.is_err() {
                helenus_storage::sometimes!("a round was followed by no other for the longest wait");
            }
        }
        duty.is_done = true;
    }
}

/// A round that is to be sent.
struct Next {
    round: Round,
    /// Rung when those that wait behind it are worth another.
    is_due: Arc<Notify>,
}

impl Rounds {
    /// Has a group wait for its turn; says whether the caller has to see to it that there is one, since no task does.
    fn add(&self, common: &Common, parcel: Parcel) -> bool {
        let mut queues = self.0.lock();
        if let Some(queue) = queues.get_mut(common) {
            queue.push(parcel);
            return false;
        }
        queues.entry(common.clone()).or_default().push(parcel);
        true
    }

    /// The next round; if nothing waits, whoever comes next has to see to itself.
    fn next(&self, of: &Common) -> Option<Next> {
        let mut queues = self.0.lock();
        let queue = queues.get_mut(of)?;
        let Some(round) = queue.pop() else {
            queues.remove(of);
            return None;
        };
        Some(Next { round, is_due: Arc::clone(&queue.is_due) })
    }

    /// Has a round go as soon as so many wait for it, since none is under way any more.
    fn expect(&self, of: &Common, count: usize) {
        if let Some(queue) = self.0.lock().get_mut(of) {
            queue.enough = count;
            queue.ring();
        }
    }

    /// Whether what waits fills a message.
    fn have_full_message(&self, of: &Common) -> bool {
        self.0.lock().get(of).is_some_and(Queue::is_full)
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
        (self.enough, self.is_due) = (usize::MAX, Arc::default());
        self.ring();
        Some(round)
    }

    fn ring(&self) {
        if self.is_full() {
            helenus_storage::sometimes!("writes filled a message while they waited");
            self.is_due.notify_one();
        } else if self.parcels.len() >= self.enough {
            helenus_storage::sometimes!("as many as were expected waited for a round");
            self.is_due.notify_one();
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= MESSAGE_BYTES
    }
}

impl Round {
    fn of(Parcel { group, caller }: Parcel) -> Self {
        let callers = Callers { waiting: vec![(0..group.writes.len(), caller)], held: Vec::new() };
        Self { trace: callers.waiting[0].1.trace.clone(), callers, group }
    }

    /// Takes one more along; gives it back if the message has no room for it, or if one of them would be given much less
    /// time than it has left.
    fn join(&mut self, Parcel { group, caller }: Parcel) -> Option<Parcel> {
        let (one, other) = (self.group.deadline, group.deadline);
        let (first, last) = (one.min(other), one.max(other));
        if last - first > last.saturating_duration_since(Instant::now()) / WAITING_PART {
            helenus_storage::sometimes!("writes with different deadlines travelled apart");
            return Some(Parcel { group, caller });
        }
        let start = self.group.writes.len();
        if let Some(group) = self.group.join(group) {
            return Some(Parcel { group, caller });
        }
        helenus_storage::sometimes!("writes of several requests travelled together");
        self.callers.waiting.push((start..self.group.writes.len(), caller));
        None
    }
}

impl Callers {
    /// Tells those for whom all is known already what came of their writes, so that they do not wait for others.
    pub(super) fn tell_early(&mut self, group: &Group, of_round: &Trace) {
        if self.waiting.len() < 2 {
            return;
        }
        let is_ready = |(writes, _): &mut (Range<usize>, Caller)| group.needs_nothing_more(writes.clone());
        for (writes, caller) in self.waiting.extract_if(.., is_ready) {
            let ends = writes.map(|number| group.end(number, None)).collect();
            self.held.push(caller.tell(ends, of_round));
        }
    }

    /// Tells the others how all have ended. Answers what they all hold until nothing of the round is theirs any more.
    pub(super) fn tell(mut self, mut ends: Vec<Ended>, of_round: &Trace) -> Vec<Arc<OwnedSemaphorePermit>> {
        for (writes, caller) in self.waiting.into_iter().rev() {
            ends.truncate(writes.end);
            self.held.push(caller.tell(ends.split_off(writes.start), of_round));
        }
        self.held
    }
}

impl Caller {
    fn tell(self, ends: Vec<Ended>, of_round: &Trace) -> Arc<OwnedSemaphorePermit> {
        let Self { trace, permit, reply } = self;
        if trace.request() != of_round.request() {
            trace.note(|| format!("travelled with request {}", of_round.request()));
        }
        // A client that has hung up does not hear it.
        if reply.send(told(ends, &trace)).is_err() {
            helenus_storage::sometimes!("a client had hung up");
        }
        permit
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("parcels", &self.parcels.len()).field("bytes", &self.bytes).finish()
    }
}
