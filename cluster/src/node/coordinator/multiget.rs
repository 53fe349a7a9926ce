//! Reads that are asked for together: what their beginnings have in common.
//!
//! ```text
//!   requests ──> plan each ──> whom each asks first ──> one message for each replica, with all that it is asked
//!                                                          │ its answer: of each key what it holds
//!   an outcome for each, as it comes <── each goes on by itself: agree, ask others or again, repair
//! ```
//!
//! A replica is asked for all keys at once whatever their levels, tables and other replicas: with many nodes few keys have
//! all their replicas in common. From the answers on, each is a [`Reading`] like one that came alone, with verdict, session,
//! late replicas, second round and repair of its own: most have none of these, and those that do are few.
//!
//! An answer to several keys holds as much as surely fits into one message. What does not is asked for alone, and so is
//! whatever a reading needs beyond its beginning. As such answers may be large, few readings of a batch at a time may do
//! so, each in a place of those for requests. So that silent replicas do not let readings pile up, a batch itself takes
//! places in proportion to those of it that are under way. Rejected: windows, of which a silent replica would hold up the
//! next one to the deadline.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Shared},
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    Coordinator, Patience, failure,
    fan_out::{missing_answer, missing_call, missing_error},
    of_missing_table,
    reading::Reading,
    trace::Trace,
};
use crate::{
    error::RequestError,
    message::{Get, Got, Message, Request, Response, Step, TrafficClass},
    node::{Failure, ReadOutcome, ReadRequest},
    node_id::HostId,
    quorum::{Answer, Ask, Missing, Wants},
};

/// Keys of one message. A replica answers those that are in memory without a pause.
const MESSAGE_KEYS: usize = 128;
/// The keys of one message are no longer than this together, so that it fits into the smallest frame that a node may be
/// told to take.
const MESSAGE_BYTES: usize = 48 << 10;
/// Readings of one batch that take one place among all requests: each needs some KiB for as long as its replicas are
/// silent.
const READINGS_OF_A_PLACE: usize = 32;
/// Readings of one batch that ask for their keys alone at a time.
const ALONE_AT_ONCE: usize = 32;

/// What came of a read.
type Outcome = Result<ReadOutcome, Failure>;

/// Whether a reading has to wait before it asks for its key alone.
#[derive(Clone)]
pub(super) enum Turn {
    /// It came alone.
    NotNeeded,
    /// Not yet: those of its batch.
    Awaited(Arc<Semaphore>),
    /// Until it is answered: a turn of its batch, and a place among all requests.
    Taken { _held: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)> },
}

/// A message with several keys, as far as each of their readings waits for it.
type Call = Shared<BoxFuture<'static, Result<Arc<Told>, Missing>>>;

/// What a replica has answered to it.
struct Told {
    sent: Instant,
    steps: Vec<Step>,
    answers: Vec<Got>,
}

/// Whom readings ask in one message, as far as they fit: in the order in which they are asked.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Addressee {
    /// What this node has in memory it reads as it is asked: meanwhile the messages to others are on their way.
    is_own: bool,
    host_id: HostId,
    deadline: Instant,
    is_traced: bool,
}

impl Coordinator {
    /// Coordinates reads; what came of each, with its place among them, as it comes.
    pub(crate) fn read_batch(
        self: &Arc<Self>,
        requests: Vec<ReadRequest>,
    ) -> impl Stream<Item = (usize, Outcome)> + Send + use<> {
        let coordinator = Arc::clone(self);
        async move { coordinator.begin_reads(requests).await }.flatten_stream()
    }

    async fn begin_reads(
        self: Arc<Self>,
        requests: Vec<ReadRequest>,
    ) -> impl Stream<Item = (usize, Outcome)> + Send + use<> {
        let begun = Instant::now();
        let permit = self.admit_in(requests.len().div_ceil(READINGS_OF_A_PLACE));
        let mut are_known = true;
        if let (Ok(_), Some(first)) = (&permit, requests.first()) {
            let deadline = Patience::since(begun, &first.options, self.read_timeout.get()).deadline;
            let tables = requests.iter().map(|request| request.table.as_str());
            are_known = self.look_for_tables(tables, deadline).await;
        }
        let picture = self.cluster.picture();
        let turns = Arc::new(Semaphore::new(ALONE_AT_ONCE));
        let (mut refused, mut readings) = (Vec::new(), Vec::with_capacity(requests.len()));
        for (place, request) in requests.into_iter().enumerate() {
            let trace = self.trace("read", &request.table, &request.options);
            let patience = Patience::since(begun, &request.options, self.read_timeout.get());
            let may_be_sent = permit.as_ref().map(drop).map_err(RequestError::clone);
            match may_be_sent.and_then(|()| self.plan_read(&request, patience, &picture, &trace)) {
                Ok((plan, quorum)) => {
                    let turn = Turn::Awaited(Arc::clone(&turns));
                    readings.push((place, Reading::new(&self, plan, quorum, turn, trace)));
                }
                Err(error) => refused.push((place, Err(failure(of_missing_table(error, are_known), &trace)))),
            }
        }
        self.ask_together(&mut readings).await;
        let (mut held, mut left) = (permit.ok(), readings.len());
        let answer =
            |(place, reading): (usize, Reading)| reading.answer().map(move |outcome| (place, outcome));
        let answered: FuturesUnordered<_> = readings.into_iter().map(answer).collect();
        let answered = answered.inspect(move |_| {
            left -= 1;
            give_back(&mut held, left);
        });
        stream::iter(refused).chain(answered)
    }

    /// Asks whom each of them asks first.
    async fn ask_together(&self, readings: &mut [(usize, Reading)]) {
        // Of each replica the readings that ask it, by their numbers.
        let mut asked = BTreeMap::<Addressee, Vec<(usize, Ask)>>::new();
        for (number, (_, reading)) in readings.iter_mut().enumerate() {
            let (deadline, is_traced) = (reading.plan.goal.deadline, reading.trace.request().is_traced);
            for ask in reading.begin() {
                let host_id = ask.host_id;
                let to = Addressee { is_own: host_id == self.host_id(), host_id, deadline, is_traced };
                asked.entry(to).or_default().push((number, ask));
            }
        }
        for (Addressee { host_id, deadline, .. }, mut asks) in asked {
            while !asks.is_empty() {
                let key_bytes = |(number, _): &(usize, Ask)| readings[*number].1.plan.target.key.len();
                let rest = asks.split_off(of_one_message(asks.iter().map(key_bytes)));
                self.ask_one(host_id, deadline, &asks, readings).await;
                asks = rest;
            }
        }
    }

    /// Asks one replica with one message.
    async fn ask_one(
        &self,
        host_id: HostId,
        deadline: Instant,
        asks: &[(usize, Ask)],
        readings: &mut [(usize, Reading)],
    ) {
        let Some((first, _)) = asks.first() else { return };
        if asks.len() > 1 {
            helenus_storage::sometimes!("reads travelled together");
        }
        let gets = asks.iter().map(|(number, ask)| {
            let plan = &readings[*number].1.plan;
            let (table, key, as_of) = (plan.target.table, plan.target.key.clone(), plan.as_of);
            Get { table, key, as_of, wants: ask.wants }
        });
        let call = self.multiget_at(host_id, gets.collect(), &readings[*first].1, deadline).shared();
        for (place, (number, ask)) in asks.iter().enumerate() {
            let reading = &mut readings[*number].1;
            reading.begin_again();
            reading.note_asked(*ask);
            if place == 0 {
                reading.tells_of.insert(host_id);
            }
            let answer = answer_of(call.clone(), place, *ask, &reading.trace);
            reading.reads.add(host_id, answer.boxed()).await;
        }
    }

    /// The part of one replica in several readings, of which one tells what the others have in common with it.
    fn multiget_at(
        &self,
        host_id: HostId,
        gets: Vec<Get>,
        Reading { trace, plan, .. }: &Reading,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Arc<Told>, Missing>> {
        let sent = Instant::now();
        if host_id == self.host_id() {
            let (replica, part) = (Arc::clone(&self.replica), trace.part_of(host_id));
            // As another node does it.
            let until = sent + deadline.saturating_duration_since(sent) * 3 / 4;
            let call = async move {
                let steps = part.begin();
                let answers = replica.multiget(gets, until, &steps).await;
                Ok(Arc::new(Told { sent, steps: steps.end().1, answers }))
            };
            return self.timed(host_id, call);
        }
        let Some(to) = plan.target.picture.destination(host_id) else {
            return async { Err(Missing::Lost) }.boxed();
        };
        let (peers, about, asked) = (Arc::clone(&self.peers), Some(trace.request()), gets.len());
        let call = async move {
            let request = Request::Multiget { gets };
            match peers.call_anyone(&to, TrafficClass::Request, request, deadline, about).await {
                // With fewer nobody knows which is whose.
                Ok(Message { header, body: Response::Multiget { answers } }) if answers.len() == asked => {
                    Ok(Arc::new(Told { sent, steps: header.steps, answers }))
                }
                Ok(Message { body, .. }) => Err(missing_answer(body)),
                Err(error) => Err(missing_call(&error)),
            }
        };
        self.timed(host_id, call)
    }
}

/// Gives back the places that so many readings do not need any more.
fn give_back(held: &mut Option<OwnedSemaphorePermit>, readings: usize) {
    if let Some(held) = held {
        let free = held.num_permits().saturating_sub(readings.div_ceil(READINGS_OF_A_PLACE));
        drop(held.split(free));
    }
}

/// How many of these keys are sent in one message, at least one.
fn of_one_message(key_bytes: impl Iterator<Item = usize>) -> usize {
    let mut total = 0;
    let fits = key_bytes.take(MESSAGE_KEYS).take_while(|bytes| {
        total += bytes;
        total <= MESSAGE_BYTES
    });
    fits.count().max(1)
}

/// What a message says of one of its keys.
fn answer_of(
    call: Call,
    place: usize,
    Ask { host_id, wants }: Ask,
    trace: &Trace,
) -> impl Future<Output = Result<Answer, Missing>> + Send + use<> {
    let part = trace.part_of(host_id);
    async move {
        let told = call.await?;
        part.place(told.sent, told.steps.clone());
        match told.answers.get(place) {
            // It says nothing of it.
            None => Err(Missing::Silence),
            Some(Ok(Answer::Digest(_))) if wants == Wants::Record => Err(Missing::Silence),
            Some(got) => got.clone().map_err(missing_error),
        }
    }
}

impl Turn {
    /// A turn and a place, if there are both at this moment.
    pub(super) fn if_free(&self, coordinator: &Coordinator) -> Option<Self> {
        match self {
            Self::Awaited(turns) => {
                let turn = Arc::clone(turns).try_acquire_owned().ok()?;
                Some(Self::taken(turn, coordinator.take_places(1).ok()?))
            }
            Self::NotNeeded | Self::Taken { .. } => Some(self.clone()),
        }
    }

    fn taken(turn: OwnedSemaphorePermit, place: OwnedSemaphorePermit) -> Self {
        Self::Taken { _held: Arc::new((turn, place)) }
    }
}

impl Reading {
    /// Waits, as one of a batch, until it may ask for its key alone.
    pub(super) async fn take_turn(&mut self) -> Result<(), RequestError> {
        let Turn::Awaited(turns) = &self.turn else { return Ok(()) };
        let asked = Instant::now();
        // Past the deadline nobody is asked any more, and it is told as what it is.
        let Ok(Ok(turn)) = timeout_at(self.plan.goal.deadline, Arc::clone(turns).acquire_owned()).await
        else {
            return Ok(());
        };
        self.turn = Turn::taken(turn, self.coordinator.take_places(1)?);
        self.put_off(asked.elapsed());
        Ok(())
    }
}
