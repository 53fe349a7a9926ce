//! The numbers of hinted handoff: what is kept for others, and what became of it.

use std::fmt;

use helenus_cluster::node::NodeCounters;
use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// Writes all of them.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, node: &NodeCounters) -> fmt::Result {
    let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let gauges = [
        ("hints_pending", "Hints that wait for their target", None, node.hints_pending),
        ("hints_size", "Memory and disk that kept hints take", Some(&Unit::Bytes), node.hint_bytes),
        (
            "repair_marks",
            "Members and tables that have to be repaired, because hints were given up",
            None,
            node.repair_marks as u64,
        ),
    ];
    for (name, help, unit, count) in gauges {
        encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&gauge(count))?;
    }
    let help = "Hints: kept, or refused for want of room; and of those kept, what became of them";
    let mut hints = encoder.encode_descriptor("hints", help, None, MetricType::Counter)?;
    let outcomes = [
        ("kept", node.hints.kept),
        ("refused", node.hints.refused),
        ("delivered", node.hints.delivered),
        ("moved", node.hints.moved),
        ("superseded", node.hints.superseded),
        ("expired", node.hints.expired),
    ];
    for (outcome, count) in outcomes {
        hints.encode_family(&[("outcome", outcome)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}
