//! Tables as the cluster knows them: name, id, replication and defaults.

use helenus_storage::TableId;
use serde::{Deserialize, Serialize};

use crate::consistency::Consistency;

/// The table that exists from the start.
pub const DEFAULT_TABLE: &str = "default";

/// The fixed id of [`DEFAULT_TABLE`]. Ids below it belong to the node's own trees.
pub const DEFAULT_TABLE_ID: TableId = TableId(1024);

/// Definition of a user table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name, `^[a-z][a-z0-9_]{0,47}$`.
    pub name: String,
    /// Its id, which never comes back once dropped.
    pub id: u32,
    /// Replicas of each key (class simple).
    pub replication_factor: u32,
    /// Microseconds since 1970 of its last change; the newest definition wins.
    pub changed_at: u64,
}

impl Table {
    /// The table `default` with a factor.
    pub fn default_with_factor(replication_factor: u32) -> Self {
        Self { name: DEFAULT_TABLE.to_owned(), id: DEFAULT_TABLE_ID.0, replication_factor, changed_at: 1 }
    }

    /// Its id in the storage engine.
    pub fn table_id(&self) -> TableId {
        TableId(self.id)
    }

    /// Level of reads that name none.
    pub fn default_read_consistency(&self) -> Consistency {
        Consistency::Quorum
    }

    /// Level of writes that name none.
    pub fn default_write_consistency(&self) -> Consistency {
        Consistency::Quorum
    }
}

/// Whether a text may name a table: `^[a-z][a-z0-9_]{0,47}$`.
pub fn is_table_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && text.len() <= 48
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
