//! What the routes ask of a node.

use futures_util::future::BoxFuture;
use helenus_cluster::{
    node::{
        ClusterStatus, Failure, GossipStatus, Node, ReadOutcome, ReadRequest, Readiness, RemovalError,
        WriteOutcome, WriteRequest,
    },
    node_id::HostId,
};

/// A coordinator: the node in production; in tests a scripted one too, because most errors that a reply must tell
/// apart need several nodes and a fault between them.
pub trait Coordinate: Send + Sync + 'static {
    /// Coordinates a write.
    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>>;
    /// Coordinates a read.
    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>>;
    /// Whether it serves.
    fn readiness(&self) -> Readiness;
    /// The cluster as it sees it.
    fn status(&self) -> ClusterStatus;
    /// What it has heard of the members, and what it believes of them.
    fn gossip_status(&self) -> GossipStatus;
    /// Removes a dead member from the cluster.
    fn assassinate(&self, host_id: HostId) -> BoxFuture<'_, Result<(), RemovalError>>;
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

    fn host_id(&self) -> HostId {
        Node::host_id(self)
    }
}
