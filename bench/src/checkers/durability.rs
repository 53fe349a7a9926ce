//! Durability: what was acknowledged before all nodes died at once is there afterwards.
//!
//! A lost write is found by [`lost_write`](super::lost_write) too. This checker tells those that a death of the whole
//! cluster cost, where no replica's memory can have helped, and insists that somebody looked afterwards.

use super::{Checker, Violation, by_key::by_key, lost_write::misses, version::Version};
use crate::history::{Fault, FaultEvent, History, Operation};

/// Checks the promise for each death of all nodes.
pub fn check(history: &History) -> Vec<Violation> {
    let deaths: Vec<&FaultEvent> =
        history.faults.iter().filter(|event| event.fault == Fault::KillAll).collect();
    let mut violations = Vec::new();
    if deaths.is_empty() {
        return violations;
    }
    for (key, operations) in by_key(history) {
        for death in &deaths {
            let before = |write: &Operation| write.returned < death.from;
            let after = |read: &Operation| read.invoked > death.from;
            if let Some(&(read, write)) = misses(history, &operations, before, after).first() {
                let written =
                    Version::acknowledged(write).map_or_else(String::new, |version| version.describe());
                violations.push(Violation {
                    checker: Checker::Durability,
                    key: Some(key.to_owned()),
                    operations: vec![write.id, read.id],
                    what: format!(
                        "{written} was acknowledged before all nodes died at {} ms, and a read after it missed it",
                        death.from
                    ),
                });
                break;
            }
        }
        violations.extend(unread(history, key, &operations, &deaths));
    }
    violations
}

/// A key that was acknowledged before the last death, and that nobody could read afterwards.
fn unread(
    history: &History,
    key: &str,
    operations: &[&Operation],
    deaths: &[&FaultEvent],
) -> Option<Violation> {
    let last = deaths.iter().map(|death| death.from).max()?;
    let write = operations
        .iter()
        .filter(|write| write.returned < last && history.header.need(write).total > 0)
        .filter_map(|&write| Some((Version::acknowledged(write)?, write)))
        .max_by_key(|&(version, write)| (version, std::cmp::Reverse(write.id)))
        .map(|(_, write)| write)?;
    let was_read = operations
        .iter()
        .any(|read| read.is_ok_read() && read.invoked > last && history.overlap(write, read));
    (!was_read).then(|| Violation {
        checker: Checker::Durability,
        key: Some(key.to_owned()),
        operations: vec![write.id],
        what: format!(
            "it was acknowledged before all nodes died at {last} ms, and no read that must see it was answered \
             afterwards"
        ),
    })
}
