//! The node as the routes ask it, and what only its transport knows.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use helenus_cluster::{
    error::RequestError,
    message::ReplicaError,
    node::{
        Failure, Handoff, LookUp, Node, ReadOutcome, ReadRequest, Readiness, RemovalError, Report,
        ScanOutcome, ScanRequest, SchemaChange, SchemaError, Topic, Upkeep, UpkeepError, WriteOutcome,
        WriteRequest,
    },
    node_id::HostId,
    table::{Definition, Table},
};
use helenus_storage::{ScrubReport, Snapshot};
use tokio::time::Instant;

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

    fn look_up<'a>(&'a self, table: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<LookUp, RequestError>> {
        Box::pin(self.node.look_up(table, key))
    }

    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<ScanOutcome, Failure>> {
        Box::pin(self.node.scan(request))
    }

    fn tables(&self) -> Vec<Table> {
        self.node.tables()
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
        match self.node.readiness() {
            Readiness::Starting(why) => {
                let refusals = self.transport.refusals();
                Readiness::Starting([vec![why], refusals].concat().join("; "))
            }
            other => other,
        }
    }

    fn report(&self, topic: &Topic) -> Option<Report> {
        self.node.report(topic)
    }

    fn assassinate(&self, host_id: HostId, is_forced: bool) -> BoxFuture<'_, Result<(), RemovalError>> {
        Box::pin(self.node.assassinate(host_id, is_forced))
    }

    fn handoff(&self, command: Handoff) -> BoxFuture<'_, Result<u64, ReplicaError>> {
        Box::pin(self.node.handoff(command))
    }

    fn upkeep(&self, task: Upkeep) -> BoxFuture<'_, Result<Vec<Snapshot>, UpkeepError>> {
        Box::pin(self.node.upkeep(task))
    }

    fn scrub(&self, bytes_per_second: u64) -> BoxFuture<'_, Result<ScrubReport, UpkeepError>> {
        Box::pin(self.node.scrub(bytes_per_second))
    }

    fn host_id(&self) -> HostId {
        self.node.host_id()
    }
}
