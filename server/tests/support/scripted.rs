//! A coordinator without a cluster: one table in memory, and errors on demand.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt, ready},
    stream::{self, FuturesUnordered},
};
use helenus_cluster::{
    consistency::Consistency,
    error::RequestError,
    message::ReplicaError,
    node::{
        AdmittedUpkeep, Change, Failure, Handoff, HeldBy, LookUp, Met, Meter, ReadOutcome, ReadRequest,
        Readiness, RemovalError, Removed, Report, RequestOptions, ScanOutcome, ScanRequest, SchemaChange,
        SchemaError, Topic, TraceEvent, Upkeep, UpkeepError, UpkeepOutcome, WriteOutcome, WriteRequest,
        reports::{ClusterStatus, Endpoints},
    },
    node_id::HostId,
    scan::{BoundsError, PageTokenError},
    table::{Definition, Refusal, Schema, Table},
    time::{Timestamp, WallClock},
};
use helenus_server::{
    http::{Api, Coordinate, Limits, Outcomes, Surface, router},
    listen::{Listener, Server, Settings},
    telemetry::Metrics,
};
use helenus_storage::Record;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

/// 2024-01-01T00:00:00Z and a half second.
pub(crate) const NOW: Timestamp = Timestamp(1_704_067_200_500_000);
pub(crate) const HOST: HostId = HostId(Uuid::from_u128(7));
const DRIFT_MICROS: u64 = 60_000_000;

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct StoppedClock;

impl WallClock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Replication factor one, one table `default`.
#[derive(Default)]
pub(crate) struct Scripted {
    records: Mutex<BTreeMap<Bytes, Record>>,
    /// What the next requests fail with.
    pub(crate) failures: Mutex<VecDeque<RequestError>>,
    pub(crate) readiness: Mutex<Option<Readiness>>,
    /// The options of the last request.
    pub(crate) asked: Mutex<Option<RequestOptions>>,
    /// Whether there is no room for a request.
    pub(crate) is_full: AtomicBool,
    /// How many writes came together, each time.
    pub(crate) together: Mutex<Vec<usize>>,
    /// That somebody reads in a batch.
    is_read: Notify,
}

/// In a batch, a write of this key is done once something was read in one.
pub(crate) const AWAITS_A_READ: &str = "awaits a read";

impl Scripted {
    /// Puts bytes into the table that no request could.
    pub(crate) fn store(&self, key: &'static str, record: Record) {
        self.records.lock().insert(Bytes::from(key), record);
    }

    pub(crate) fn fail_next(&self, error: RequestError) {
        self.failures.lock().push_back(error);
    }

    fn admit(&self, table: &str, options: &RequestOptions) -> Result<Met, RequestError> {
        *self.asked.lock() = Some(options.clone());
        if let Some(error) = self.failures.lock().pop_front() {
            return Err(error);
        }
        if table != "default" {
            return Err(RequestError::NoSuchTable(table.to_owned()));
        }
        let level = options.consistency.unwrap_or(Consistency::Quorum);
        let required = match level {
            Consistency::One | Consistency::Quorum | Consistency::All => 1,
            Consistency::Two => 2,
            Consistency::Three => 3,
            Consistency::Count(count) => count,
            _ => return Err(RequestError::UnsupportedConsistency(level)),
        };
        if required > 1 {
            let detail =
                format!("level {level} requires {required} replicas and the replication factor is 1");
            return Err(RequestError::InvalidConsistency { level, detail });
        }
        let step = TraceEvent { at_us: 3, node: HOST, what: "answered".to_owned() };
        Ok(Met {
            level,
            required,
            acknowledged: 1,
            trace: if options.trace { vec![step] } else { Vec::new() },
        })
    }
}

fn failure(error: RequestError) -> Failure {
    Failure { error, trace: Vec::new(), stamped: None }
}

impl Coordinate for Scripted {
    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>> {
        let max = Timestamp(NOW.0 + DRIFT_MICROS);
        let outcome = self.admit(&request.table, &request.options).and_then(|met| {
            let timestamp = request.timestamp.unwrap_or(NOW);
            if timestamp > max {
                return Err(RequestError::TimestampOutOfRange { timestamp, max });
            }
            let record = match request.change {
                Change::Put { value, ttl: None } => Record::plain(timestamp, value),
                Change::Put { value, ttl: Some(ttl) } => {
                    Record::expiring(timestamp, value, Timestamp(NOW.0 + ttl.as_micros() as u64))
                }
                Change::Delete => Record::tombstone(timestamp, NOW),
            };
            self.records.lock().insert(request.key, record);
            Ok(WriteOutcome { timestamp, met, observed: None })
        });
        ready(outcome.map_err(failure)).boxed()
    }

    fn write_batch(&self, requests: Vec<WriteRequest>) -> Outcomes<'_, WriteOutcome> {
        self.together.lock().push(requests.len());
        let write = move |(place, request): (usize, WriteRequest)| async move {
            if request.key == AWAITS_A_READ {
                self.is_read.notified().await;
            }
            (place, self.write(request).await)
        };
        requests.into_iter().enumerate().map(write).collect::<FuturesUnordered<_>>().boxed()
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> Outcomes<'_, ReadOutcome> {
        self.is_read.notify_one();
        stream::iter(requests).then(|request| self.read(request)).enumerate().boxed()
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>> {
        let outcome = self.admit(&request.table, &request.options).map(|met| ReadOutcome {
            record: self.records.lock().get(&request.key).cloned().map(|record| record.as_of(NOW)),
            now: NOW,
            met,
            observed: None,
        });
        ready(outcome.map_err(failure)).boxed()
    }

    fn look_up<'a>(&'a self, table: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<LookUp, RequestError>> {
        let held = self.admit(table, &RequestOptions::default()).map(|_| {
            let replica = |up, held| HeldBy {
                host_id: HOST,
                address: "127.0.0.1:7171".to_owned(),
                datacenter: "dc1".to_owned(),
                rack: "rack1".to_owned(),
                up,
                is_pending: false,
                held,
            };
            let record = self.records.lock().get(key).cloned();
            let replicas = vec![replica(true, Ok(record)), replica(false, Err("gave no answer".to_owned()))];
            LookUp { token: "7".to_owned(), now: NOW, replicas }
        });
        ready(held).boxed()
    }

    /// In the order of keys; a page's token is the first key of the next one.
    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<ScanOutcome, Failure>> {
        let outcome = self.admit(&request.table, &request.options).and_then(|met| {
            let from = request.page.or(request.bounds.start).unwrap_or_default();
            if from.starts_with(b"foreign") {
                return Err(PageTokenError::Damaged.into());
            }
            if request.bounds.prefix.is_some() {
                return Err(BoundsError { field: "prefix" }.into());
            }
            let stored = self.records.lock();
            let mut records: Vec<(Bytes, Record)> =
                stored.range(from..).map(|(key, record)| (key.clone(), record.clone().as_of(NOW))).collect();
            let next = records.get(request.limit as usize).map(|(key, _)| key.clone());
            records.truncate(request.limit as usize);
            Ok(ScanOutcome { records, now: NOW, next, met })
        });
        ready(outcome.map_err(failure)).boxed()
    }

    fn tables(&self) -> Vec<Table> {
        vec![Table::default_with_factor(3)]
    }

    fn table<'a>(&'a self, name: &'a str, _: Instant) -> BoxFuture<'a, Result<Table, RequestError>> {
        let table = self.tables().into_iter().find(|table| table.name == name);
        Box::pin(ready(table.ok_or_else(|| RequestError::NoSuchTable(name.to_owned()))))
    }

    fn warnings(&self, _: &Definition) -> Vec<String> {
        Vec::new()
    }

    fn define_table<'a>(
        &'a self,
        name: &'a str,
        definition: Definition,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>> {
        let mut schema = Schema::default();
        for table in self.tables() {
            schema.learn(&table).expect("it is sound");
        }
        let defined = schema.define(name, definition, |_| false).map_err(SchemaError::Refused);
        let change = defined.map(|fact| SchemaChange {
            is_created: fact.is_some() && schema.get(name).is_none(),
            table: fact.or_else(|| schema.get(name).cloned()).expect("it is there, or defined now"),
            is_agreed: true,
            down: 0,
        });
        ready(change).boxed()
    }

    fn drop_table<'a>(
        &'a self,
        name: &'a str,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>> {
        ready(Err(SchemaError::Refused(Refusal::NoSuchTable(name.to_owned())))).boxed()
    }

    fn readiness(&self) -> Readiness {
        self.readiness.lock().clone().unwrap_or(Readiness::Ready)
    }

    fn assassinate(&self, host_id: HostId, _is_forced: bool) -> BoxFuture<'_, Result<Removed, RemovalError>> {
        let verdict = if host_id == HOST { RemovalError::Itself } else { RemovalError::Unknown(host_id) };
        ready(Err(verdict)).boxed()
    }

    fn ask_schemas(&self) -> BoxFuture<'_, BTreeMap<HostId, u64>> {
        ready(BTreeMap::new()).boxed()
    }

    fn report(&self, topic: &Topic) -> Option<Report> {
        let endpoints = |table: &String| Endpoints {
            table: table.clone(),
            token: "7".to_owned(),
            replicas: Vec::new(),
            pending: Vec::new(),
        };
        match topic {
            Topic::Endpoints { table, .. } if table == "default" => Some(Report::Endpoints(endpoints(table))),
            Topic::Endpoints { .. } | Topic::Ring { table: Some(_) } => None,
            _ => Some(Report::Status(ClusterStatus {
                cluster_name: "scripted".to_owned(),
                cluster_id: None,
                partitioner: "murmur3".to_owned(),
                host_id: HOST,
                members: Vec::new(),
            })),
        }
    }

    fn handoff(&self, _: Handoff) -> BoxFuture<'_, Result<u64, ReplicaError>> {
        ready(Ok(0)).boxed()
    }

    fn admit_upkeep(&self, _: Upkeep) -> Result<AdmittedUpkeep, UpkeepError> {
        Err(UpkeepError::Overloaded)
    }

    fn upkeep<'a>(
        &'a self,
        _: AdmittedUpkeep,
        _: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Result<UpkeepOutcome, UpkeepError>> {
        ready(Err(UpkeepError::Overloaded)).boxed()
    }

    fn host_id(&self) -> HostId {
        HOST
    }
}

/// The API over a coordinator, on a real socket.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) server: Server,
}

/// Short where a test waits for it, long elsewhere.
pub(crate) fn test_limits() -> Limits {
    Limits {
        max_value_bytes: 64 << 10,
        body_bytes_in_flight: 128 << 10,
        body_stall_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

pub(crate) fn test_settings() -> Settings {
    Settings { header_timeout: Duration::from_millis(200), ..Settings::default() }
}

pub(crate) async fn serve(node: Arc<dyn Coordinate>, surface: Surface) -> Served {
    let (served, api) = serve_starting(surface).await;
    api.begin(node);
    served
}

/// The API of a node that has not started.
pub(crate) async fn serve_starting(surface: Surface) -> (Served, Arc<Api>) {
    let metrics = Arc::new(Metrics::new(Default::default));
    let api = Api::starting(Arc::new(StoppedClock), Arc::clone(&metrics), test_limits(), 1);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), test_settings()).unwrap();
    let server = listener.serve(router(&api, surface), api.refuse(), metrics.open_connections());
    (Served { address: server.local_address(), metrics, server }, api)
}
