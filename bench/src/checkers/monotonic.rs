//! Monotonic quorum reads: a read never sees an older version than an earlier one that overlaps with it.
//!
//! More than is promised without read repair: a write that was not acknowledged may be on one replica only, and quorums
//! with and without it alternate. Off unless asked.

use super::{Checker, Violation, by_key::by_key, version::Version};
use crate::history::{History, Operation};

/// Checks the promise; at most one violation for each key.
pub fn check(history: &History) -> Vec<Violation> {
    let factor = history.header.factor;
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let mut reads: Vec<(&Operation, Version)> = operations
            .iter()
            // Any two of these share a replica.
            .filter(|read| history.overlap(read.level.required(factor), read.level.required(factor)))
            .filter_map(|&read| Some((read, Version::seen(read)?)))
            .collect();
        reads.sort_by_key(|(read, _)| read.returned);
        let mut newest: Vec<(&Operation, Version)> = Vec::new();
        for &(read, version) in &reads {
            newest.push(match newest.last() {
                Some(&earlier) if earlier.1 >= version => earlier,
                _ => (read, version),
            });
        }
        let backwards = reads.iter().find_map(|(read, seen)| {
            let before = reads.partition_point(|(earlier, _)| earlier.returned < read.invoked);
            let (earlier, version) = newest[..before].last()?;
            seen.must_lose_to(version).then_some((*earlier, *version, *read, *seen))
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
