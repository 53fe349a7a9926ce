//! The tables a node knows.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use super::member::{Flaw, MAX_MEMBERS, MAX_TABLES, check_not_far_future};
use crate::{
    table::{DEFAULT_TABLE_ID, Table, is_table_name},
    time::Timestamp,
};

/// Definitions by name. Of two definitions of a name the one changed last wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    by_name: BTreeMap<String, Table>,
}

impl Tables {
    /// The table of a name.
    pub fn get(&self, name: &str) -> Option<&Table> {
        self.by_name.get(name)
    }

    /// The table of an id.
    pub fn by_id(&self, id: u32) -> Option<&Table> {
        self.by_name.values().find(|table| table.id == id)
    }

    /// All tables, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.by_name.values()
    }

    /// Hash of all definitions: equal on two nodes that know the same. Stable across builds and machines.
    pub fn version(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for table in self.iter() {
            hasher.update(table.name.as_bytes());
            hasher.update(&[0]);
            hasher.update(&table.id.to_le_bytes());
            hasher.update(&table.replication_factor.to_le_bytes());
            hasher.update(&table.changed_at.to_le_bytes());
        }
        hasher.digest()
    }

    /// Takes a definition without checks: this node's own, or one it has checked before.
    pub(super) fn insert(&mut self, table: Table) {
        self.by_name.insert(table.name.clone(), table);
    }

    /// Merges a definition that another node sent; whether it was news.
    pub(super) fn merge(&mut self, theirs: &Table, now: Timestamp) -> Result<bool, Flaw> {
        if self.get(&theirs.name) == Some(theirs) {
            return Ok(false);
        }
        check(theirs, now)?;
        if self.by_id(theirs.id).is_some_and(|known| known.name != theirs.name) {
            return Err(Flaw::TableIdTaken { id: theirs.id });
        }
        match self.get(&theirs.name) {
            Some(ours) if precedence(ours) > precedence(theirs) => return Ok(false),
            None if self.by_name.len() >= MAX_TABLES => return Err(Flaw::TooMany),
            _ => {}
        }
        self.insert(theirs.clone());
        Ok(true)
    }
}

/// Ids below the first user table's are trees of the node itself, which no one else may write to.
fn check(table: &Table, now: Timestamp) -> Result<(), Flaw> {
    let has_factor = (1..=MAX_MEMBERS).contains(&(table.replication_factor as usize));
    if !is_table_name(&table.name) || table.id < DEFAULT_TABLE_ID.0 || !has_factor {
        return Err(Flaw::Table);
    }
    check_not_far_future(table.changed_at / 1_000_000, now)
}

/// Definitions changed in the same microsecond are ordered by what they say, the same on all nodes.
fn precedence(table: &Table) -> impl Ord + use<> {
    (table.changed_at, table.id, table.replication_factor)
}
