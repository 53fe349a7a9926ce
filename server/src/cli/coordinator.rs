//! The node as the routes ask it, and what only its transport knows.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use helenus_cluster::{
    node::{
        ClusterStatus, Failure, GossipStatus, Node, ReadOutcome, ReadRequest, Readiness, RemovalError,
        WriteOutcome, WriteRequest,
    },
    node_id::HostId,
};

use crate::{http::Coordinate, peer::TcpTransport};

/// A node that is not ready says also which nodes refuse it: waiting for a seed ends, but not for one of another cluster.
pub(super) struct Coordinator {
    pub(super) node: Arc<Node>,
    pub(super) transport: Arc<TcpTransport>,
}

impl Coordinate for Coordinator {
    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>> {
        Box::pin(self.node.write(request))
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>> {
        Box::pin(self.node.read(request))
    }

    fn readiness(&self) -> Readiness {
        match self.node.readiness() {
            Readiness::Starting(why) => {
                let refusals = self.transport.refusals();
                Readiness::Starting([vec![why], refusals].concat().join("; "))
            }
            other => other,
        }
    }

    fn status(&self) -> ClusterStatus {
        self.node.status()
    }

    fn gossip_status(&self) -> GossipStatus {
        self.node.gossip_status()
    }

    fn assassinate(&self, host_id: HostId) -> BoxFuture<'_, Result<(), RemovalError>> {
        Box::pin(self.node.assassinate(host_id))
    }

    fn host_id(&self) -> HostId {
        self.node.host_id()
    }
}
