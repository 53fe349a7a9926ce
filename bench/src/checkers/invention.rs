//! Nothing is invented: what is read was written, to that key, not later than it was read, and as it is read. What
//! was answered as not applied is never read: 503 means not applied.

use std::collections::BTreeMap;

use super::{Checker, Violation, by_key::by_key};
use crate::history::{Action, History, Operation, Outcome, Seen, Timestamp, ValueId};

/// Checks the promise; one violation for each kind of wrong value or tombstone of a key.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut writes: BTreeMap<ValueId, &Operation> = BTreeMap::new();
    for operation in &history.operations {
        if let Action::Write { value, .. } = operation.action
            && let Some(earlier) = writes.insert(value, operation)
        {
            violations.push(Violation {
                checker: Checker::Invention,
                key: Some(operation.key.clone()),
                operations: vec![earlier.id, operation.id],
                what: format!("the history itself is wrong: {value} was written twice"),
            });
        }
    }
    for (key, operations) in by_key(history) {
        let mut found = Found { key, violations: BTreeMap::new() };
        let deletions = Deletions::of(&operations);
        let mut first_seen: BTreeMap<ValueId, (Timestamp, u64)> = BTreeMap::new();
        for read in operations.iter().filter(|operation| operation.is_ok_read()) {
            match read.seen {
                Some(Seen::Value { value, timestamp, ttl_left_s }) => {
                    let first = *first_seen.entry(value).or_insert((timestamp, read.id));
                    let sight = Sight { value, timestamp, expires: ttl_left_s.is_some(), first };
                    found.value(read, &sight, writes.get(&value).copied());
                }
                Some(Seen::Tombstone { timestamp }) if !deletions.allow(timestamp, read) => {
                    let what = format!("a tombstone @{} was read that no delete or expiry made", timestamp.0);
                    found.push((timestamp.0, "tombstone"), vec![read.id], what);
                }
                Some(Seen::Garbage { timestamp, ref bytes }) => {
                    let what = format!("bytes were read that no client writes: {bytes}");
                    found.push((timestamp.0, "garbage"), vec![read.id], what);
                }
                Some(Seen::Tombstone { .. } | Seen::Absent) | None => {}
            }
        }
        violations.extend(found.violations.into_values());
    }
    violations
}

/// A value as a read saw it, and how it was seen first.
struct Sight {
    value: ValueId,
    timestamp: Timestamp,
    expires: bool,
    first: (Timestamp, u64),
}

struct Found<'a> {
    key: &'a str,
    violations: BTreeMap<(u64, &'static str), Violation>,
}

impl Found<'_> {
    fn push(&mut self, about: (u64, &'static str), operations: Vec<u64>, what: String) {
        let key = Some(self.key.to_owned());
        let violation = Violation { checker: Checker::Invention, key, operations, what };
        self.violations.entry(about).or_insert(violation);
    }

    fn value(&mut self, read: &Operation, sight: &Sight, write: Option<&Operation>) {
        let &Sight { value, timestamp, expires, first } = sight;
        let seen_at = timestamp.0;
        let Some(write) = write else {
            let what = format!("{value} @{seen_at} was read and never written");
            return self.push((value.0, "never written"), vec![read.id], what);
        };
        let both = vec![write.id, read.id];
        if write.key != self.key {
            let what = format!("{value} was read here and written to {}", write.key);
            return self.push((value.0, "other key"), both, what);
        }
        if !write.may_have_happened() {
            let why = write.detail.as_deref().unwrap_or(write.outcome.name());
            let what = format!("{value} was answered as not applied ({why}) and is read");
            return self.push((value.0, "not applied"), both, what);
        }
        if read.returned < write.invoked {
            let what = format!("{value} was read at {} ms, before it was written", read.returned);
            return self.push((value.0, "too early"), both, what);
        }
        let Action::Write { ttl_s, client_timestamp, .. } = write.action else { return };
        let promised = if write.outcome == Outcome::Ok { write.timestamp } else { client_timestamp };
        if promised.is_some_and(|promised| promised != timestamp) {
            let promised = promised.map_or(0, |timestamp| timestamp.0);
            let what = format!("{value} was written @{promised} and is read @{seen_at}");
            return self.push((value.0, "timestamp"), both, what);
        }
        if first.0 != timestamp {
            let what = format!("{value} is one write and has two timestamps, @{} and @{seen_at}", first.0.0);
            return self.push((value.0, "two timestamps"), vec![write.id, first.1, read.id], what);
        }
        if expires != ttl_s.is_some() {
            let what = match ttl_s {
                Some(ttl_s) => format!("{value} was written for {ttl_s} s and is read without an expiry"),
                None => format!("{value} was written for ever and is read with an expiry"),
            };
            self.push((value.0, "expiry"), both, what);
        }
    }
}

/// What may have made the tombstones of a key: deletes, and values that expire.
struct Deletions<'a> {
    acknowledged: BTreeMap<Timestamp, Vec<&'a Operation>>,
    unknown: Vec<&'a Operation>,
}

impl<'a> Deletions<'a> {
    fn of(operations: &[&'a Operation]) -> Self {
        let mut deletions = Self { acknowledged: BTreeMap::new(), unknown: Vec::new() };
        for &operation in operations {
            let deletes =
                matches!(operation.action, Action::Delete { .. } | Action::Write { ttl_s: Some(_), .. });
            match (operation.outcome, operation.timestamp) {
                _ if !deletes => {}
                (Outcome::Ok, Some(timestamp)) => {
                    deletions.acknowledged.entry(timestamp).or_default().push(operation);
                }
                (Outcome::Ok, None) | (Outcome::Unknown, _) => deletions.unknown.push(operation),
                (Outcome::Failed | Outcome::Rejected, _) => {}
            }
        }
        deletions
    }

    fn allow(&self, timestamp: Timestamp, read: &Operation) -> bool {
        let known = self.acknowledged.get(&timestamp).into_iter().flatten();
        let unknown = self.unknown.iter().filter(|operation| match operation.action {
            Action::Write { client_timestamp: Some(stamp), .. }
            | Action::Delete { client_timestamp: Some(stamp) } => stamp == timestamp,
            _ => true,
        });
        known.chain(unknown).any(|operation| operation.invoked <= read.returned)
    }
}
