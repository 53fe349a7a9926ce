//! Liveness: after everything was healed, each new operation succeeds within its deadline; and no node ever ends by itself.
//!
//! *Source:* the second phase of TigerBeetle's simulator: a store that is never wrong because it never answers is no use.

use std::time::Duration;

use super::{Checker, Violation};
use crate::history::{Fault, History, IN_MANY_PAGES, Outcome, Phase};

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
        let what = if operation.outcome != Outcome::Ok {
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
