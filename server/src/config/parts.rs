//! The settings in the terms of the parts that obey them.

use std::{net::SocketAddr, num::NonZero, thread};

use helenus_cluster::{
    node_id::HostId,
    settings::Settings,
    snitch,
    time::{SystemClock, WallClock},
};
use helenus_storage::{
    Clock, Options, TableOptions,
    table_options::{Strategy, Unified},
};

use super::{
    quantity::Address,
    rules::initial_tokens,
    schema::Config,
    value::{Auto, SnitchKind, Switch},
};
use crate::{http::Limits, listen, peer::settings::PeerSettings};

/// Connections of operators at once: few, and not those of clients.
const OPERATORS: usize = 64;

impl Config {
    /// Threads that serve clients and other nodes.
    pub fn request_threads(&self) -> usize {
        match self.node.request_threads {
            Auto::Auto => thread::available_parallelism().map_or(1, NonZero::get),
            Auto::Fixed(threads) => count(threads),
        }
    }

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
            spare_segments: count(storage.spare_segments),
            memtable_age: Some(storage.memtable_age.get()),
            slow_down: storage.slow_down.get(),
            stall_limit: storage.stall_limit.get(),
            block_bytes: storage.block_size.bytes_in_memory(),
            restart_interval: count(storage.restart_interval),
            bloom_fp_rate: storage.bloom_fp_rate,
            compression: storage.compression,
            access_mode: storage.access_mode,
            block_cache_bytes: storage.block_cache.bytes_in_memory(),
            table: TableOptions {
                strategy: Strategy::Unified(Unified {
                    scaling: storage.compaction_scaling.clone(),
                    target_bytes: storage.sstable_target.bytes(),
                    ..Unified::default()
                }),
                gc_grace: storage.gc_grace.get(),
            },
            merge_max_tables: count(storage.merge_max_tables),
            compaction_threads: match storage.compaction_threads {
                Auto::Auto => Options::default().compaction_threads,
                Auto::Fixed(threads) => count(threads),
            },
            compaction_bytes_per_second: storage.compaction_throughput.bytes(),
            compaction_debt_runs: count(storage.compaction_debt_tables),
            compaction_debt_bytes: storage.compaction_debt.bytes(),
            clock: Some(Clock::new(|| SystemClock.now())),
            purge_filter: None,
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
            // The rules have found them right.
            initial_tokens: initial_tokens(self).unwrap_or_default(),
            partitioner: self.cluster.partitioner,
            allocate_tokens_for: (self.node.allocate_tokens_for > 0).then_some(self.node.allocate_tokens_for),
            default_replication: self.cluster.default_replication.clone(),
            snitch: self.snitch_settings(),
            default_replication_factor: match self.cluster.default_replication_factor {
                Auto::Auto => None,
                Auto::Fixed(factor) => Some(factor),
            },
            write_timeout: coordinator.write_timeout.get(),
            read_timeout: coordinator.read_timeout.get(),
            scan_timeout: coordinator.scan_timeout.get(),
            slow_request_threshold: coordinator.slow_request_threshold.get(),
            allowed_drift: coordinator.allowed_drift.get(),
            gossip_interval: self.gossip.interval.get(),
            phi_threshold: self.gossip.phi_threshold,
            probe_helpers: count(self.gossip.probe_helpers),
            probe_timeout: self.gossip.probe_timeout.get(),
            cold_reads: count(coordinator.cold_reads),
            cold_read_queue: count(coordinator.cold_read_queue),
            scan_reads: count(coordinator.scan_reads),
            max_scans: count(coordinator.max_scans),
            max_requests: count(coordinator.max_requests),
            background_repairs: count(coordinator.background_repairs),
            hint_window: self.handoff.window.get(),
            hint_bytes: self.handoff.quota.bytes(),
            hints_in_flight: count(self.handoff.in_flight),
        }
    }

    /// In which order replicas are asked.
    fn snitch_settings(&self) -> snitch::Settings {
        let snitch = &self.snitch;
        snitch::Settings {
            name: snitch.kind.name(),
            nearest_first: snitch.kind != SnitchKind::Simple,
            dynamic: (snitch.dynamic == Switch::On).then(|| snitch::dynamic::Settings {
                badness_threshold: snitch.badness_threshold,
                update_interval: snitch.update_interval.get(),
                reset_interval: snitch.reset_interval.get(),
            }),
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
    pub fn listener_settings(&self) -> listen::Settings {
        let http = &self.http;
        listen::Settings {
            max_connections: count(http.max_connections),
            header_timeout: http.header_timeout.get(),
            idle_timeout: http.idle_timeout.get(),
            write_stall_timeout: http.write_stall_timeout.get(),
            linger_timeout: http.linger_timeout.get(),
            max_head_bytes: http.max_head_size.bytes_in_memory(),
        }
    }

    /// What the listener for operators is told.
    pub fn admin_listener_settings(&self) -> listen::Settings {
        let clients = self.listener_settings();
        listen::Settings { max_connections: clients.max_connections.min(OPERATORS), ..clients }
    }

    /// What the HTTP API is told.
    pub fn request_limits(&self) -> Limits {
        let http = &self.http;
        Limits {
            max_value_bytes: http.max_value.bytes_in_memory(),
            body_bytes_in_flight: http.max_body_memory.bytes_in_memory(),
            body_stall_timeout: http.body_stall_timeout.get(),
            body_min_bytes_per_second: u32::try_from(http.body_min_rate.bytes()).unwrap_or(u32::MAX),
            max_target_bytes: http.max_target.bytes_in_memory(),
            max_headers: count(http.max_headers),
            max_header_bytes: http.max_header_size.bytes_in_memory(),
            requests_when_busy: count(self.coordinator.requests_when_busy),
            wait_when_busy: self.coordinator.wait_when_busy.get(),
        }
    }

    /// What the peer protocol is told; `seed` feeds its jitter.
    pub fn peer_settings(&self, seed: u64) -> PeerSettings {
        let peer = &self.peer;
        PeerSettings {
            connect_timeout: peer.connect_timeout.get(),
            handshake_timeout: peer.handshake_timeout.get(),
            silence_timeout: peer.silence_timeout.get(),
            idle_timeout: peer.idle_timeout.get(),
            max_frame_bytes: peer.max_frame.bytes_in_memory(),
            queue_bytes: peer.queue_memory.bytes_in_memory(),
            queue_requests: count(peer.queue_requests),
            in_flight_requests: count(peer.in_flight_requests),
            max_outbound: count(peer.max_outbound),
            backoff_min: peer.backoff_min.get(),
            backoff_max: peer.backoff_max.get(),
            jitter_seed: seed,
            route: peer.route.iter().map(|(id, address)| (HostId(*id), address.to_string())).collect(),
            max_inbound: count(peer.max_inbound),
            concurrent_requests: count(peer.concurrent_requests),
            concurrent_bytes: peer.concurrent_memory.bytes_in_memory(),
        }
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
