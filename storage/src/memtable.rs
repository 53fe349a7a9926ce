//! The memtable: the newest record of each key, in memory, ordered.
//!
//! One node per key, and the record in a cell of it, because overwriting a key of `crossbeam_skiplist` 0.1.3
//! is not atomic for readers: `insert` unlinks the old node before it links the new one, and a reader in
//! between would fall through to an older record in an SSTable. So a node is never replaced; its record is
//! reconciled under the node's own lock. Rejected: versions as part of the key, which leave garbage on hot
//! keys and buy snapshots that nobody asks for.
//!
//! Any number of threads inserts at once. Two of them may both make a node for a new key, and the list drops
//! one of the two: so a node is linked with an empty cell, which reads as absent, and whoever locks the cell
//! first fills it and accounts for the node.
//!
//! # Who is still inside
//!
//! A writer enters the active memtable while it holds the log's lock ([`Memtable::enter`]), and inserts later,
//! without it. A memtable is switched under the same lock, so nobody enters one that is switched, and it is
//! complete once all who entered have left: the flush waits for that ([`Memtable::await_writers`]).
//!
//! # Layout
//!
//! ```text
//! node   references, tower │ first 16 bytes of the key, big endian │ key │ lock, record
//! ```
//!
//! The first bytes of a key lie in the node, so that most comparisons on the way to a key do not follow a pointer:
//! that is where an insert into a large list spends its time.

use std::{
    borrow::Borrow,
    cmp::Ordering as KeyOrder,
    ops::{Bound, RangeBounds},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use crossbeam_skiplist::SkipMap;
use parking_lot::Mutex;

use crate::{
    commit_log::segment::LogPosition,
    record::{Mutation, Record, RecordKind, Timestamp},
};

/// Charged for each key besides its bytes and those of its value: a node with its tower, and what the allocator
/// rounds up. Measured as resident memory with the allocator of the binaries, for values of 10 to 1000 bytes: 182 as
/// long as nobody reads, 210 when each record was read once and its buffers have counters; this is in between.
const ENTRY_OVERHEAD_BYTES: usize = 198;
/// Who inserts is done in microseconds, unless a sync is in between.
const PAUSE: Duration = Duration::from_micros(50);

/// A memtable.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    records: SkipMap<Key, Mutex<Option<Record>>>,
    bytes: AtomicUsize,
    /// The newest write timestamp of all that was inserted, in microseconds.
    newest: AtomicU64,
    /// `u64::MAX` less the oldest, so that nothing inserted yet is zero.
    oldest_from_end: AtomicU64,
    /// Not after the position of any record in here.
    first_position: OnceLock<LogPosition>,
    /// Those who entered and have not left.
    writers: AtomicUsize,
    /// Whether its bytes count no more.
    is_released: AtomicBool,
}

impl Memtable {
    /// Lets a writer in whose mutations were logged at `position`. For the holder of the log's lock.
    pub(crate) fn enter(self: &Arc<Self>, position: LogPosition) -> Writer {
        // Positions ascend under that lock, so the first one stays the smallest.
        self.first_position.get_or_init(|| position);
        self.writers.fetch_add(1, Ordering::Relaxed);
        Writer(Arc::clone(self))
    }

    /// Waits until all who entered have left.
    pub(crate) fn await_writers(&self) {
        while self.writers.load(Ordering::Acquire) != 0 {
            crate::sometimes!("a flush waited for a writer");
            thread::sleep(PAUSE);
        }
    }

    fn insert_record(&self, key: Bytes, record: Record) -> isize {
        let node_bytes = ENTRY_OVERHEAD_BYTES + key.len();
        let entry = self.records.get_or_insert_with(Key::new(key), Mutex::default);
        let mut cell = entry.value().lock();
        let Some(current) = &mut *cell else {
            let grown = (node_bytes + value_bytes(&record)) as isize;
            *cell = Some(record);
            return grown;
        };
        if !record.supersedes(current) {
            return 0;
        }
        let grown = value_bytes(&record) as isize - value_bytes(current) as isize;
        *current = record;
        grown
    }

    /// The newest record of a storage key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Record> {
        let entry = self.records.get::<dyn KeyView>(&Probe::new(key))?;
        let cell = entry.value().lock();
        cell.clone()
    }

    /// Records in ascending key order. Each is as new as the moment it is read; there is no snapshot.
    pub(crate) fn range<'a>(
        &'a self,
        (from, to): (Bound<&'a [u8]>, Bound<&'a [u8]>),
    ) -> impl Iterator<Item = (Bytes, Record)> + 'a {
        let range = ProbeRange(from.map(Probe::new), to.map(Probe::new));
        self.records.range::<dyn KeyView + 'a, _>(range).filter_map(|entry| {
            let record = entry.value().lock().clone()?;
            Some((entry.key().bytes.clone(), record))
        })
    }

    /// Whether nobody has entered yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.first_position.get().is_none()
    }

    /// The newest write timestamp in here; `None` while there is no record.
    pub(crate) fn newest_timestamp(&self) -> Option<Timestamp> {
        (!self.records.is_empty()).then(|| Timestamp(self.newest.load(Ordering::Relaxed)))
    }

    /// No record in here has an older write timestamp; the largest there is while there is no record.
    pub(crate) fn oldest_timestamp(&self) -> Timestamp {
        Timestamp(u64::MAX - self.oldest_from_end.load(Ordering::Relaxed))
    }

    /// Bytes accounted for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Its bytes, to be taken from the sum of all memtables: once, and nothing when asked again. A flush and a drop of
    /// its table may both be done with it. For one that is complete.
    pub(crate) fn release(&self) -> usize {
        if self.is_released.swap(true, Ordering::Relaxed) { 0 } else { self.bytes() }
    }

    /// No record in here was logged before this; `None` while there is none.
    pub(crate) fn first_position(&self) -> Option<LogPosition> {
        self.first_position.get().copied()
    }
}

/// The right to insert into a memtable; dropped, the writer has left.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Memtable>);

impl Writer {
    /// Inserts the rows of a mutation, and answers by how many bytes the memtable grew (less than nothing when a
    /// record made room). Keeps the mutation's buffers alive: see [`detached`].
    pub(crate) fn insert(&self, mutation: Mutation) -> isize {
        let memtable = &self.0;
        let mut grown = 0;
        for (suffix, record) in mutation.rows {
            memtable.newest.fetch_max(record.timestamp.0, Ordering::Relaxed);
            memtable.oldest_from_end.fetch_max(u64::MAX - record.timestamp.0, Ordering::Relaxed);
            grown += memtable.insert_record(storage_key(&mutation.key, &suffix), record);
        }
        // Two's complement: adding a negative number as usize subtracts.
        memtable.bytes.fetch_add(grown as usize, Ordering::Relaxed);
        grown
    }

    /// Bytes that the memtable accounts for.
    pub(crate) fn memtable_bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Release);
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

/// The first bytes of a key, so that comparing them compares the keys as far as they go.
type Head = [u64; 2];

fn head_of(key: &[u8]) -> Head {
    let mut padded = [0; 16];
    let known = key.len().min(padded.len());
    padded[..known].copy_from_slice(&key[..known]);
    let number = u128::from_be_bytes(padded);
    [(number >> 64) as u64, number as u64]
}

/// A key of the list, owned or borrowed.
trait KeyView {
    fn head(&self) -> Head;
    fn bytes(&self) -> &[u8];
}

fn compare(one: (Head, &[u8]), other: (Head, &[u8])) -> KeyOrder {
    // Short keys are padded, so equal heads say nothing yet.
    one.0.cmp(&other.0).then_with(|| one.1.cmp(other.1))
}

/// What the list owns.
#[derive(Debug)]
struct Key {
    head: Head,
    bytes: Bytes,
}

impl Key {
    fn new(bytes: Bytes) -> Self {
        Self { head: head_of(&bytes), bytes }
    }
}

impl KeyView for Key {
    fn head(&self) -> Head {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<KeyOrder> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> KeyOrder {
        compare((self.head, &self.bytes), (other.head, &other.bytes))
    }
}

impl<'a> Borrow<dyn KeyView + 'a> for Key {
    fn borrow(&self) -> &(dyn KeyView + 'a) {
        self
    }
}

impl PartialEq for dyn KeyView + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn KeyView + '_ {}

impl PartialOrd for dyn KeyView + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<KeyOrder> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn KeyView + '_ {
    fn cmp(&self, other: &Self) -> KeyOrder {
        compare((self.head(), self.bytes()), (other.head(), other.bytes()))
    }
}

/// What is looked for.
#[derive(Debug)]
struct Probe<'a> {
    head: Head,
    bytes: &'a [u8],
}

impl<'a> Probe<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { head: head_of(bytes), bytes }
    }
}

impl KeyView for Probe<'_> {
    fn head(&self) -> Head {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

/// A range that owns its probes.
struct ProbeRange<'a>(Bound<Probe<'a>>, Bound<Probe<'a>>);

impl<'a> RangeBounds<dyn KeyView + 'a> for ProbeRange<'a> {
    fn start_bound(&self) -> Bound<&(dyn KeyView + 'a)> {
        self.0.as_ref().map(|probe| probe as _)
    }

    fn end_bound(&self) -> Bound<&(dyn KeyView + 'a)> {
        self.1.as_ref().map(|probe| probe as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::segment::LogPosition;

    #[test]
    fn the_bytes_of_a_memtable_are_released_once() {
        let memtable = Arc::<Memtable>::default();
        let grown = memtable
            .enter(LogPosition::START)
            .insert(Mutation::single("key", Record::plain(Timestamp(1), "v")));
        assert_eq!((memtable.release() as isize, memtable.release()), (grown, 0));
    }
}
