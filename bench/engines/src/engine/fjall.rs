//! fjall.

use std::{path::Path, thread, time::Duration};

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    config::{BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry},
};

use super::{BACKGROUND_THREADS, BLOCK_BYTES, CACHE_BYTES, Opening};

pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    is_synced: bool,
}

impl Fjall {
    pub fn open(directory: &Path, opening: Opening) -> Self {
        let database = Database::builder(directory)
            .cache_size(CACHE_BYTES as u64)
            .worker_threads(BACKGROUND_THREADS)
            .journal_compression(CompressionType::None)
            .max_journaling_size((8 * opening.memtable_bytes as u64).max(512 << 20))
            .open()
            .unwrap();
        let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(opening.memtable_bytes as u64)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES as u32))
                .data_block_compression_policy(CompressionPolicy::disabled())
                .index_block_compression_policy(CompressionPolicy::disabled())
                .filter_policy(FilterPolicy::all(filter))
        };
        let keyspace = database.keyspace("data", options).unwrap();
        Self { database, keyspace, is_synced: opening.is_synced }
    }

    fn persist(&self) {
        if self.is_synced {
            self.database.persist(PersistMode::SyncData).unwrap();
        }
    }
}

impl super::Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.keyspace.insert(key, value).unwrap();
        self.persist();
    }

    fn delete(&self, key: &[u8]) {
        self.keyspace.remove(key).unwrap();
        self.persist();
    }

    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> bool {
        self.keyspace.get(key).unwrap().map(|value| see(&value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let mut found = 0;
        for guard in self.keyspace.range(from..).take(count) {
            let (key, value) = guard.into_inner().unwrap();
            see(&key, &value);
            found += 1;
        }
        found
    }

    fn settle(&self) {
        self.keyspace.rotate_memtable_and_wait().unwrap();
        let mut quiet = 0;
        while quiet < 40 {
            let is_busy = self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0;
            quiet = if is_busy { 0 } else { quiet + 1 };
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn close(self: Box<Self>) {
        self.database.persist(PersistMode::SyncData).unwrap();
    }
}
