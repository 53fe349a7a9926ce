//! Helenus.

use std::{
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use helenus_storage::{
    Engine, Mutation, Options, Record, SyncMode, TableId, Timestamp, background::Background, disk::OsDisk,
    options::Compression,
};

use super::{BACKGROUND_THREADS, BLOCK_BYTES, CACHE_BYTES, Opening};

const TABLE: TableId = TableId(1);

pub struct Helenus {
    engine: Arc<Engine>,
    background: Background,
    next_timestamp: AtomicU64,
}

impl Helenus {
    pub fn open(directory: &Path, opening: Opening) -> Self {
        let options = Options {
            sync_mode: if opening.is_synced { SyncMode::Group } else { SyncMode::Periodic },
            memtable_bytes: opening.memtable_bytes,
            memtable_total_bytes: 4 * opening.memtable_bytes,
            commit_log_bytes: (8 * opening.memtable_bytes as u64).max(512 << 20),
            block_bytes: BLOCK_BYTES,
            block_cache_bytes: CACHE_BYTES,
            compression: Compression::None,
            compaction_threads: BACKGROUND_THREADS - 1,
            compaction_bytes_per_second: 0,
            ..Options::default()
        };
        let engine = Arc::new(Engine::open(Arc::new(OsDisk), directory, options).unwrap());
        engine.create_table(TABLE).unwrap();
        let background = Background::start(Arc::clone(&engine)).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self { engine, background, next_timestamp: AtomicU64::new(now.as_micros() as u64) }
    }

    fn apply(&self, key: &[u8], record: Record) {
        self.engine.apply_and_wait(TABLE, Mutation::single(Bytes::copy_from_slice(key), record)).unwrap();
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp(self.next_timestamp.fetch_add(1, Ordering::Relaxed))
    }
}

impl super::Engine for Helenus {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.apply(key, Record::plain(self.timestamp(), Bytes::copy_from_slice(value)));
    }

    fn delete(&self, key: &[u8]) {
        let now = self.timestamp();
        self.apply(key, Record::tombstone(now, now));
    }

    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> bool {
        let record = self.engine.get(TABLE, key).unwrap();
        let value = record.as_ref().and_then(Record::value);
        value.map(|value| see(value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let found = self.engine.scan(TABLE, (Bound::Included(from), Bound::Unbounded), count).unwrap();
        for (key, record) in &found {
            see(key, record.value().map_or(&[], |value| value));
        }
        found.len()
    }

    fn settle(&self) {
        self.engine.flush_table(TABLE).unwrap().wait().unwrap();
        while self.engine.compaction_debt().pending_bytes > 0 || !self.engine.compactions().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn close(self: Box<Self>) {
        self.background.stop();
        self.engine.close().unwrap();
    }
}
