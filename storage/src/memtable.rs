//! The memtable: the newest record of each key, in memory, ordered.
//!
//! One node per key, and the record in a cell of it, because overwriting a key of `crossbeam_skiplist` 0.1.3
//! is not atomic for readers: `insert` unlinks the old node before it links the new one, and a reader in
//! between would fall through to an older record in an SSTable. So a node is never replaced; its record is
//! reconciled under the node's own lock. Rejected: versions as part of the key, which leave garbage on hot
//! keys and buy snapshots that nobody asks for.
//!
//! Only the commit step (and recovery) inserts; readers never wait for more than one cell.

use std::{
    ops::Bound,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use crossbeam_skiplist::SkipMap;
use parking_lot::Mutex;

use crate::{
    commit_log::segment::LogPosition,
    record::{Mutation, Record, RecordKind, Timestamp},
};

/// Charged for each key besides its bytes: a skip list node with its tower, and the allocations around it
/// (measured: 96 bytes and the allocator's rounding).
const ENTRY_OVERHEAD_BYTES: usize = 112;

/// A memtable.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    records: SkipMap<Bytes, Mutex<Record>>,
    bytes: AtomicUsize,
    /// The newest write timestamp of all that was inserted, in microseconds.
    newest: AtomicU64,
    /// `u64::MAX` less the oldest, so that nothing inserted yet is zero.
    oldest_from_end: AtomicU64,
    /// Not after the position of any record in here.
    first_position: OnceLock<LogPosition>,
}

impl Memtable {
    /// Inserts the rows of a mutation that was logged at `position`, and answers by how many bytes the
    /// memtable grew (less than nothing when a record made room). Not to be called by two threads at once.
    /// Keeps the mutation's buffers alive: see [`detached`].
    pub(crate) fn insert(&self, position: LogPosition, mutation: Mutation) -> isize {
        // Positions ascend, so the first one stays the smallest.
        self.first_position.get_or_init(|| position);
        let mut grown = 0;
        for (suffix, record) in mutation.rows {
            self.newest.fetch_max(record.timestamp.0, Ordering::Relaxed);
            self.oldest_from_end.fetch_max(u64::MAX - record.timestamp.0, Ordering::Relaxed);
            grown += self.insert_record(storage_key(&mutation.key, &suffix), record);
        }
        // Two's complement: adding a negative number as usize subtracts.
        self.bytes.fetch_add(grown as usize, Ordering::Relaxed);
        grown
    }

    fn insert_record(&self, key: Bytes, record: Record) -> isize {
        let entry_bytes = ENTRY_OVERHEAD_BYTES + key.len() + value_bytes(&record);
        let mut offered = Some(record);
        let entry = self.records.get_or_insert_with(key, || {
            Mutex::new(offered.take().expect("a single writer is asked for the value at most once"))
        });
        let Some(record) = offered else { return entry_bytes as isize };
        let mut current = entry.value().lock();
        if !record.supersedes(&current) {
            return 0;
        }
        let grown = value_bytes(&record) as isize - value_bytes(&current) as isize;
        *current = record;
        grown
    }

    /// The newest record of a storage key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Record> {
        self.records.get(key).map(|entry| entry.value().lock().clone())
    }

    /// Records in ascending key order. Each is as new as the moment it is read; there is no snapshot.
    pub(crate) fn range<'a>(
        &'a self,
        range: (Bound<&'a [u8]>, Bound<&'a [u8]>),
    ) -> impl Iterator<Item = (Bytes, Record)> + 'a {
        self.records.range::<[u8], _>(range).map(|entry| (entry.key().clone(), entry.value().lock().clone()))
    }

    /// Whether nothing was inserted yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.first_position.get().is_none()
    }

    /// The newest write timestamp in here; `None` while there is no record.
    pub(crate) fn newest_timestamp(&self) -> Option<Timestamp> {
        (!self.is_empty()).then(|| Timestamp(self.newest.load(Ordering::Relaxed)))
    }

    /// No record in here has an older write timestamp; the largest there is while there is no record.
    pub(crate) fn oldest_timestamp(&self) -> Timestamp {
        Timestamp(u64::MAX - self.oldest_from_end.load(Ordering::Relaxed))
    }

    /// Bytes accounted for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// No record in here was logged before this; `None` while there is none.
    pub(crate) fn first_position(&self) -> Option<LogPosition> {
        self.first_position.get().copied()
    }
}

/// The mutation with keys and values in buffers of their own, so that keeping it does not keep a whole socket
/// buffer or log segment alive.
pub(crate) fn detached(mutation: Mutation) -> Mutation {
    let copy = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
    let rows = mutation.rows.into_iter().map(|(suffix, record)| {
        let kind = match record.kind {
            RecordKind::Plain { value } => RecordKind::Plain { value: copy(value) },
            RecordKind::Expiring { value, expires_at } => {
                RecordKind::Expiring { value: copy(value), expires_at }
            }
            tombstone @ RecordKind::Tombstone { .. } => tombstone,
        };
        (copy(suffix), Record { kind, ..record })
    });
    Mutation { rows: rows.collect(), key: copy(mutation.key) }
}

fn storage_key(key: &Bytes, suffix: &Bytes) -> Bytes {
    if suffix.is_empty() {
        return key.clone();
    }
    let mut storage_key = BytesMut::with_capacity(key.len() + suffix.len());
    storage_key.extend_from_slice(key);
    storage_key.extend_from_slice(suffix);
    storage_key.freeze()
}

fn value_bytes(record: &Record) -> usize {
    record.value().map_or(0, Bytes::len)
}
