//! The kinds of operations that are measured apart.

use serde::{Deserialize, Serialize};

/// A kind of operation, by YCSB's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Reads a record.
    #[serde(rename = "READ")]
    Read,
    /// Writes a record that exists.
    #[serde(rename = "UPDATE")]
    Update,
    /// Writes a new record.
    #[serde(rename = "INSERT")]
    Insert,
    /// Reads some records from a key on.
    #[serde(rename = "SCAN")]
    Scan,
    /// A read, then a write; its parts are measured too.
    #[serde(rename = "READ-MODIFY-WRITE")]
    ReadModifyWrite,
    /// Comparing what was read with what must have been written.
    #[serde(rename = "VERIFY")]
    Verify,
}

impl Operation {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Update, Self::Insert, Self::Scan, Self::ReadModifyWrite, Self::Verify];

    /// YCSB's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Update => "UPDATE",
            Self::Insert => "INSERT",
            Self::Scan => "SCAN",
            Self::ReadModifyWrite => "READ-MODIFY-WRITE",
            Self::Verify => "VERIFY",
        }
    }
}
