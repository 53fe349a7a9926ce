//! redb: a B-tree, for the shape of the trade.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{CACHE_BYTES, Opening};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");

pub struct Redb {
    database: Database,
    durability: Durability,
}

impl Redb {
    pub fn open(directory: &Path, opening: Opening) -> Self {
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(directory.join("data.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap();
        transaction.commit().unwrap();
        let durability = if opening.is_synced { Durability::Immediate } else { Durability::None };
        Self { database, durability }
    }
}

impl super::Engine for Redb {
    fn put(&self, key: &[u8], value: &[u8]) {
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_durability(self.durability).unwrap();
        transaction.open_table(TABLE).unwrap().insert(key, value).unwrap();
        transaction.commit().unwrap();
    }

    fn delete(&self, key: &[u8]) {
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_durability(self.durability).unwrap();
        transaction.open_table(TABLE).unwrap().remove(key).unwrap();
        transaction.commit().unwrap();
    }

    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> bool {
        let transaction = self.database.begin_read().unwrap();
        let table = transaction.open_table(TABLE).unwrap();
        table.get(key).unwrap().map(|value| see(value.value())).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        let transaction = self.database.begin_read().unwrap();
        let table = transaction.open_table(TABLE).unwrap();
        let mut found = 0;
        for entry in table.range(from..).unwrap().take(count) {
            let (key, value) = entry.unwrap();
            see(key.value(), value.value());
            found += 1;
        }
        found
    }

    fn settle(&self) {
        self.database.begin_write().unwrap().commit().unwrap();
    }

    fn close(self: Box<Self>) {}
}
