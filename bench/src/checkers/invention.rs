//! Nothing is invented: what is read was written, to that key, not later than it was read, and as it is read. What
//! was answered as not applied is never read: 503 means not applied.
//!
//! A write whose timestamp its client has not chosen may be stamped anew, once, if there was another one of its key: then a
//! read may find it with its first timestamp too, and its answer tells the second.

use std::collections::{BTreeMap, BTreeSet};

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
        let mut deletions = Deletions::of(&operations);
        let mut seen: BTreeMap<ValueId, BTreeMap<Timestamp, u64>> = BTreeMap::new();
        for read in operations.iter().filter(|operation| operation.is_ok_read()) {
            match read.seen {
                Some(Seen::Value { value, timestamp, ttl_left_s }) => {
                    let stamps = seen.entry(value).or_default();
                    stamps.entry(timestamp).or_insert(read.id);
                    let sight = Sight { value, timestamp, expires: ttl_left_s.is_some(), stamps };
                    let write = writes.get(&value).copied();
                    let may_be_stamped_anew = write.is_some_and(|write| has_company(write, &operations));
                    found.value(read, &sight, write, may_be_stamped_anew);
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

/// Whether its client has not chosen the timestamp of a write, and there was another one that may have outrun it.
fn has_company(write: &Operation, operations: &[&Operation]) -> bool {
    let is_another = |other: &&Operation| {
        other.id != write.id
            && other.may_have_happened()
            && other.is_write()
            && other.invoked <= write.returned
    };
    write.client_timestamp().is_none() && operations.iter().any(is_another)
}

/// A value as a read saw it, and all timestamps with which it was seen so far, each with its first read.
struct Sight<'a> {
    value: ValueId,
    timestamp: Timestamp,
    expires: bool,
    stamps: &'a BTreeMap<Timestamp, u64>,
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

    fn value(
        &mut self,
        read: &Operation,
        sight: &Sight<'_>,
        write: Option<&Operation>,
        may_be_stamped_anew: bool,
    ) {
        let &Sight { value, timestamp, expires, stamps } = sight;
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
        let is_promised = |promised| timestamp == promised || (may_be_stamped_anew && timestamp < promised);
        if let Some(promised) = promised.filter(|promised| !is_promised(*promised)) {
            let what = format!("{value} was written @{} and is read @{seen_at}", promised.0);
            return self.push((value.0, "timestamp"), both, what);
        }
        let first = stamps.iter().find(|(stamp, _)| **stamp != timestamp && Some(**stamp) != promised);
        let untold = promised.is_some_and(|promised| !stamps.contains_key(&promised));
        let is_one_too_many = stamps.len() + usize::from(untold) > 1 + usize::from(may_be_stamped_anew);
        if let Some((first, by)) = first.filter(|_| is_one_too_many) {
            let what = format!(
                "{value} is one write and is read @{} and @{seen_at}, and has more timestamps",
                first.0
            );
            return self.push((value.0, "timestamps"), vec![write.id, *by, read.id], what);
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
#[derive(Default)]
struct Deletions<'a> {
    acknowledged: BTreeMap<Timestamp, Vec<&'a Operation>>,
    unknown: Vec<&'a Operation>,
    /// Timestamps of tombstones that can only be the first ones of deletions that were stamped anew.
    first_stamps: BTreeSet<Timestamp>,
}

impl<'a> Deletions<'a> {
    fn of(operations: &[&'a Operation]) -> Self {
        let mut deletions = Self::default();
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

    fn allow(&mut self, timestamp: Timestamp, read: &Operation) -> bool {
        let is_before = |operation: &&&Operation| operation.invoked <= read.returned;
        let known = self.acknowledged.get(&timestamp).into_iter().flatten();
        let unknown = self
            .unknown
            .iter()
            .filter(|operation| operation.client_timestamp().is_none_or(|stamp| stamp == timestamp));
        if known.chain(unknown).any(|operation| is_before(&operation)) {
            return true;
        }
        let later = self.acknowledged.range(timestamp..).flat_map(|(_, deletions)| deletions);
        let may_have_two = |operation: &&&Operation| operation.client_timestamp().is_none();
        let is_possible = later.filter(may_have_two).any(|operation| is_before(&operation));
        self.first_stamps.insert(timestamp);
        let most = self.acknowledged.values().flatten().filter(may_have_two).count();
        is_possible && self.first_stamps.len() <= most
    }
}
