//! `helenus admin failure-detector`: Cassandra's `nodetool failuredetector`, with the reasons.

use serde::Deserialize;

use crate::cli::output;

/// The answer of `/admin/v1/failure-detector`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Detector {
    threshold: f64,
    convictions: u64,
    peers: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
struct Peer {
    address: String,
    up: bool,
    belief: String,
    phi: f64,
    silent_seconds: f64,
    failed_probes: u32,
    dead_seconds: Option<f64>,
    clock_offset_us: Option<i64>,
    round_trip_us: Option<u64>,
}

/// A line per peer.
pub(super) fn render(detector: &Detector) -> String {
    let rows: Vec<[String; 9]> = detector.peers.iter().map(row).collect();
    let header = ["Endpoint", "Up", "Belief", "Phi", "Heard", "Failed", "Dead", "Clock", "RTT"];
    format!(
        "{}\n\nSuspected from phi {}; taken for dead since the start: {}",
        output::table(header, &rows),
        detector.threshold,
        detector.convictions
    )
}

fn row(peer: &Peer) -> [String; 9] {
    let unknown = || "-".to_owned();
    [
        peer.address.clone(),
        if peer.up { "yes" } else { "no" }.to_owned(),
        peer.belief.clone(),
        format!("{:.1}", peer.phi),
        format!("{:.1} s", peer.silent_seconds),
        peer.failed_probes.to_string(),
        peer.dead_seconds.map_or_else(unknown, |seconds| format!("{seconds:.0} s")),
        peer.clock_offset_us.map_or_else(unknown, super::offset),
        peer.round_trip_us.map_or_else(unknown, |us| format!("{:.1} ms", millis(us))),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds for people to read")]
fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}
