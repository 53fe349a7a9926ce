//! All replicas equal: for those who can look inside of them.

use std::{collections::BTreeMap, fmt::Debug};

use super::{Checker, Violation};

/// Compares what the replicas hold: for each key, what each replica has of it, by the replica's name. The version is
/// whatever the caller compares by, best the stored bytes. All replicas of a key must be listed; `None`: it has nothing.
pub fn check<N: Debug, V: PartialEq + Debug>(keys: &BTreeMap<String, Vec<(N, Option<V>)>>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, replicas) in keys {
        let Some((first, version)) = replicas.first() else { continue };
        if let Some((other, other_version)) = replicas.iter().find(|(_, other)| other != version) {
            violations.push(Violation {
                checker: Checker::Replicas,
                key: Some(key.clone()),
                operations: Vec::new(),
                what: format!(
                    "replicas differ: {first:?} holds {version:?}, {other:?} holds {other_version:?}"
                ),
            });
        }
    }
    violations
}
