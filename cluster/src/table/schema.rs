//! All tables that a node knows.

use std::collections::{BTreeMap, BTreeSet};

use helenus_storage::TableId;
use xxhash_rust::xxh3::xxh3_64;

use super::{DEFAULT_TABLE, Definition, MAX_TTL_SECONDS, Table, is_table_name};

/// Live tables at most.
pub const MAX_TABLES: usize = 1024;
/// Names at most, of live and dropped tables together: those that were dropped are never forgotten.
pub const MAX_NAMES: usize = 4096;

/// Ids of a name that may belong to others before it is given up.
const MOST_COLLISIONS: u32 = 8;
/// Earlier tables of a name whose ids a new one keeps clear of. Older ones are remembered by those who dropped them.
const MAX_REMEMBERED: u32 = 1024;
/// Changes of one table at most. Nobody comes so far; a damaged count beyond could not be superseded.
const MAX_VERSION: u64 = 1 << 48;

/// The newest fact about each name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    by_name: BTreeMap<String, Table>,
    live: BTreeMap<TableId, String>,
    /// Ids that this node's storage has dropped though a fact calls them live: see [`Schema::bury`].
    buried: BTreeSet<TableId>,
}

/// Why a change of the schema was refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A value that no table can have.
    #[error("{detail}")]
    Invalid {
        /// The part of the definition.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A default level that no request can have.
    #[error("{detail}")]
    InvalidConsistency {
        /// The part of the definition.
        field: &'static str,
        /// What is wrong with it, naming the part.
        detail: String,
    },
    /// It contradicts what there is.
    #[error("{0}")]
    Conflict(String),
    /// There is no such table.
    #[error("there is no table `{0}`")]
    NoSuchTable(String),
}

/// Why a fact about a table was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactFlaw {
    /// A name or definition that no table has.
    #[error("its name or definition is not one of a table")]
    Malformed,
    /// The id is another table's.
    #[error("table id {id} belongs to another table")]
    IdTaken {
        /// The id.
        id: u32,
    },
    /// More changes than can have been made.
    #[error("it counts more changes than can have been made")]
    Counter,
    /// More names than a node keeps.
    #[error("too many tables are known already")]
    TooMany,
}

impl Schema {
    /// The live table of a name.
    pub fn get(&self, name: &str) -> Option<&Table> {
        self.by_name.get(name).filter(|table| self.is_live(table))
    }

    /// The live table of an id.
    pub fn by_id(&self, id: TableId) -> Option<&Table> {
        self.live.get(&id).and_then(|name| self.by_name.get(name))
    }

    /// The live tables, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.facts().filter(|table| self.is_live(table))
    }

    fn is_live(&self, fact: &Table) -> bool {
        !fact.is_dropped && !self.buried.contains(&fact.id())
    }

    /// What is known of a name: a live table, or one that was dropped.
    pub fn fact(&self, name: &str) -> Option<&Table> {
        self.by_name.get(name)
    }

    /// What there is to tell: live tables, and the names that were dropped.
    pub fn facts(&self) -> impl Iterator<Item = &Table> {
        self.by_name.values()
    }

    /// Whether it has this fact, or a newer one of that name.
    pub fn has_heard_of(&self, fact: &Table) -> bool {
        self.by_name.get(&fact.name).is_some_and(|known| known.is_no_older_than(fact))
    }

    /// Hash of all facts: equal on two nodes that know the same. Stable across builds and machines.
    pub fn version(&self) -> u64 {
        let facts: Vec<&Table> = self.facts().collect();
        let bytes = postcard::to_stdvec(&facts).expect("tables hold only what postcard can write");
        xxh3_64(&bytes)
    }

    /// Storage of this node has dropped a table of this id before, and ids never come back: whatever facts say, here it
    /// is no live table. The facts stay, so that all nodes go on to tell each other the same. Only ids that collide by
    /// chance come to this, or forged ones.
    pub(crate) fn bury(&mut self, id: TableId) {
        self.live.remove(&id);
        self.buried.insert(id);
    }

    /// The fact that creates a table or changes its definition; `None` if it is so already. A new table has the lowest
    /// incarnation whose id was never another table's, here (`is_spent`: storage of this node has dropped it) or as far
    /// as facts tell.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn define(
        &self,
        name: &str,
        definition: Definition,
        is_spent: impl Fn(TableId) -> bool,
    ) -> Result<Option<Table>, Refusal> {
        if !is_table_name(name) {
            let detail = format!("`{}` does not match ^[a-z][a-z0-9_]{{0,47}}$", name.escape_debug());
            return Err(Refusal::Invalid { field: "table", detail });
        }
        check_definition(&definition)?;
        let known = self.by_name.get(name);
        if let Some(live) = self.get(name) {
            if live.definition == definition {
                return Ok(None);
            }
            if live.definition.replication != definition.replication {
                return Err(Refusal::Conflict(
                    "the replication of a table cannot be changed: the new replicas would lack the older records, \
                     and this build cannot repair them"
                        .to_owned(),
                ));
            }
            if live.version >= MAX_VERSION {
                return Err(Refusal::Conflict(
                    "the table was changed as often as can be; drop it".to_owned(),
                ));
            }
            return Ok(Some(Table { definition, version: live.version + 1, ..live.clone() }));
        }
        if self.live.len() >= MAX_TABLES {
            return Err(Refusal::Conflict(format!("there are {MAX_TABLES} tables already")));
        }
        if known.is_none() && self.by_name.len() >= MAX_NAMES {
            return Err(Refusal::Conflict(format!("{MAX_NAMES} names are in use or were dropped already")));
        }
        let first = known.map_or(0, |dropped| dropped.incarnation).saturating_add(1);
        // Two in a row that collide are one chance in 10^18.
        let incarnations = first..=first.saturating_add(MOST_COLLISIONS);
        let tables = incarnations.map(|incarnation| {
            let (name, definition) = (name.to_owned(), definition.clone());
            Table { name, incarnation, definition, version: 0, is_dropped: false }
        });
        let is_free = |id| !self.facts().any(|fact| fact.has_had(id, MAX_REMEMBERED)) && !is_spent(id);
        match tables.into_iter().find(|table| is_free(table.id())) {
            Some(table) => Ok(Some(table)),
            None => {
                Err(Refusal::Conflict(format!("no id is left for a table `{name}`; choose another name")))
            }
        }
    }

    /// The fact that drops a table.
    ///
    /// # Errors
    /// [`Refusal::NoSuchTable`], or [`Refusal::Conflict`] for the table `default`.
    pub fn drop_table(&self, name: &str) -> Result<Table, Refusal> {
        let live = self.get(name).ok_or_else(|| Refusal::NoSuchTable(name.to_owned()))?;
        if name == DEFAULT_TABLE {
            return Err(Refusal::Conflict("the table `default` cannot be dropped".to_owned()));
        }
        Ok(Table { is_dropped: true, ..live.clone() })
    }

    /// Takes a fact without checks: this node's own, or one it has checked before.
    pub(crate) fn insert(&mut self, fact: Table) {
        if let Some(known) = self.by_name.get(&fact.name) {
            self.live.remove(&known.id());
        }
        if self.is_live(&fact) {
            self.live.insert(fact.id(), fact.name.clone());
        }
        self.by_name.insert(fact.name.clone(), fact);
    }

    /// Takes a fact that another node sent, if it is sound and newer than what is known; whether it was news.
    /// Commutative, associative and idempotent.
    ///
    /// # Errors
    /// [`FactFlaw`]; nothing changed.
    pub fn learn(&mut self, theirs: &Table) -> Result<bool, FactFlaw> {
        if self.has_heard_of(theirs) {
            return Ok(false);
        }
        if !is_table_name(&theirs.name) || check_definition(&theirs.definition).is_err() {
            return Err(FactFlaw::Malformed);
        }
        if theirs.version > MAX_VERSION {
            return Err(FactFlaw::Counter);
        }
        let id = theirs.id();
        if self.by_id(id).is_some_and(|known| known.name != theirs.name) {
            return Err(FactFlaw::IdTaken { id: id.0 });
        }
        if !self.by_name.contains_key(&theirs.name) && self.by_name.len() >= MAX_NAMES {
            return Err(FactFlaw::TooMany);
        }
        self.insert(theirs.clone());
        Ok(true)
    }
}

fn check_definition(definition: &Definition) -> Result<(), Refusal> {
    let invalid = |field, detail| Err(Refusal::Invalid { field, detail });
    if let Some(detail) = definition.replication.flaw() {
        return invalid("replication", detail);
    }
    if definition.default_ttl_seconds > MAX_TTL_SECONDS {
        return invalid("default_ttl", format!("it must be 0 to {MAX_TTL_SECONDS} seconds"));
    }
    if let Err(detail) = definition.compaction.strategy() {
        return invalid("compaction", detail);
    }
    Ok(())
}
