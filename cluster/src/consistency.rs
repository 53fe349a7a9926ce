//! Consistency levels: how many replicas must answer before a request does.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The level of one request, as the client chose it or the table defaults it.
///
/// With W acknowledged writes and R answers read of N replicas, W + R > N makes every read see the last
/// acknowledged write, and W > N/2 makes two writes meet in at least one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// One replica, or a durable hint (writes only).
    Any,
    /// One replica.
    One,
    /// Two replicas.
    Two,
    /// Three replicas.
    Three,
    /// More than half of all replicas.
    Quorum,
    /// Every replica.
    All,
    /// One replica of the coordinator's datacenter.
    LocalOne,
    /// More than half of the replicas of the coordinator's datacenter.
    LocalQuorum,
    /// More than half of the replicas of each datacenter.
    EachQuorum,
    /// Linearizable reads and compare-and-set.
    Serial,
    /// As [`Consistency::Serial`], within the coordinator's datacenter.
    LocalSerial,
    /// That many replicas.
    Count(u32),
}

/// A text that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a consistency level; use any, one, two, three, quorum, all, local_one, local_quorum, \
     each_quorum, serial, local_serial or a positive number of replicas, without leading zeros"
)]
pub struct UnknownConsistency(pub String);

impl FromStr for Consistency {
    type Err = UnknownConsistency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "any" => Self::Any,
            "one" => Self::One,
            "two" => Self::Two,
            "three" => Self::Three,
            "quorum" => Self::Quorum,
            "all" => Self::All,
            "local_one" => Self::LocalOne,
            "local_quorum" => Self::LocalQuorum,
            "each_quorum" => Self::EachQuorum,
            "serial" => Self::Serial,
            "local_serial" => Self::LocalSerial,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') => {
                Self::Count(digits.parse().map_err(|_| UnknownConsistency(text.to_owned()))?)
            }
            _ => return Err(UnknownConsistency(text.to_owned())),
        })
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::One => "one",
            Self::Two => "two",
            Self::Three => "three",
            Self::Quorum => "quorum",
            Self::All => "all",
            Self::LocalOne => "local_one",
            Self::LocalQuorum => "local_quorum",
            Self::EachQuorum => "each_quorum",
            Self::Serial => "serial",
            Self::LocalSerial => "local_serial",
            Self::Count(count) => return count.fmt(f),
        })
    }
}
