//! The list itself, who writes to it, and what it accounts for.

use std::{
    ops::{Bound, RangeBounds},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_skiplist::{SkipMap, map::Entry};
use parking_lot::Mutex;

use super::key::{Key, KeyView, Probe};
use crate::{
    commit_log::segment::LogPosition,
    record::{Compared, Mutation, Record, Timestamp},
};

/// Charged for each key besides what its buffers hold: a node with its tower, and what the allocator rounds up. Measured
/// as resident memory with the allocator of the binaries, for values of 10, 100 and 1000 bytes: 115, 102, 117.
const ENTRY_OVERHEAD_BYTES: usize = 112;
/// Who inserts is done in microseconds, unless a sync is in between.
const PAUSE: Duration = Duration::from_micros(50);
/// Who reads is done in milliseconds, unless a disk is slow.
const PATIENCE: Duration = Duration::from_millis(250);

/// A record, encoded; none while the node is new.
type Cell = Mutex<Option<Box<[u8]>>>;

/// A memtable.
#[derive(Debug)]
pub(crate) struct Memtable {
    records: SkipMap<Key, Cell>,
    bytes: AtomicUsize,
    /// Bytes of all memtables that are in memory, whether they are read, wait or are flushed.
    total_bytes: Arc<AtomicUsize>,
    /// The newest write timestamp of all that was inserted, in microseconds.
    newest: AtomicU64,
    /// `u64::MAX` less the oldest, so that nothing inserted yet is zero.
    oldest_from_end: AtomicU64,
    /// Not after the position of any record in here.
    first_position: OnceLock<LogPosition>,
    /// Those who entered and have not left.
    writers: AtomicUsize,
}

impl Memtable {
    /// An empty one, which accounts for its bytes in `total_bytes` as long as it is in memory.
    pub(crate) fn new(total_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            records: SkipMap::new(),
            bytes: AtomicUsize::new(0),
            total_bytes,
            newest: AtomicU64::new(0),
            oldest_from_end: AtomicU64::new(0),
            first_position: OnceLock::new(),
            writers: AtomicUsize::new(0),
        }
    }

    /// An empty one that accounts for its bytes where this one does.
    pub(crate) fn successor(&self) -> Self {
        Self::new(Arc::clone(&self.total_bytes))
    }

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

    /// Waits a while for those who still read one that no table refers to any more, and frees it: that can take 100 ms,
    /// so rather here than on the thread of an async reader.
    pub(crate) fn free(self: Arc<Self>) {
        let deadline = Instant::now() + PATIENCE;
        while Arc::strong_count(&self) > 1 && Instant::now() < deadline {
            crate::sometimes!("a flush waited for a reader");
            thread::sleep(PAUSE);
        }
    }

    /// By how many bytes it has grown, or the timestamp of the record in here that wins.
    fn insert_record(&self, key: &[u8], record: &Record) -> Result<isize, Timestamp> {
        let entry = self.records.get_or_insert_with(Key::new(key), Cell::default);
        let mut cell = entry.value().lock();
        let old = match &*cell {
            None => None,
            Some(current) => match record.compare_encoded(current) {
                Compared::Supersedes => Some(current.len()),
                Compared::Same => return Ok(0),
                Compared::Superseded(by) => return Err(by),
            },
        };
        let mut encoded = Vec::with_capacity(record.encoded_len());
        record.encode(&mut encoded);
        let node_bytes = ENTRY_OVERHEAD_BYTES + entry.key().rest_bytes();
        let grown = match old {
            None => (node_bytes + encoded.len()) as isize,
            Some(old) => encoded.len() as isize - old as isize,
        };
        *cell = Some(encoded.into());
        Ok(grown)
    }

    /// The newest record of a storage key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Record> {
        let entry = self.records.get::<dyn KeyView>(&Probe::new(key))?;
        Found(entry).record()
    }

    /// Entries in ascending key order. Each is as new as the moment it is read; there is no snapshot.
    pub(crate) fn range<'a>(
        &'a self,
        (from, to): (Bound<&'a [u8]>, Bound<&'a [u8]>),
    ) -> impl Iterator<Item = Found<'a>> + 'a {
        let range = ProbeRange(from.map(Probe::new), to.map(Probe::new));
        self.records.range::<dyn KeyView + 'a, _>(range).map(Found)
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

    /// No record in here was logged before this; `None` while there is none.
    pub(crate) fn first_position(&self) -> Option<LogPosition> {
        self.first_position.get().copied()
    }
}

impl Drop for Memtable {
    fn drop(&mut self) {
        // The list first: what it takes counts until it is freed.
        drop(std::mem::take(&mut self.records));
        self.total_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// An entry of the list.
pub(crate) struct Found<'a>(Entry<'a, Key, Cell>);

impl Found<'_> {
    /// Appends its key.
    pub(crate) fn write_key(&self, out: &mut Vec<u8>) {
        self.0.key().write(out);
    }

    /// A copy of its record; `None` while it is being inserted.
    pub(crate) fn record(&self) -> Option<Record> {
        let encoded = Bytes::copy_from_slice(self.0.value().lock().as_deref()?);
        Record::decode(encoded).ok()
    }

    /// Key and record.
    pub(crate) fn entry(&self) -> Option<(Bytes, Record)> {
        let record = self.record()?;
        let mut key = Vec::new();
        self.write_key(&mut key);
        Some((key.into(), record))
    }
}

/// The right to insert into a memtable; dropped, the writer has left.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Memtable>);

impl Writer {
    /// Inserts the rows of a mutation. Of the records in the memtable that win over one of them, the newest timestamp.
    pub(crate) fn insert(&self, mutation: &Mutation) -> Option<Timestamp> {
        let memtable = &self.0;
        let (mut grown, mut outrun_by) = (0_isize, None);
        for (suffix, record) in &mutation.rows {
            memtable.newest.fetch_max(record.timestamp.0, Ordering::Relaxed);
            memtable.oldest_from_end.fetch_max(u64::MAX - record.timestamp.0, Ordering::Relaxed);
            let inserted = if suffix.is_empty() {
                memtable.insert_record(&mutation.key, record)
            } else {
                memtable.insert_record(&[&mutation.key[..], suffix].concat(), record)
            };
            match inserted {
                Ok(by) => grown += by,
                Err(by) => outrun_by = outrun_by.max(Some(by)),
            }
        }
        // Two's complement: adding a negative number as usize subtracts.
        memtable.bytes.fetch_add(grown as usize, Ordering::Relaxed);
        memtable.total_bytes.fetch_add(grown as usize, Ordering::Relaxed);
        outrun_by
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
