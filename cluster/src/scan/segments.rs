//! Parts of a range that have the same replicas everywhere.

use bytes::Bytes;

use crate::{
    node_id::HostId,
    partitioning::{KeyRange, Ring, Token, key_range::start_of_token},
    placement::Strategy,
};

/// A part of a range, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its storage keys.
    pub range: KeyRange,
    /// Its natural replicas; none if nobody owns ranges.
    pub replicas: Vec<HostId>,
}

/// The parts of a range in their order, without gaps, as long as can be. Found as they are asked for, each with a walk on
/// the ring per token in it.
pub fn segments<'a>(
    ring: &'a Ring,
    strategy: Strategy<'a>,
    range: KeyRange,
) -> impl Iterator<Item = Segment> + use<'a> {
    let KeyRange { from, until } = range;
    let mut from = Some(from);
    std::iter::from_fn(move || {
        let rest = KeyRange { from: from.take()?, until: until.clone() };
        if rest.is_empty() {
            return None;
        }
        let (replicas, end) = stretch(ring, strategy, &rest);
        let end = end.filter(|end| rest.until.as_ref().is_none_or(|until| end < until));
        from.clone_from(&end);
        let range = KeyRange { from: rest.from, until: end.or(rest.until) };
        Some(Segment { range, replicas })
    })
}

/// The replicas at the beginning of a range, and where others begin.
fn stretch(ring: &Ring, strategy: Strategy<'_>, range: &KeyRange) -> (Vec<HostId>, Option<Bytes>) {
    let first = range.first_token();
    let replicas = strategy.place(ring, first).natural;
    let same = sorted(&replicas);
    let at = ring.entries().partition_point(|entry| entry.token < first);
    let mut ends = ring.entries()[at..].iter().map(|entry| entry.token);
    let end = ends.find_map(|token| {
        let next = Token(token.0.checked_add(1)?);
        let others_begin = sorted(&strategy.place(ring, next).natural) != same;
        let start = start_of_token(next);
        // No need to look beyond the range.
        let is_behind = range.until.as_ref().is_some_and(|until| *until <= start);
        (others_begin || is_behind).then_some(start)
    });
    (replicas, end)
}

fn sorted(hosts: &[HostId]) -> Vec<HostId> {
    let mut hosts = hosts.to_vec();
    hosts.sort_unstable();
    hosts
}
