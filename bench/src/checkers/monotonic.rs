//! Monotonic quorum reads: a read never sees an older version than an earlier one that overlaps with it.
//!
//! More than the store owes to what was acknowledged: a write that was not acknowledged may be on one replica only, and
//! without read repair quorums with and without it would alternate.

use std::collections::BTreeMap;

use super::{
    Checker, Violation,
    by_key::by_key,
    version::{Content, Version},
};
use crate::history::{History, Moment, Need, Operation};

/// Checks the promise for the reads that were invoked after `from`; at most one violation for each key. While members
/// join, what only reads have spread is not owed to their replicas.
pub fn check(history: &History, from: Moment) -> Vec<Violation> {
    let header = &history.header;
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let mut by_need: BTreeMap<Need, Vec<(&Operation, Version)>> = BTreeMap::new();
        for &read in operations.iter().filter(|read| read.invoked >= from) {
            if let Some(version) = Version::seen(read) {
                by_need.entry(header.need(read)).or_default().push((read, version));
            }
        }
        let newest: BTreeMap<&Need, Vec<(&Operation, Version)>> =
            by_need.iter().map(|(need, reads)| (need, newest_of_each_prefix(reads))).collect();
        let backwards = by_need.iter().find_map(|(need, reads)| {
            let others = || newest.iter().filter(|(other, _)| header.overlap(other, need));
            reads.iter().find_map(|&(read, seen)| {
                others().find_map(|(_, newest)| {
                    let before = newest.partition_point(|(returned, _)| returned.returned < read.invoked);
                    let &(earlier, version) = newest[..before].last()?;
                    goes_back(version, seen).then_some((earlier, version, read, seen))
                })
            })
        });
        if let Some((earlier, version, read, seen)) = backwards {
            violations.push(Violation {
                checker: Checker::Monotonic,
                key: Some(key.to_owned()),
                operations: vec![earlier.id, read.id],
                what: format!("a read saw {}, and a later one {}", version.describe(), seen.describe()),
            });
        }
    }
    violations
}

/// Whether no order of things lets a read see the one version and a later read the other. What one coordinator's clock
/// takes for expired may not be to another's, and a deletion is forgotten some day.
fn goes_back(earlier: Version, later: Version) -> bool {
    let is_expiry = earlier.timestamp == later.timestamp && earlier.content == Content::Tombstone;
    let is_forgotten = later == Version::ABSENT && earlier.content == Content::Tombstone;
    later.must_lose_to(&earlier) && !is_expiry && !is_forgotten
}

/// In the order in which reads returned: the newest version seen by then, and the read that saw it, each with the
/// moment of the prefix that it speaks for.
fn newest_of_each_prefix<'a>(reads: &[(&'a Operation, Version)]) -> Vec<(&'a Operation, Version)> {
    let mut reads = reads.to_vec();
    reads.sort_by_key(|(read, _)| read.returned);
    let mut newest: Vec<(&Operation, Version)> = Vec::new();
    for (read, version) in reads {
        match newest.last() {
            Some(&(_, earlier)) if earlier >= version => {}
            _ => newest.push((read, version)),
        }
    }
    newest
}
