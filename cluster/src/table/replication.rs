//! How many replicas, and where.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The placement strategy of a table, with its factors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Replication {
    /// The next distinct nodes on the ring, wherever they stand.
    Simple {
        /// Replicas of each key.
        factor: u32,
    },
    /// In each datacenter that many, in distinct racks as far as there are.
    NetworkTopology {
        /// Replicas of each key by datacenter.
        factors: BTreeMap<String, u32>,
    },
}

/// Replicas of a key at most, in all datacenters together.
pub const MAX_FACTOR: u32 = 100;
/// Datacenters of a table at most.
const MAX_DATACENTERS: usize = 32;
const MAX_NAME_BYTES: usize = 128;

/// A factor alone means wherever nodes stand.
impl From<u32> for Replication {
    fn from(factor: u32) -> Self {
        Self::Simple { factor }
    }
}

impl Replication {
    /// Replicas of each key, in all datacenters together.
    pub fn factor(&self) -> u32 {
        match self {
            Self::Simple { factor } => *factor,
            Self::NetworkTopology { factors } => {
                factors.values().fold(0, |sum, factor| sum.saturating_add(*factor))
            }
        }
    }

    /// What is wrong with it, if anything.
    pub fn flaw(&self) -> Option<String> {
        if let Self::NetworkTopology { factors } = self {
            let is_name = |name: &str| {
                !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
            };
            if factors.len() > MAX_DATACENTERS {
                return Some(format!("{} datacenters are more than {MAX_DATACENTERS}", factors.len()));
            }
            if let Some(name) = factors.keys().find(|name| !is_name(name)) {
                return Some(format!("`{}` is not the name of a datacenter", name.escape_debug()));
            }
        }
        match self.factor() {
            0 => Some("the factor must be at least 1".to_owned()),
            1..=MAX_FACTOR => None,
            factor => Some(format!("a factor of {factor} is more than {MAX_FACTOR}")),
        }
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple { factor } => write!(f, "simple {factor}"),
            Self::NetworkTopology { factors } => {
                f.write_str("network_topology")?;
                factors.iter().try_for_each(|(datacenter, factor)| write!(f, " {datacenter}:{factor}"))
            }
        }
    }
}
