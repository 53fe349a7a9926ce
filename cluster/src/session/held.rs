//! Which replicas are known to hold a version.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    consistency::Consistency,
    quorum::{BlockFor, Operation, Part},
    table::Replication,
};

/// The level at which a version was written or read, which says how many replicas hold it, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Held {
    level: Consistency,
    /// Hash of the name of the datacenter that a local level speaks of.
    datacenter: Option<u64>,
}

impl Held {
    /// By no replica for certain: a hint alone.
    pub const BY_NONE: Self = Self { level: Consistency::Any, datacenter: None };
    /// By one at least, wherever it stands.
    pub const BY_ONE: Self = Self { level: Consistency::One, datacenter: None };

    /// What replicas at this level have made sure of, coordinated in the datacenter `local`.
    pub fn at(level: Consistency, local: &str) -> Self {
        match level {
            Consistency::Any => Self::BY_ONE,
            Consistency::LocalOne | Consistency::LocalQuorum => {
                Self { level, datacenter: Some(xxh3_64(local.as_bytes())) }
            }
            _ => Self { level, datacenter: None },
        }
    }

    /// How many replicas of a table hold it, by where they stand: in each of these places as many as required. A level that
    /// the table does not have now, since it was another table's or its replication has changed, says the least.
    pub fn parts(self, replication: &Replication) -> Vec<Part> {
        let somewhere = |required| vec![Part { datacenter: None, required }];
        if self == Self::BY_NONE {
            return somewhere(0);
        }
        let local = match (self.datacenter, replication) {
            (Some(hash), Replication::NetworkTopology { factors }) => {
                factors.keys().find(|name| xxh3_64(name.as_bytes()) == hash).map_or("", String::as_str)
            }
            _ => "",
        };
        match BlockFor::of(Operation::Write, self.level, replication, local) {
            Ok(block_for) => block_for.parts().to_vec(),
            Err(_) => somewhere(1),
        }
    }

    /// Who holds the newer one of two versions, whichever that is.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (Self::BY_NONE, _) | (_, Self::BY_NONE) => Self::BY_NONE,
            _ => Self::BY_ONE,
        }
    }

    /// Whether it says no more than that one replica holds it, if that.
    pub(super) fn is_least(self) -> bool {
        self == Self::BY_NONE || self == Self::BY_ONE
    }
}
