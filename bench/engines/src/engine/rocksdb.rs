//! RocksDB.

use std::{path::Path, thread, time::Duration};

use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, FlushOptions, Options, WriteOptions};

use super::{BACKGROUND_THREADS, BLOCK_BYTES, CACHE_BYTES, Opening};

pub struct RocksDb {
    database: DB,
    write: WriteOptions,
}

impl RocksDb {
    pub fn open(directory: &Path, opening: Opening) -> Self {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES).unwrap());
        table.set_block_size(BLOCK_BYTES);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(opening.memtable_bytes);
        options.increase_parallelism(BACKGROUND_THREADS as i32);
        options.set_max_background_jobs(BACKGROUND_THREADS as i32);
        let database = DB::open(&options, directory).unwrap();
        let mut write = WriteOptions::default();
        write.set_sync(opening.is_synced);
        Self { database, write }
    }

    fn number(&self, property: &str) -> u64 {
        self.database.property_int_value(property).unwrap().unwrap_or_default()
    }
}

impl super::Engine for RocksDb {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.database.put_opt(key, value, &self.write).unwrap();
    }

    fn delete(&self, key: &[u8]) {
        self.database.delete_opt(key, &self.write).unwrap();
    }

    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> bool {
        self.database.get_pinned(key).unwrap().map(|value| see(&value)).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let mut found = 0;
        let mut iterator = self.database.raw_iterator();
        iterator.seek(from);
        while found < count && iterator.valid() {
            if let Some((key, value)) = iterator.item() {
                see(key, value);
            }
            found += 1;
            iterator.next();
        }
        found
    }

    fn settle(&self) {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.database.flush_opt(&flush).unwrap();
        while self.number("rocksdb.num-running-compactions") > 0
            || self.number("rocksdb.compaction-pending") > 0
            || self.number("rocksdb.num-running-flushes") > 0
        {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn close(self: Box<Self>) {
        self.database.flush().unwrap();
    }
}
