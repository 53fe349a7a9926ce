//! What a session knows.

use std::collections::{BTreeMap, BTreeSet};

use helenus_storage::TableId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{demand::Demand, held::Held, version::Version};
use crate::{node_id::ClusterId, table::Replication, time::Timestamp};

/// Keys that a token lists at most.
const MAX_KEYS: usize = 128;
/// Levels that a floor tells apart; with more of them it says the least that all of them say.
const MAX_FLOOR_LEVELS: usize = 6;

/// What a session has written and read. The default is a session that has done nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// The cluster that it is of, once it has done something.
    pub(super) cluster: Option<ClusterId>,
    /// The highest timestamp that it knows of; those of the keys and of the floor are not higher.
    pub(super) clock: Timestamp,
    pub(super) floor: Option<Floor>,
    /// By the hash of table and key.
    pub(super) keys: BTreeMap<u64, Listed>,
}

/// A key's newest version, and who held that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) version: Version,
    pub(super) held: Held,
}

impl Listed {
    /// Takes in another version of the key.
    fn note(&mut self, &Observed { version, held, is_newest, .. }: &Observed) {
        match version.is_as_new_as(&self.version) {
            Some(false) => {}
            Some(true) if version == self.version => {
                if self.held.is_least() {
                    self.held = held;
                }
            }
            None if !is_newest => {
                let (version, held) = (version.undecided(), self.held.or(held));
                *self = Self { version, held };
            }
            Some(true) | None => *self = Self { version, held },
        }
    }
}

/// What is known of keys that are listed no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// Not lower than the newest timestamp of any of them.
    pub(super) timestamp: Timestamp,
    /// Who held each of them: one of these.
    pub(super) held: BTreeSet<Held>,
}

/// What a reply tells the session that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The cluster.
    pub cluster: ClusterId,
    /// As [`key_hash`] names the key.
    pub key: u64,
    /// What was written, or read: as the read saw it, so without its value once that has expired.
    pub version: Version,
    /// Who holds it.
    pub held: Held,
    /// Whether nothing that the session had met is newer: it was read, and a demand of the session was met. A write may lose
    /// to what is there.
    pub is_newest: bool,
}

/// How a session names a key: two that share a hash are taken for one, which can only ask too much.
pub fn key_hash(table: TableId, storage_key: &[u8]) -> u64 {
    xxh3_64_with_seed(storage_key, u64::from(table.0))
}

impl Session {
    /// The cluster that it is of; `None` if it has done nothing.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// What the session's next write has to be stamped above.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// What a read of a key must give this session, of a table where what is `forgettable` or older may have been forgotten.
    pub fn demand(&self, key: u64, replication: &Replication, forgettable: Timestamp) -> Demand {
        match (self.keys.get(&key), &self.floor) {
            (Some(Listed { version, held }), _) => {
                Demand::AtLeast { version: *version, held: held.parts(replication), forgettable }
            }
            (None, Some(floor)) => Demand::Overlap {
                timestamp: floor.timestamp,
                held: floor.held.iter().map(|held| held.parts(replication)).collect(),
            },
            (None, None) => Demand::Nothing,
        }
    }

    /// Takes in what a reply says. The request was made with this session, as far as it concerns the key.
    pub fn note(&mut self, observed: &Observed) {
        let Observed { cluster, key, version, held, is_newest } = *observed;
        self.cluster = Some(cluster);
        self.follow(version.timestamp);
        let is_under_the_floor =
            self.floor.as_ref().is_some_and(|floor| version.timestamp <= floor.timestamp);
        match self.keys.get_mut(&key) {
            Some(listed) => listed.note(observed),
            // Under the floor there may be a newer version of it.
            None if !is_newest && is_under_the_floor => self.fold(Listed { version, held }),
            None => {
                self.keys.insert(key, Listed { version, held });
            }
        }
        while self.keys.len() > MAX_KEYS {
            self.fold_oldest();
        }
    }

    /// Stamps the session's next write above this one: that of a write whose outcome is unknown.
    pub fn follow(&mut self, timestamp: Timestamp) {
        self.clock = self.clock.max(timestamp);
    }

    /// Lists one key less. The floor stays as low as it can.
    pub(super) fn fold_oldest(&mut self) {
        let oldest = self.keys.iter().min_by_key(|(_, listed)| listed.version.timestamp).map(|(key, _)| *key);
        if let Some(listed) = oldest.and_then(|key| self.keys.remove(&key)) {
            self.fold(listed);
        }
    }

    fn fold(&mut self, Listed { version, held }: Listed) {
        let floor = self.floor.get_or_insert_default();
        floor.timestamp = floor.timestamp.max(version.timestamp);
        floor.held.insert(held);
        // What overlaps with any one replica overlaps with any set of them.
        if floor.held.contains(&Held::BY_NONE) {
            floor.held = BTreeSet::from([Held::BY_NONE]);
        } else if floor.held.contains(&Held::BY_ONE) || floor.held.len() > MAX_FLOOR_LEVELS {
            floor.held = BTreeSet::from([Held::BY_ONE]);
        }
    }
}
