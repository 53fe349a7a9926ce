//! What is left of hints that were not delivered: that a replica lacks something, and has to be repaired.

use helenus_storage::TableId;
use serde::{Deserialize, Serialize};

use crate::{node_id::HostId, time::Timestamp};

/// A member lacks writes of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairMark {
    /// The member.
    pub target: HostId,
    /// The table; `None`: any of them.
    pub table: Option<u32>,
    /// The writes that it lacks were made from here on, in microseconds since 1970,
    pub since_us: u64,
    /// to here.
    pub until_us: u64,
    /// Hints that were not delivered.
    pub hints: u64,
}

impl RepairMark {
    /// The mark of one hint.
    pub fn of(target: HostId, table: Option<TableId>, made_at: Timestamp) -> Self {
        let table = table.map(|table| table.0);
        Self { target, table, since_us: made_at.0, until_us: made_at.0, hints: 1 }
    }

    /// Adds what another mark of the same member and table says.
    pub fn extend(&mut self, other: &Self) {
        self.since_us = self.since_us.min(other.since_us);
        self.until_us = self.until_us.max(other.until_us);
        self.hints = self.hints.saturating_add(other.hints);
    }
}
