//! Availability: where enough healthy replicas were connected to the coordinator, less than 1 % of the
//! operations fail. It catches the store that is correct because it answers nothing.
//!
//! Clients do not know a key's replicas, so the worst is assumed: that each node which is down, or which the coordinator
//! cannot reach, is one of them. A node or link counts as sick from the beginning of its fault until a transition after its
//! end, and an operation is judged only if enough were not sick during all of it.

use std::time::Duration;

use super::{Checker, Violation};
use crate::history::{FaultEvent, History, Operation, Outcome, Phase};

/// What was judged, and what failed of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounting {
    /// Operations that had to succeed.
    pub judged: u64,
    /// Those that did not, by id.
    pub failed: Vec<u64>,
}

/// Fewer operations than these prove nothing about a percent.
const FEWEST: u64 = 100;

/// Checks the promise.
pub fn check(history: &History, transition: Duration) -> Vec<Violation> {
    let Accounting { judged, failed } = account(history, transition);
    if judged < FEWEST || failed.len() as u64 * 100 < judged {
        return Vec::new();
    }
    let count = failed.len();
    vec![Violation {
        checker: Checker::Availability,
        key: None,
        operations: failed.into_iter().take(10).collect(),
        what: format!("{count} of {judged} operations that had enough healthy replicas were not done"),
    }]
}

/// Counts the operations that had enough healthy replicas, and those of them that failed.
pub fn account(history: &History, transition: Duration) -> Accounting {
    let mut accounting = Accounting::default();
    let mut begun = 0;
    let mut active: Vec<&FaultEvent> = Vec::new();
    for operation in history.operations.iter().filter(|operation| operation.phase == Phase::Disturbed) {
        // Operations come by invocation and faults by begin: those that are over by now are over for good.
        active.retain(|event| event.until.plus(transition) >= operation.invoked);
        while let Some(event) = history.faults.get(begun)
            && event.from <= operation.invoked
        {
            active.push(event);
            begun += 1;
        }
        let coming = history.faults[begun..].iter().take_while(|event| event.from <= operation.returned);
        let faults: Vec<&FaultEvent> = active
            .iter()
            .copied()
            .filter(|event| event.until.plus(transition) >= operation.invoked)
            .chain(coming)
            .collect();
        // A session may need a replica that its level does not.
        if operation.session.is_none() && has_enough_replicas(history, operation, &faults) {
            accounting.judged += 1;
            if operation.outcome != Outcome::Ok {
                accounting.failed.push(operation.id);
            }
        }
    }
    accounting
}

fn has_enough_replicas(history: &History, operation: &Operation, faults: &[&FaultEvent]) -> bool {
    let coordinator = operation.coordinator;
    let deadline = Duration::from_micros(history.header.deadline_us);
    if faults.iter().any(|event| event.fault.stops(coordinator)) {
        return false;
    }
    let is_sick = |node: u32| {
        faults
            .iter()
            .any(|event| event.fault.stops(node) || event.fault.separates(coordinator, node, deadline))
    };
    let header = &history.header;
    let need = header.need(operation);
    let is_enough = |nodes: &mut dyn Iterator<Item = u32>, factor: u32, required: u32| {
        nodes.filter(|&node| is_sick(node)).count() <= factor.saturating_sub(required) as usize
    };
    if need.by_datacenter.is_empty() {
        return is_enough(&mut (1..=header.nodes), header.factor, need.required);
    }
    need.by_datacenter.iter().all(|(place, required)| {
        let datacenter = &header.datacenters[*place];
        is_enough(&mut datacenter.nodes.iter().copied(), datacenter.factor, *required)
    })
}
