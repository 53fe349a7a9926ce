//! Tables: what the cluster knows of each, and how all nodes come to know the same.
//!
//! A [`Table`] has a name that people use, an id that data lies under, and a [`Definition`]. The [`Schema`] is all of
//! them. Any node may change it; the change is a new fact, and nodes tell each other all the facts that they know
//! until their schema versions are equal ([`crate::node`]). Of two facts about a name the one of the later incarnation
//! wins, then a drop, then the higher version, then the greater definition: so merging is commutative, and a drop is final.
//!
//! ```text
//! name "users"     create      alter       drop        create      drop …
//! incarnation      1           1           1           2           2
//! version          0           1           1           0           0
//! id               h(users,1)  h(users,1)  –           h(users,2)  –
//! ```
//!
//! Whoever changes a definition counts on from the version that it knows (Lamport: "Time, Clocks, and the Ordering of
//! Events in a Distributed System", CACM 1978): a change wins over all that its maker had heard of, whatever the clocks
//! of the two show. So no clock decides anything here, and a node whose clock is years off changes the schema, and learns
//! it, like any other. Rejected: the time of the change in front (Apache Cassandra's): what a node with a fast clock changes
//! beats what others, who have not heard of it, change until they catch up with it; and what lies too far ahead must be
//! disbelieved, or could never be superseded.
//!
//! The id is a hash of name and incarnation, so two nodes that create one table at the same time, not hearing each
//! other, create the *same* table, and one definition wins. Apache Cassandra draws a random id: of two concurrent
//! creations one disappears, with what was written to it meanwhile. An id never comes back, since incarnations only
//! grow; a name that was dropped is remembered for that.
//!
//! There are 2^31 ids, so two names may collide. Whoever creates a table passes over the incarnations whose ids were
//! ever another table's, live or dropped. If a fact with such an id comes all the same (created where nobody knew of
//! the other, or forged), a node whose storage has dropped the id keeps the fact and has no such table: it says so in
//! its log and answers requests for it with an error; to create the table again at that node gives it another id.
//!
//! # One table, defined on two sides of a partition
//!
//! The two sides make two facts of one incarnation. Whoever comes to know both keeps the one that was changed more often
//! (on a tie the greater definition), so all nodes end up with one, and the nodes that knew the other say so in their logs. No record is lost:
//! id and storage are the same. But a replication that loses takes its placement along: what was written by it lies
//! where *it* put the replicas. Where the winner places fewer of them, or others, a read may not ask the ones that have
//! the record, until it is repaired or written again. The log line names both, and their difference is the operator's to
//! judge; nobody can change a replication on purpose ([`Refusal::Conflict`]).
//!
//! Rejected: a consensus for the schema (changes are rare, but would wait for a majority that partitions may deny;
//! one winner everywhere is what tables themselves promise); merging two definitions field by field (a result that nobody
//! asked for).
//!
//! Reading order: this page, [`replication`], [`speculative_retry`], [`compaction`], [`schema`].

pub mod compaction;
pub mod replication;
pub mod schema;
pub mod speculative_retry;

use std::time::Duration;

use helenus_storage::{TableId, TableOptions};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::consistency::Consistency;
pub use compaction::Compaction;
pub use replication::Replication;
pub use schema::{FactFlaw, Refusal, Schema};
pub use speculative_retry::SpeculativeRetry;

/// The table that exists from the start.
pub const DEFAULT_TABLE: &str = "default";

/// The fixed id of [`DEFAULT_TABLE`]. Ids below it belong to the node's own trees.
pub const DEFAULT_TABLE_ID: TableId = TableId(1024);

/// Ids from here on belong to the node's own trees again: those that come and go.
pub const TABLE_IDS_END: TableId = TableId(1 << 31);

/// Longest time to live of a value, in seconds: 20 years, as in Apache Cassandra.
pub const MAX_TTL_SECONDS: u32 = 20 * 365 * 24 * 60 * 60;

/// A user table, or the memory of one that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name, `^[a-z][a-z0-9_]{0,47}$`.
    pub name: String,
    /// How often a table of this name was created; 0 for the table `default`.
    pub incarnation: u32,
    /// What can be chosen.
    pub definition: Definition,
    /// How often it was changed, in the chain of changes that led to this definition.
    pub version: u64,
    /// Whether it is gone.
    pub is_dropped: bool,
}

/// What whoever creates a table can choose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Definition {
    /// Where the replicas of a key are.
    pub replication: Replication,
    /// Level of reads that name none.
    pub default_read_consistency: Consistency,
    /// Level of writes that name none.
    pub default_write_consistency: Consistency,
    /// Seconds until a value that was given no time to live expires; 0 for never.
    pub default_ttl_seconds: u32,
    /// Seconds until a tombstone may be forgotten.
    pub tombstone_grace_seconds: u32,
    /// Which SSTables are merged.
    pub compaction: Compaction,
    /// When a read asks one replica more than it needs.
    pub speculative_retry: SpeculativeRetry,
}

impl Definition {
    /// The defaults of everything but the replication.
    pub fn replicated(replication: Replication) -> Self {
        Self {
            replication,
            default_read_consistency: Consistency::Quorum,
            default_write_consistency: Consistency::Quorum,
            default_ttl_seconds: 0,
            tombstone_grace_seconds: 10 * 24 * 60 * 60,
            compaction: Compaction::default(),
            speculative_retry: SpeculativeRetry::default(),
        }
    }

    /// What it asks of the storage engine.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn storage_options(&self) -> Result<TableOptions, String> {
        Ok(TableOptions { strategy: self.compaction.strategy()?, gc_grace: self.tombstone_grace() })
    }

    /// How long a tombstone is kept for those who have not heard of it.
    pub fn tombstone_grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.tombstone_grace_seconds))
    }

    /// The time to live of values that were given none; `None` for ever.
    pub fn default_ttl(&self) -> Option<Duration> {
        (self.default_ttl_seconds > 0).then(|| Duration::from_secs(u64::from(self.default_ttl_seconds)))
    }
}

impl Table {
    /// The table `default` with a factor, wherever nodes stand.
    pub fn default_with_factor(factor: u32) -> Self {
        Self::default_replicated(factor.into())
    }

    /// The table `default` of a cluster that is formed now.
    pub fn default_replicated(replication: Replication) -> Self {
        Self {
            name: DEFAULT_TABLE.to_owned(),
            incarnation: 0,
            definition: Definition::replicated(replication),
            version: 0,
            is_dropped: false,
        }
    }

    /// Its id in the storage engine.
    ///
    /// The hash is xxh3 of the name with the incarnation as its seed, folded into the ids of user tables.
    pub fn id(&self) -> TableId {
        id_of(&self.name, self.incarnation)
    }

    /// Whether a table of this name, this one or one of the `most` before, has this id.
    fn has_had(&self, id: TableId, most: u32) -> bool {
        let first = self.incarnation.saturating_sub(most);
        (first..=self.incarnation).rev().any(|incarnation| id_of(&self.name, incarnation) == id)
    }

    /// Whether it is a fact about the same name, and holds against the other. Of two different facts one does, on all
    /// nodes the same.
    pub fn is_no_older_than(&self, other: &Self) -> bool {
        let precedence =
            |table: &Self| (table.incarnation, table.is_dropped, table.version, table.definition.clone());
        self.name == other.name && precedence(self) >= precedence(other)
    }
}

fn id_of(name: &str, incarnation: u32) -> TableId {
    if name == DEFAULT_TABLE {
        return DEFAULT_TABLE_ID;
    }
    let first = DEFAULT_TABLE_ID.0 + 1;
    let ids = u64::from(TABLE_IDS_END.0 - first);
    let hash = xxh3_64_with_seed(name.as_bytes(), u64::from(incarnation)) % ids;
    TableId(first + u32::try_from(hash).expect("a remainder of less than 2^31"))
}

/// Whether a text may name a table: `^[a-z][a-z0-9_]{0,47}$`.
pub fn is_table_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && text.len() <= 48
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
