//! A batch on its way: its operations are done in turns.
//!
//! In a turn each key has its next writes, up to its next read, or else its next reads. The writes of all keys go to the
//! coordinator together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join, stream};
use helenus_cluster::{
    consistency::Consistency,
    node::{Change, ReadRequest, RequestOptions, WriteRequest},
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

/// Keys of one batch that are read at once.
const CONCURRENT_KEYS: usize = 32;

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
    /// The client's session with what was done to this key before; none if the client gave none.
    session: Option<Arc<Session>>,
}

impl Key {
    fn is_written_next(&self) -> bool {
        matches!(self.left.front(), Some((_, Asked::Write(_))))
    }

    fn next_write(&mut self) -> Option<(usize, WriteRequest)> {
        match self.left.pop_front()? {
            (place, Asked::Write(write)) => Some((place, write)),
            read => {
                self.left.push_front(read);
                None
            }
        }
    }

    fn next_read(&mut self) -> Option<(usize, ReadRequest)> {
        match self.left.pop_front()? {
            (place, Asked::Read(read)) => Some((place, read)),
            write => {
                self.left.push_front(write);
                None
            }
        }
    }
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
        while !keys.is_empty() {
            let (written, read): (Vec<&mut Key>, _) = keys.iter_mut().partition(|key| key.is_written_next());
            let read: Vec<_> = read.into_iter().map(|key| self.read(key)).collect();
            let read = stream::iter(read).buffer_unordered(CONCURRENT_KEYS);
            let (written, read) = join(self.write(written), read.concat()).await;
            for (place, outcome) in written.into_iter().chain(read) {
                results[place] = Some(outcome);
            }
            keys.retain(|key| !key.left.is_empty());
        }
        results.into_iter().flatten().collect()
    }

    /// Does the next writes of some keys. They are stamped in their order.
    async fn write(&self, mut keys: Vec<&mut Key>) -> Vec<(usize, Outcome)> {
        let start = Instant::now();
        let (mut requests, mut about) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::new();
        // The same for all: those with different deadlines would not travel together.
        let left = self.time_left(start);
        for (number, key) in keys.iter_mut().enumerate() {
            while let Some((place, mut request)) = key.next_write() {
                if left.is_zero() {
                    outcomes.push((place, too_late(Access::Write)));
                    continue;
                }
                let is_delete = request.change == Change::Delete;
                about.push((number, place, if is_delete { Operation::Delete } else { Operation::Put }));
                self.prepare(&mut request.options, &key.session, left);
                requests.push(request);
            }
        }
        let written = self.node.write_batch(requests).await;
        for ((number, place, operation), written) in about.into_iter().zip(written) {
            let session = &mut keys[number].session;
            let (level, outcome) = match written {
                Ok(written) => {
                    self.note(session, written.observed.as_ref());
                    (Some(written.met.level), Outcome::of_write(&written))
                }
                Err(failure) => {
                    self.follow(session, failure.stamped);
                    (None, Outcome::of_failure(&failure, Access::Write))
                }
            };
            self.record(operation, level, &outcome, start);
            outcomes.push((place, outcome));
        }
        outcomes
    }

    /// Does the next reads of a key, one after the other, so that none is of an older version than the one before.
    async fn read(&self, key: &mut Key) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::new();
        while let Some((place, mut request)) = key.next_read() {
            let start = Instant::now();
            let left = self.time_left(start);
            if left.is_zero() {
                outcomes.push((place, too_late(Access::Read)));
                continue;
            }
            self.prepare(&mut request.options, &key.session, left);
            let (level, outcome) = match self.node.read(request).await {
                Ok(read) => {
                    self.note(&mut key.session, read.observed.as_ref());
                    (Some(read.met.level), Outcome::of_read(read, &self.room))
                }
                Err(failure) => (None, Outcome::of_failure(&failure, Access::Read)),
            };
            self.record(Operation::Get, level, &outcome, start);
            outcomes.push((place, outcome));
        }
        outcomes
    }

    fn time_left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }

    /// What an operation has of its batch.
    fn prepare(&self, options: &mut RequestOptions, session: &Option<Arc<Session>>, left: Duration) {
        // Otherwise it has the time that the node gives to one read or write.
        options.timeout = self.timeout.map(|_| left);
        options.session.clone_from(session);
        options.request_id = self.request_id;
    }

    fn record(&self, operation: Operation, level: Option<Consistency>, outcome: &Outcome, start: Instant) {
        let level = level.or(outcome.level());
        self.api.metrics.record(operation, level, outcome.problem(), start.elapsed());
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

fn too_late(access: Access) -> Outcome {
    let detail = "the time of the batch was over before this operation was sent";
    Problem::new(Kind::Overloaded, detail).not_sent(access).into()
}
