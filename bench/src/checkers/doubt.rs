//! Writes of which a server said that nobody knows if they are seen: a record from ahead of all clocks, which only a client
//! can have stamped so, was there before at some replicas and perhaps not at others.

use crate::history::{Action, History, Operation, Outcome};

/// What a server says of such a write.
const IN_DOUBT: &str = "was there before and wins over what was written";

/// Whether it was said of a write, and a client has chosen the timestamp of another one of the key before the answer.
pub(super) fn is_in_doubt(history: &History, write: &Operation) -> bool {
    let is_said = write.detail.as_deref().is_some_and(|detail| detail.contains(IN_DOUBT));
    let is_before = |other: &&Operation| other.key == write.key && other.invoked < write.returned;
    write.outcome == Outcome::Unknown
        && is_said
        && !is_stamped_by_client(write)
        && history.operations.iter().filter(is_before).any(is_stamped_by_client)
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
