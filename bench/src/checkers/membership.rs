//! Membership converges: after the heal all nodes see the same members, each of them normal and up.

use std::collections::BTreeMap;

use super::{Checker, Violation};
use crate::history::{History, View};

/// Checks the promise on the last view of each node. Says nothing about a history without views.
pub fn check(history: &History) -> Vec<Violation> {
    let last: BTreeMap<u32, &View> = history.views.iter().map(|view| (view.node, view)).collect();
    let mut violations = Vec::new();
    let mut report = |what: String| {
        violations.push(Violation { checker: Checker::Membership, key: None, operations: Vec::new(), what });
    };
    let Some(first) = last.values().next() else { return violations };
    for view in last.values() {
        let node = view.node;
        if view.members.is_empty() {
            report(format!("n{node} did not say whom it sees"));
            continue;
        }
        let count = view.members.len();
        if count != history.header.nodes as usize {
            report(format!("n{node} knows {count} members of {}", history.header.nodes));
        }
        for member in view.members.iter().filter(|member| !member.up || member.state != "normal") {
            let state = if member.up { member.state.as_str() } else { "down" };
            report(format!("n{node} still sees {} as {state}", member.host_id));
        }
        if view.members != first.members {
            report(format!("n{node} and n{} do not see the same cluster", first.node));
        }
    }
    violations
}
