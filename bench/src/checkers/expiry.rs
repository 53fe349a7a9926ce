//! Expiry: a value is not seen after its time, and not gone before.
//!
//! The coordinator stamps the expiry somewhere between the invocation and the acknowledgement of the write, and the
//! reader's coordinator judges it somewhere within the read, so an unknown write has no latest expiry (it may have been
//! stamped late) but an earliest one.

use std::time::Duration;

use std::collections::BTreeMap;

use super::{Checker, Violation, by_key::by_key};
use crate::history::{Action, History, Operation, Outcome, Seen, Timestamp, ValueId};

/// Checks the promise; `skew` is how far two clocks may be apart, with the rounding of seconds.
pub fn check(history: &History, skew: Duration) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let expiring = Expiring::of(&operations);
        let mut reported = std::collections::BTreeSet::new();
        for read in operations.iter().filter(|operation| operation.is_ok_read()) {
            let Some((write, what)) = expiring.contradiction(read, skew) else { continue };
            if reported.insert(write.id) {
                violations.push(Violation {
                    checker: Checker::Expiry,
                    key: Some(key.to_owned()),
                    operations: vec![write.id, read.id],
                    what,
                });
            }
        }
    }
    violations
}

/// The expiring writes of a key, and what else may have made its tombstones.
struct Expiring<'a> {
    by_value: BTreeMap<ValueId, (&'a Operation, Duration)>,
    by_timestamp: BTreeMap<Timestamp, Vec<(&'a Operation, Duration)>>,
    deletes: Vec<&'a Operation>,
}

impl<'a> Expiring<'a> {
    fn of(operations: &[&'a Operation]) -> Self {
        let mut expiring =
            Self { by_value: BTreeMap::new(), by_timestamp: BTreeMap::new(), deletes: Vec::new() };
        for &operation in operations.iter().filter(|operation| operation.may_have_happened()) {
            match operation.action {
                Action::Write { value, ttl_s: Some(ttl_s), .. } => {
                    let ttl = Duration::from_secs(u64::from(ttl_s));
                    expiring.by_value.insert(value, (operation, ttl));
                    if let Some(timestamp) = operation.timestamp {
                        expiring.by_timestamp.entry(timestamp).or_default().push((operation, ttl));
                    }
                }
                Action::Delete { .. } => expiring.deletes.push(operation),
                Action::Write { ttl_s: None, .. } | Action::Read => {}
            }
        }
        expiring
    }

    fn contradiction(&self, read: &Operation, skew: Duration) -> Option<(&'a Operation, String)> {
        match *read.seen.as_ref()? {
            Seen::Value { value, ttl_left_s, .. } => {
                let &(write, ttl) = self.by_value.get(&value)?;
                let latest = write.returned.plus(ttl).plus(skew);
                if write.outcome == Outcome::Ok && read.invoked > latest {
                    let late = read.invoked.since(write.returned.plus(ttl));
                    return Some((
                        write,
                        format!("{value} lives {ttl:?} and is seen {late:?} after its end"),
                    ));
                }
                // The reader's clock stood somewhere within the read, and may have stood before the write.
                let left = Duration::from_secs(ttl_left_s?);
                let most = write.returned.plus(ttl).plus(skew).since(read.invoked);
                let least = write.invoked.plus(ttl).since(read.returned.plus(skew));
                let is_wrong = left < least || write.outcome == Outcome::Ok && left > most;
                is_wrong.then(|| {
                    let what = format!("{value} lives {ttl:?} and says that {left:?} are left");
                    (write, format!("{what}, which cannot be less than {least:?} or more than {most:?}"))
                })
            }
            Seen::Tombstone { timestamp } => {
                // With several writes of one timestamp, any of them may be the one that expired.
                let writes = self.by_timestamp.get(&timestamp)?;
                let &(write, ttl) = writes.iter().min_by_key(|(write, ttl)| write.invoked.plus(*ttl))?;
                if self.may_be_deleted(timestamp, write, skew) {
                    return None;
                }
                let end = write.invoked.plus(ttl);
                (read.returned.plus(skew) < end).then(|| {
                    let early = end.since(read.returned);
                    (write, format!("@{} lives {ttl:?} and is gone {early:?} too early", timestamp.0))
                })
            }
            Seen::Garbage { .. } | Seen::Absent => None,
        }
    }

    /// Whether the tombstone that stands where `write` was may be that of a delete. One whose timestamp nobody knows, or
    /// that had another one before it was stamped anew, may have that of the write only if both were stamped at about the
    /// same time.
    fn may_be_deleted(&self, timestamp: Timestamp, write: &Operation, skew: Duration) -> bool {
        let is_near = |delete: &Operation| {
            delete.invoked <= write.returned.plus(skew) && write.invoked <= delete.returned.plus(skew)
        };
        self.deletes.iter().any(|delete| match (delete.timestamp, delete.action) {
            (Some(stamp), _) if stamp == timestamp => true,
            (_, Action::Delete { client_timestamp: Some(stamp) }) => stamp == timestamp,
            (stamp, _) => stamp.is_none_or(|stamp| timestamp < stamp) && is_near(delete),
        })
    }
}
