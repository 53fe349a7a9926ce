//! The numbers of one node.
//!
//! `helenus_coordinator_…` is what this node did for clients; `helenus_replica_…`, and the numbers of its storage
//! (`helenus_commit_log_…`, `helenus_memtable_bytes`, …), what it did as a replica, for itself and for other coordinators
//! alike.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use helenus_cluster::{
    consistency::Consistency,
    histogram::{Histogram, Snapshot},
    node::{FailureDetectorReport, NodeCounters, ReplicaCounters},
};
use helenus_storage::engine::EngineCounters;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::{MetricType, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{
    COMMIT, VERSION, handoff, logs, membership,
    process::{self, DiskSpace},
    replication, storage,
};
use crate::{
    http::problem::Kind,
    peer::{UnsentCounts, listener::ListenerCounts},
};

/// Content type of [`Metrics::page`].
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Operations that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Put,
    Delete,
    Scan,
}

const OPERATIONS: [&str; 4] = ["get", "put", "delete", "scan"];

/// Levels that are told apart: all numbers are one, and one stands for requests that did not get as far as a level.
const LEVELS: [&str; 13] = [
    "any",
    "one",
    "two",
    "three",
    "quorum",
    "all",
    "local_one",
    "local_quorum",
    "each_quorum",
    "serial",
    "local_serial",
    "number",
    "none",
];

/// Place 0 of the results is success; the problems follow.
const RESULTS: usize = 1 + Kind::ALL.len();

/// What the parts of a node count themselves.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Its storage.
    pub storage: EngineCounters,
    /// How long syncs of its commit log took.
    pub syncs: Option<Snapshot>,
    /// Its part in the cluster.
    pub node: NodeCounters,
    /// Its listener for other nodes.
    pub peers: ListenerCounts,
    /// Its calls to other nodes.
    pub unsent: UnsentCounts,
    /// What it did as a replica.
    pub replica: Option<ReplicaCounters>,
    /// Whom it takes for dead.
    pub detector: Option<FailureDetectorReport>,
    /// The file system of its data directory.
    pub disk: Option<DiskSpace>,
}

/// A node's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Arc<Requests>,
    open_connections: Gauge,
    in_flight: Gauge,
    waiting: Gauge,
}

impl Metrics {
    /// Of a node whose parts have counted so.
    pub fn new(counters: impl Fn() -> Counters + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("helenus");
        let requests = Arc::<Requests>::default();
        let (open_connections, in_flight, waiting) = (Gauge::default(), Gauge::default(), Gauge::default());
        let build = Family::<[(&str, &str); 2], Gauge>::default();
        build.get_or_create(&[("version", VERSION), ("commit", COMMIT)]).set(1);
        registry.register("build_info", "Version of this build", build);
        registry.register(
            "http_open_connections",
            "Client connections being served",
            open_connections.clone(),
        );
        registry.register("http_in_flight_requests", "HTTP requests being served", in_flight.clone());
        registry.register(
            "http_waiting_requests",
            "HTTP requests that wait for their turn, while the processors have no time",
            waiting.clone(),
        );
        registry.register_collector(Box::new(Arc::clone(&requests)));
        registry.register_collector(Box::new(Parts(Box::new(counters))));
        Self { registry, requests, open_connections, in_flight, waiting }
    }

    /// Counts the open connections of the node's listeners.
    pub fn open_connections(&self) -> Gauge {
        self.open_connections.clone()
    }

    /// All metrics in Prometheus' text format.
    pub fn page(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)
            .expect("writing to a String cannot fail, nor can the collectors");
        in_text_format(&page)
    }

    /// How long requests took, by operation.
    pub(crate) fn latencies(&self) -> [(&'static str, Snapshot); OPERATIONS.len()] {
        std::array::from_fn(|place| (OPERATIONS[place], self.requests.latencies[place].snapshot()))
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a request that waits for its turn until the guard is dropped.
    pub(crate) fn waiting(&self) -> InFlight {
        self.waiting.inc();
        InFlight(self.waiting.clone())
    }

    /// Counts a coordinated request. `problem` is `None` for success.
    pub(crate) fn record(
        &self,
        operation: Operation,
        level: Option<Consistency>,
        problem: Option<Kind>,
        elapsed: Duration,
    ) {
        let result = problem.map_or(0, |kind| 1 + kind as usize);
        self.requests.counts[operation as usize][level_index(level)][result].fetch_add(1, Relaxed);
        // What was refused at once says nothing of how long requests take.
        if problem.is_none_or(Kind::was_carried_out) {
            self.requests.latencies[operation as usize].record(elapsed);
        }
    }
}

/// Turns OpenMetrics into the older text format, which every tool reads: there a counter's family is named like its
/// samples, with `_total`, and there are no units and no end.
fn in_text_format(open_metrics: &str) -> String {
    let mut page = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(text)) => {
                help = Some((name, text.trim_end_matches('.')));
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                    page.push_str(&format!("# HELP {name}{suffix} {text}\n"));
                }
                page.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn level_index(level: Option<Consistency>) -> usize {
    match level {
        Some(Consistency::Any) => 0,
        Some(Consistency::One) => 1,
        Some(Consistency::Two) => 2,
        Some(Consistency::Three) => 3,
        Some(Consistency::Quorum) => 4,
        Some(Consistency::All) => 5,
        Some(Consistency::LocalOne) => 6,
        Some(Consistency::LocalQuorum) => 7,
        Some(Consistency::EachQuorum) => 8,
        Some(Consistency::Serial) => 9,
        Some(Consistency::LocalSerial) => 10,
        Some(Consistency::Count(_)) => 11,
        None => 12,
    }
}

/// The coordinator's requests.
#[derive(Debug)]
struct Requests {
    counts: [[[AtomicU64; RESULTS]; LEVELS.len()]; OPERATIONS.len()],
    latencies: [Histogram; OPERATIONS.len()],
}

impl Default for Requests {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            counts: std::array::from_fn(|_| std::array::from_fn(|_| zeros())),
            latencies: std::array::from_fn(|_| Histogram::default()),
        }
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut counter = encoder.encode_descriptor(
            "coordinator_requests",
            "Reads and writes of clients, by operation, consistency level and result",
            None,
            MetricType::Counter,
        )?;
        for (op, levels) in OPERATIONS.iter().zip(&self.counts) {
            for (level, results) in LEVELS.iter().zip(levels) {
                for (index, count) in results.iter().enumerate() {
                    let count = count.load(Relaxed);
                    // A thousand series that never count would only drown the others.
                    if count > 0 {
                        let result = index.checked_sub(1).map_or("ok", |index| Kind::ALL[index].name());
                        counter
                            .encode_family(&[("op", *op), ("level", *level), ("result", result)])?
                            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                }
            }
        }
        let mut histogram = encoder.encode_descriptor(
            "coordinator_request_duration",
            "Time from a complete head to the reply, by operation, of requests that were not refused",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (op, latency) in OPERATIONS.iter().zip(&self.latencies) {
            let now = latency.snapshot();
            histogram.encode_family(&[("op", *op)])?.encode_histogram::<NoLabelSet>(
                now.sum_seconds,
                now.count,
                &now.buckets,
                None,
            )?;
        }
        Ok(())
    }
}

/// The parts' own counters, read when someone asks.
struct Parts(Box<dyn Fn() -> Counters + Send + Sync>);

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

impl Collector for Parts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Counters { storage: now, syncs, node, peers, unsent, replica, detector, disk } = (self.0)();
        membership::encode(&mut encoder, &node, &peers)?;
        replication::encode(&mut encoder, &node.requests, &unsent)?;
        handoff::encode(&mut encoder, &node)?;
        process::encode(&mut encoder)?;
        logs::encode(&mut encoder)?;
        if let Some(detector) = &detector {
            membership::encode_peers(&mut encoder, detector)?;
        }
        if let Some(replica) = &replica {
            replication::encode_replica(&mut encoder, replica)?;
        }
        storage::encode(&mut encoder, &now, syncs.as_ref(), disk)
    }
}

#[cfg(test)]
mod tests {
    use helenus_cluster::node::RequestCounters;

    use super::*;

    #[test]
    fn the_page_tells_operation_level_and_result_apart() {
        let storage = EngineCounters {
            commit_log_groups: 7,
            failures: [0, 0, 0, 3, 0],
            memtable_bytes: 42,
            pending_delete_bytes: 17,
            ..EngineCounters::default()
        };
        let node = NodeCounters {
            members_down: 2,
            clock_offset_us: -2_500_000,
            is_clock_skewed: true,
            facts_rejected: 5,
            requests: RequestCounters {
                digest_mismatches: 8,
                background_repairs: 9,
                expired_during: [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
                ..RequestCounters::default()
            },
            ..NodeCounters::default()
        };
        let peers = ListenerCounts { damaged: 9, ..ListenerCounts::default() };
        let unsent = UnsentCounts { expired: 4, abandoned: 6 };
        let syncs = Histogram::default();
        syncs.record(Duration::from_millis(1500));
        let metrics = Metrics::new(move || Counters {
            storage,
            syncs: Some(syncs.snapshot()),
            node,
            peers,
            unsent,
            ..Counters::default()
        });
        let ms = Duration::from_millis(1);
        metrics.record(Operation::Put, Some(Consistency::Quorum), None, ms);
        metrics.record(Operation::Put, Some(Consistency::Quorum), None, ms);
        metrics.record(Operation::Get, None, Some(Kind::Overloaded), ms);
        metrics.record(Operation::Get, Some(Consistency::One), Some(Kind::NotFound), ms);
        let (_serving, _waiting) = (metrics.in_flight(), metrics.waiting());
        drop(metrics.in_flight());
        let page = metrics.page();
        for line in [
            "# TYPE helenus_coordinator_requests_total counter",
            "# HELP helenus_commit_log_groups_total Groups written to the commit log",
            "helenus_coordinator_requests_total{op=\"put\",level=\"quorum\",result=\"ok\"} 2",
            "helenus_coordinator_requests_total{op=\"get\",level=\"none\",result=\"overloaded\"} 1",
            "helenus_coordinator_request_duration_seconds_count{op=\"put\"} 2",
            "helenus_coordinator_request_duration_seconds_count{op=\"get\"} 1",
            "helenus_coordinator_request_duration_seconds_bucket{le=\"0.001024\",op=\"put\"} 2",
            "helenus_coordinator_request_duration_seconds_bucket{le=\"+Inf\",op=\"delete\"} 0",
            "helenus_coordinator_digest_mismatches_total 8",
            "helenus_coordinator_read_repairs_total{when=\"background\"} 9",
            "helenus_coordinator_unsent_requests_total{why=\"expired\"} 4",
            "helenus_coordinator_unsent_requests_total{why=\"abandoned\"} 6",
            "helenus_replica_dropped_requests_total{verb=\"read\",when=\"before\"} 0",
            "helenus_replica_dropped_requests_total{verb=\"write\",when=\"during\"} 3",
            "helenus_commit_log_groups_total 7",
            "helenus_commit_log_sync_duration_seconds_sum 1.5",
            "helenus_commit_log_sync_duration_seconds_bucket{le=\"+Inf\"} 1",
            "helenus_memtable_bytes 42",
            "helenus_sstable_pending_delete_bytes 17",
            "helenus_background_failures_total{step=\"flush\"} 0",
            "helenus_background_failures_total{step=\"compact\"} 3",
            "helenus_members{state=\"down\"} 2",
            "helenus_clock_offset_seconds -2.5",
            "helenus_clock_skewed 1",
            "helenus_pending_flushes 0",
            "helenus_gossip_rejected_facts_total 5",
            "helenus_peer_connections_total{result=\"cut\"} 9",
            "helenus_http_in_flight_requests 1",
            "helenus_http_waiting_requests 1",
            "helenus_http_open_connections 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing from\n{page}");
        }
        assert!(page.contains("helenus_build_info{version=\""));
    }
}
