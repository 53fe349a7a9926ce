//! Histories, key by key.

use std::collections::BTreeMap;

use crate::history::{History, Operation};

/// The operations of each key, in the order of the history.
pub(super) fn by_key(history: &History) -> BTreeMap<&str, Vec<&Operation>> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    keys
}
