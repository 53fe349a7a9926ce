//! The node as the routes ask it, and what only its transport knows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use helenus_cluster::{
    error::RequestError,
    message::ReplicaError,
    node::{
        AdmittedUpkeep, Failure, Handoff, LookUp, Meter, Node, ReadOutcome, ReadRequest, Readiness,
        RemovalError, Removed, Report, ScanOutcome, ScanRequest, SchemaChange, SchemaError, Topic, Upkeep,
        UpkeepError, UpkeepOutcome, WriteOutcome, WriteRequest,
    },
    node_id::HostId,
    table::{Definition, Table},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::{
    http::{Coordinate, Outcomes},
    peer::{PeerListener, TcpTransport},
};

/// A node that is not ready says also which nodes refuse it: waiting for a seed ends, but not for one of another cluster.
pub(super) struct Coordinator {
    pub(super) node: Arc<Node>,
    pub(super) transport: Arc<TcpTransport>,
    pub(super) peers: Arc<PeerListener>,
    /// Requests of clients, from their head to their reply.
    pub(super) begun: TaskTracker,
    /// How long requests under way may take to end when the node is drained.
    pub(super) grace: Duration,
}

/// How long requests of other nodes may take to end when the node stops.
const PEER_GRACE: Duration = Duration::from_secs(1);

/// How long a stop waits for replicas that were sent a write and have not answered, though the client has its reply.
const LATE_COPIES_GRACE: Duration = Duration::from_secs(2);

/// Time between two looks at whether requests of clients are under way.
const GLANCE: Duration = Duration::from_millis(10);

/// Takes no more requests of clients, lets those under way end by `end`, and leaves the cluster: the others keep hints
/// for this node as for a dead one. A second time nothing is left to do.
pub(super) async fn leave(node: &Node, peers: &PeerListener, transport: &TcpTransport, end: Instant) {
    node.drain();
    while node.counters().requests_in_flight > 0 && Instant::now() < end {
        tokio::time::sleep(GLANCE).await;
    }
    peers.stop(Instant::now() + PEER_GRACE).await;
    node.stop(end.min(Instant::now() + LATE_COPIES_GRACE)).await;
    transport.stop().await;
}

impl Coordinate for Coordinator {
    fn has_room(&self) -> bool {
        self.node.has_room()
    }

    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>> {
        Box::pin(self.node.write(request))
    }

    fn write_batch(&self, requests: Vec<WriteRequest>) -> Outcomes<'_, WriteOutcome> {
        Box::pin(self.node.write_batch(requests))
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>> {
        Box::pin(self.node.read(request))
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> Outcomes<'_, ReadOutcome> {
        Box::pin(self.node.read_batch(requests))
    }

    fn look_up<'a>(&'a self, table: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<LookUp, RequestError>> {
        Box::pin(self.node.look_up(table, key))
    }

    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<ScanOutcome, Failure>> {
        Box::pin(self.node.scan(request))
    }

    fn tables(&self) -> Vec<Table> {
        self.node.tables()
    }

    fn table<'a>(&'a self, name: &'a str, deadline: Instant) -> BoxFuture<'a, Result<Table, RequestError>> {
        Box::pin(self.node.table(name, deadline))
    }

    fn warnings(&self, definition: &Definition) -> Vec<String> {
        self.node.warnings(definition)
    }

    fn define_table<'a>(
        &'a self,
        name: &'a str,
        definition: Definition,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>> {
        Box::pin(self.node.define_table(name, definition, deadline))
    }

    fn drop_table<'a>(
        &'a self,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>> {
        Box::pin(self.node.drop_table(name, deadline))
    }

    fn readiness(&self) -> Readiness {
        if self.begun.is_closed() {
            return Readiness::Draining;
        }
        match self.node.readiness() {
            Readiness::Starting(why) => {
                let refusals = self.transport.refusals();
                Readiness::Starting([vec![why], refusals].concat().join("; "))
            }
            other => other,
        }
    }

    fn ask_schemas(&self) -> BoxFuture<'_, BTreeMap<HostId, u64>> {
        Box::pin(self.node.ask_schemas())
    }

    fn report(&self, topic: &Topic) -> Option<Report> {
        self.node.report(topic)
    }

    fn assassinate(&self, host_id: HostId, is_forced: bool) -> BoxFuture<'_, Result<Removed, RemovalError>> {
        Box::pin(self.node.assassinate(host_id, is_forced))
    }

    fn handoff(&self, command: Handoff) -> BoxFuture<'_, Result<u64, ReplicaError>> {
        Box::pin(self.node.handoff(command))
    }

    fn admit_upkeep(&self, task: Upkeep) -> Result<AdmittedUpkeep, UpkeepError> {
        self.node.admit_upkeep(task)
    }

    fn upkeep<'a>(
        &'a self,
        work: AdmittedUpkeep,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Result<UpkeepOutcome, UpkeepError>> {
        Box::pin(async move {
            if *work.task() == Upkeep::Drain {
                self.begun.close();
                tracing::info!("draining: no more requests are taken");
                let end = Instant::now() + self.grace;
                // Those whose body is still on its way are no requests of the node yet. Past the deadline it refuses them.
                let _: Result<(), _> = timeout_at(end, self.begun.wait()).await;
                leave(&self.node, &self.peers, &self.transport, end).await;
            }
            self.node.upkeep(work, meter).await
        })
    }

    fn host_id(&self) -> HostId {
        self.node.host_id()
    }
}
