//! The settings in the terms of the parts that obey them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use helenus_cluster::{node_id::HostId, settings::Settings};
use helenus_storage::Options;

use super::{
    schema::Config,
    value::{Address, Auto},
};

/// What the listener for clients is told.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Time for a whole request head.
    pub header_timeout: Duration,
    /// Time without a request.
    pub idle_timeout: Duration,
    /// Time for a client to take what is written.
    pub write_stall_timeout: Duration,
    /// Time to throw away unread input.
    pub linger_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Largest value, in bytes.
    pub max_value_bytes: usize,
    /// All request bodies under way together, in bytes.
    pub max_body_memory_bytes: usize,
    /// Time for the next piece of a body.
    pub body_stall_timeout: Duration,
    /// Bytes of a body per second, once that time is over.
    pub body_min_bytes_per_second: u32,
    /// Longest path and query together, in bytes.
    pub max_target_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// All of them together, in bytes.
    pub max_header_bytes: usize,
    /// Request line and headers together, in bytes.
    pub max_head_bytes: usize,
    /// Time for requests under way when the node stops.
    pub drain_timeout: Duration,
}

/// What the listener for, and the connections to, other nodes are told.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Addresses to use instead of what a node advertises.
    pub route: BTreeMap<HostId, String>,
    /// Largest frame, in bytes.
    pub max_frame_bytes: usize,
    /// Time to make a connection.
    pub connect_timeout: Duration,
    /// Time to greet each other.
    pub handshake_timeout: Duration,
    /// Time without a sign of life from the other machine, whole seconds.
    pub silence_timeout: Duration,
    /// Time without a call.
    pub idle_timeout: Duration,
    /// Shortest pause before the next attempt to connect.
    pub backoff_min: Duration,
    /// Longest pause before the next attempt to connect.
    pub backoff_max: Duration,
    /// Requests that wait to be sent, per connection.
    pub queue_requests: usize,
    /// Bytes that wait to be sent, per connection.
    pub queue_bytes: usize,
    /// Requests that are sent and unanswered, per connection.
    pub in_flight_requests: usize,
    /// Requests of another node that are worked on at once, per connection.
    pub concurrent_requests: usize,
    /// Bytes of such requests, per connection.
    pub concurrent_bytes: usize,
    /// Connections from other nodes.
    pub max_inbound: usize,
    /// Connections to other nodes.
    pub max_outbound: usize,
}

impl Config {
    /// What the storage engine is told.
    pub fn storage_options(&self) -> Options {
        let storage = &self.storage;
        Options {
            sync_mode: storage.sync_mode,
            sync_interval: storage.sync_interval.get(),
            segment_bytes: storage.segment_size.bytes(),
            commit_queue_bytes: storage.commit_queue.bytes_in_memory(),
            memtable_bytes: storage.memtable_size.bytes_in_memory(),
            memtable_total_bytes: storage.memtable_total.bytes_in_memory(),
            commit_log_bytes: storage.commit_log_size.bytes(),
            block_bytes: storage.block_size.bytes_in_memory(),
            restart_interval: count(storage.restart_interval),
            bloom_fp_rate: storage.bloom_fp_rate,
            merge_min_tables: count(storage.merge_min_tables),
            merge_max_tables: count(storage.merge_max_tables),
        }
    }

    /// What the distributed part is told, once the peer listener is bound to `peer_address`.
    pub fn cluster_settings(&self, peer_address: SocketAddr) -> Settings {
        let coordinator = &self.coordinator;
        Settings {
            cluster_name: self.cluster.name.clone(),
            seeds: self.cluster.seeds.iter().map(Address::to_string).collect(),
            advertise: self.advertised(peer_address),
            datacenter: self.node.datacenter.clone(),
            rack: self.node.rack.clone(),
            num_tokens: count(self.node.num_tokens),
            default_replication_factor: match self.cluster.default_replication_factor {
                Auto::Auto => None,
                Auto::Fixed(factor) => Some(factor),
            },
            write_timeout: coordinator.write_timeout.get(),
            read_timeout: coordinator.read_timeout.get(),
            allowed_drift: coordinator.allowed_drift.get(),
            exchange_interval: coordinator.exchange_interval.get(),
            cold_reads: count(coordinator.cold_reads),
            cold_read_queue: count(coordinator.cold_read_queue),
            max_requests: count(coordinator.max_requests),
        }
    }

    /// The address under which the other nodes reach this one, once its listener is bound.
    fn advertised(&self, peer_address: SocketAddr) -> String {
        match &self.peer.advertise {
            Auto::Auto => peer_address.to_string(),
            Auto::Fixed(address) if address.port() == 0 => address.with_port(peer_address.port()).to_string(),
            Auto::Fixed(address) => address.to_string(),
        }
    }

    /// What the listener for clients is told.
    pub fn http_settings(&self) -> HttpSettings {
        let http = &self.http;
        HttpSettings {
            listen: http.listen,
            header_timeout: http.header_timeout.get(),
            idle_timeout: http.idle_timeout.get(),
            write_stall_timeout: http.write_stall_timeout.get(),
            linger_timeout: http.linger_timeout.get(),
            max_connections: count(http.max_connections),
            max_value_bytes: http.max_value.bytes_in_memory(),
            max_body_memory_bytes: http.max_body_memory.bytes_in_memory(),
            body_stall_timeout: http.body_stall_timeout.get(),
            body_min_bytes_per_second: u32::try_from(http.body_min_rate.bytes()).unwrap_or(u32::MAX),
            max_target_bytes: http.max_target.bytes_in_memory(),
            max_headers: count(http.max_headers),
            max_header_bytes: http.max_header_size.bytes_in_memory(),
            max_head_bytes: http.max_head_size.bytes_in_memory(),
            drain_timeout: http.drain_timeout.get(),
        }
    }

    /// What the peer protocol is told.
    pub fn peer_settings(&self) -> PeerSettings {
        let peer = &self.peer;
        PeerSettings {
            listen: peer.listen,
            route: peer.route.iter().map(|(id, address)| (HostId(*id), address.to_string())).collect(),
            max_frame_bytes: peer.max_frame.bytes_in_memory(),
            connect_timeout: peer.connect_timeout.get(),
            handshake_timeout: peer.handshake_timeout.get(),
            silence_timeout: peer.silence_timeout.get(),
            idle_timeout: peer.idle_timeout.get(),
            backoff_min: peer.backoff_min.get(),
            backoff_max: peer.backoff_max.get(),
            queue_requests: count(peer.queue_requests),
            queue_bytes: peer.queue_memory.bytes_in_memory(),
            in_flight_requests: count(peer.in_flight_requests),
            concurrent_requests: count(peer.concurrent_requests),
            concurrent_bytes: peer.concurrent_memory.bytes_in_memory(),
            max_inbound: count(peer.max_inbound),
            max_outbound: count(peer.max_outbound),
        }
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
