//! Sends hints to targets that are back, oldest first, as fast as they grant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use helenus_storage::{Mutation, ScanLimits, TableId};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{errands::Errands, handing_out::Page, receiver::Receiver, runs::Hints};
use crate::{
    handoff::{Fate, Grant, Grants, Hint, RepairMark},
    message::{ReplicaError, Request, Response, TrafficClass},
    node::{
        peers::Peers,
        transport::{CallError, Destination},
    },
    node_id::HostId,
    partitioning::token_of,
};

/// Targets that are served at once.
const TARGETS: usize = 4;
/// Hints in a message.
const HINTS: usize = 256;
/// Messages of hints to one target, then it is another one's turn.
const TURN: usize = 16;
/// How often a hint is refused by a target that takes hints before it is given up, and left to repair.
const TRIES: u32 = 8;
/// How long a message of hints may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks for what has expired, and before a delivery that ended early is tried again.
const TICK: Duration = Duration::from_secs(1);

/// The task that delivers.
pub(crate) struct Delivery {
    hints: Arc<Hints>,
    receiver: Arc<Receiver>,
    peers: Arc<Peers>,
    stop: CancellationToken,
}

/// Why a delivery ended before there was nothing left.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Storage(#[from] ReplicaError),
    #[error("it takes none now")]
    NothingGranted,
    #[error("it did not apply all of them")]
    Refused,
    #[error("it answered something else")]
    Misunderstood,
}

/// What has ended.
enum Done {
    /// One turn of a target, with the hints that it has applied.
    Delivery(HostId, u64, Result<(), Ended>),
    House,
}

impl Delivery {
    pub(crate) fn new(
        hints: Arc<Hints>,
        receiver: Arc<Receiver>,
        peers: Arc<Peers>,
        stop: CancellationToken,
    ) -> Self {
        Self { hints, receiver, peers, stop }
    }

    /// Runs until the stop signal.
    pub(crate) async fn run(self) {
        // All in one: whoever is not polled may hold a lock that another waits for.
        let mut under_way: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        let mut busy = BTreeSet::new();
        let mut resting: BTreeMap<HostId, Instant> = BTreeMap::new();
        let mut errands = Errands::default();
        let this = &self;
        let mut last_served = None;
        // None while the house is kept.
        let mut next_tick = Some(Instant::now() + TICK);
        loop {
            let now = Instant::now();
            resting.retain(|_, until| *until > now);
            for target in in_turn(self.ready(), last_served) {
                if busy.len() < TARGETS && !resting.contains_key(&target) && busy.insert(target) {
                    last_served = Some(target);
                    errands.begin(target, self.hints.pending(target));
                    let turn = async move {
                        let mut delivered = 0;
                        let outcome = this.deliver(target, &mut delivered).await;
                        Done::Delivery(target, delivered, outcome)
                    };
                    under_way.push(turn.boxed());
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(done) = under_way.next() => match done {
                    Done::House => next_tick = Some(Instant::now() + TICK),
                    Done::Delivery(target, delivered, outcome) => {
                        busy.remove(&target);
                        errands.count(target, delivered);
                        if !self.ready().contains(&target) {
                            errands.end(target, self.hints.pending(target));
                        }
                        if let Err(why) = outcome {
                            helenus_storage::sometimes!("a delivery of hints ended early");
                            tracing::debug!(host = %target, %why, "hints wait");
                            resting.insert(target, Instant::now() + TICK);
                        }
                    }
                },
                () = self.hints.news() => {}
                () = sleep_until(next_tick.unwrap_or(now)), if next_tick.is_some() => {
                    next_tick = None;
                    under_way.push(self.keep_house().map(|()| Done::House).boxed());
                }
            }
        }
    }

    async fn keep_house(&self) {
        let kept = async {
            self.hints.drop_over().await?;
            let picture = self.peers.cluster.picture();
            let is_gone = |mark: &RepairMark| {
                mark.table.is_some_and(|table| picture.view().tables().by_id(TableId(table)).is_none())
            };
            self.hints.forget_marks(is_gone).await?;
            self.hints.save_marks().await
        };
        if let Err(error) = kept.await {
            tracing::warn!(%error, "hints cannot be put in order");
        }
    }

    /// The targets with hints that can be dealt with now: they are up, or no members any more.
    fn ready(&self) -> BTreeSet<HostId> {
        if self.hints.is_paused() {
            return BTreeSet::new();
        }
        let picture = self.peers.cluster.picture();
        let mut targets = self.hints.targets();
        targets
            .retain(|target| picture.view().member(*target).is_none() || self.peers.cluster.is_up(*target));
        targets
    }

    /// One turn of a target; counts what it has applied.
    async fn deliver(&self, target: HostId, delivered: &mut u64) -> Result<(), Ended> {
        let mut grant = Grant { bytes: 0, pause: Duration::ZERO };
        for _ in 0..TURN {
            if self.hints.is_paused() {
                return Ok(());
            }
            let destination = self.peers.cluster.picture().destination(target);
            if let Some(destination) = &destination
                && grant.bytes == 0
            {
                (_, grant) = self.send(destination, Vec::new()).await?;
                if grant.bytes == 0 {
                    return Err(Ended::NothingGranted);
                }
            }
            let bytes = if destination.is_some() { grant.bytes } else { Grants::BYTES };
            let limits = ScanLimits { items: HINTS, bytes: bytes as usize, ..ScanLimits::NONE };
            let Some(page) = self.hints.next_page(target, limits).await? else { return Ok(()) };
            grant = self.deal_with(target, destination, page, grant, delivered).await?;
            if !grant.pause.is_zero() {
                sleep(grant.pause).await;
            }
        }
        Ok(())
    }

    /// Sends what the target is to have, and then sees to the others, so that none of them is counted twice if the
    /// target does not answer.
    async fn deal_with(
        &self,
        target: HostId,
        destination: Option<Destination>,
        page: Page,
        mut grant: Grant,
        delivered: &mut u64,
    ) -> Result<Grant, Ended> {
        let last = page.hints.last().map_or(0, |(number, _)| *number);
        let numbers: Vec<u64> = page.hints.iter().map(|(number, _)| *number).collect();
        let (mut sent, mut others) = (Vec::new(), Vec::new());
        for (number, hint) in page.hints {
            match hint.map(|hint| (self.fate(target, &hint), hint)) {
                Ok((Fate::Deliver, hint)) => sent.push((number, hint)),
                other => others.push((number, other)),
            }
        }
        let mut through = last;
        if !sent.is_empty() {
            let destination = destination.ok_or(Ended::NothingGranted)?;
            let messages = sent.iter().map(|(_, hint)| (hint.table, hint.mutation.clone())).collect();
            let (applied, next) = self.send(&destination, messages).await?;
            grant = next;
            let applied_hints = applied.min(sent.len()) as u64;
            *delivered += applied_hints;
            self.hints.counted.delivered(applied_hints);
            if let Some((number, hint)) = sent.get(applied) {
                through = number - 1;
                if self.is_given_up(target, page.tree, applied, hint, grant) {
                    through = *number;
                }
            }
        }
        others.retain(|(number, _)| *number <= through);
        self.see_to(target, page.tree, others.into_iter().map(|(_, other)| other)).await;
        let dealt_with = numbers.partition_point(|number| *number <= through);
        self.hints.advance(target, page.tree, through, dealt_with).await?;
        if through < last { Err(Ended::Refused) } else { Ok(grant) }
    }

    fn fate(&self, target: HostId, hint: &Hint) -> Fate {
        let picture = self.peers.cluster.picture();
        let table = picture.view().tables().by_id(hint.table);
        let now = self.hints.clock.now_of_ages();
        hint.fate(target, self.hints.life(), now, table, |table| match token_of(&hint.mutation.key) {
            Some(token) => picture.place(table, token),
            None => crate::placement::Placement::default(),
        })
    }

    /// Whether a hint that its target has refused is not tried any more. A target that takes no hints at all refuses none
    /// for good; one that was refused behind others is the first of the next message.
    fn is_given_up(&self, target: HostId, tree: TableId, applied: usize, hint: &Hint, grant: Grant) -> bool {
        if applied > 0 || grant.bytes == 0 || self.hints.count_refusal(target, tree) < TRIES {
            return false;
        }
        helenus_storage::sometimes!("a hint was refused for good");
        let table = hint.table.0;
        tracing::error!(host = %target, table, "a hint is given up: its target has refused it {TRIES} times");
        self.give_up(target, hint);
        true
    }

    /// Marked, and durably so before the cursor moves on.
    fn give_up(&self, target: HostId, hint: &Hint) {
        self.hints.mark(&RepairMark::of(target, Some(hint.table), hint.made_at));
        self.hints.counted.expired(1);
    }

    /// What is not for the target. Hints that are moved are queued before the first of them is awaited: one group, one
    /// sync.
    async fn see_to(
        &self,
        target: HostId,
        tree: TableId,
        hints: impl Iterator<Item = Result<(Fate, Hint), String>>,
    ) {
        let mut moved = Vec::new();
        for hint in hints {
            match hint {
                Ok((Fate::Deliver, _)) => {}
                Ok((Fate::Move(owners), hint)) if owners.is_empty() => {
                    helenus_storage::sometimes!("the key of a hint had no owner");
                    self.give_up(target, &hint);
                }
                Ok((Fate::Move(owners), hint)) => {
                    helenus_storage::sometimes!("a hint went to the present owners of its key");
                    moved.extend(owners.into_iter().map(|owner| (owner, hint.clone())));
                    self.hints.counted.moved();
                }
                Ok((Fate::Superseded, _)) => {
                    helenus_storage::sometimes!("a hint was of a table that is gone");
                    self.hints.counted.superseded();
                }
                Ok((Fate::Expired, hint)) => {
                    helenus_storage::sometimes!("a hint had expired");
                    self.give_up(target, &hint);
                }
                Err(why) => {
                    tracing::error!(host = %target, %why, "a hint is given up");
                    self.hints.mark(&RepairMark::of(target, None, self.hints.clock.now_of_ages()));
                    self.hints.counted.expired(1);
                }
            }
        }
        // What is not kept leaves a mark.
        join_all(moved.iter().map(|(owner, hint)| self.hints.keep_moved(*owner, hint, tree))).await;
    }

    /// Sends hints; how many of them, from the first on, were applied, and what may be sent next.
    async fn send(&self, to: &Destination, hints: Vec<(TableId, Mutation)>) -> Result<(usize, Grant), Ended> {
        let own = self.peers.identity.host_id();
        if to.host_id == Some(own) {
            return Ok(self.receiver.receive(own, hints).await);
        }
        let deadline = Instant::now() + PATIENCE;
        let request = Request::Hints { hints };
        match self.peers.call(to, TrafficClass::Background, request, deadline, None).await? {
            Response::Hinted { applied, grant } => Ok((applied as usize, grant)),
            Response::Failed(error) => Err(error.into()),
            _ => Err(Ended::Misunderstood),
        }
    }
}

/// Those after the one that was served last, then the others: each has its turn.
fn in_turn(targets: BTreeSet<HostId>, last_served: Option<HostId>) -> Vec<HostId> {
    let (mut later, earlier): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|target| last_served.is_none_or(|last| *target > last));
    later.extend(earlier);
    later
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_target_is_served_twice_before_the_others_are_served_once() {
        let targets: BTreeSet<_> = (0..6).map(|number| HostId(uuid::Uuid::from_u128(number))).collect();
        let mut last = None;
        let mut served = Vec::new();
        for _ in 0..12 {
            last = in_turn(targets.clone(), last).first().copied();
            served.extend(last);
        }
        assert_eq!(served, targets.iter().chain(&targets).copied().collect::<Vec<_>>());
    }
}
