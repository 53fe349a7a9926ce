//! What the routes ask of a node.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{future::BoxFuture, stream::BoxStream};
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
use tokio::time::Instant;

/// What came of the requests of a batch, each with its place among them.
pub type Outcomes<'a, T> = BoxStream<'a, (usize, Result<T, Failure>)>;

/// A coordinator: the node in production; in tests a scripted one too, because most errors that a reply must tell
/// apart need several nodes and a fault between them.
pub trait Coordinate: Send + Sync + 'static {
    /// Whether there is room for one more request of a client at this moment.
    fn has_room(&self) -> bool;
    /// Coordinates a write.
    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>>;
    /// Coordinates writes; what came of each, with its place among them, as it comes.
    fn write_batch(&self, requests: Vec<WriteRequest>) -> Outcomes<'_, WriteOutcome>;
    /// Coordinates a read.
    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>>;
    /// Coordinates reads; what came of each, with its place among them, as it comes.
    fn read_batch(&self, requests: Vec<ReadRequest>) -> Outcomes<'_, ReadOutcome>;
    /// What each replica of a key holds.
    fn look_up<'a>(&'a self, table: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<LookUp, RequestError>>;
    /// Coordinates a page of a scan.
    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<ScanOutcome, Failure>>;
    /// The live tables, by name.
    fn tables(&self) -> Vec<Table>;
    /// One of them, which others are asked for if this node does not know it.
    fn table<'a>(&'a self, name: &'a str, deadline: Instant) -> BoxFuture<'a, Result<Table, RequestError>>;
    /// What of a table's definition will not do what people expect.
    fn warnings(&self, definition: &Definition) -> Vec<String>;
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
    /// Which schemas live members know that were last said to know another.
    fn ask_schemas(&self) -> BoxFuture<'_, BTreeMap<HostId, u64>>;
    /// A report for operators; `None` if it is about a table that it does not know.
    fn report(&self, topic: &Topic) -> Option<Report>;
    /// Removes a dead member from the cluster.
    fn assassinate(&self, host_id: HostId, is_forced: bool) -> BoxFuture<'_, Result<Removed, RemovalError>>;
    /// Does what an operator wants with the hints that it keeps; how many it has dropped.
    fn handoff(&self, command: Handoff) -> BoxFuture<'_, Result<u64, ReplicaError>>;
    /// Lets upkeep of its storage in.
    fn admit_upkeep(&self, task: Upkeep) -> Result<AdmittedUpkeep, UpkeepError>;
    /// Does it.
    fn upkeep<'a>(
        &'a self,
        work: AdmittedUpkeep,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Result<UpkeepOutcome, UpkeepError>>;
    /// Who it is.
    fn host_id(&self) -> HostId;
}

impl Coordinate for Node {
    fn has_room(&self) -> bool {
        Node::has_room(self)
    }

    fn write(&self, request: WriteRequest) -> BoxFuture<'_, Result<WriteOutcome, Failure>> {
        Box::pin(Node::write(self, request))
    }

    fn write_batch(&self, requests: Vec<WriteRequest>) -> Outcomes<'_, WriteOutcome> {
        Box::pin(Node::write_batch(self, requests))
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, Result<ReadOutcome, Failure>> {
        Box::pin(Node::read(self, request))
    }

    fn read_batch(&self, requests: Vec<ReadRequest>) -> Outcomes<'_, ReadOutcome> {
        Box::pin(Node::read_batch(self, requests))
    }

    fn look_up<'a>(&'a self, table: &'a str, key: &'a [u8]) -> BoxFuture<'a, Result<LookUp, RequestError>> {
        Box::pin(Node::look_up(self, table, key))
    }

    fn scan(&self, request: ScanRequest) -> BoxFuture<'_, Result<ScanOutcome, Failure>> {
        Box::pin(Node::scan(self, request))
    }

    fn tables(&self) -> Vec<Table> {
        Node::tables(self)
    }

    fn table<'a>(&'a self, name: &'a str, deadline: Instant) -> BoxFuture<'a, Result<Table, RequestError>> {
        Box::pin(Node::table(self, name, deadline))
    }

    fn warnings(&self, definition: &Definition) -> Vec<String> {
        Node::warnings(self, definition)
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

    fn ask_schemas(&self) -> BoxFuture<'_, BTreeMap<HostId, u64>> {
        Box::pin(Node::ask_schemas(self))
    }

    fn report(&self, topic: &Topic) -> Option<Report> {
        Node::report(self, topic)
    }

    fn assassinate(&self, host_id: HostId, is_forced: bool) -> BoxFuture<'_, Result<Removed, RemovalError>> {
        Box::pin(Node::assassinate(self, host_id, is_forced))
    }

    fn handoff(&self, command: Handoff) -> BoxFuture<'_, Result<u64, ReplicaError>> {
        Box::pin(Node::handoff(self, command))
    }

    fn admit_upkeep(&self, task: Upkeep) -> Result<AdmittedUpkeep, UpkeepError> {
        Node::admit_upkeep(self, task)
    }

    fn upkeep<'a>(
        &'a self,
        work: AdmittedUpkeep,
        meter: &'a Arc<Meter>,
    ) -> BoxFuture<'a, Result<UpkeepOutcome, UpkeepError>> {
        Box::pin(Node::upkeep(self, work, meter))
    }

    fn host_id(&self) -> HostId {
        Node::host_id(self)
    }
}
