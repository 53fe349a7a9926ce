//! The running node: the only async part, where clock, randomness, storage and peers meet.
//!
//! ```text
//!            clients                                    other nodes
//!               │ write, read                 handle │       ▲ Transport::call
//!               ▼                                    ▼       │
//!   ┌──────────────────────┐                ┌─────────────┐  │
//!   │ coordinator          │── own replica ─│  replica    │  │
//!   │ plan, fan out, reply │                └──────┬──────┘  │
//!   └──────────┬───────────┘                       │         │
//!              │             ┌────────────────┐    │    ┌────┴────┐
//!              ├─────────────│ membership     │────┼────│ peers   │ every call: header, clock, liveness
//!              │             │ loop, calls    │    │    └────┬────┘
//!              │             └───────┬────────┘    │         │
//!              ▼                     ▼             ▼         ▼
//!        known_cluster: who is where, who is up; saved before it is acted on
//!              │                                   │
//!              └───────────> engine <── local_store┘      identity, clock: shared by all
//! ```
//!
//! Decisions are not made here: quorums, placement, rings, who may join and which facts are newer are pure code of
//! the floor below. This floor gives them the time, carries out what they decide, and keeps three promises of its
//! own: nothing is acted on before it is durable, every wait ends, and every task ends with its owner.
//!
//! What happens inside a node's process is not a transport's business and the other way round: a node never sees a
//! socket, and is simulated by giving it another [`Transport`], clock and disk. Rejected: an actor per part with
//! message queues between them; the parts share little, and what they share (the picture of the cluster) is read a
//! thousand times for each time it changes.
//!
//! Reading order: [`identity`], `own_trees`, `known_cluster`, `hearsay`, [`transport`], `peers`, `room`, `local_store`,
//! `table_meters`, `replica`, `handoff`, `requests`, `coordinator`, `forwarder`, `calls`, `answering`, `membership_loop`, [`reports`].

mod answering;
mod calls;
mod clock;
mod coordinator;
mod forwarder;
mod handoff;
mod hearsay;
pub mod identity;
mod known_cluster;
mod local_store;
mod membership_loop;
mod own_trees;
mod peers;
pub(crate) mod randomness;
mod replica;
pub mod reports;
mod request_counters;
mod requests;
mod room;
mod saved_clock;
mod saved_cluster;
mod schema;
mod steps;
mod table_meters;
mod token_choice;
pub mod transport;
mod upkeep;
mod user_records;

pub use coordinator::{HeldBy, LookUp};
pub use reports::{
    ClusterStatus, FailureDetectorReport, GossipStatus, GossipedMember, MemberStatus, NodeCounters,
    PeerHealth, Report, Topic,
};
pub use requests::{
    Change, Failure, Met, ReadOutcome, ReadRequest, RequestOptions, ScanOutcome, ScanRequest, TraceEvent,
    WriteOutcome, WriteRequest, in_order,
};
pub use schema::{SchemaChange, SchemaError};
pub use upkeep::{AdmittedUpkeep, Meter, Upkeep, UpkeepError, UpkeepOutcome};

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use helenus_storage::Engine;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    clock::NodeClock,
    coordinator::{Coordinator, Means},
    forwarder::Forwarder,
    handoff::{Delivery, Hints, Receiver},
    identity::LocalIdentity,
    known_cluster::KnownCluster,
    local_store::LocalStore,
    membership_loop::MembershipLoop,
    peers::Peers,
    replica::Replica,
    reports::source::Source,
    saved_clock::SavedClock,
    schema::SchemaKeeper,
    transport::Transport,
    upkeep::UpkeepTasks,
};
use crate::{
    error::RequestError,
    handoff::RepairMark,
    message::ReplicaError,
    node_id::HostId,
    settings::Settings,
    table::{Definition, Table},
    time::{Timestamp, WallClock},
};

pub use handoff::{Handoff, HintCounters, HintStatus, HintedTarget, StoredHints, StoredRun};
pub use known_cluster::{RemovalError, Removed};
pub use request_counters::RequestCounters;
pub use table_meters::{ReplicaCounters, Tombstones};

/// Where a node's tasks run, per class, so that one runtime or several is the caller's choice.
#[derive(Debug, Clone)]
pub struct Spawners {
    /// Client requests and replica work.
    pub requests: Handle,
    /// Membership.
    pub membership: Handle,
}

/// What a node is made of.
pub struct Parts {
    /// Its settings.
    pub settings: Settings,
    /// Who it is.
    pub identity: Arc<LocalIdentity>,
    /// Its storage, opened; someone else drives its steps.
    pub engine: Arc<Engine>,
    /// Its way to the other nodes.
    pub transport: Arc<dyn Transport>,
    /// Its wall clock.
    pub clock: Arc<dyn WallClock>,
    /// Seed of all its random choices.
    pub seed: u64,
    /// Where its tasks run.
    pub spawners: Spawners,
    /// Whether reads of SSTables run inline (simulation) instead of on threads for blocking work.
    pub inline_reads: bool,
}

/// Whether a node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It takes requests: it knows the ring, and how things stand with each member as far as one call tells. It needs
    /// no other node for that, and waits two seconds at most for those that say nothing. One that is joining needs a
    /// member that owns ranges and lists it.
    Ready,
    /// Not yet, and why.
    Starting(String),
    /// No longer.
    Draining,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its storage failed.
    #[error(transparent)]
    Storage(#[from] helenus_storage::Error),
    /// What it stored about itself contradicts its settings or does not decode.
    #[error("{0}")]
    Identity(String),
}

/// One node of the cluster.
#[derive(Debug)]
pub struct Node {
    identity: Arc<LocalIdentity>,
    clock: Arc<NodeClock>,
    cluster: Arc<KnownCluster>,
    replica: Arc<Replica>,
    peers: Arc<Peers>,
    schema: Arc<SchemaKeeper>,
    upkeep: UpkeepTasks,
    coordinator: Arc<Coordinator>,
    forwarder: Forwarder,
    hints: Arc<Hints>,
    receiver: Arc<Receiver>,
    /// What reports are made from.
    source: Source,
    /// The loops that run as long as the node does: membership, and the delivery of hints.
    loops: Mutex<Vec<JoinHandle<()>>>,
    /// Pings on behalf of other nodes.
    probes: Semaphore,
    /// Which new node chooses its tokens.
    token_turns: token_choice::Turns,
    stop: CancellationToken,
}

/// Pings on behalf of others that are under way at once; whoever asks beyond asks another node too.
const MAX_PROBES: usize = 64;

impl Node {
    /// Reloads the members and tables the node knew, and starts its tasks.
    ///
    /// # Errors
    /// When storage fails or holds what does not decode; when its seeds say that it cannot join.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { settings, identity, engine, transport, clock, seed, spawners, inline_reads } = parts;
        token_choice::check_seeds(&settings, &identity, transport.as_ref(), clock.as_ref()).await?;
        let store = Arc::new(LocalStore::new(engine, &settings, inline_reads));
        let cluster = KnownCluster::load(&settings, Arc::clone(&identity), Arc::clone(&store))?;
        let cluster = Arc::new(cluster);
        let saved_clock = SavedClock::load(store.engine())?;
        saved_clock.await_passed(clock.as_ref()).await;
        let newest = store.newest_user_timestamp()?;
        let clock = NodeClock::new(clock, settings.allowed_drift, newest, saved_clock);
        let clock = Arc::new(clock);
        let hints = Arc::new(Hints::load(&settings, Arc::clone(&store), Arc::clone(&clock))?);
        let peers = Arc::new(Peers {
            identity: Arc::clone(&identity),
            clock: Arc::clone(&clock),
            cluster: Arc::clone(&cluster),
            transport,
        });
        let replica = Arc::new(Replica {
            identity: Arc::clone(&identity),
            clock: Arc::clone(&clock),
            cluster: Arc::clone(&cluster),
            store: Arc::clone(&store),
            meters: Arc::default(),
        });
        let schema = Arc::new(SchemaKeeper::new(Arc::clone(&peers)));
        let stop = CancellationToken::new();
        let upkeep = UpkeepTasks::new(Arc::clone(&cluster), Arc::clone(&store), stop.clone());
        let coordinator = Arc::new(Coordinator::new(
            &settings,
            Means {
                replica: Arc::clone(&replica),
                peers: Arc::clone(&peers),
                schema: Arc::clone(&schema),
                hints: Arc::clone(&hints),
            },
            seed,
            spawners.requests.clone(),
            stop.clone(),
        ));
        let forwarder = coordinator.forwarder();
        let receiver = Arc::new(Receiver::new(Arc::clone(&hints), Arc::clone(&replica)));
        let delivery =
            Delivery::new(Arc::clone(&hints), Arc::clone(&receiver), Arc::clone(&peers), stop.clone());
        let membership = MembershipLoop::new(&settings, Arc::clone(&peers), seed, stop.clone());
        let loops = Mutex::new(vec![
            spawners.membership.spawn(membership.run()),
            spawners.requests.spawn(delivery.run()),
        ]);
        let source = Source {
            settings,
            identity: Arc::clone(&identity),
            clock: Arc::clone(&clock),
            cluster: Arc::clone(&cluster),
            store,
            coordinator: Arc::clone(&coordinator),
            hints: Arc::clone(&hints),
            meters: Arc::clone(&replica.meters),
        };
        Ok(Arc::new(Self {
            identity,
            clock,
            cluster,
            replica,
            peers,
            schema,
            upkeep,
            coordinator,
            forwarder,
            hints,
            receiver,
            source,
            loops,
            probes: Semaphore::new(MAX_PROBES),
            token_turns: token_choice::Turns::default(),
            stop,
        }))
    }

    /// A connection that another node had made to this one has ended.
    pub fn on_connection_ended(&self, host_id: HostId) {
        self.token_turns.end(host_id);
    }

    /// Who this node is.
    pub fn host_id(&self) -> HostId {
        self.identity.host_id()
    }

    /// What of a table's definition will not do what people expect, in sentences.
    pub fn warnings(&self, definition: &Definition) -> Vec<String> {
        self.schema.warnings(definition)
    }

    /// The live tables, by name.
    pub fn tables(&self) -> Vec<Table> {
        self.cluster.picture().view().tables().iter().cloned().collect()
    }

    /// A live table; others are asked for one that this node does not know.
    ///
    /// # Errors
    /// [`RequestError::NoSuchTable`]; [`RequestError::TableUnknown`] if that nobody has told by half of the time until the
    /// deadline.
    pub async fn table(&self, name: &str, deadline: Instant) -> Result<Table, RequestError> {
        self.coordinator.table(name, deadline).await
    }

    /// Creates a table or changes its definition; returns when every live member knows of it, or at the deadline.
    ///
    /// # Errors
    /// [`SchemaError`]; nothing changed unless it says so.
    pub async fn define_table(
        &self,
        name: &str,
        definition: Definition,
        deadline: Instant,
    ) -> Result<SchemaChange, SchemaError> {
        self.check_not_draining()?;
        self.schema.define(name, definition, deadline).await
    }

    /// Drops a table with all its records; returns when every live member knows of it, or at the deadline.
    ///
    /// # Errors
    /// [`SchemaError`]; nothing changed unless it says so.
    pub async fn drop_table(&self, name: &str, deadline: Instant) -> Result<SchemaChange, SchemaError> {
        self.check_not_draining()?;
        self.schema.drop_table(name, deadline).await
    }

    /// Which schemas live members know that were last said to know another than this node does, for
    /// [`Topic::Cluster`]: asked now, and waited for a second at most.
    pub async fn ask_schemas(&self) -> BTreeMap<HostId, u64> {
        self.schema.ask_versions().await
    }

    fn check_not_draining(&self) -> Result<(), SchemaError> {
        if self.readiness() == Readiness::Draining { Err(SchemaError::Draining) } else { Ok(()) }
    }

    /// Whether one more request of a client would be let in at this moment; if not, it need not even be read.
    pub fn has_room(&self) -> bool {
        self.coordinator.has_room()
    }

    /// Coordinates a write.
    ///
    /// # Errors
    /// [`RequestError`] says what is known of the outcome.
    pub async fn write(&self, request: WriteRequest) -> Result<WriteOutcome, Failure> {
        let evictions = self.cluster.evictions();
        let outcome = self.coordinator.write(request).await?;
        self.check_listed_since(evictions, &outcome.met, Some(outcome.timestamp)).map(|()| outcome)
    }

    /// Coordinates writes, each as [`Node::write`] does; what came of each, with its place among them, as it comes. Those of
    /// one key take effect in their order, others concurrently. The more of them have the same replicas, the less they cost.
    pub fn write_batch(
        &self,
        requests: Vec<WriteRequest>,
    ) -> impl Stream<Item = (usize, Result<WriteOutcome, Failure>)> + Send {
        let evictions = self.cluster.evictions();
        let checked = move |outcome: WriteOutcome| {
            self.check_listed_since(evictions, &outcome.met, Some(outcome.timestamp)).map(|()| outcome)
        };
        self.coordinator.write_batch(requests).map(move |(place, outcome)| (place, outcome.and_then(checked)))
    }

    /// Coordinates a read.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn read(&self, request: ReadRequest) -> Result<ReadOutcome, Failure> {
        let evictions = self.cluster.evictions();
        let outcome = self.coordinator.read(request).await?;
        self.check_listed_since(evictions, &outcome.met, None)?;
        Ok(outcome)
    }

    /// Coordinates reads, each as [`Node::read`] does, all of them concurrently; what came of each, with its place among
    /// them, as it comes. The more of them have a replica in common, the less they cost.
    pub fn read_batch(
        &self,
        requests: Vec<ReadRequest>,
    ) -> impl Stream<Item = (usize, Result<ReadOutcome, Failure>)> + Send {
        let evictions = self.cluster.evictions();
        let checked = move |outcome: ReadOutcome| {
            self.check_listed_since(evictions, &outcome.met, None).map(|()| outcome)
        };
        self.coordinator.read_batch(requests).map(move |(place, outcome)| (place, outcome.and_then(checked)))
    }

    /// What each replica of a key holds, those that do not answer within a second left out. Repairs nothing.
    ///
    /// # Errors
    /// [`RequestError`] before any replica is asked.
    pub async fn look_up(&self, table: &str, key: &[u8]) -> Result<LookUp, RequestError> {
        self.coordinator.look_up(table, key).await
    }

    /// Coordinates one page of a scan.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn scan(&self, request: ScanRequest) -> Result<ScanOutcome, Failure> {
        let evictions = self.cluster.evictions();
        let outcome = self.coordinator.scan(request).await?;
        self.check_listed_since(evictions, &outcome.met, None)?;
        Ok(outcome)
    }

    /// A request that began before this node heard that it was evicted went by a ring of before: its replicas may have
    /// listened only since the node is listed again.
    fn check_listed_since(
        &self,
        evictions: u64,
        met: &Met,
        stamped: Option<Timestamp>,
    ) -> Result<(), Failure> {
        if self.cluster.evictions() == evictions {
            return Ok(());
        }
        let Met { level, required, ref trace, .. } = *met;
        let failures = vec![(self.host_id(), ReplicaError::Removed)];
        let error = RequestError::Failed { level, required, received: 0, failures, shortages: Vec::new() };
        Err(Failure { error, trace: trace.clone(), stamped })
    }

    /// Whether it serves.
    pub fn readiness(&self) -> Readiness {
        self.coordinator.readiness()
    }

    /// Lets upkeep of this node's storage in, for [`Node::upkeep`].
    ///
    /// # Errors
    /// [`UpkeepError::Overloaded`]; [`UpkeepError::Draining`] for what a drained node does no more.
    pub fn admit_upkeep(&self, task: Upkeep) -> Result<AdmittedUpkeep, UpkeepError> {
        self.upkeep.admit(task)
    }

    /// Does upkeep of this node's storage. With [`Upkeep::Drain`] it takes no more requests first.
    ///
    /// # Errors
    /// [`UpkeepError`].
    pub async fn upkeep(
        &self,
        work: AdmittedUpkeep,
        meter: &Arc<Meter>,
    ) -> Result<UpkeepOutcome, UpkeepError> {
        if *work.task() == Upkeep::Drain {
            self.drain();
        }
        self.upkeep.perform(work, meter).await
    }

    /// Whether it is a replica of a storage key, by its own ring.
    #[cfg(feature = "simulation")]
    pub(crate) fn owns(&self, table: helenus_storage::TableId, storage_key: &[u8]) -> bool {
        self.replica.owns(table, storage_key)
    }

    /// The hints that this node keeps for others.
    pub fn hints(&self) -> HintStatus {
        self.hints.status()
    }

    /// What an operator has it do with them; answers how many were dropped, or how many marks were forgotten.
    ///
    /// # Errors
    /// Of storage; some may be dropped.
    pub async fn handoff(&self, command: Handoff) -> Result<u64, ReplicaError> {
        match command {
            Handoff::Pause => self.hints.pause(true),
            Handoff::Resume => self.hints.pause(false),
            Handoff::Truncate(target) => return self.hints.truncate(target).await,
            Handoff::Repaired(target) => {
                let is_of = |mark: &RepairMark| target.is_none_or(|target| target == mark.target);
                return self.hints.forget_marks(is_of).await;
            }
        }
        Ok(0)
    }

    /// A report for operators, from what this node knows; never waits for a peer. `None` if it is about a table that the
    /// node does not know.
    pub fn report(&self, topic: &Topic) -> Option<Report> {
        topic.report(&self.source)
    }

    /// Numbers for metrics.
    pub fn counters(&self) -> NodeCounters {
        reports::counters::of(&self.source)
    }

    /// What it has done as a replica, for metrics.
    pub fn replica_counters(&self) -> ReplicaCounters {
        self.replica.meters.totals()
    }

    /// Whom it takes for alive, suspected or dead, and why.
    pub fn failure_detector(&self) -> FailureDetectorReport {
        reports::failure_detector::of(&self.source)
    }

    /// The members as this node sees them.
    pub fn status(&self) -> ClusterStatus {
        reports::status::of(&self.source)
    }

    /// Gossip and failure detection as this node sees them.
    pub fn gossip_status(&self) -> GossipStatus {
        reports::gossip::of(&self.source)
    }

    /// Removes a dead member from the cluster, for ever: the others let go of its ranges, which, if it was a replica of
    /// any, are one short until they are repaired; if it comes back, nobody listens to it. Forced: also where no majority
    /// of the members is up.
    ///
    /// # Errors
    /// [`RemovalError`]; nothing has changed.
    pub async fn assassinate(&self, host_id: HostId, is_forced: bool) -> Result<Removed, RemovalError> {
        self.cluster.remove(host_id, is_forced).await
    }

    /// Changes the deadline of writes that name none.
    pub fn set_write_timeout(&self, timeout: Duration) {
        self.coordinator.write_timeout.store(timeout);
    }

    /// Changes the deadline of reads that name none.
    pub fn set_read_timeout(&self, timeout: Duration) {
        self.coordinator.read_timeout.store(timeout);
    }

    /// Changes how long a request takes that is logged.
    pub fn set_slow_request_threshold(&self, threshold: Duration) {
        self.coordinator.slow_request.store(threshold);
    }

    /// Changes how fast merges of SSTables may write; 0 for no limit.
    pub fn set_compaction_throughput(&self, bytes_per_second: u64) {
        self.source.store.engine().set_compaction_throughput(bytes_per_second);
    }

    /// Takes no new request; requests under way go on.
    pub fn drain(&self) {
        self.coordinator.drain();
    }

    /// Takes no new request, lets writes go on until `deadline` at most, and ends its tasks. Requests that still wait
    /// by then are answered as timed out. The engine is the caller's to close, and the transport to stop.
    pub async fn stop(&self, deadline: Instant) {
        self.coordinator.drain();
        // Of a write that is answered, the copies for slow replicas may still be on their way: the signal below would
        // drop them. Past the deadline they are dropped as if the node had died.
        let _: Result<(), _> = timeout_at(deadline, self.coordinator.stopped()).await;
        self.stop.cancel();
        let loops = std::mem::take(&mut *self.loops.lock());
        for task in loops {
            // None was aborted and none panics; and if one did, it has ended, which is what is asked.
            let _: Result<(), _> = task.await;
        }
        self.cluster.leave();
        self.coordinator.stopped().await;
    }
}
