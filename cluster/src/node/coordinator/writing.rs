//! A group of writes under way.
//!
//! ```text
//!   save what must be durable first ──> hints for the dead ──> send to all that are alive
//!                                                                  │ answers, until each write has its verdict
//!   hints for the late <── hear them <── reply <── hints for the dead and the failed are durable
//! ```
//!
//! A reply says that the write is as safe as its level asks for. It waits for the hints as well, so that whoever is known
//! to lack the write gets it, or is marked, though this node is killed right after the reply. What they wait for is the
//! sync of the own commit log, which is mostly that of the own replica too. A replica that is alive and has not answered
//! yet is not known to lack anything: most have the write by then. Its hint is made when its time is over, so a
//! coordinator that dies before leaves it to the reads of that key, and to anti-entropy.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Coordinator,
    coalescing::Round,
    datacenter_of,
    fan_out::{FanOut, Next, missing_answer, missing_call},
    group::Group,
    missed::Missed,
    outrun::Ended,
    trace::Trace,
    write::Write,
};
use crate::{
    error::RequestError,
    message::{Applied, Relay, Request, Response, TrafficClass},
    node_id::HostId,
    quorum::Missing,
};

impl Coordinator {
    /// Sends a group to all its live replicas, replies as soon as the outcome of each write is known, and goes on until
    /// the last replica has answered or the deadline has passed. `over` is dropped with the reply, or before it where only
    /// writes that may have been outrun are awaited.
    pub(super) async fn carry_out(self: Arc<Self>, round: Round, mut over: Option<oneshot::Sender<()>>) {
        let Round { mut group, trace, mut callers } = round;
        if let Err(unsaved) = self.save_before_sending(&mut group).await {
            helenus_storage::sometimes!("what a write must save first was not saved");
            callers.tell(unsaved, &trace);
            return;
        }
        let made_at = self.clock.now_of_ages();
        // At once: whoever waits for the others first may die in between, and nobody keeps the writes for those.
        let kept = self.keep_hints(group.missed_by_dead(made_at));
        let mut fan_out = self.send(&group, &trace).await;
        while group.is_pending() {
            match fan_out.next_before(group.patience()).await {
                Next::Answer(answer) => {
                    group.hear(answer, &trace);
                    // The next one wins over that, whatever comes of these.
                    group.outrun_by().into_iter().for_each(|newer| self.clock.observe(newer));
                }
                Next::Late => {
                    helenus_storage::sometimes!(
                        "the last replicas were not awaited for what had outrun a write"
                    );
                    group.on_late(Instant::now());
                }
                Next::Over => {
                    helenus_storage::sometimes!("a write met its deadline");
                    group.on_deadline();
                }
            }
            callers.tell_early(&group, &trace);
            if group.is_pending() && !group.is_below_level() {
                over.take();
            }
        }
        let ends = self.ends(&mut group, made_at, kept, &trace).await;
        let held = callers.tell(ends, &trace);
        drop(over);
        let places = u32::try_from(held.len()).unwrap_or(u32::MAX);
        let Ok(_late) = self.late.try_acquire_many(places) else {
            helenus_storage::sometimes!("late replicas were not awaited");
            self.keep_hints(group.missed_by_live(made_at)).count().await;
            return;
        };
        drop(held);
        while let Some(answer) = fan_out.next().await {
            helenus_storage::sometimes!("a late acknowledgement came");
            group.hear(answer, &trace);
        }
        let missed = group.missed_by_live(made_at);
        let (mut here, elsewhere): (Vec<Missed>, _) =
            missed.into_iter().partition(|missed| missed.host == self.host_id());
        let kept = self.keep_hints(elsewhere);
        // Where nobody has a write, this node lacks nothing.
        here.retain(|missed| group.writes[missed.write].applied > 0);
        self.try_all_again_here(here, group.deadline).await;
        kept.count().await;
    }

    /// That records exist, and how far stamps go: the first write of a node waits here for a sync, and one write in two
    /// seconds. Nothing was sent yet, but a storage that fails may have kept the note: that is said as a failure of
    /// this node's replica.
    async fn save_before_sending(&self, group: &mut Group) -> Result<(), Vec<Ended>> {
        let (latest, deadline) = (group.latest(), group.deadline);
        let save = async {
            self.cluster.save_user_records().await?;
            self.clock.cover(latest, &self.replica.store).await
        };
        match timeout_at(deadline, save).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let failed = |_, Write { level, quorum, .. }: &Write| {
                    let failures = vec![(self.host_id(), error.clone())];
                    let (level, required, shortages) = (*level, quorum.required(), Vec::new());
                    Some(Err(RequestError::Failed { level, required, received: 0, failures, shortages }))
                };
                Err(group.ends(failed))
            }
            Err(_) => {
                group.on_deadline();
                Err(group.ends(|_, _| None))
            }
        }
    }

    async fn send(&self, group: &Group, trace: &Trace) -> FanOut<Vec<Applied>> {
        let mut fan_out = FanOut::until(group.deadline, self.stop.clone());
        let (straight, datacenters) = self.routes(group);
        for host in straight {
            trace.note(|| format!("sent to {host}"));
            fan_out.add(host, self.write_at(host, group, Relay::None, trace)).await;
        }
        for hosts in datacenters {
            self.send_to_datacenter(&hosts, group, trace, &mut fan_out).await;
        }
        fan_out
    }

    /// Whom to send the writes themselves, and whom by a forwarder: in each other datacenter the first of its replicas.
    fn routes(&self, group: &Group) -> (Vec<HostId>, Vec<Vec<HostId>>) {
        let picture = &group.picture;
        let own = picture.view().own().datacenter.as_str();
        let (mut straight, mut remote) = (Vec::new(), BTreeMap::<&str, Vec<HostId>>::new());
        for &host in &group.recipients.alive {
            match datacenter_of(picture, host) {
                datacenter if datacenter == own => straight.push(host),
                datacenter => remote.entry(datacenter).or_default().push(host),
            }
        }
        let (several, alone): (Vec<_>, Vec<_>) = remote.into_values().partition(|hosts| hosts.len() > 1);
        straight.extend(alone.into_iter().flatten());
        let in_order = |hosts| self.nearest.order(picture, hosts);
        (straight, several.into_iter().map(in_order).collect())
    }

    async fn send_to_datacenter(
        &self,
        hosts: &[HostId],
        group: &Group,
        trace: &Trace,
        fan_out: &mut FanOut<Vec<Applied>>,
    ) {
        let Some((&forwarder, others)) = hosts.split_first() else { return };
        trace.note(|| {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            format!("sent to {forwarder}, to be forwarded to {}", others.join(", "))
        });
        self.resends.lock().deposit();
        let ticket = self.forwarded.ticket();
        let has_failed = CancellationToken::new();
        let now = Instant::now();
        let patience = now + group.deadline.saturating_duration_since(now) / 2;
        // Before the forwarder is asked: they may be quicker than it is.
        let expected: Vec<_> = others.iter().map(|host| self.forwarded.expect(ticket, *host)).collect();
        let call = self.write_at(forwarder, group, Relay::Forward { to: others.to_vec(), ticket }, trace);
        let on_failure = has_failed.clone();
        let call = async move {
            let result = call.await;
            if result.is_err() {
                on_failure.cancel();
            }
            result
        };
        fan_out.add(forwarder, call.boxed()).await;
        for (&host, expected) in others.iter().zip(expected) {
            let resends = Arc::clone(&self.resends);
            let affordable = move || resends.lock().withdraw();
            let send = self.write_at(host, group, Relay::None, trace);
            let part = trace.part_of(host);
            let acknowledged = expected.or_straight(part, has_failed.clone(), patience, affordable, send);
            fan_out.add(host, acknowledged).await;
        }
    }

    /// One replica's part.
    fn write_at(
        &self,
        host: HostId,
        group: &Group,
        relay: Relay,
        trace: &Trace,
    ) -> BoxFuture<'static, Result<Vec<Applied>, Missing>> {
        let part = trace.part_of(host);
        let (writes, deadline) = (Arc::clone(&group.mutations), group.deadline);
        let must_win = group.must_win();
        if host == self.host_id() {
            let replica = Arc::clone(&self.replica);
            return async move {
                let steps = part.begin();
                let applied = replica.write(&writes, &must_win, &steps).await;
                part.end(steps);
                Ok(applied)
            }
            .boxed();
        }
        let Some(to) = group.picture.destination(host) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let peers = Arc::clone(&self.peers);
        let request = Request::Write { writes, relay, must_win };
        async move {
            match part.call(&peers, &to, TrafficClass::Request, request, deadline).await {
                Ok(Response::Written { results }) => Ok(results),
                Ok(other) => Err(missing_answer(other)),
                Err(error) => Err(missing_call(&error)),
            }
        }
        .boxed()
    }
}
