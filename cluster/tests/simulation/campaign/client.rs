//! Clients: they do what they wish, one thing at a time, and write down what they saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use helenus_bench::history::{
    Acknowledgement, Action, IN_MANY_PAGES, Level, Moment, Operation, Outcome, Phase, Seen, Timestamp,
};
use helenus_cluster::{
    consistency::Consistency,
    error::RequestError,
    node::{Change, Met, ReadOutcome, ReadRequest, RequestOptions, WriteOutcome, WriteRequest},
    session::{Held, Observed, Session, Version},
    simulation::{Reply, SimulatedCluster},
    table::DEFAULT_TABLE,
};
use helenus_storage::{Record, RecordKind};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::time::{Instant, sleep};

use super::workload::{Surroundings, Values, Wish, Workload, bytes_of, value_of};

/// What all clients of a run share.
pub struct Clients {
    pub cluster: Arc<SimulatedCluster>,
    pub workload: Workload,
    pub values: Mutex<Values>,
    pub operations: Mutex<Vec<Operation>>,
    /// The latest stamp that each node gave an acknowledged write.
    pub stamps: Mutex<BTreeMap<u32, Timestamp>>,
}

impl Clients {
    /// Lets all clients work for a time.
    pub async fn work(self: &Arc<Self>, phase: Phase, duration: Duration) {
        let end = Instant::now() + duration;
        let tasks: Vec<_> = (1..=self.workload.clients)
            .map(|client| tokio::spawn(Arc::clone(self).client(client, phase, end)))
            .collect();
        for task in tasks {
            task.await.expect("a client does not panic");
        }
    }

    async fn client(self: Arc<Self>, client: u32, phase: Phase, end: Instant) {
        let mut random = self.cluster.stream(&format!("client {client} {phase:?}"));
        let shape = self.cluster.shape();
        let mut session = (client <= self.workload.sessions).then(|| SimulatedSession::begin(client, phase));
        let mut habits = self.cluster.stream(&format!("session {client} {phase:?}"));
        let mut batching = self.cluster.stream(&format!("batch {client} {phase:?}"));
        loop {
            sleep(self.workload.think.mul_f64(random.random::<f64>() * 2.0)).await;
            if Instant::now() >= end {
                return;
            }
            if random.random_bool(self.workload.scans) {
                let level = self.workload.level_of_reads(&mut random);
                self.scan(client, phase, level, &mut random).await;
                continue;
            }
            let surroundings = Surroundings { cluster: &self.cluster, shape };
            let mut wish = self.workload.wish(&mut random, &mut self.values.lock(), &surroundings);
            if phase != Phase::Disturbed {
                wish.patience = self.workload.patience;
            }
            if let Some(session) = &mut session {
                // Where a level promises something without sessions, they prove nothing.
                if habits.random_bool(0.7) {
                    wish.level = Level::One;
                }
                if habits.random_bool(self.workload.foldings) {
                    session.fold();
                }
            }
            let is_read = wish.action == Action::Read;
            if (is_read || session.is_none()) && batching.random_bool(self.workload.batches) {
                let surroundings = Surroundings { cluster: &self.cluster, shape };
                let wishes = self.workload.batch(wish, &mut batching, &mut self.values.lock(), &surroundings);
                match is_read {
                    true => self.read_together(client, phase, wishes, session.as_mut()).await,
                    false => self.write_together(client, phase, wishes).await,
                }
                continue;
            }
            self.perform(client, phase, wish, session.as_mut()).await;
        }
    }

    /// Makes writes together, and writes down each as if it had been made alone.
    async fn write_together(&self, client: u32, phase: Phase, wishes: Vec<Wish>) {
        let Some(Wish { coordinator, patience, .. }) = wishes.first().cloned() else { return };
        let floor = self.stamps.lock().get(&coordinator).copied();
        let requests = wishes.iter().filter_map(|wish| self.write_of(wish, None)).collect();
        let invoked = self.moment();
        let replies = self.cluster.write_batch(coordinator, requests, patience).await;
        let returned = self.moment();
        let mut of_key = BTreeMap::new();
        for (Wish { key, action, level, .. }, reply) in wishes.into_iter().zip(replies) {
            let heard = Heard::of_write(reply);
            if let (Some(stamp), false) = (heard.timestamp, is_stamped_by_client(&action)) {
                let before = of_key.insert(key.clone(), stamp);
                self.check_stamp(coordinator, floor.max(before), stamp);
            }
            self.note(
                Done { client, phase, key, action, level, coordinator, invoked, returned },
                heard,
                None,
            );
        }
    }

    /// Makes reads together, and writes down each as if it had been made alone. With a session, of each key one: a session
    /// has its reads of one key one after the other.
    async fn read_together(
        &self,
        client: u32,
        phase: Phase,
        mut wishes: Vec<Wish>,
        mut session: Option<&mut SimulatedSession>,
    ) {
        let Some(Wish { coordinator, patience, level, .. }) = wishes.first().cloned() else { return };
        if session.is_some() {
            let mut keys = BTreeSet::new();
            wishes.retain(|wish| keys.insert(wish.key.clone()));
            wishes.iter_mut().for_each(|wish| wish.level = level);
        }
        let carried = session.as_ref().map(|session| session.carried());
        let requests = wishes.iter().map(|wish| read_of(wish, carried.clone())).collect();
        let invoked = self.moment();
        let replies = self.cluster.read_batch(coordinator, requests, patience).await;
        let returned = self.moment();
        for (Wish { key, action, level, .. }, reply) in wishes.into_iter().zip(replies) {
            let done = Done { client, phase, key, action, level, coordinator, invoked, returned };
            self.note(done, Heard::of_read(reply), session.as_deref_mut());
        }
    }

    fn write_of(
        &self,
        Wish { key, action, level, .. }: &Wish,
        session: Option<Arc<Session>>,
    ) -> Option<WriteRequest> {
        let (change, client_timestamp) = match *action {
            Action::Read => return None,
            Action::Write { value, ttl_s, client_timestamp } => {
                let value = bytes_of(value, self.workload.padding).into();
                let ttl = ttl_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
                (Change::Put { value, ttl }, client_timestamp)
            }
            Action::Delete { client_timestamp } => (Change::Delete, client_timestamp),
        };
        Some(WriteRequest {
            table: DEFAULT_TABLE.to_owned(),
            key: bytes(key),
            change,
            options: at(*level, session),
            timestamp: client_timestamp.map(|stamp| helenus_storage::Timestamp(stamp.0)),
        })
    }

    /// Does one thing and writes it down.
    pub async fn perform(
        &self,
        client: u32,
        phase: Phase,
        wish: Wish,
        session: Option<&mut SimulatedSession>,
    ) {
        let carried = session.as_ref().map(|session| session.carried());
        let write = self.write_of(&wish, carried.clone());
        let read = read_of(&wish, carried);
        let Wish { key, action, level, coordinator, patience } = wish;
        let floor = self.stamps.lock().get(&coordinator).copied();
        let invoked = self.moment();
        let heard = match write {
            None => Heard::of_read(self.cluster.read(coordinator, read, patience).await),
            Some(write) => Heard::of_write(self.cluster.write(coordinator, write, patience).await),
        };
        let returned = self.moment();
        if let (Some(stamp), false) = (heard.timestamp, is_stamped_by_client(&action)) {
            self.check_stamp(coordinator, floor, stamp);
        }
        self.note(Done { client, phase, key, action, level, coordinator, invoked, returned }, heard, session);
    }

    /// Writes down what was done, and what was heard of it.
    pub fn note(&self, done: Done, heard: Heard, session: Option<&mut SimulatedSession>) {
        let Done { client, phase, key, action, level, coordinator, invoked, returned } = done;
        let mut operations = self.operations.lock();
        let Heard { outcome, timestamp, seen, replicas, observed, detail } = heard;
        let session = session.map(|session| session.goes_on(observed));
        let id = operations.len() as u64;
        let stamp = timestamp.map_or(0, |stamp| stamp.0);
        self.cluster.trace().note(coordinator, "operation", &[id, outcome as u64, stamp, returned.0]);
        operations.push(Operation {
            id,
            client,
            key,
            action,
            level,
            coordinator,
            phase,
            invoked,
            returned,
            outcome,
            timestamp,
            seen,
            replicas,
            session,
            detail,
        });
    }

    /// A write that begins after the acknowledgement of another one is later, if one node stamped both, restarts or not.
    fn check_stamp(&self, node: u32, floor: Option<Timestamp>, stamp: Timestamp) {
        if floor.is_some_and(|floor| stamp <= floor) {
            self.cluster.trace().accuse(format!("a stamp ran backwards: n{node} at {}", self.moment()));
        }
        let mut stamps = self.stamps.lock();
        let latest = stamps.entry(node).or_insert(stamp);
        *latest = stamp.max(*latest);
    }

    pub fn moment(&self) -> Moment {
        Moment(self.cluster.trace().moment_us())
    }
}

/// A session, and its name in the history.
pub struct SimulatedSession {
    name: u64,
    token: Vec<u8>,
    folded: u64,
}

impl SimulatedSession {
    fn begin(client: u32, phase: Phase) -> Self {
        Self { name: u64::from(client) * 10 + phase as u64, token: Session::default().to_token(), folded: 0 }
    }

    /// As a client sends it.
    fn carried(&self) -> Arc<Session> {
        Arc::new(Session::from_token(&self.token).expect("it was given out"))
    }

    /// Takes over what a reply tells; answers its name.
    fn goes_on(&mut self, observed: Option<Observed>) -> u64 {
        let mut session = Session::clone(&self.carried());
        observed.iter().for_each(|observed| session.note(observed));
        self.token = session.to_token();
        self.name
    }

    /// Fills it with keys that nobody has, until those it listed have folded into its floor.
    fn fold(&mut self) {
        let mut session = Session::clone(&self.carried());
        let Some(cluster) = session.cluster() else { return };
        // Newer than all that it has met, so that all of this folds, and no more of them than there is room for: so the floor is
        // no higher than what has folded.
        let newer = helenus_storage::Timestamp(session.clock().0 + 1);
        let version = Version::of(&Record::plain(newer, ""));
        for _ in 0..128 {
            self.folded += 1;
            let held = Held::at(Consistency::All, "");
            session.note(&Observed { cluster, key: self.folded, version, held, is_newest: true });
        }
        self.token = session.to_token();
    }
}

/// What a client did.
#[derive(Debug, Clone)]
pub struct Done {
    pub client: u32,
    pub phase: Phase,
    pub key: String,
    pub action: Action,
    pub level: Level,
    pub coordinator: u32,
    pub invoked: Moment,
    pub returned: Moment,
}

/// What a client heard, in the words of a history.
pub struct Heard {
    outcome: Outcome,
    timestamp: Option<Timestamp>,
    seen: Option<Seen>,
    replicas: Option<Acknowledgement>,
    observed: Option<Observed>,
    detail: Option<String>,
}

impl Heard {
    fn of_write(reply: Reply<WriteOutcome>) -> Self {
        match reply {
            Reply::Answer(Ok(outcome)) => {
                let timestamp = Some(Timestamp(outcome.timestamp.0));
                Self { timestamp, observed: outcome.observed, ..Self::answered(None, &outcome.met) }
            }
            other => Self::not_done(other),
        }
    }

    fn of_read(reply: Reply<ReadOutcome>) -> Self {
        match reply {
            Reply::Answer(Ok(outcome)) => {
                let seen = seen(outcome.record.as_ref(), outcome.now);
                Self { observed: outcome.observed, ..Self::answered(Some(seen), &outcome.met) }
            }
            other => Self::not_done(other),
        }
    }

    pub fn answered(seen: Option<Seen>, met: &Met) -> Self {
        let replicas = Acknowledgement { required: met.required, acknowledged: met.acknowledged };
        let replicas = Some(replicas);
        Self { outcome: Outcome::Ok, timestamp: None, seen, replicas, observed: None, detail: None }
    }

    /// It took as long as a whole scan, not as one request.
    pub fn in_many_pages(self) -> Self {
        Self { detail: Some(IN_MANY_PAGES.to_owned()), ..self }
    }

    pub fn not_done<T>(reply: Reply<T>) -> Self {
        let (outcome, detail) = match reply {
            Reply::Answer(Ok(_)) | Reply::Refused => (Outcome::Failed, "nobody listens there".to_owned()),
            Reply::Silence(why) => (Outcome::Unknown, why.to_owned()),
            Reply::Answer(Err(error)) => (outcome_of(&error), describe(&error)),
        };
        Self { outcome, timestamp: None, seen: None, replicas: None, observed: None, detail: Some(detail) }
    }
}

fn describe(error: &RequestError) -> String {
    match error {
        RequestError::Failed { failures, .. } => {
            let failures: Vec<String> = failures.iter().map(|(_, failure)| failure.to_string()).collect();
            format!("{error}: {}", failures.join(", "))
        }
        _ => error.to_string(),
    }
}

/// What is known of a request after an error.
fn outcome_of(error: &RequestError) -> Outcome {
    match error {
        RequestError::NoSuchTable(_)
        | RequestError::InvalidConsistency { .. }
        | RequestError::ForeignSession
        | RequestError::UnsupportedConsistency(_) => Outcome::Rejected,
        // Refused for good reason when a clock was put back after the client had looked at it.
        RequestError::TimestampOutOfRange { .. }
        | RequestError::SessionAhead { .. }
        | RequestError::SessionUnavailable { .. }
        | RequestError::Unavailable { .. }
        | RequestError::Overloaded(_)
        | RequestError::Starting(_)
        | RequestError::Draining
        | RequestError::ClockSkew(_) => Outcome::Failed,
        _ => Outcome::Unknown,
    }
}

pub fn seen(record: Option<&Record>, now: helenus_storage::Timestamp) -> Seen {
    let Some(record) = record else { return Seen::Absent };
    let timestamp = Timestamp(record.timestamp.0);
    let (value, ttl_left_s) = match &record.kind {
        RecordKind::Tombstone { .. } | RecordKind::Expired { .. } => return Seen::Tombstone { timestamp },
        RecordKind::Plain { value } => (value, None),
        RecordKind::Expiring { value, expires_at } => {
            let left_us = expires_at.0.saturating_sub(now.0);
            (value, Some(left_us.div_ceil(1_000_000)))
        }
    };
    match value_of(value) {
        Some(value) => Seen::Value { value, timestamp, ttl_left_s },
        None => Seen::Garbage { timestamp, bytes: value.escape_ascii().to_string() },
    }
}

fn is_stamped_by_client(action: &Action) -> bool {
    matches!(
        action,
        Action::Write { client_timestamp: Some(_), .. } | Action::Delete { client_timestamp: Some(_) }
    )
}

fn read_of(Wish { key, level, .. }: &Wish, session: Option<Arc<Session>>) -> ReadRequest {
    ReadRequest { table: DEFAULT_TABLE.to_owned(), key: bytes(key), options: at(*level, session) }
}

fn bytes(key: &str) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

pub fn at(level: Level, session: Option<Arc<Session>>) -> RequestOptions {
    let consistency = match level {
        Level::Any => Consistency::Any,
        Level::LocalOne => Consistency::LocalOne,
        Level::LocalQuorum => Consistency::LocalQuorum,
        Level::EachQuorum => Consistency::EachQuorum,
        Level::One => Consistency::One,
        Level::Two => Consistency::Two,
        Level::Three => Consistency::Three,
        Level::Quorum => Consistency::Quorum,
        Level::All => Consistency::All,
        Level::Count(count) => Consistency::Count(count),
    };
    RequestOptions { consistency: Some(consistency), session, ..RequestOptions::default() }
}
