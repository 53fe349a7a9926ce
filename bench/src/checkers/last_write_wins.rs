//! Each key is a last-write-wins register: in the end it holds the newest of all its acknowledged writes and of some
//! of its unknown ones.
//!
//! An unknown write's timestamp is not known, so a final read of it is right unless an acknowledged write is newer than
//! what was read; that the value is one of ours at all is [`invention`](super::invention)'s. Final reads at ALL meet
//! every replica, so all of them must agree, through whichever coordinator.

use super::{Checker, Violation, by_key::by_key, version::Version};
use crate::history::{History, Operation, Phase};

/// Checks the promise on the final reads at ALL.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let finals: Vec<(&Operation, Version)> = operations
            .iter()
            .filter(|read| read.phase == Phase::Final && is_all(history, read))
            .filter_map(|&read| Some((read, Version::seen(read)?)))
            .collect();
        let Some(&(first, seen)) = finals.first() else { continue };
        let violation = |operations: Vec<u64>, what: String| Violation {
            checker: Checker::LastWriteWins,
            key: Some(key.to_owned()),
            operations,
            what,
        };
        if let Some((write, version)) = newest(&operations, first)
            && seen.must_lose_to(&version)
            && super::lost_write::misses(history, &[write, first], |_| true, |_| true).len() == 1
        {
            violations.push(violation(
                vec![write.id, first.id],
                format!(
                    "it ends as {}, but {} is newer and acknowledged",
                    seen.describe(),
                    version.describe()
                ),
            ));
        }
        if let Some(&(other, other_seen)) = finals.iter().find(|(_, other)| !same(&seen, other)) {
            violations.push(violation(
                vec![first.id, other.id],
                format!(
                    "two final reads of all replicas differ: {} through n{}, {} through n{}",
                    seen.describe(),
                    first.coordinator,
                    other_seen.describe(),
                    other.coordinator
                ),
            ));
        }
    }
    violations
}

fn is_all(history: &History, read: &Operation) -> bool {
    history.header.need(read).total >= history.header.factor
}

fn newest<'a>(operations: &[&'a Operation], read: &Operation) -> Option<(&'a Operation, Version)> {
    operations
        .iter()
        .filter(|write| write.returned < read.invoked)
        .filter_map(|&write| Some((write, Version::acknowledged(write)?)))
        .max_by_key(|&(write, version)| (version, std::cmp::Reverse(write.id)))
}

/// Whether two reads saw one version; between them a value may have expired.
fn same(a: &Version, b: &Version) -> bool {
    use super::version::Content::{Expiring, Tombstone};
    a == b
        || a.timestamp == b.timestamp
            && matches!((a.content, b.content), (Expiring(_), Tombstone) | (Tombstone, Expiring(_)))
}
