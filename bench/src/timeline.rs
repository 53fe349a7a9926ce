//! One key's part of a history, for a person: a line for each operation, and the faults in between.
//!
//! ```text
//! key register/3 · seed 1 · 3 nodes, factor 3 · times in ms, versions in µs after @1763691600000000
//!      from        to  client  node  level   operation                        outcome
//!    12.000    14.250  c1      n2    quorum  write v7 @15                     ok       2/2
//!    13.100  ────────  kill n3 until 2250.000
//!    15.000    15.900  c2      n1    quorum  read → v3 @2                     ok       2/2   ◀
//! ```
//!
//! Operations stand in the order of their invocation; `◀` marks those that a violation names.

use std::fmt::Write as _;

use crate::{
    checkers::Violation,
    history::{Action, FaultEvent, History, Operation, Seen, Timestamp},
};

/// What to show of a key's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Each of them.
    All,
    /// Those that the violation names, and that many before and after each.
    Around(usize),
}

/// Renders the key of a violation; nothing if it is about no key.
pub fn of_violation(history: &History, violation: &Violation, extent: Extent) -> String {
    match &violation.key {
        Some(key) => of_key(history, key, &violation.operations, extent),
        None => String::new(),
    }
}

/// Renders a key, with marks at some operations.
pub fn of_key(history: &History, key: &str, marked: &[u64], extent: Extent) -> String {
    let operations: Vec<&Operation> =
        history.operations.iter().filter(|operation| operation.key == key).collect();
    let shown = shown(&operations, marked, extent);
    let base = base(&operations);
    let header = &history.header;
    let mut out = format!(
        "key {key} · seed {} · {} nodes, factor {} · times in ms, versions in µs after @{}\n",
        header.seed, header.nodes, header.factor, base.0
    );
    let _ = writeln!(
        out,
        "{:>12} {:>12}  {:<7} {:<5} {:<7} {:<34} outcome",
        "from", "to", "client", "node", "level", "operation"
    );
    let mut faults = faults_between(history, &operations, &shown).into_iter().peekable();
    let mut last = None;
    for (index, operation) in operations.iter().enumerate().filter(|(index, _)| shown[*index]) {
        while let Some(event) = faults.next_if(|event| event.from <= operation.invoked) {
            push_fault(&mut out, event);
        }
        let skipped = index - last.map_or(0, |last| last + 1);
        if skipped > 0 {
            let _ = writeln!(out, "{:>12} {skipped} operations not shown", "⋮");
        }
        last = Some(index);
        push_operation(&mut out, operation, base, marked.contains(&operation.id));
    }
    faults.for_each(|event| push_fault(&mut out, event));
    out
}

fn shown(operations: &[&Operation], marked: &[u64], extent: Extent) -> Vec<bool> {
    let Extent::Around(context) = extent else { return vec![true; operations.len()] };
    let mut shown = vec![false; operations.len()];
    for (index, _) in operations.iter().enumerate().filter(|(_, operation)| marked.contains(&operation.id)) {
        let end = (index + context + 1).min(operations.len());
        shown[index.saturating_sub(context)..end].fill(true);
    }
    shown
}

/// The smallest timestamp, so that differences are short enough to be read.
fn base(operations: &[&Operation]) -> Timestamp {
    let stamps = operations.iter().filter_map(|operation| match operation.seen {
        Some(
            Seen::Value { timestamp, .. } | Seen::Garbage { timestamp, .. } | Seen::Tombstone { timestamp },
        ) => Some(timestamp),
        Some(Seen::Absent) | None => operation.timestamp,
    });
    stamps.min().map_or(Timestamp(0), |least| Timestamp(least.0.saturating_sub(1)))
}

/// The faults that were active at some time of what is shown.
fn faults_between<'a>(
    history: &'a History,
    operations: &[&Operation],
    shown: &[bool],
) -> Vec<&'a FaultEvent> {
    let visible =
        || operations.iter().zip(shown).filter(|(_, shown)| **shown).map(|(operation, _)| operation);
    let (Some(from), Some(until)) = (
        visible().map(|operation| operation.invoked).min(),
        visible().map(|operation| operation.returned).max(),
    ) else {
        return Vec::new();
    };
    history.faults.iter().filter(|event| event.until >= from && event.from <= until).collect()
}

fn push_fault(out: &mut String, event: &FaultEvent) {
    let _ = writeln!(out, "{:>12} {:─>12}  {} until {}", event.from, "", event.fault, event.until);
}

fn push_operation(out: &mut String, operation: &Operation, base: Timestamp, marked: bool) {
    let line = format!(
        "{:>12} {:>12}  {:<7} {:<5} {:<7} {:<34} {:<8} {:<5} {} {}",
        operation.invoked,
        operation.returned,
        format!("c{}", operation.client),
        format!("n{}", operation.coordinator),
        operation.level,
        what(operation, base),
        operation.outcome.name(),
        operation
            .replicas
            .map_or_else(String::new, |replicas| format!("{}/{}", replicas.acknowledged, replicas.required)),
        operation.detail.as_deref().unwrap_or(""),
        if marked { "◀" } else { "" },
    );
    out.push_str(line.trim_end());
    out.push('\n');
}

fn what(operation: &Operation, base: Timestamp) -> String {
    let at = |timestamp: Timestamp| format!("@{}", timestamp.0.saturating_sub(base.0));
    let stamp = operation.timestamp.map_or_else(String::new, |timestamp| format!(" {}", at(timestamp)));
    match (&operation.action, &operation.seen) {
        (Action::Write { value, ttl_s: None, .. }, _) => format!("write {value}{stamp}"),
        (Action::Write { value, ttl_s: Some(ttl_s), .. }, _) => format!("write {value} for {ttl_s} s{stamp}"),
        (Action::Delete { .. }, _) => format!("delete{stamp}"),
        (Action::Read, None) => "read".to_owned(),
        (Action::Read, Some(Seen::Value { value, timestamp, ttl_left_s: None })) => {
            format!("read → {value} {}", at(*timestamp))
        }
        (Action::Read, Some(Seen::Value { value, timestamp, ttl_left_s: Some(left) })) => {
            format!("read → {value} {} ({left} s left)", at(*timestamp))
        }
        (Action::Read, Some(Seen::Garbage { timestamp, .. })) => format!("read → garbage {}", at(*timestamp)),
        (Action::Read, Some(Seen::Tombstone { timestamp })) => format!("read → tombstone {}", at(*timestamp)),
        (Action::Read, Some(Seen::Absent)) => "read → nothing".to_owned(),
    }
}
