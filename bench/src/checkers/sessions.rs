//! Sessions: a read never sees an older version than its own session wrote or read before, whatever the levels were.
//!
//! A session has one operation at a time, and takes over what a reply told it: what it did not hear of binds it to
//! nothing.

use std::collections::BTreeMap;

use super::{
    Checker, Violation,
    version::{Content, Version},
};
use crate::history::{History, Moment, Operation};

/// Checks the promise for what was invoked after `from`; at most one violation for each key of a session. While members
/// join, a level counts replicas that will not be those of later.
pub fn check(history: &History, from: Moment) -> Vec<Violation> {
    let mut newest: BTreeMap<(u64, &str), (&Operation, Version)> = BTreeMap::new();
    let mut violations: BTreeMap<(u64, &str), Violation> = BTreeMap::new();
    for operation in history.operations.iter().filter(|operation| operation.invoked >= from) {
        let Some(session) = operation.session else { continue };
        let seen = Version::seen(operation);
        let Some(version) = seen.or_else(|| Version::acknowledged(operation)) else { continue };
        let place = (session, operation.key.as_str());
        match newest.get(&place) {
            Some((_, known)) if known.must_lose_to(&version) => {}
            Some(&(earlier, known)) => {
                if seen.is_some() && goes_back((earlier, known), version) {
                    violations.entry(place).or_insert_with(|| Violation {
                        checker: Checker::Sessions,
                        key: Some(operation.key.clone()),
                        operations: vec![earlier.id, operation.id],
                        what: format!(
                            "session {session} met {}, and later read {}",
                            known.describe(),
                            version.describe()
                        ),
                    });
                }
                continue;
            }
            None => {}
        }
        newest.insert(place, (operation, version));
    }
    violations.into_values().collect()
}

/// Whether no clock explains what is seen after what the session had met: a value that one coordinator takes for expired may
/// not be to another.
fn goes_back((earlier, known): (&Operation, Version), seen: Version) -> bool {
    let may_have_expired = earlier.is_ok_read() && known.content == Content::Tombstone;
    let is_alive_again = known.timestamp == seen.timestamp && matches!(seen.content, Content::Expiring(_));
    seen.must_lose_to(&known) && !(may_have_expired && is_alive_again)
}
