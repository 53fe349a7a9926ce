//! What an engine is to hold: plain ordered maps, a clock, and what time allows a merge to leave out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use helenus_storage::{Record, TableId, TableOptions, Timestamp};

use super::action::HOUR;

pub(super) type Records = BTreeMap<Bytes, Record>;

/// Records and options of one table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) records: Records,
    pub(super) options: TableOptions,
}

/// What an engine is to hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) tables: BTreeMap<TableId, Table>,
    /// Ids that no table gets again.
    pub(super) dropped: BTreeSet<TableId>,
    /// Microseconds since 1970; in step with the clock that the engine is given.
    pub(super) now: u64,
}

impl Table {
    pub(super) fn new(options: TableOptions) -> Self {
        Self { records: Records::new(), options }
    }

    pub(super) fn apply(&mut self, key: Bytes, record: &Record) {
        let newest = match self.records.remove(&key) {
            Some(known) => known.reconcile(record.clone()),
            None => record.clone(),
        };
        self.records.insert(key, newest);
    }

    /// What a merge of everything leaves of a record.
    pub(super) fn rest_of(&self, record: &Record, now: u64) -> Option<Record> {
        let is_over = is_past_grace(record, self.options.gc_grace, now);
        (!is_over).then(|| aged(record, now))
    }

    /// Whether a merge of something may have made this of a record.
    pub(super) fn may_be_left(&self, record: &Record, found: Option<&Record>, now: u64) -> bool {
        match found {
            Some(found) => found == record || *found == aged(record, now),
            None => is_past_grace(record, self.options.gc_grace, now),
        }
    }
}

/// Without its value what has expired an hour ago: clocks that are further apart do not talk.
fn aged(record: &Record, now: u64) -> Record {
    record.clone().as_of(Timestamp(now.saturating_sub(HOUR)))
}

fn is_past_grace(record: &Record, grace: Duration, now: u64) -> bool {
    let Some(end) = record.end() else { return false };
    end.max(record.timestamp).0 < now.saturating_sub(grace.as_micros() as u64)
}
