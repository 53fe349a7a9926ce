//! The coordinator: carries a client's request to the replicas and says how it went.
//!
//! ```text
//!   client ──> admit ──> plan ──────────────> fan out ──────────> collect ──> reply
//!              drain?    table, level,        own replica and     quorum
//!              ready?    timestamp, stamp,    live peers          machine
//!              room?     placement, alive?    at once             decides
//!              └─────── nothing sent: 503/400 ───────┘└─── sent: reached, 504 or 500 ───┘
//! ```
//!
//! Until `fan out` nothing has left the node, this node's own replica included: every error before it means
//! "not applied". From there on a write, or a group of a batch, runs in a task of its own, so that a client that hangs up
//! cannot leave it half sent, and that goes on after the reply until the last replica has answered or the deadline has
//! passed.
//! A read, or each of a batch, runs in the caller's future: an abandoned one has nothing to finish. Only if replicas were
//! asked beyond the need does a task hear them after the reply, to repair them if they are behind; `background_repairs`
//! such at once.
//!
//! Two bounds, apart: `max_requests` requests that wait for their reply, where some reads of a batch count as one, and as
//! many again whose reply is made and whose late replicas are still awaited. One bound for both would let a single paused
//! peer, whose calls all last until their deadline, fill it with requests that are answered already. A write that finds the
//! second bound full does not wait for its late replicas: they were sent the write, only their answers go unheard.
//!
//! Reading order: [`put`], [`group`], [`mod@write`], [`coalescing`], [`writing`], [`outrun`], [`missed`], [`settling`],
//! [`forwarding`], [`get`], [`reading`], [`multiget`], [`look_up`], [`nearest`], [`speculation`], [`sessions`],
//! [`dropped`], [`fan_out`], [`trace`]; then [`scan`].

mod coalescing;
mod dropped;
mod fan_out;
mod forwarding;
mod get;
mod group;
mod look_up;
mod missed;
mod multiget;
mod nearest;
mod outrun;
mod put;
mod reading;
mod scan;
mod sessions;
mod settling;
mod speculation;
mod trace;
mod write;
mod writing;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use helenus_storage::TableId;
use parking_lot::Mutex;
use rand::Rng;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::look_up::{HeldBy, LookUp};
use self::{
    coalescing::Rounds,
    forwarding::Forwarded,
    nearest::Nearest,
    speculation::Speculation,
    trace::{Subject, Trace},
};
use crate::{
    consistency::Consistency,
    error::RequestError,
    message::ClientRequest,
    node::{
        Failure, Met, Readiness, RequestOptions,
        clock::NodeClock,
        forwarder::Forwarder,
        handoff::Hints,
        known_cluster::{KnownCluster, Picture},
        peers::Peers,
        randomness::stream,
        replica::Replica,
        request_counters::Counters,
        schema::SchemaKeeper,
    },
    node_id::HostId,
    partitioning::storage_key,
    placement::Placement,
    quorum::{self, BlockFor, Operation, speculation::Budget},
    settings::Settings,
    table::{Table, is_table_name},
};

/// The coordinator of one node.
#[derive(Debug)]
pub(crate) struct Coordinator {
    max_requests: usize,
    pub(crate) write_timeout: LiveDuration,
    pub(crate) read_timeout: LiveDuration,
    scan_timeout: Duration,
    /// Requests that take as long are logged.
    pub(crate) slow_request: LiveDuration,
    clock: Arc<NodeClock>,
    cluster: Arc<KnownCluster>,
    replica: Arc<Replica>,
    peers: Arc<Peers>,
    schema: Arc<SchemaKeeper>,
    nearest: Arc<Nearest>,
    speculation: Speculation,
    pub(crate) forwarded: Arc<Forwarded>,
    /// What forwarded writes may spend on being sent straight as well.
    resends: Arc<Mutex<Budget>>,
    pub(crate) counters: Arc<Counters>,
    hints: Arc<Hints>,
    /// One permit per request that waits for its reply.
    waiting: Arc<Semaphore>,
    /// One permit per scan that is read.
    scans: Semaphore,
    /// One permit per write that is answered and waits for late replicas.
    late: Semaphore,
    /// One permit per read that is answered and hears late replicas.
    finishing: Arc<Semaphore>,
    draining: AtomicBool,
    /// Ids of requests that came without one.
    next_request: AtomicU64,
    rounds: Rounds,
    /// Owns the tasks of writes.
    tasks: TaskTracker,
    runtime: Handle,
    stop: CancellationToken,
}

/// A time that operators may change while the node runs.
#[derive(Debug)]
pub(crate) struct LiveDuration(AtomicU64);

impl LiveDuration {
    fn new(duration: Duration) -> Self {
        let live = Self(AtomicU64::new(0));
        live.store(duration);
        live
    }

    pub(crate) fn store(&self, duration: Duration) {
        self.0.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// What a coordinator works with.
pub(crate) struct Means {
    pub(crate) replica: Arc<Replica>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) schema: Arc<SchemaKeeper>,
    pub(crate) hints: Arc<Hints>,
}

/// What a request must reach, and by when.
#[derive(Debug, Clone, Copy)]
struct Goal {
    level: Consistency,
    timeout: Duration,
    deadline: Instant,
}

/// A key and where its replicas are, by one picture of the cluster.
struct Target {
    table: TableId,
    key: Bytes,
    placement: Placement,
    picture: Arc<Picture>,
}

/// How long a request is given, from the moment it came.
#[derive(Debug, Clone, Copy)]
struct Patience {
    timeout: Duration,
    deadline: Instant,
}

impl Patience {
    /// That of a request of which the node was asked at this time.
    fn since(asked: Instant, options: &RequestOptions, default: Duration) -> Self {
        let begun = options.since.unwrap_or(asked);
        let timeout = options.timeout.unwrap_or(default);
        // A deadline that the clock cannot express is as good as a year.
        let deadline = begun.checked_add(timeout).unwrap_or(begun + Duration::from_secs(365 * 86_400));
        Self { timeout, deadline }
    }
}

impl Coordinator {
    pub(crate) fn new(
        settings: &Settings,
        Means { replica, peers, schema, hints }: Means,
        seed: u64,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Self {
        let permits = settings.max_requests.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            max_requests: permits,
            write_timeout: LiveDuration::new(settings.write_timeout),
            read_timeout: LiveDuration::new(settings.read_timeout),
            scan_timeout: settings.scan_timeout,
            slow_request: LiveDuration::new(settings.slow_request_threshold),
            clock: Arc::clone(&replica.clock),
            cluster: Arc::clone(&replica.cluster),
            replica,
            peers,
            schema,
            hints,
            nearest: Arc::new(Nearest::new(&settings.snitch, stream(seed, "latency samples"))),
            speculation: Speculation::default(),
            forwarded: Arc::new(Forwarded::new(stream(seed, "tickets").next_u64())),
            resends: Arc::default(),
            counters: Arc::default(),
            waiting: Arc::new(Semaphore::new(permits)),
            scans: Semaphore::new(settings.max_scans.clamp(1, Semaphore::MAX_PERMITS)),
            late: Semaphore::new(permits),
            finishing: Arc::new(Semaphore::new(settings.background_repairs.min(Semaphore::MAX_PERMITS))),
            draining: AtomicBool::new(false),
            next_request: AtomicU64::new(stream(seed, "request ids").next_u64()),
            rounds: Rounds::default(),
            tasks: TaskTracker::new(),
            runtime,
            stop,
        }
    }

    /// Who sends writes on for other coordinators; its tasks end with those of this one.
    pub(crate) fn forwarder(&self) -> Forwarder {
        Forwarder {
            peers: Arc::clone(&self.peers),
            counters: Arc::clone(&self.counters),
            under_way: Arc::new(Semaphore::new(self.max_requests)),
            tasks: self.tasks.clone(),
            runtime: self.runtime.clone(),
            stop: self.stop.clone(),
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Acquire) {
            return Readiness::Draining;
        }
        match self.cluster.starting() {
            Some(reason) => Readiness::Starting(reason),
            None => Readiness::Ready,
        }
    }

    /// Waits for the tasks of all writes: they end when the last replica has answered, when their deadline has passed,
    /// and soon after the stop signal.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Requests that wait for their reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.max_requests - self.waiting.available_permits()
    }

    /// Whether one more would be let in at this moment.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.available_permits() > 0
    }

    fn host_id(&self) -> HostId {
        self.replica.identity.host_id()
    }

    /// Room for one more request, if the node serves.
    fn admit(&self) -> Result<OwnedSemaphorePermit, RequestError> {
        self.admit_in(1)
    }

    /// Likewise, for one that is as large as several.
    fn admit_in(&self, places: usize) -> Result<OwnedSemaphorePermit, RequestError> {
        match self.readiness() {
            Readiness::Ready => {}
            Readiness::Starting(reason) => return Err(RequestError::Starting(reason)),
            Readiness::Draining => return Err(RequestError::Draining),
        }
        self.take_places(places)
    }

    /// At least one place of those for requests; all of them for what is larger than that.
    fn take_places(&self, count: usize) -> Result<OwnedSemaphorePermit, RequestError> {
        let count = u32::try_from(count.clamp(1, self.max_requests)).unwrap_or(u32::MAX);
        Arc::clone(&self.waiting).try_acquire_many_owned(count).map_err(|_| {
            helenus_storage::sometimes!("a coordinator was full");
            RequestError::Overloaded("too many requests are under way")
        })
    }

    fn goal(&self, options: &RequestOptions, default_level: Consistency, patience: Patience) -> Goal {
        Goal {
            level: options.consistency.unwrap_or(default_level),
            timeout: patience.timeout,
            deadline: patience.deadline,
        }
    }

    fn trace(&self, operation: &'static str, table: &str, options: &RequestOptions) -> Trace {
        let id = options.request_id.unwrap_or_else(|| self.next_request.fetch_add(1, Ordering::Relaxed));
        let request = ClientRequest { id, is_traced: options.trace };
        let subject = Subject { operation, table: table.to_owned() };
        Trace::begin(self.host_id(), request, subject, self.slow_request.get())
    }

    /// Room for a request, and how long it has. Of a table that this node does not know others are asked first.
    async fn begin(
        &self,
        table: &str,
        options: &RequestOptions,
        default_timeout: Duration,
    ) -> Result<(OwnedSemaphorePermit, Patience), RequestError> {
        let now = Instant::now();
        let patience = Patience::since(now, options, default_timeout);
        if now >= patience.deadline {
            helenus_storage::sometimes!("a request came when its time was over");
            return Err(RequestError::Overloaded("its time was over before it had its turn"));
        }
        let permit = self.admit()?;
        match self.look_for_tables([table], patience.deadline).await {
            true => Ok((permit, patience)),
            false => Err(RequestError::TableUnknown(table.to_owned())),
        }
    }

    /// A live table. Others are asked for one that this node does not know.
    pub(crate) async fn table(&self, name: &str, deadline: Instant) -> Result<Table, RequestError> {
        let is_known = self.look_for_tables([name], deadline).await;
        let table = known_table(&self.cluster.picture(), name).cloned();
        table.map_err(|error| of_missing_table(error, is_known))
    }

    /// Asks others for tables that this node does not know; whether it is known then which of them there are. Half of the
    /// time is kept for the requests themselves.
    async fn look_for_tables<'a>(
        &self,
        tables: impl IntoIterator<Item = &'a str>,
        deadline: Instant,
    ) -> bool {
        let picture = self.cluster.picture();
        let is_unknown = |name: &&str| picture.table(name).is_none() && is_table_name(name);
        let unknown: BTreeSet<&str> = tables.into_iter().filter(is_unknown).collect();
        if unknown.is_empty() {
            return true;
        }
        let now = Instant::now();
        self.schema.look_for(&unknown, now + deadline.saturating_duration_since(now) / 2).await
    }

    /// Places a key by a picture of the cluster.
    fn place(
        &self,
        picture: &Arc<Picture>,
        table: &str,
        key: &[u8],
        trace: &Trace,
    ) -> Result<Target, RequestError> {
        let picture = Arc::clone(picture);
        let table = known_table(&picture, table)?;
        let token = self.replica.identity.partitioner().token(key);
        let placement = picture.place(table, token);
        let table = table.id();
        trace.note(|| {
            let names =
                |hosts: &[HostId]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!(
                "token {token}: replicas [{}], pending [{}]",
                names(&placement.natural),
                names(&placement.pending)
            )
        });
        Ok(Target { table, key: storage_key(token, key), placement, picture })
    }

    /// What a level requires of the replicas of a table, for this node.
    fn block_for(
        &self,
        operation: Operation,
        level: Consistency,
        table: &Table,
        picture: &Picture,
    ) -> Result<BlockFor, RequestError> {
        BlockFor::of(operation, level, &table.definition.replication, &picture.view().own().datacenter)
    }

    /// These replicas with all that their quorum needs to know of them.
    fn replicas<'a>(
        &self,
        picture: &'a Picture,
        hosts: impl IntoIterator<Item = HostId>,
    ) -> Vec<quorum::Replica<'a>> {
        let replica = |host_id| quorum::Replica {
            host_id,
            datacenter: datacenter_of(picture, host_id),
            is_alive: self.cluster.is_up(host_id),
        };
        hosts.into_iter().map(replica).collect()
    }
}

/// Where a member stands.
fn datacenter_of(picture: &Picture, host_id: HostId) -> &str {
    picture.view().member(host_id).map_or("", |member| member.datacenter.as_str())
}

/// The error of one of several requests whose tables were looked for.
fn of_missing_table(error: RequestError, are_known: bool) -> RequestError {
    match error {
        RequestError::NoSuchTable(name) if !are_known && is_table_name(&name) => {
            RequestError::TableUnknown(name)
        }
        error => error,
    }
}

fn known_table<'a>(picture: &'a Picture, name: &str) -> Result<&'a Table, RequestError> {
    picture.table(name).ok_or_else(|| RequestError::NoSuchTable(name.to_owned()))
}

impl Goal {
    fn met(self, required: u32, acknowledged: u32, trace: &Trace) -> Met {
        trace.note(|| reached(required, acknowledged));
        Met { level: self.level, required, acknowledged, trace: trace.end() }
    }
}

/// In the words of a trace.
fn reached(required: u32, acknowledged: u32) -> String {
    format!("level reached: {acknowledged} of {required} required")
}

fn failure(error: RequestError, trace: &Trace) -> Failure {
    trace.note(|| error.to_string());
    Failure { error, trace: trace.end(), stamped: None }
}
