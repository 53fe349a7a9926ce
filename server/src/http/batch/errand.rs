//! A batch on its way: of each key one operation after the other.
//!
//! Whenever what a key has sent is done, its next writes, up to its next read, or else its next read are sent, together
//! with those of all other keys that are as far.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{BoxStream, SelectAll},
};
use helenus_cluster::{
    node::{Failure, ReadOutcome, RequestOptions, WriteOutcome},
    session::{Observed, Session},
    time::Timestamp,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    operation::{Asked, Batch},
    result::Outcome,
};
use crate::{
    http::{
        Api, Coordinate,
        problem::{Access, Kind, Problem},
    },
    telemetry::Operation,
};

/// One batch on its way.
pub(super) struct Errand<'a> {
    pub(super) api: &'a Api,
    pub(super) node: &'a dyn Coordinate,
    /// What the client gave the whole batch.
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Instant,
    /// How many bytes of values the reply still has room for.
    pub(super) room: AtomicUsize,
    /// The client's session, if it gave one.
    pub(super) before: Option<Arc<Session>>,
    /// What the logs call all of its operations.
    pub(super) request_id: Option<u64>,
    /// The session, with all that was done since.
    pub(super) after: Mutex<Session>,
}

/// What is left to do with one key.
#[derive(Default)]
struct Key {
    /// Each with its place in the batch.
    left: VecDeque<(usize, Asked)>,
    /// How many of its operations are on their way.
    under_way: usize,
    /// The client's session with what was done to this key before; none if the client gave none.
    session: Option<Arc<Session>>,
}

impl Key {
    /// Its next writes, or its next read: reads are made one after the other, so that none is of an older version than the
    /// one before. A write with a timestamp of the client's own does not go with one without before it, which may be stamped
    /// anew.
    fn next(&mut self) -> Vec<(usize, Asked)> {
        let mut is_stamped_here = false;
        let goes_along = |(_, asked): &&(usize, Asked)| match asked {
            Asked::Write(write) if write.timestamp.is_some() => !is_stamped_here,
            Asked::Write(_) => {
                is_stamped_here = true;
                true
            }
            Asked::Read(_) => false,
        };
        let writes = self.left.iter().take_while(goes_along).count();
        let next: Vec<_> = self.left.drain(..writes.max(1).min(self.left.len())).collect();
        self.under_way = next.len();
        next
    }
}

/// An operation on its way.
#[derive(Clone, Copy)]
struct Sent {
    operation: Operation,
    /// Which of the keys.
    key: usize,
    /// Its place in the batch.
    place: usize,
    start: Instant,
}

/// What the coordinator says of it.
enum Done {
    Write(Result<WriteOutcome, Failure>),
    Read(Result<ReadOutcome, Failure>),
}

impl Errand<'_> {
    /// The results, in the order of the operations.
    pub(super) async fn run(&self, batch: Batch) -> Vec<Outcome> {
        let mut results: Vec<Option<Outcome>> = Vec::new();
        let mut by_key: BTreeMap<(String, Bytes), Key> = BTreeMap::new();
        for (place, checked) in batch.checked(self.api.limits.max_value_bytes).enumerate() {
            results.push(None);
            match checked {
                Ok(asked) => {
                    let key = by_key.entry(asked.place()).or_default();
                    key.session.clone_from(&self.before);
                    key.left.push_back((place, asked));
                }
                Err(problem) => results[place] = Some(Outcome::from(problem)),
            }
        }
        let mut keys: Vec<Key> = by_key.into_values().collect();
        let mut idle: Vec<usize> = (0..keys.len()).collect();
        let mut under_way = SelectAll::new();
        loop {
            under_way.extend(self.send(&mut keys, &mut idle, &mut results));
            let Some(done) = under_way.next().await else { break };
            // With all that came with it, so that what is next of their keys travels together too.
            let mut next = Some(done);
            while let Some((sent, done)) = next {
                let key = &mut keys[sent.key];
                results[sent.place] = Some(self.outcome(sent, done, &mut key.session));
                key.under_way -= 1;
                if key.under_way == 0 && !key.left.is_empty() {
                    idle.push(sent.key);
                }
                next = under_way.next().now_or_never().flatten();
            }
        }
        results.into_iter().flatten().collect()
    }

    /// Sends the next operations of idle keys. Writes are stamped in their order.
    fn send(
        &self,
        keys: &mut [Key],
        idle: &mut Vec<usize>,
        results: &mut [Option<Outcome>],
    ) -> Vec<BoxStream<'_, (Sent, Done)>> {
        let start = Instant::now();
        // The same for all: those with different deadlines would not travel together.
        let left = self.deadline.saturating_duration_since(start);
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        let (mut written, mut read) = (Vec::new(), Vec::new());
        for key in idle.drain(..) {
            let of_key = &mut keys[key];
            if left.is_zero() {
                for (place, asked) in of_key.left.drain(..) {
                    results[place] = Some(too_late(&asked));
                }
                continue;
            }
            for (place, asked) in of_key.next() {
                let operation = asked.operation();
                let sent = Sent { operation, key, place, start };
                match asked {
                    Asked::Write(mut write) => {
                        self.prepare(&mut write.options, &of_key.session, left);
                        writes.push(write);
                        written.push(sent);
                    }
                    Asked::Read(mut get) => {
                        self.prepare(&mut get.options, &of_key.session, left);
                        reads.push(get);
                        read.push(sent);
                    }
                }
            }
        }
        let mut streams = Vec::new();
        if !writes.is_empty() {
            let done = self.node.write_batch(writes);
            streams.push(done.map(move |(number, done)| (written[number], Done::Write(done))).boxed());
        }
        if !reads.is_empty() {
            let done = self.node.read_batch(reads);
            streams.push(done.map(move |(number, done)| (read[number], Done::Read(done))).boxed());
        }
        streams
    }

    fn outcome(
        &self,
        Sent { operation, start, .. }: Sent,
        done: Done,
        session: &mut Option<Arc<Session>>,
    ) -> Outcome {
        let (level, outcome) = match done {
            Done::Write(Ok(written)) => {
                self.note(session, written.observed.as_ref());
                (Some(written.met.level), Outcome::of_write(&written))
            }
            Done::Write(Err(failure)) => {
                self.follow(session, failure.stamped);
                (None, Outcome::of_failure(&failure, Access::Write))
            }
            Done::Read(Ok(read)) => {
                self.note(session, read.observed.as_ref());
                (Some(read.met.level), Outcome::of_read(read, &self.room))
            }
            Done::Read(Err(failure)) => (None, Outcome::of_failure(&failure, Access::Read)),
        };
        let level = level.or(outcome.level());
        self.api.metrics.record(operation, level, outcome.problem(), start.elapsed());
        outcome
    }

    /// What an operation has of its batch.
    fn prepare(&self, options: &mut RequestOptions, session: &Option<Arc<Session>>, left: Duration) {
        // Otherwise it has the time that the node gives to one read or write.
        options.timeout = self.timeout.map(|_| left);
        options.session.clone_from(session);
        options.request_id = self.request_id;
    }

    fn note(&self, of_key: &mut Option<Arc<Session>>, observed: Option<&Observed>) {
        let Some(observed) = observed else { return };
        self.after.lock().note(observed);
        if let Some(session) = of_key {
            Arc::make_mut(session).note(observed);
        }
    }

    fn follow(&self, of_key: &mut Option<Arc<Session>>, stamped: Option<Timestamp>) {
        let Some(stamped) = stamped else { return };
        self.after.lock().follow(stamped);
        if let Some(session) = of_key {
            Arc::make_mut(session).follow(stamped);
        }
    }
}

fn too_late(asked: &Asked) -> Outcome {
    let detail = "the time of the batch was over before this operation was sent";
    let access = if matches!(asked, Asked::Read(_)) { Access::Read } else { Access::Write };
    Problem::new(Kind::Overloaded, detail).not_sent(access).into()
}
