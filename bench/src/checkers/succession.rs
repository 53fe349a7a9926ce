//! Writes in their order: one that begins after another was acknowledged is newer, if each was acknowledged by more than
//! half of the replicas, whatever the clocks and clients of the other have shown.
//!
//! Not if its client has chosen its timestamp.

use std::collections::BTreeMap;

use super::{Checker, Violation, by_key::by_key, lost_write::Newest, version::Version};
use crate::history::{History, Need, Operation};

/// Checks the promise; one violation for each write that is older than one before it.
pub fn check(history: &History) -> Vec<Violation> {
    let header = &history.header;
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let mut writes: Vec<(&Operation, Version)> = operations
            .iter()
            .filter(|operation| history.overlap(operation, operation))
            .filter_map(|&operation| Some((operation, Version::acknowledged(operation)?)))
            .collect();
        writes.sort_by_key(|(write, _)| write.returned);
        let mut newest_by_need: BTreeMap<Need, Newest<'_>> = BTreeMap::new();
        for &(write, version) in writes.iter().filter(|(write, _)| write.client_timestamp().is_none()) {
            let newest = newest_by_need.entry(header.need(write)).or_insert_with_key(|need| {
                Newest::of(writes.iter().filter(|(other, _)| header.overlap(&header.need(other), need)))
            });
            let Some((before, newer)) = newest.before(write.invoked) else { continue };
            if version.must_lose_to(&newer) && !is_overwritten_at_once(write, newer, &writes) {
                violations.push(Violation {
                    checker: Checker::Succession,
                    key: Some(key.to_owned()),
                    operations: vec![before.id, write.id],
                    what: format!(
                        "{} was acknowledged at {} ({} ms), and {}, written at {} through n{}, began later ({} ms)",
                        newer.describe(),
                        before.level,
                        before.returned,
                        version.describe(),
                        write.level,
                        write.coordinator,
                        write.invoked
                    ),
                });
            }
        }
    }
    violations
}

/// Whether a later write of the same batch is as new as that.
fn is_overwritten_at_once(write: &Operation, newer: Version, writes: &[(&Operation, Version)]) -> bool {
    let batch = |of: &Operation| (of.client, of.invoked, of.returned);
    let is_later_of_batch = |other: &Operation| batch(other) == batch(write) && other.id > write.id;
    writes.iter().any(|(other, version)| is_later_of_batch(other) && !version.must_lose_to(&newer))
}
