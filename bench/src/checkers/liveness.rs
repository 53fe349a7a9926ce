//! Liveness: after everything was healed, each new operation succeeds within its deadline; and no node ever ends by
//! itself.
//!
//! *Source:* the second phase of TigerBeetle's simulator: a store that is never wrong because it never answers is no use.

use std::time::Duration;

use super::{Checker, Violation};
use crate::history::{Action, Fault, History, IN_MANY_PAGES, Operation, Outcome, Phase};

/// What a server says of a write of which nobody knows if it is seen.
const IN_DOUBT: &str = "was there before and wins over what was written";

/// Checks the promise on what was done after the heal.
pub fn check(history: &History) -> Vec<Violation> {
    let deadline = Duration::from_micros(history.header.deadline_us);
    let crashes = history.faults.iter().filter(|event| matches!(event.fault, Fault::Crash { .. }));
    let mut violations: Vec<Violation> = crashes
        .map(|event| Violation {
            checker: Checker::Liveness,
            key: None,
            operations: Vec::new(),
            what: format!("{} at {} ms", event.fault, event.from),
        })
        .collect();
    for operation in history.operations.iter().filter(|operation| operation.phase != Phase::Disturbed) {
        let took = operation.returned.since(operation.invoked);
        let action = operation.action.kind();
        let (level, node) = (operation.level, operation.coordinator);
        let what = if operation.outcome != Outcome::Ok && is_beside_a_clients_timestamp(history, operation) {
            continue;
        } else if operation.outcome != Outcome::Ok {
            let why = operation.detail.as_deref().unwrap_or("no reason given");
            format!("after the heal a {action} at {level} through n{node} was not done: {why}")
        } else if took > deadline && operation.detail.as_deref() != Some(IN_MANY_PAGES) {
            format!(
                "after the heal a {action} at {level} through n{node} took {took:?}, allowed are {deadline:?}"
            )
        } else {
            continue;
        };
        violations.push(Violation {
            checker: Checker::Liveness,
            key: Some(operation.key.clone()),
            operations: vec![operation.id],
            what,
        });
    }
    violations
}

/// Whether nobody can know if a write is seen, since another one of the key was under way of which the client had chosen
/// the timestamp: if that is ahead of all clocks, either may have come first.
fn is_beside_a_clients_timestamp(history: &History, operation: &Operation) -> bool {
    let is_own = |other: &Operation| match other.action {
        Action::Write { client_timestamp, .. } | Action::Delete { client_timestamp } => {
            client_timestamp.is_some()
        }
        Action::Read => false,
    };
    let is_beside = |other: &&Operation| {
        other.key == operation.key && other.invoked < operation.returned && operation.invoked < other.returned
    };
    let is_in_doubt = operation.detail.as_deref().is_some_and(|detail| detail.contains(IN_DOUBT));
    operation.outcome == Outcome::Unknown
        && is_in_doubt
        && !is_own(operation)
        && operation.action != Action::Read
        && history.operations.iter().filter(is_beside).any(is_own)
}
