//! Immutable keys: each key that was written once, never deleted and without an expiry, and whose write was
//! acknowledged, is there in the end.
//!
//! The plainest test of all, with zero tolerance: last-write-wins cannot excuse anything here, because nothing else was
//! ever written. *Source:* the set test of Kingsbury's Jepsen analyses.

use super::{Checker, Violation, by_key::by_key};
use crate::history::{Action, History, Operation, Phase, Seen};

/// Checks the promise. Says nothing about a history without any final reads.
pub fn check(history: &History) -> Vec<Violation> {
    if !history.operations.iter().any(|operation| operation.phase == Phase::Final) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let Some((insert, value)) = acknowledged_insert(&operations) else { continue };
        let mut looked = false;
        for read in operations.iter().filter(|read| read.phase == Phase::Final && read.is_ok_read()) {
            if !history.overlap(insert, read) || read.invoked <= insert.returned {
                continue;
            }
            looked = true;
            if !matches!(read.seen, Some(Seen::Value { value: seen, .. }) if seen == value) {
                violations.push(Violation {
                    checker: Checker::Inserts,
                    key: Some(key.to_owned()),
                    operations: vec![insert.id, read.id],
                    what: format!("the only write of this key, {value}, was acknowledged and is not there"),
                });
                break;
            }
        }
        // What may be a hint only is owed to no read.
        let is_owed = history.header.need(insert).total > 0;
        if !looked && is_owed {
            violations.push(Violation {
                checker: Checker::Inserts,
                key: Some(key.to_owned()),
                operations: vec![insert.id],
                what: format!("{value} was acknowledged, and no final read was answered that must see it"),
            });
        }
    }
    violations
}

fn acknowledged_insert<'a>(operations: &[&'a Operation]) -> Option<(&'a Operation, crate::history::ValueId)> {
    let mut writes = operations.iter().filter(|operation| operation.is_write());
    let (&only, None) = (writes.next()?, writes.next()) else { return None };
    match only.action {
        Action::Write { value, ttl_s: None, .. } if only.is_ok_write() => Some((only, value)),
        _ => None,
    }
}
