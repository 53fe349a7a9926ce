//! What is asked of one connection: requests that wait to be sent and calls that wait for their answer.
//!
//! Callers put requests in and the connection's task takes them out, under one short lock. All that a slow or
//! silent peer can pile up lies here and is bounded: waiting requests by count and bytes, sent ones by count.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use helenus_cluster::{
    membership::{Gossip, digest::Delta},
    message::{Get, Message, Request},
    node::transport::CallError,
    wire::Encoded,
};
use helenus_storage::Mutation;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{backoff::Backoff, settings::PeerSettings};

type Answer = Result<Encoded, CallError>;

/// Requests of this node that were never sent, of all its connections.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// Their deadline had passed when their turn came.
    pub(super) expired: AtomicU64,
    /// Nobody waited for their answer any more.
    pub(super) abandoned: AtomicU64,
}

/// Requests and calls of one connection, made or to be made.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    unsent: Arc<Unsent>,
    /// Wakes the connection's task when there may be something to send.
    pub(super) work: Notify,
    queue_bytes: usize,
    queue_requests: usize,
    in_flight: usize,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// Calls whose request is sent.
    in_flight: HashMap<u64, oneshot::Sender<Answer>>,
    next_correlation: u64,
    last_used: Instant,
}

#[derive(Debug)]
enum Connection {
    /// None, and none is being made: whether a call is worth an attempt is the backoff's decision.
    Absent,
    /// Made or being made.
    Underway,
    /// None any more, and what calls are told.
    Stopped(CallError),
}

#[derive(Debug)]
struct Queued {
    correlation: u64,
    message: Message<Request>,
    bytes: usize,
    deadline: Instant,
    caller: oneshot::Sender<Answer>,
}

/// A request that must be sent now; its call counts as in flight from here on.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) correlation: u64,
    pub(super) message: Message<Request>,
    pub(super) deadline: Instant,
}

/// A call that waits for its answer. Dropping it gives up waiting.
#[derive(Debug)]
pub(super) struct PendingCall {
    outbox: Arc<Outbox>,
    correlation: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Outbox {
    pub(super) fn new(settings: &PeerSettings, unsent: Arc<Unsent>) -> Self {
        let state = State {
            connection: Connection::Absent,
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: HashMap::new(),
            next_correlation: 1,
            last_used: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
            unsent,
            work: Notify::new(),
            queue_bytes: settings.queue_bytes,
            queue_requests: settings.queue_requests,
            in_flight: settings.in_flight_requests,
        }
    }

    /// Queues a request, or says at once why not.
    pub(super) fn submit(
        self: &Arc<Self>,
        message: Message<Request>,
        deadline: Instant,
        backoff: &Mutex<Backoff>,
    ) -> Result<PendingCall, CallError> {
        let now = Instant::now();
        if deadline <= now {
            return Err(CallError::TimedOut);
        }
        let bytes = estimated_bytes(&message.body);
        let mut state = self.state.lock();
        match &state.connection {
            Connection::Underway => {}
            Connection::Absent => backoff.lock().verdict(now).map_or(Ok(()), Err)?,
            Connection::Stopped(error) => return Err(error.clone()),
        }
        if state.queue.len() >= self.queue_requests
            || state.queued_bytes.saturating_add(bytes) > self.queue_bytes
            || state.in_flight.len() >= self.in_flight
        {
            return Err(CallError::Overloaded);
        }
        let (caller, answer) = oneshot::channel();
        let correlation = state.next_correlation;
        state.next_correlation += 1;
        state.last_used = now;
        state.queued_bytes += bytes;
        state.queue.push_back(Queued { correlation, message, bytes, deadline, caller });
        drop(state);
        self.work.notify_one();
        Ok(PendingCall { outbox: Arc::clone(self), correlation, answer })
    }

    /// Whether a connection is wanted; if so, calls from now on wait for the outcome of the attempt.
    pub(super) fn begin_connecting(&self) -> bool {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            return false;
        }
        state.connection = Connection::Underway;
        true
    }

    /// Takes requests of about `bytes` together. What has expired is left out, unsent, and so are reads that nobody
    /// waits for any more. A write goes out all the same: whoever gave up on its answer wants it done no less.
    pub(super) fn take(&self, bytes: usize, now: Instant, batch: &mut Vec<Outgoing>) {
        let mut state = self.state.lock();
        let mut taken = 0;
        while taken < bytes && state.in_flight.len() < self.in_flight {
            let Some(queued) = state.queue.pop_front() else { break };
            state.queued_bytes -= queued.bytes;
            if queued.deadline <= now {
                self.unsent.expired.fetch_add(1, Ordering::Relaxed);
                settle(queued.caller, Err(CallError::TimedOut));
                continue;
            }
            let is_awaited = !queued.caller.is_closed();
            if !is_awaited && !matches!(queued.message.body, Request::Write { .. }) {
                self.unsent.abandoned.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            taken += queued.bytes;
            if is_awaited {
                state.in_flight.insert(queued.correlation, queued.caller);
            }
            let Queued { correlation, message, deadline, .. } = queued;
            batch.push(Outgoing { correlation, message, deadline });
        }
    }

    /// Ends a call that is in flight. Late answers find nobody and are dropped.
    pub(super) fn complete(&self, correlation: u64, answer: Answer) {
        let (caller, was_full) = {
            let mut state = self.state.lock();
            let was_full = state.in_flight.len() >= self.in_flight;
            (state.in_flight.remove(&correlation), was_full)
        };
        if was_full {
            self.work.notify_one();
        }
        if let Some(caller) = caller {
            settle(caller, answer);
        }
    }

    /// The connection could not be made, or is lost: requests still queued were certainly not sent and end with
    /// `unsent`, those in flight with [`CallError::Lost`].
    pub(super) fn disconnected(&self, unsent: &CallError, reason: &str) {
        self.end_all(Connection::Absent, unsent, reason);
    }

    /// As `disconnected`, and no call is taken any more.
    pub(super) fn stopped(&self, unsent: &CallError) {
        self.end_all(Connection::Stopped(unsent.clone()), unsent, "this node is stopping");
    }

    /// Whether several calls are under way.
    pub(super) fn is_shared(&self) -> bool {
        let state = self.state.lock();
        state.queue.len() + state.in_flight.len() > 1
    }

    /// Whether no call was made for `time` and none is waiting.
    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        let state = self.state.lock();
        state.queue.is_empty() && state.in_flight.is_empty() && state.last_used.elapsed() >= time
    }

    /// Nobody waits any more. A request that is still queued stays until its turn.
    fn forget(&self, correlation: u64) {
        self.complete(correlation, Err(CallError::TimedOut));
    }

    fn end_all(&self, connection: Connection, unsent: &CallError, reason: &str) {
        let (queue, in_flight) = {
            let mut state = self.state.lock();
            state.connection = connection;
            state.queued_bytes = 0;
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.in_flight))
        };
        for queued in queue {
            settle(queued.caller, Err(unsent.clone()));
        }
        for caller in in_flight.into_values() {
            settle(caller, Err(CallError::Lost { reason: reason.to_owned() }));
        }
    }
}

impl PendingCall {
    /// Waits for the answer, at most until `deadline`.
    pub(super) async fn answer(mut self, deadline: Instant) -> Answer {
        match tokio::time::timeout_at(deadline, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Lost { reason: "the connection's task has ended".to_owned() }),
            Err(_) => Err(CallError::TimedOut),
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            // First, so that the connection's task cannot take the request for an awaited one after it is forgotten.
            self.answer.close();
            self.outbox.forget(self.correlation);
        }
    }
}

fn settle(caller: oneshot::Sender<Answer>, answer: Answer) {
    // An error means that the caller has just given up.
    let _ = caller.send(answer);
}

/// About what a request takes in memory and on the wire. Encoding it to know exactly would be in vain for each
/// request that expires in the queue.
fn estimated_bytes(request: &Request) -> usize {
    const FIXED: usize = 256;
    const UNKNOWN: usize = 4096;
    FIXED
        + match request {
            Request::Write { writes, .. } => writes.iter().map(|(_, mutation)| mutation.encoded_len()).sum(),
            Request::Read { key, .. } => key.len(),
            Request::Multiget { gets } => gets.iter().map(|get| size_of::<Get>() + get.key.len()).sum(),
            Request::Repair { mutations, .. } => mutations.iter().map(Mutation::encoded_len).sum(),
            Request::Scan { range, .. } => range.from.len() + range.until.as_ref().map_or(0, Bytes::len),
            Request::Hints { hints } => hints.iter().map(|(_, mutation)| mutation.encoded_len()).sum(),
            Request::Exchange(exchange) => {
                let members = exchange.members.iter().map(|member| FIXED + 8 * member.tokens.len());
                members.sum::<usize>() + FIXED * exchange.tables.len()
            }
            Request::Gossip(gossip) => match &gossip.gossip {
                Gossip::Syn(syn) => size_of_val(syn.digests.as_slice()),
                Gossip::Ack2(deltas) => deltas.iter().map(Delta::size_bytes).sum(),
                Gossip::Probe(_) => 0,
            },
            _ => UNKNOWN,
        }
}
