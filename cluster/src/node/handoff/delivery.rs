//! Sends hints to targets that are back, oldest first, as fast as they grant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use helenus_storage::{Mutation, ScanLimits, TableId};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::runs::{Hints, Page};
use crate::{
    handoff::{Fate, Grant, Grants, Hint, RepairMark},
    message::{ReplicaError, Request, Response, TrafficClass},
    node::{
        peers::Peers,
        replica::Replica,
        transport::{CallError, Destination},
    },
    node_id::HostId,
    partitioning::token_of,
};

/// Targets that are served at once.
const TARGETS: usize = 4;
/// Hints in a message.
const HINTS: usize = 256;
/// How long a message of hints may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks for what has expired, and before a delivery that ended early is tried again.
const TICK: Duration = Duration::from_secs(1);

/// The task that delivers.
pub(crate) struct Delivery {
    hints: Arc<Hints>,
    replica: Arc<Replica>,
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
    Delivery(HostId, Result<(), Ended>),
    House,
}

impl Delivery {
    pub(crate) fn new(
        hints: Arc<Hints>,
        replica: Arc<Replica>,
        peers: Arc<Peers>,
        stop: CancellationToken,
    ) -> Self {
        Self { hints, replica, peers, stop }
    }

    /// Runs until the stop signal.
    pub(crate) async fn run(self) {
        // All in one: whoever is not polled may hold a lock that another waits for.
        let mut under_way: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        let mut busy = BTreeSet::new();
        let mut resting: BTreeMap<HostId, Instant> = BTreeMap::new();
        // None while the house is kept.
        let mut next_tick = Some(Instant::now() + TICK);
        loop {
            let now = Instant::now();
            resting.retain(|_, until| *until > now);
            for target in self.ready() {
                if busy.len() < TARGETS && !resting.contains_key(&target) && busy.insert(target) {
                    let delivery = self.deliver(target);
                    under_way.push(delivery.map(move |outcome| Done::Delivery(target, outcome)).boxed());
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(done) = under_way.next() => match done {
                    Done::House => next_tick = Some(Instant::now() + TICK),
                    Done::Delivery(target, outcome) => {
                        busy.remove(&target);
                        if let Err(why) = outcome {
                            helenus_storage::sometimes!("a delivery of hints ended early");
                            tracing::debug!(host = %target, "hints wait: {why}");
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
        let kept = match self.hints.drop_expired().await {
            Ok(()) => self.hints.save_marks().await,
            failed => failed,
        };
        if let Err(error) = kept
            && self.peers.cluster.log_limit.allows("hints cannot be put in order")
        {
            tracing::warn!("hints cannot be put in order: {error}");
        }
    }

    /// The targets with hints that can be dealt with now: they are up, or no members any more.
    fn ready(&self) -> Vec<HostId> {
        if self.hints.is_paused() {
            return Vec::new();
        }
        let picture = self.peers.cluster.picture();
        let mut targets: Vec<HostId> = self.hints.targets().into_iter().collect();
        targets
            .retain(|target| picture.view().member(*target).is_none() || self.peers.cluster.is_up(*target));
        targets
    }

    async fn deliver(&self, target: HostId) -> Result<(), Ended> {
        let mut grant = Grant { bytes: 0, pause: Duration::ZERO };
        while !self.hints.is_paused() {
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
            grant = self.deal_with(target, destination, page, grant).await?;
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
    ) -> Result<Grant, Ended> {
        let last = page.hints.last().map_or(0, |(number, _)| *number);
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
            self.hints.counted.delivered(applied.min(sent.len()) as u64);
            if let Some((number, _)) = sent.get(applied) {
                through = number - 1;
            }
        }
        for (_, other) in others.into_iter().filter(|(number, _)| *number <= through) {
            self.see_to(target, other).await;
        }
        self.hints.advance(target, page.tree, through).await?;
        if through < last { Err(Ended::Refused) } else { Ok(grant) }
    }

    fn fate(&self, target: HostId, hint: &Hint) -> Fate {
        let picture = self.peers.cluster.picture();
        let table = picture.view().tables().by_id(hint.table);
        let now = self.peers.clock.now();
        hint.fate(target, self.hints.window(), now, table, |table| match token_of(&hint.mutation.key) {
            Some(token) => picture.place(table, token),
            None => crate::placement::Placement::default(),
        })
    }

    /// What is not for the target.
    async fn see_to(&self, target: HostId, hint: Result<(Fate, Hint), String>) {
        match hint {
            Ok((Fate::Deliver, _)) => {}
            Ok((Fate::Move(owners), hint)) => {
                helenus_storage::sometimes!("a hint went to the present owners of its key");
                for owner in owners {
                    self.hand_on(owner, &hint).await;
                }
                self.hints.counted.moved();
            }
            Ok((Fate::Superseded, _)) => {
                helenus_storage::sometimes!("a hint was of a table that is gone");
                self.hints.counted.superseded();
            }
            Ok((Fate::Expired, hint)) => {
                helenus_storage::sometimes!("a hint had expired");
                self.hints.mark(&RepairMark::of(target, Some(hint.table), hint.made_at)).await;
                self.hints.counted.expired(1);
            }
            Err(why) => {
                tracing::error!(host = %target, "a hint is given up: {why}");
                self.hints.mark(&RepairMark::of(target, None, self.peers.clock.now())).await;
                self.hints.counted.expired(1);
            }
        }
    }

    async fn hand_on(&self, owner: HostId, hint: &Hint) {
        if owner == self.peers.identity.host_id() {
            let applied = self.replica.apply_hint(hint.table, hint.mutation.clone()).await;
            if applied.is_err() {
                self.hints.mark(&RepairMark::of(owner, Some(hint.table), hint.made_at)).await;
            }
        } else {
            // What is not kept leaves a mark.
            let _: Result<(), _> = self.hints.keep(owner, hint).await;
        }
    }

    /// Sends hints; how many of them, from the first on, were applied, and what may be sent next.
    async fn send(&self, to: &Destination, hints: Vec<(TableId, Mutation)>) -> Result<(usize, Grant), Ended> {
        let deadline = Instant::now() + PATIENCE;
        let request = Request::Hints { hints };
        match self.peers.call(to, TrafficClass::Background, request, deadline, None).await? {
            Response::Hinted { applied, grant } => Ok((applied as usize, grant)),
            Response::Failed(error) => Err(error.into()),
            _ => Err(Ended::Misunderstood),
        }
    }
}
