//! Writes of which a server said that nobody knows if they are seen: a record from ahead of all clocks, which only a client
//! can have stamped so, was there before at some replicas and perhaps not at others; or a later write of the same batch
//! overwrites them, so that they cannot be stamped anew.

use crate::history::{Action, History, Operation, Outcome};

/// What a server says of such a write.
const IN_DOUBT: &str = "was there before and wins over what was written";

/// Whether it was said of a write, and a client has chosen the timestamp of another one of the key before the answer, or the
/// same batch overwrites it.
pub(super) fn is_in_doubt(history: &History, write: &Operation) -> bool {
    let is_said = write.detail.as_deref().is_some_and(|detail| detail.contains(IN_DOUBT));
    let others = || history.operations.iter().filter(|other| other.key == write.key);
    let is_before = |other: &Operation| other.invoked < write.returned && is_stamped_by_client(other);
    write.outcome == Outcome::Unknown
        && is_said
        && !is_stamped_by_client(write)
        && others().any(|other| is_before(other) || is_later_of_its_batch(other, write))
}

/// Whether one operation is a later one of the batch of another.
pub(super) fn is_later_of_its_batch(later: &Operation, operation: &Operation) -> bool {
    let batch = |of: &Operation| (of.client, of.invoked, of.returned);
    batch(later) == batch(operation) && later.id > operation.id
}

/// Whether a client has chosen the timestamp of a write.
pub(super) fn is_stamped_by_client(operation: &Operation) -> bool {
    match operation.action {
        Action::Write { client_timestamp, .. } | Action::Delete { client_timestamp } => {
            client_timestamp.is_some()
        }
        Action::Read => false,
    }
}
