//! What the routes ask of a node.

use futures_util::future::BoxFuture;
use helenus_cluster::{
    node::{
        ClusterStatus, Endpoints, Failure, GossipStatus, Node, ReadOutcome, ReadRequest, Readiness,
        RemovalError, RequestCounters, SchemaChange, SchemaError, Upkeep, UpkeepError, WriteOutcome,
        WriteRequest,
    },
    node_id::HostId,
    table::{Definition, Table},
};
use helenus_storage::Snapshot;
use tokio::time::Instant;

/// A coordinator: the node in production; in tests a scripted one too, because most errors that a reply must tell
/// apart need several nodes and a fault between them.
pub trait Coordinate: Send + Sync + 'static {
    /// Coordinates a write.
    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>>;
    /// Coordinates a read.
    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>>;
    /// The live tables, by name.
    fn tables(&self) -> Vec<Table>;
    /// Creates a table or changes its definition.
    fn define_table<'a>(
        &'a self,
        name: &'a str,
        definition: Definition,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>>;
    /// Drops a table.
    fn drop_table<'a>(
        &'a self,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>>;
    /// Whether it serves.
    fn readiness(&self) -> Readiness;
    /// The cluster as it sees it.
    fn status(&self) -> ClusterStatus;
    /// What it has heard of the members, and what it believes of them.
    fn gossip_status(&self) -> GossipStatus;
    /// Removes a dead member from the cluster.
    fn assassinate(&self, host_id: HostId) -> BoxFuture<'_, Result<(), RemovalError>>;
    /// Where the replicas of a key are; `None` if it knows no such table.
    fn endpoints(&self, table: &str, key: &[u8]) -> Option<Endpoints>;
    /// Does upkeep of its storage.
    fn upkeep(&self, task: Upkeep) -> BoxFuture<'_, Result<Vec<Snapshot>, UpkeepError>>;
    /// What it has counted of requests.
    fn request_counters(&self) -> RequestCounters;
    /// Who it is.
    fn host_id(&self) -> HostId;
}

impl Coordinate for Node {
    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>> {
        Box::pin(Node::write(self, request))
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>> {
        Box::pin(Node::read(self, request))
    }

    fn tables(&self) -> Vec<Table> {
        Node::tables(self)
    }

    fn define_table<'a>(
        &'a self,
        name: &'a str,
        definition: Definition,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>> {
        Box::pin(Node::define_table(self, name, definition, deadline))
    }

    fn drop_table<'a>(
        &'a self,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<SchemaChange, SchemaError>> {
        Box::pin(Node::drop_table(self, name, deadline))
    }

    fn readiness(&self) -> Readiness {
        Node::readiness(self)
    }

    fn status(&self) -> ClusterStatus {
        Node::status(self)
    }

    fn gossip_status(&self) -> GossipStatus {
        Node::gossip_status(self)
    }

    fn assassinate(&self, host_id: HostId) -> BoxFuture<'_, Result<(), RemovalError>> {
        Box::pin(Node::assassinate(self, host_id))
    }

    fn endpoints(&self, table: &str, key: &[u8]) -> Option<Endpoints> {
        Node::endpoints(self, table, key)
    }

    fn upkeep(&self, task: Upkeep) -> BoxFuture<'_, Result<Vec<Snapshot>, UpkeepError>> {
        Box::pin(Node::upkeep(self, task))
    }

    fn request_counters(&self) -> RequestCounters {
        Node::request_counters(self)
    }

    fn host_id(&self) -> HostId {
        Node::host_id(self)
    }
}
