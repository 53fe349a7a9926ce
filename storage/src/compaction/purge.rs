//! Which tombstones may go.
//!
//! A tombstone hides older records of its key. It may go when nobody can need it any more:
//!
//! 1. Its grace is over: it was deleted, *and* written, before `now - gc_grace`. Until then another replica may not
//!    have heard of it. The write timestamp counts too, because one that lies in the future hides what is written
//!    today, and must do so tomorrow.
//! 2. Nothing outside the merge can hold a record of its key that is not newer: no memtable that has the key, no
//!    SSTable whose range and filter may contain it and whose oldest timestamp is not newer. Equal timestamps
//!    count as older: there the tombstone wins by its kind.
//! 3. The caller's filter, if there is one, lets it go ([`PurgeFilter`]).
//!
//! *Source:* Cassandra's `CompactionController` and `PurgeFunction`; the first rule is stricter than theirs.
//!
//! A record that has expired is the tombstone of its expiry. It goes by the same rules, and before they let it go it
//! is replaced by that tombstone, which spares its value. Not at once: a reader whose clock is behind may still be
//! entitled to the value, and the tombstone would win over it on every replica.
//!
//! # What arrives meanwhile
//!
//! A merge takes minutes, and records arrive in any order. So rule 2 is asked of the memtables and SSTables of the
//! moment, for each tombstone. An old record that arrives *after* its tombstone was asked about would come to light
//! with the merge, and readers would see a deleted value return without anyone writing it. So before a merge takes
//! effect, [`Purge::is_undone`] looks at whatever may have come since it began, for records that are older than the
//! grace and whose key is in the inputs and not in the outputs. If there is one the outputs are thrown away, and
//! the merge is done again without a purge. Whatever arrives after that look arrives after the purge.

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    error::Result,
    options::PurgeFilter,
    record::{Record, Timestamp},
    sstable::{FileId, KeyHash, TableReader},
    table_id::TableId,
    tree::{Tree, View},
};

/// Clocks of a cluster that are further apart refuse each other's writes.
const EXPIRY_MARGIN: Duration = Duration::from_secs(60 * 60);

/// The moment of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// What was deleted and written before this is past its grace.
    pub(crate) gc_before: Timestamp,
    /// What expired before this has expired for everyone.
    expired_before: Timestamp,
}

impl Deadlines {
    /// Those of a table with this grace.
    pub(crate) fn at(now: Timestamp, gc_grace: Duration) -> Self {
        let ago = |duration: Duration| {
            Timestamp(now.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
        };
        Self { gc_before: ago(gc_grace), expired_before: ago(EXPIRY_MARGIN) }
    }

    /// Whether rule 1 lets it go.
    fn is_past_grace(self, record: &Record) -> bool {
        record.end().is_some_and(|end| end.max(record.timestamp) < self.gc_before)
    }

    /// Whether every record of the table is past its grace.
    pub(crate) fn is_expired(self, table: &TableReader) -> bool {
        let stats = table.stats();
        let ends = stats.expiry.iter().chain(&stats.deletion).map(|span| span.max);
        stats.plain == 0 && ends.max().is_some_and(|end| end.max(stats.max_timestamp) < self.gc_before)
    }
}

/// Decides about the tombstones of one merge.
#[derive(Debug)]
pub(crate) struct Purge<'a> {
    /// The moment.
    pub(crate) deadlines: Deadlines,
    /// Whose records they are.
    pub(crate) table: TableId,
    /// The same.
    pub(crate) tree: &'a Tree,
    /// What is merged.
    pub(crate) inputs: &'a [Arc<TableReader>],
    /// The SSTables that there were when the merge began.
    pub(crate) begun: &'a BTreeSet<FileId>,
    /// The caller's say.
    pub(crate) filter: Option<&'a PurgeFilter>,
    /// Whether anything was left out.
    pub(crate) has_purged: AtomicBool,
}

impl Purge<'_> {
    /// What is left of a record.
    pub(crate) fn rest_of(&self, key: &[u8], record: Record) -> Option<Record> {
        if self.deadlines.is_past_grace(&record) && self.may_drop(key, &record) {
            crate::sometimes!("a tombstone was purged");
            self.has_purged.store(true, Ordering::Relaxed);
            return None;
        }
        Some(record.as_of(self.deadlines.expired_before))
    }

    fn may_drop(&self, key: &[u8], record: &Record) -> bool {
        let view = self.tree.view();
        if view.memtables().any(|memtable| has_older(memtable.get(key), record)) {
            crate::sometimes!("a memtable kept a tombstone from being purged");
            return false;
        }
        let hash = KeyHash::of(key);
        let may_have_older = |table: &Arc<TableReader>| {
            table.stats().min_timestamp <= record.timestamp && table.may_contain(key, || hash)
        };
        if self.outside(&view).any(may_have_older) {
            crate::sometimes!("an SSTable kept a tombstone from being purged");
            return false;
        }
        // Who is asked may take its time, and the memtables of a view are kept as long as the view is.
        drop(view);
        self.filter.is_none_or(|filter| filter.may_purge(self.table, key, record))
    }

    /// Whether something has arrived since the merge began that one of its purged tombstones would have hidden.
    ///
    /// # Errors
    /// Of reading SSTables.
    pub(crate) fn is_undone(&self, outputs: &[Arc<TableReader>]) -> Result<bool> {
        if !self.has_purged.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let view = self.tree.view();
        let everything = (Bound::Unbounded, Bound::Unbounded);
        for memtable in
            view.memtables().filter(|memtable| memtable.oldest_timestamp() < self.deadlines.gc_before)
        {
            for (key, record) in memtable.range(everything).filter_map(|entry| entry.entry()) {
                if self.was_hidden(&key, &record, outputs)? {
                    return Ok(true);
                }
            }
        }
        let is_new = |table: &&Arc<TableReader>| !self.begun.contains(&table.file().id);
        for table in self.outside(&view).filter(is_new) {
            if table.stats().min_timestamp >= self.deadlines.gc_before {
                continue;
            }
            for entry in table.range_uncached(everything) {
                let (key, record) = entry?;
                if self.was_hidden(&key, &record, outputs)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn was_hidden(&self, key: &[u8], record: &Record, outputs: &[Arc<TableReader>]) -> Result<bool> {
        if record.timestamp >= self.deadlines.gc_before || find(outputs, key)?.is_some() {
            return Ok(false);
        }
        let hidden = find(self.inputs, key)?.is_some_and(|purged| !record.supersedes(&purged));
        if hidden {
            crate::sometimes!("an old record arrived while its tombstone was purged");
        }
        Ok(hidden)
    }

    fn outside<'v>(&'v self, view: &'v View) -> impl Iterator<Item = &'v Arc<TableReader>> + 'v {
        view.tables.iter().filter(|table| !contains(self.inputs, table.file().id))
    }
}

/// SSTables that can be dropped without being read: all their records are past their grace, and none of them can hide
/// anything outside that is older. The memtables are asked for their oldest record, whatever its key.
pub(crate) fn expired(
    view: &View,
    deadlines: Deadlines,
    may_go: impl Fn(&TableReader) -> bool,
) -> Vec<&Arc<TableReader>> {
    let in_memory = view.memtables().map(|memtable| memtable.oldest_timestamp()).min();
    let (mut expired, mut others): (Vec<_>, Vec<_>) =
        view.tables.iter().partition(|table| deadlines.is_expired(table) && may_go(table));
    loop {
        let (going, staying): (Vec<_>, Vec<_>) = expired.into_iter().partition(|table| {
            let newest = table.stats().max_timestamp;
            in_memory.is_none_or(|oldest| newest < oldest)
                && others.iter().all(|other| newest < other.stats().min_timestamp || !overlap(table, other))
        });
        expired = going;
        if staying.is_empty() {
            return expired;
        }
        others.extend(staying);
    }
}

/// Whether enough of a table could be dropped, and nothing outside keeps it from that.
pub(crate) fn is_worth_rewriting(table: &TableReader, view: &View, deadlines: Deadlines, ratio: f64) -> bool {
    let stats = table.stats();
    let is_in_nobodys_way = || {
        view.memtables().all(|memtable| memtable.oldest_timestamp() > stats.max_timestamp)
            && view.tables.iter().all(|other| {
                other.file().id == table.file().id
                    || other.stats().min_timestamp > stats.max_timestamp
                    || !overlap(table, other)
            })
    };
    stats.droppable_ratio(deadlines.gc_before) > ratio && is_in_nobodys_way()
}

fn has_older(found: Option<Record>, tombstone: &Record) -> bool {
    found.is_some_and(|record| record.timestamp <= tombstone.timestamp)
}

fn contains(tables: &[Arc<TableReader>], id: FileId) -> bool {
    tables.iter().any(|table| table.file().id == id)
}

fn overlap(a: &TableReader, b: &TableReader) -> bool {
    let (a, b) = (a.stats(), b.stats());
    a.first_key <= b.last_key && b.first_key <= a.last_key
}

/// The newest record of a key in these tables.
fn find(tables: &[Arc<TableReader>], key: &[u8]) -> Result<Option<Record>> {
    let hash = KeyHash::of(key);
    let mut newest: Option<Record> = None;
    for table in tables.iter().filter(|table| table.may_contain(key, || hash)) {
        if let Some(record) = table.get(key)? {
            newest = Some(newest.map_or(record.clone(), |known| known.reconcile(record)));
        }
    }
    Ok(newest)
}
