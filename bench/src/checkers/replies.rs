//! Replies keep to the interface: a right request is not refused, and an acknowledgement has the acknowledgements it needs.

use super::{Checker, Violation};
use crate::history::{Action, History, Level, Operation, Outcome};

/// Checks the promise; one violation for each wrong reply.
pub fn check(history: &History) -> Vec<Violation> {
    history
        .operations
        .iter()
        .filter_map(|operation| {
            Some(Violation {
                checker: Checker::Replies,
                key: Some(operation.key.clone()),
                operations: vec![operation.id],
                what: wrong(history, operation)?,
            })
        })
        .collect()
}

fn wrong(history: &History, operation: &Operation) -> Option<String> {
    let action = operation.action.kind();
    let node = operation.coordinator;
    if operation.outcome == Outcome::Rejected {
        let why = operation.detail.as_deref().unwrap_or("no reason given");
        return Some(format!("n{node} refused a right {action}: {why}"));
    }
    if operation.outcome != Outcome::Ok {
        return None;
    }
    let required = history.header.need(operation).required;
    match operation.replicas {
        // A write needs one more for each joining node that will own the key.
        Some(replicas)
            if replicas.required < required || replicas.required > required && !operation.is_write() =>
        {
            return Some(format!(
                "n{node} says that {} needs {} replicas, it needs {required}",
                operation.level, replicas.required
            ));
        }
        // A hint alone satisfies it, and is no acknowledgement.
        Some(replicas) if operation.level == Level::Any && replicas.acknowledged == 0 => {}
        Some(replicas) if replicas.acknowledged < replicas.required => {
            return Some(format!(
                "n{node} answered a {action} with {} of {required} acknowledgements",
                replicas.acknowledged
            ));
        }
        Some(_) | None => {}
    }
    let asked = match operation.action {
        Action::Read if operation.seen.is_none() => {
            return Some(format!("n{node} answered a read and did not say what it saw"));
        }
        Action::Read => return None,
        Action::Write { client_timestamp, .. } | Action::Delete { client_timestamp } => client_timestamp,
    };
    match (operation.timestamp, asked) {
        (None, _) => Some(format!("n{node} acknowledged a {action} and did not say its timestamp")),
        (Some(got), Some(asked)) if got != asked => {
            Some(format!("n{node} stamped a {action} @{}, its client asked for @{}", got.0, asked.0))
        }
        _ => None,
    }
}
