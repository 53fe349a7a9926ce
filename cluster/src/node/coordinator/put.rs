//! Writes, puts and deletes: what is sent to whom.
//!
//! ```text
//!   requests ──> plan each: table, level, stamp, placement ── refused ───────────────┐
//!                  │ those with the same replicas                                    ▼
//!                  └──> groups ──> one message for each replica ──> an outcome for each request, as it comes
//!                          ▲ those of other requests ([`super::coalescing`])
//! ```
//!
//! A batch is planned at once, by one picture of the cluster; a single write is a group of one. Writes that have the same
//! replicas become a [`Group`]: a replica is sent all of them in one message, and applies them with one wait for its
//! commit log. Each has a level, a verdict and hints of its own all the same: there is no atomicity across keys.

use std::{
    collections::{BTreeSet, HashMap},
    iter,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use helenus_storage::{Mutation, Record, TableId};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::{
    Coordinator, Patience,
    coalescing::{Caller, Parcel},
    datacenter_of,
    group::{Group, Recipients},
    known_table, of_missing_table,
    outrun::Ended,
    reached,
    trace::Trace,
    write::Write,
};
use crate::{
    counted::counted,
    error::RequestError,
    node::{
        Change, Failure, Met, RequestOptions, WriteOutcome, WriteRequest, clock::later,
        known_cluster::Picture,
    },
    node_id::HostId,
    quorum::{self, BlockFor, Operation, WriteQuorum},
    time::Timestamp,
};

/// What came of a write.
pub(super) type Outcome = Result<WriteOutcome, Failure>;

/// Of a batch, what each place overwrites that is not sent: places and stamps.
type Overwritten = HashMap<usize, Vec<(usize, Timestamp)>>;

impl Coordinator {
    /// Coordinates a write. Once more if it went to a table that was dropped, and there is another one of its name.
    pub(crate) async fn write(self: &Arc<Self>, mut request: WriteRequest) -> Outcome {
        let since = *request.options.since.get_or_insert_with(Instant::now);
        let again = request.clone();
        let outcome = self.write_once(request).await;
        let is_time_left = || Instant::now() < self.patience(&again.options, since).deadline;
        if self.is_of_a_former_table(&outcome) && is_time_left() {
            return self.write_once(again).await;
        }
        outcome
    }

    async fn write_once(self: &Arc<Self>, request: WriteRequest) -> Outcome {
        let trace = self.trace("write", &request.table, &request.options);
        let mut outcomes = match self.begin_write(request, &trace).await {
            Ok((group, permit)) => self.write_group(group, trace, Arc::new(permit)).await,
            Err(error) => refuse(vec![error], &trace),
        };
        outcomes.swap_remove(0)
    }

    async fn begin_write(
        &self,
        request: WriteRequest,
        trace: &Trace,
    ) -> Result<(Group, OwnedSemaphorePermit), RequestError> {
        let (permit, patience) =
            self.begin(&request.table, &request.options, self.write_timeout.get()).await?;
        // Before the picture is taken, as for a batch.
        let intent = self.cluster.intend_user_record();
        let group = self.plan_write(0, request, patience, &self.cluster.picture(), trace)?;
        intent.hold();
        Ok((group, permit))
    }

    /// Coordinates writes; what came of each, with its place among them, as it comes. Those of one key take effect in
    /// their order, unless one with a client's own timestamp comes after one without: that has to wait for the outcome of the
    /// other, which may be stamped anew; and so do those of one key with different levels. Of those of one key that are alike
    /// the newest is sent, and the others are told what came of that.
    pub(crate) fn write_batch(
        self: &Arc<Self>,
        requests: Vec<WriteRequest>,
    ) -> impl Stream<Item = (usize, Outcome)> + Send + use<> {
        let coordinator = Arc::clone(self);
        async move { coordinator.begin_writes(requests).await }.flatten_stream()
    }

    async fn begin_writes(
        self: Arc<Self>,
        requests: Vec<WriteRequest>,
    ) -> impl Stream<Item = (usize, Outcome)> + Send + use<> {
        let untold = RequestOptions::default();
        let options = requests.first().map_or(&untold, |first| &first.options);
        let trace = self.trace("write", &tables_of(&requests), options);
        let begun = Instant::now();
        let (refused, sent, mut overwritten) = match self.admit() {
            Ok(permit) => {
                let tables = requests.iter().map(|request| request.table.as_str());
                let are_known = self.look_for_tables(tables, self.patience(options, begun).deadline).await;
                let (refused, groups, overwritten) = self.plan(requests, begun, &trace);
                let refused: Vec<_> = refused
                    .into_iter()
                    .map(|(place, error)| (place, of_missing_table(error, are_known)))
                    .collect();
                let traces = iter::once(trace.clone()).chain(iter::repeat_with(|| trace.beside()));
                let (traced, permit) = (groups.into_iter().zip(traces), Arc::new(permit));
                let send = |(mut group, trace): (Group, Trace)| {
                    let (coordinator, permit) = (Arc::clone(&self), Arc::clone(&permit));
                    let places = std::mem::take(&mut group.places);
                    async move { places.into_iter().zip(coordinator.write_group(group, trace, permit).await) }
                };
                (refused, traced.map(send).collect::<FuturesUnordered<_>>(), overwritten)
            }
            Err(error) => {
                let refused = (0..requests.len()).map(|place| (place, error.clone())).collect();
                (refused, FuturesUnordered::new(), Overwritten::new())
            }
        };
        let (places, errors): (Vec<usize>, Vec<RequestError>) = refused.into_iter().unzip();
        let refused = match sent.is_empty() {
            true => refuse(errors, &trace),
            // The trace is that of the first group.
            false => errors.into_iter().map(|error| Err(failure(error))).collect(),
        };
        let sent = sent.flat_map(stream::iter).flat_map(move |(place, outcome)| {
            stream::iter(of_all(place, outcome, overwritten.remove(&place).unwrap_or_default()))
        });
        stream::iter(places.into_iter().zip(refused)).chain(sent)
    }

    fn patience(&self, options: &RequestOptions, begun: Instant) -> Patience {
        Patience::since(begun, options, self.write_timeout.get())
    }

    /// What is refused, what is to be sent, and what of it overwrites more.
    fn plan(
        &self,
        requests: Vec<WriteRequest>,
        begun: Instant,
        trace: &Trace,
    ) -> (Vec<(usize, RequestError)>, Vec<Group>, Overwritten) {
        // Before the picture is taken: a joining node that was told "no records yet" is then in the picture, and gets
        // these writes too. Taken back if all of them turn out to be unavailable.
        let intent = self.cluster.intend_user_record();
        let picture = self.cluster.picture();
        let (mut refused, mut planned) = (Vec::new(), Vec::with_capacity(requests.len()));
        for (place, request) in requests.into_iter().enumerate() {
            let patience = self.patience(&request.options, begun);
            match self.plan_write(place, request, patience, &picture, trace) {
                Ok(alone) => planned.push(alone),
                Err(error) => refused.push((place, error)),
            }
        }
        let overwritten = take_overwritten(&mut planned);
        // In the order of their recipients; of those with the same, the last one may have room.
        let mut groups: Vec<Group> = Vec::with_capacity(1);
        for alone in planned {
            let behind = groups.partition_point(|group| group.recipients <= alone.recipients);
            let same = groups[..behind].last_mut().filter(|group| group.recipients == alone.recipients);
            let left = match same {
                Some(group) => group.join(alone),
                None => Some(alone),
            };
            left.into_iter().for_each(|alone| groups.insert(behind, alone));
        }
        if !groups.is_empty() {
            intent.hold();
        }
        (refused, groups, overwritten)
    }

    fn plan_write(
        &self,
        place: usize,
        request: WriteRequest,
        patience: Patience,
        picture: &Arc<Picture>,
        trace: &Trace,
    ) -> Result<Group, RequestError> {
        let table = known_table(picture, &request.table)?;
        let goal = self.goal(&request.options, table.definition.default_write_consistency, patience);
        let block_for = self.block_for(Operation::Write, goal.level, table, picture)?;
        self.check_session(&request.options)?;
        // Before anything is sent: the replica of this node itself would believe a clock that is wrong.
        if let Some(why) = self.clock.skew() {
            return Err(RequestError::ClockSkew(why));
        }
        let is_stamped_here = request.timestamp.is_none();
        let timestamp = self.timestamp(request.timestamp, &request.options)?;
        let record = self.record(timestamp, request.change, table.definition.default_ttl());
        let grace_seconds = table.definition.tombstone_grace_seconds;

        let target = self.place(picture, &request.table, &request.key, trace)?;
        if !target.placement.pending.is_empty() {
            helenus_storage::sometimes!("a write went to a joining node");
        }
        let pending = target.placement.pending.iter();
        let block_for = block_for.with_pending(pending.map(|host_id| datacenter_of(picture, *host_id)));
        let replicas = self.replicas(picture, target.placement.all());
        let must_win = is_stamped_here && is_of_more_than_half(&block_for, &replicas);
        let quorum = WriteQuorum::new(block_for, replicas.iter().copied())?;
        let those = |are_alive: bool| -> BTreeSet<HostId> {
            replicas.iter().filter(|one| one.is_alive == are_alive).map(|one| one.host_id).collect()
        };
        let (alive, dead) = (those(true), those(false));
        // A client's own timestamp may be ahead; what this node stamps later wins over it.
        self.clock.observe(timestamp);
        let observed = self.observed(&target, goal, &record);
        let mut write = Write::new(goal.level, timestamp, quorum, alive.clone(), observed, grace_seconds);
        write.must_win = must_win;
        let mutation = Mutation::single(target.key, record);
        let Patience { timeout, deadline } = patience;
        let recipients = Recipients { alive, dead, timeout };
        Ok(Group::new(recipients, deadline, picture, place, (target.table, mutation), write))
    }

    /// The client's own timestamp if it gave a credible one, else a stamp of this node, above all that the client's
    /// session has met.
    fn timestamp(
        &self,
        given: Option<Timestamp>,
        options: &RequestOptions,
    ) -> Result<Timestamp, RequestError> {
        let Some(timestamp) = given else { return self.stamp_above(options.session.as_deref()) };
        let max = self.clock.latest_accepted();
        if timestamp == Timestamp(0) || timestamp > max {
            helenus_storage::sometimes!("a client's timestamp was out of range");
            return Err(RequestError::TimestampOutOfRange { timestamp, max });
        }
        Ok(timestamp)
    }

    /// Expiry and deletion follow this node's wall clock, whatever timestamp the client chose: they say when
    /// something ends, not which version wins.
    fn record(&self, timestamp: Timestamp, change: Change, default_ttl: Option<Duration>) -> Record {
        let now = self.clock.now();
        match change {
            Change::Put { value, ttl } => match ttl.or(default_ttl) {
                Some(ttl) => Record::expiring(timestamp, value, later(now, ttl)),
                None => Record::plain(timestamp, value),
            },
            Change::Delete => Record::tombstone(timestamp, now),
        }
    }

    /// Sends a group, in a task that goes on if the caller does not; but then it is not made once more.
    async fn write_group(
        self: &Arc<Self>,
        group: Group,
        trace: Trace,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Vec<Outcome> {
        if let Err(what) = self.await_own_room(&group).await {
            return refuse(vec![RequestError::Overloaded(what); group.writes.len()], &trace);
        }
        let tables: Vec<TableId> = group.mutations.iter().map(|(table, _)| *table).collect();
        let (picture, deadline) = (Arc::clone(&group.picture), group.deadline);
        let ends = self.send_group(group, trace.clone(), Arc::clone(&permit)).await;
        // At once, so that they share an answer.
        join_all(ends.into_iter().zip(tables).map(async |(ended, table)| {
            let mut outcome = self.in_the_end(ended, &trace, &permit).await;
            if let Err(Failure { error, .. }) = &mut outcome {
                *error = self.explained(error.clone(), table, &picture, deadline).await;
            }
            outcome
        }))
        .await
    }

    /// Sends a group once.
    pub(super) async fn send_group(
        self: &Arc<Self>,
        group: Group,
        trace: Trace,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Vec<Ended> {
        let unknown = group.ends(|_, _| None);
        let (reply, ends) = oneshot::channel();
        self.post(Parcel { group, caller: Caller { trace, permit, reply } });
        // The task replies in any case; only a runtime that is being torn down drops it before.
        ends.await.unwrap_or(unknown)
    }

    /// Holds writes back while this node's own replica could not take them: so far nothing is sent. Half of the time is
    /// kept for the writes themselves.
    async fn await_own_room(&self, group: &Group) -> Result<(), &'static str> {
        if !group.recipients.alive.contains(&self.host_id()) {
            return Ok(());
        }
        let now = Instant::now();
        let half = group.deadline.saturating_duration_since(now) / 2;
        self.replica.store.await_room(now + half).await
    }
}

/// Takes the writes that a like one of the same key wins over: nobody could see them where that one is applied.
fn take_overwritten(planned: &mut Vec<Group>) -> Overwritten {
    let mut newest = HashMap::<_, (Timestamp, usize)>::new();
    for alone in planned.iter() {
        let of_key = newest.entry(alone.first_aim()).or_default();
        *of_key = (*of_key).max((alone.latest(), alone.places[0]));
    }
    let mut overwritten = Overwritten::new();
    planned.retain(|alone| {
        let (stamp, (newer, by)) = (alone.latest(), newest[&alone.first_aim()]);
        if stamp < newer {
            helenus_storage::sometimes!("a write was overwritten by its own batch");
            overwritten.entry(by).or_default().push((alone.places[0], stamp));
        }
        stamp == newer
    });
    overwritten
}

/// What came of the write of a place, for that and for those that it has overwritten.
fn of_all(place: usize, outcome: Outcome, overwritten: Vec<(usize, Timestamp)>) -> Vec<(usize, Outcome)> {
    let as_that = |(place, timestamp)| {
        let outcome = outcome.clone();
        (place, outcome.map(|written| WriteOutcome { timestamp, ..written }))
    };
    let mut outcomes: Vec<_> = overwritten.into_iter().map(as_that).collect();
    outcomes.push((place, outcome));
    outcomes
}

/// Whether two writes that require this always meet in a replica: at levels of the own datacenter two of one
/// datacenter. Only of such an order is promised.
fn is_of_more_than_half(block_for: &BlockFor, replicas: &[quorum::Replica<'_>]) -> bool {
    block_for.parts().iter().all(|part| {
        let counted = replicas.iter().filter(|replica| part.counts(replica.datacenter)).count();
        2 * part.required as usize > counted
    })
}

/// What a log calls the tables of some writes.
fn tables_of(requests: &[WriteRequest]) -> String {
    match requests {
        [first, others @ ..] if others.iter().all(|other| other.table == first.table) => first.table.clone(),
        all => counted(all.len(), "write").to_string() + " of several tables",
    }
}

/// Refuses requests: nothing of them was sent.
fn refuse(errors: Vec<RequestError>, trace: &Trace) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = errors.into_iter().map(|error| Err(failure(error))).collect();
    end_trace(outcomes.iter_mut().collect(), trace);
    outcomes
}

fn failure(error: RequestError) -> Failure {
    Failure { error, trace: Vec::new(), stamped: None }
}

/// Ends the trace with what came of the writes, unless all of them go on, and gives the others the steps.
pub(super) fn told(mut ends: Vec<Ended>, trace: &Trace) -> Vec<Ended> {
    let outcomes: Vec<&mut Outcome> = ends.iter_mut().filter_map(Ended::outcome_mut).collect();
    if !outcomes.is_empty() {
        end_trace(outcomes, trace);
    }
    ends
}

fn end_trace(outcomes: Vec<&mut Outcome>, trace: &Trace) {
    trace.note(|| match outcomes.as_slice() {
        [Ok(WriteOutcome { met: Met { required, acknowledged, .. }, .. })] => {
            reached(*required, *acknowledged)
        }
        [Err(failure)] => failure.error.to_string(),
        many => {
            let met = many.iter().filter(|outcome| outcome.is_ok()).count();
            format!("{met} of {} reached their levels", counted(many.len(), "write"))
        }
    });
    let steps = trace.end();
    for outcome in outcomes {
        match outcome {
            Ok(written) => written.met.trace.clone_from(&steps),
            Err(failure) => failure.trace.clone_from(&steps),
        }
    }
}
