//! The numbers of membership: who is up, whose clock is off, and what came in that could not be true.

use std::fmt;

use helenus_cluster::node::{FailureDetectorReport, NodeCounters};
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::peer::listener::ListenerCounts;

/// Beyond it nobody looks at the number any more.
const MOST_PHI: f64 = 1e6;

/// Writes all of them.
pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    node: &NodeCounters,
    peers: &ListenerCounts,
) -> fmt::Result {
    let mut members = encoder.encode_descriptor(
        "members",
        "Members; unknown is the state of all in a node that is drained",
        None,
        MetricType::Gauge,
    )?;
    let states = [("up", node.members_up), ("down", node.members_down), ("unknown", node.members_unknown)];
    for (state, count) in states {
        members.encode_family(&[("state", state)])?.encode_gauge(&gauge(count))?;
    }
    let gauges = [
        (
            "clock_skewed",
            "Whether the clock keeps the node from coordinating writes: 1 if so",
            usize::from(node.is_clock_skewed),
        ),
        ("clocks_off", "Live members whose clocks are off by more than the allowed drift", node.clocks_off),
        ("clock_told_off", "Live members that say so of this node's clock", node.told_clock_off),
        ("coordinator_in_flight", "Client requests that wait for their reply", node.requests_in_flight),
    ];
    for (name, help, count) in gauges {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&gauge(count))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years are exact")]
    let offset_seconds = node.clock_offset_us as f64 / 1e6;
    let help = "How far the median of the live members' wall clocks is ahead of this node's";
    encoder
        .encode_descriptor("clock_offset", help, Some(&Unit::Seconds), MetricType::Gauge)?
        .encode_gauge(&offset_seconds)?;
    let counters = [
        ("convictions", "Members that were taken for dead", node.convictions),
        ("gossip_rejected_facts", "Facts about members that were not believed", node.facts_rejected),
        ("gossip_foreign", "Gossip of other clusters that was not looked at", node.foreign_gossip),
        ("peer_requests", "Requests of other nodes", peers.requests),
        ("hints_received", "Hints of other nodes that were applied", node.hints.received),
    ];
    for (name, help, count) in counters {
        encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    let help = "Connections of other nodes: taken, and of those cut for what came over them; or not taken";
    let mut connections = encoder.encode_descriptor("peer_connections", help, None, MetricType::Counter)?;
    let results = [
        ("taken", peers.accepted),
        ("cut", peers.damaged),
        ("refused", peers.refused),
        ("stranger", peers.strangers),
        ("over-limit", peers.over_limit),
    ];
    for (result, count) in results {
        connections
            .encode_family(&[("result", result)])?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

/// Writes what the node believes of each peer.
pub(super) fn encode_peers(
    encoder: &mut DescriptorEncoder<'_>,
    detector: &FailureDetectorReport,
) -> fmt::Result {
    let help = "Suspicion of a peer: its silence, by what it was before, as a power of ten";
    let mut phi = encoder.encode_descriptor("peer_phi", help, None, MetricType::Gauge)?;
    for peer in &detector.peers {
        let suspicion = peer.health.phi.min(MOST_PHI);
        phi.encode_family(&[("peer", peer.address.as_str())])?.encode_gauge(&suspicion)?;
    }
    let mut up = encoder.encode_descriptor("peer_up", "Whether a peer is up", None, MetricType::Gauge)?;
    for peer in &detector.peers {
        up.encode_family(&[("peer", peer.address.as_str())])?.encode_gauge(&i64::from(peer.health.up))?;
    }
    Ok(())
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
