//! What a seed makes of the cluster itself: its size, its settings and the network it lives in.
//!
//! Tiny bounds and odd settings are where rare paths lie (FoundationDB calls it buggification). Here they are
//! settings, never other code: a memtable of one record, a segment for a handful, a timeout that some requests miss.

use std::{ops::RangeInclusive, time::Duration};

use helenus_storage::{AccessMode, Compression, Options, SyncMode, TableOptions};
use rand::RngExt;

use super::weather::Weather;
use crate::{
    node::randomness::{Stream, stream},
    settings::Settings,
};

/// Grace of tombstones that no other replica has to hear of. Longer than any message is under way, a pause of its
/// receiver and the error of a clock included: what arrives later than that gives a deleted value back. Where there are
/// other replicas nothing may be purged as long as no anti-entropy tells them.
const LONE_GRACE: Duration = Duration::from_secs(5 * 60);

/// A cluster before anything is done to it.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Nodes 1..=nodes.
    pub nodes: u32,
    /// Further nodes, which join when the cluster has records.
    pub late: u32,
    /// Replicas of each key.
    pub factor: u32,
    /// Nodes and replicas of each datacenter, if each has replicas of its own; the first nodes stand in the first.
    pub datacenters: Vec<(u32, u32)>,
    /// Of every node, but for its own address.
    pub settings: Settings,
    /// Of every engine.
    pub options: Options,
    /// Time that a step of an engine takes, at most.
    pub step_time: Duration,
    /// The network until everything is healed.
    pub weather: Weather,
    /// Calls that a node may have under way to another.
    pub most_calls: usize,
    /// Offset of each clock, in microseconds, and its drift, in millionths.
    pub clocks: Vec<(i64, i64)>,
    /// How far clocks jump, in units of the drift that nodes accept.
    pub clock_jumps: f64,
    /// Whether the network is as bad, and nodes die, while the cluster forms.
    pub rough_formation: bool,
}

impl Shape {
    /// Draws the cluster of a seed; of a given number of nodes, if so wished.
    pub fn draw(seed: u64, nodes: Option<u32>) -> Self {
        let mut random = stream(seed, "shape");
        let drawn = [3, 3, 4, 5, 5, 6, 7][random.random_range(0..7)];
        let nodes = nodes.unwrap_or(drawn);
        let factor = [1, 2, 3, 3, 3, 3, 3, 5][random.random_range(0..8)].min(nodes);
        let datacenters = datacenters(&mut stream(seed, "datacenters"), nodes);
        let factor = match datacenters.as_slice() {
            [] => factor,
            datacenters => datacenters.iter().map(|(_, factor)| factor).sum(),
        };
        let mut settings = settings(&mut random, nodes, factor);
        // From a stream of its own, as it came later.
        settings.allocate_tokens_for = stream(seed, "token choice").random_bool(0.125).then_some(factor);
        let replication = |(place, (_, factor)): (usize, &(u32, u32))| (name_of(place), *factor);
        hints(&mut stream(seed, "hints"), &mut settings);
        settings.default_replication = datacenters.iter().enumerate().map(replication).collect();
        let drift_us = i64::try_from(settings.allowed_drift.as_micros()).unwrap_or(i64::MAX);
        // Any two clocks are within the drift, a jump aside.
        let worst = if random.random_bool(0.5) { drift_us / 8 } else { 2_000 };
        let clocks = (0..nodes)
            .map(|_| (random.random_range(-worst..=worst), random.random_range(-200..=200)))
            .collect();
        Self {
            nodes,
            // From a stream of its own, as it came later.
            late: u32::from(stream(seed, "late").random_bool(0.15)),
            factor,
            datacenters,
            options: options(&mut random, &mut stream(seed, "reads"), factor),
            step_time: Duration::from_millis(random.random_range(0..12)),
            weather: weather(&mut random),
            most_calls: if random.random_bool(0.1) { 8 } else { 256 },
            clocks,
            clock_jumps: if random.random_bool(0.3) { 3.0 } else { 0.3 },
            rough_formation: random.random_bool(0.3),
            settings,
        }
    }

    /// The nodes that join late.
    pub fn late_nodes(&self) -> RangeInclusive<u32> {
        self.nodes + 1..=self.nodes + self.late
    }

    /// Where a node stands.
    pub fn datacenter_of(&self, node: u32) -> String {
        let mut last = 0;
        let place = self.datacenters.iter().position(|(nodes, _)| {
            last += nodes;
            node <= last
        });
        name_of(place.unwrap_or_default())
    }

    /// Whether clocks jump further than nodes accept: then writes may fail, and nothing else may.
    pub fn has_wild_clocks(&self) -> bool {
        self.clock_jumps > 1.0
    }

    /// Whether what is acknowledged survives a power cut.
    pub fn is_durable(&self) -> bool {
        self.options.sync_mode == SyncMode::Group
    }
}

fn name_of(datacenter: usize) -> String {
    format!("dc{}", datacenter + 1)
}

/// Two datacenters in one shape of four. Drawn from a stream of its own, as it came later.
fn datacenters(random: &mut Stream, nodes: u32) -> Vec<(u32, u32)> {
    if !random.random_bool(0.25) {
        return Vec::new();
    }
    let first = random.random_range(1..nodes);
    let mut of = |nodes: u32| (nodes, random.random_range(1..=nodes.min(3)));
    vec![of(first), of(nodes - first)]
}

/// Little room for hints in some shapes; drawn from a stream of its own, as it came later.
fn hints(random: &mut Stream, settings: &mut Settings) {
    if random.random_bool(0.2) {
        settings.hint_bytes = random.random_range(0..64 << 10);
        settings.hints_in_flight = [1, 8, 4096][random.random_range(0..3)];
    }
}

fn settings(random: &mut Stream, nodes: u32, factor: u32) -> Settings {
    let seeds = random.random_range(1..=nodes.min(3));
    let millis =
        |random: &mut Stream| Duration::from_millis([150, 500, 2000, 2000][random.random_range(0..4)]);
    Settings {
        cluster_name: "simulated".to_owned(),
        seeds: (1..=seeds).map(super::network::address).collect(),
        num_tokens: [1, 4, 16][random.random_range(0..3)],
        allocate_tokens_for: None,
        default_replication_factor: Some(factor),
        write_timeout: millis(random),
        read_timeout: millis(random),
        allowed_drift: Duration::from_secs([5, 60, 60][random.random_range(0..3)]),
        gossip_interval: Duration::from_millis([300, 1000, 1000, 2000][random.random_range(0..4)]),
        max_requests: if random.random_bool(0.1) { 16 } else { 4096 },
        ..Settings::default()
    }
}

/// What concerns reads is drawn from a stream of its own: it came later, and leaves the shapes of known seeds as they
/// were.
fn options(random: &mut Stream, reads: &mut Stream, factor: u32) -> Options {
    let segment_bytes = [8 << 10, 32 << 10, 256 << 10][random.random_range(0..3)];
    let memtable_bytes = [1, 2 << 10, 16 << 10, 64 << 10][random.random_range(0..4)];
    let is_periodic = random.random_bool(0.1);
    Options {
        sync_mode: if is_periodic { SyncMode::Periodic } else { SyncMode::Group },
        sync_interval: Duration::from_millis(random.random_range(10..1000)),
        segment_bytes,
        commit_log_bytes: segment_bytes * random.random_range(2..16),
        commit_queue_bytes: if random.random_bool(0.1) { 16 << 10 } else { 4 << 20 },
        memtable_bytes,
        memtable_total_bytes: if random.random_bool(0.1) { 32 << 10 } else { 4 << 20 },
        block_bytes: [64, 512, 16 << 10][random.random_range(0..3)],
        restart_interval: [1, 3, 16][random.random_range(0..3)],
        bloom_fp_rate: [0.01, 0.5][random.random_range(0..2)],
        compression: [Compression::None, Compression::Lz4][reads.random_range(0..2)],
        access_mode: [AccessMode::Mmap, AccessMode::Standard][reads.random_range(0..2)],
        block_cache_bytes: [0, 64 << 10, 16 << 20][reads.random_range(0..3)],
        table: TableOptions {
            gc_grace: if factor == 1 { LONE_GRACE } else { TableOptions::default().gc_grace },
            ..TableOptions::tiered(random.random_range(2..=4))
        },
        merge_max_tables: [4, 8, 32][random.random_range(0..3)],
        // One task drives each engine, and waits for nothing but virtual time.
        compaction_threads: 1,
        compaction_bytes_per_second: 0,
        spare_segments: random.random_range(0..3),
        ..Options::default()
    }
}

fn weather(random: &mut Stream) -> Weather {
    if random.random_bool(0.5) {
        return Weather { reorders: random.random_bool(0.3), ..Weather::CALM };
    }
    let share = |random: &mut Stream, most: f64| {
        if random.random_bool(0.5) { random.random_range(0.0..most) } else { 0.0 }
    };
    Weather {
        least_delay: Duration::from_millis(random.random_range(0..10)),
        mean_jitter: Duration::from_millis(random.random_range(0..40)),
        slow_path: share(random, 0.01),
        loss: share(random, 0.03),
        duplicates: share(random, 0.1),
        corruption: share(random, 0.02),
        reorders: random.random(),
    }
}
