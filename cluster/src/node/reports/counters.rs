//! What a node counts, for metrics.

use super::source::Source;
use crate::node::{HintCounters, RequestCounters};

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounters {
    /// Gauge: members that are up, this node included.
    pub members_up: usize,
    /// Gauge: members that are down.
    pub members_down: usize,
    /// Gauge: members of which the node does not know it: all, once it is drained.
    pub members_unknown: usize,
    /// Peers that were taken for dead.
    pub convictions: u64,
    /// Facts about members that were not believed.
    pub facts_rejected: u64,
    /// Gossip and exchanges of other clusters that were not looked at.
    pub foreign_gossip: u64,
    /// Gauge: how far the median of the live nodes' wall clocks is ahead of this node's, in microseconds.
    pub clock_offset_us: i64,
    /// Gauge: whether its clock keeps it from coordinating writes.
    pub is_clock_skewed: bool,
    /// Gauge: live peers whose clocks are off by more than the allowed drift.
    pub clocks_off: usize,
    /// Gauge: live members that say so of this node's clock.
    pub told_clock_off: usize,
    /// Gauge: client requests that wait for their reply.
    pub requests_in_flight: usize,
    /// What it has counted of requests.
    pub requests: RequestCounters,
    /// What became of hints.
    pub hints: HintCounters,
    /// Gauge: hints that wait for their target.
    pub hints_pending: u64,
    /// Gauge: bytes that kept hints take.
    pub hint_bytes: u64,
    /// Gauge: members and tables that have to be repaired, because hints were given up.
    pub repair_marks: usize,
}

/// What the node has counted by now.
pub(in crate::node) fn of(source: &Source) -> NodeCounters {
    let Source { clock, cluster, coordinator, hints, .. } = source;
    let hints = hints.status();
    let picture = cluster.picture();
    let has_left = cluster.has_left();
    let members = picture.view().members().count();
    let members_up = picture.view().members().filter(|member| cluster.is_up(member.host_id)).count();
    NodeCounters {
        members_up,
        members_down: if has_left { 0 } else { members - members_up },
        members_unknown: if has_left { members } else { 0 },
        convictions: cluster.hearsay.convictions(),
        facts_rejected: cluster.hearsay.rejected(),
        foreign_gossip: cluster.hearsay.foreign(),
        clock_offset_us: clock.wall_offset_us(),
        is_clock_skewed: clock.skew().is_some(),
        clocks_off: picture.view().others().filter(|member| clock.off(member.host_id).is_some()).count(),
        told_clock_off: cluster.told_off().len(),
        requests_in_flight: coordinator.in_flight(),
        requests: coordinator.counters.read(),
        hints: hints.counters,
        hints_pending: hints.targets.iter().map(|target| target.hints).sum(),
        hint_bytes: hints.targets.iter().map(|target| target.bytes).sum(),
        repair_marks: hints.marks.len(),
    }
}
