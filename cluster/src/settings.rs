//! The settings of one node's distributed part. Every bound of the crate is named here.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    partitioning::{Partitioner, Token},
    snitch,
    table::Replication,
};

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Nodes of different cluster names never talk.
    pub cluster_name: String,
    /// How the cluster turns keys into tokens; nodes of different partitioners never talk.
    pub partitioner: Partitioner,
    /// Addresses (`host:port` of the peer listener) of nodes to learn the cluster from. Empty: this node forms a
    /// cluster of its own. The first seed forms the cluster if no other seed answers; every other node waits.
    pub seeds: Vec<String>,
    /// The address (`host:port`) under which the other nodes reach this one.
    pub advertise: String,
    /// Where this node stands.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Tokens this node has, once it has chosen them.
    pub num_tokens: usize,
    /// The tokens themselves; if empty, they are drawn.
    pub initial_tokens: Vec<Token>,
    /// Choose tokens that share the keys evenly at this replication factor in the node's datacenter; `None`: draw them.
    pub allocate_tokens_for: Option<u32>,
    /// Replication factor of the table `default`, decided by the node that forms the cluster. `None`: 3, or 1 on
    /// a node that has no seeds.
    pub default_replication_factor: Option<u32>,
    /// Replicas of the table `default` by datacenter, decided by the node that forms the cluster. If empty, the factor
    /// above counts, wherever nodes stand.
    pub default_replication: BTreeMap<String, u32>,
    /// In which order replicas are asked.
    pub snitch: snitch::Settings,
    /// Deadline of writes that name none.
    pub write_timeout: Duration,
    /// Deadline of reads that name none.
    pub read_timeout: Duration,
    /// Deadline of scans that name none: of one page.
    pub scan_timeout: Duration,
    /// Requests that take as long, and parts of others' requests, are logged.
    pub slow_request_threshold: Duration,
    /// How far ahead of its own clock a node accepts a timestamp, and how far its clock may be off the median of the
    /// live nodes' before it coordinates no writes.
    pub allowed_drift: Duration,
    /// Time between two heartbeats, and between two rounds of gossip.
    pub gossip_interval: Duration,
    /// Suspicion from which on a member is taken for dead if nobody reaches it (φ, the decimal exponent of the chance
    /// that it lives and is merely late); it is probed from half of it on.
    pub phi_threshold: f64,
    /// Other members that are asked to reach a suspect before it is taken for dead.
    pub probe_helpers: usize,
    /// How long each of two such probes may take.
    pub probe_timeout: Duration,
    /// Reads of SSTables that may run at once on threads made for blocking.
    pub cold_reads: usize,
    /// Cold reads that may wait beyond those that run; further ones are answered as overloaded.
    pub cold_read_queue: usize,
    /// Pages of scans that may be read from storage at once, apart from other reads, on threads made for blocking; as
    /// many more may wait as cold reads may.
    pub scan_reads: usize,
    /// Scans that this node coordinates at once; further ones wait for their turn.
    pub max_scans: usize,
    /// Client requests that this node coordinates at once; further ones are answered as overloaded.
    pub max_requests: usize,
    /// Answered reads that wait for late replicas, to repair them; those of further ones go unheard.
    pub background_repairs: usize,
    /// How long a write is kept for a replica that missed it; zero: not at all.
    pub hint_window: Duration,
    /// Bytes that all kept hints may take.
    pub hint_bytes: u64,
    /// Hints that may be on their way to the disk at once; what is missed beyond has to be repaired.
    pub hints_in_flight: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_name: "helenus".to_owned(),
            partitioner: Partitioner::default(),
            seeds: Vec::new(),
            advertise: "127.0.0.1:7171".to_owned(),
            datacenter: "dc1".to_owned(),
            rack: "rack1".to_owned(),
            num_tokens: 16,
            initial_tokens: Vec::new(),
            allocate_tokens_for: Some(3),
            default_replication_factor: None,
            default_replication: BTreeMap::new(),
            snitch: snitch::Settings::default(),
            write_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(5),
            scan_timeout: Duration::from_secs(10),
            slow_request_threshold: Duration::from_millis(500),
            allowed_drift: Duration::from_secs(60),
            gossip_interval: Duration::from_secs(1),
            phi_threshold: 8.0,
            probe_helpers: 3,
            probe_timeout: Duration::from_millis(1500),
            cold_reads: 16,
            cold_read_queue: 1024,
            scan_reads: 4,
            max_scans: 32,
            max_requests: 4096,
            background_repairs: 64,
            hint_window: Duration::from_secs(3 * 60 * 60),
            hint_bytes: 1 << 30,
            hints_in_flight: 4096,
        }
    }
}

impl Settings {
    /// What the settings say of the replication of the table `default`, if they say anything.
    pub fn configured_replication(&self) -> Option<Replication> {
        if self.default_replication.is_empty() {
            return self.default_replication_factor.map(|factor| Replication::Simple { factor });
        }
        Some(Replication::NetworkTopology { factors: self.default_replication.clone() })
    }
}
