//! The engines, as one: an adapter each.

mod fjall;
mod helenus;
mod redb;
mod rocksdb;
mod skiplist;

use std::path::Path;

use clap::ValueEnum;

/// What settings an engine is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Whether a put returns when it is durable.
    pub is_synced: bool,
    /// Size of a memtable.
    pub memtable_bytes: usize,
}

/// What all have in common.
pub const CACHE_BYTES: usize = 256 << 20;
pub const BLOCK_BYTES: usize = 4 << 10;
pub const BACKGROUND_THREADS: usize = 2;

/// An engine. Its errors end the program: a measurement that fails has nothing to say.
pub trait Engine: Send + Sync {
    fn put(&self, key: &[u8], value: &[u8]);
    fn delete(&self, key: &[u8]);
    /// Calls `see` with the value; whether there is one.
    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> bool;
    /// Calls `see` with at most `count` entries from a key on; how many there were.
    fn scan(&self, from: &[u8], count: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> usize;
    /// Returns when everything is in SSTables and no merge is due.
    fn settle(&self);
    fn close(self: Box<Self>);
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Helenus,
    Rocksdb,
    Fjall,
    Redb,
    Skiplist,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Helenus => "helenus",
            Self::Rocksdb => "rocksdb",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::Skiplist => "skiplist",
        }
    }

    /// Whether what was put is still there in another process.
    pub fn is_persistent(self) -> bool {
        self != Self::Skiplist
    }

    pub fn open(self, directory: &Path, opening: Opening) -> Box<dyn Engine> {
        match self {
            Self::Helenus => Box::new(helenus::Helenus::open(directory, opening)),
            Self::Rocksdb => Box::new(rocksdb::RocksDb::open(directory, opening)),
            Self::Fjall => Box::new(fjall::Fjall::open(directory, opening)),
            Self::Redb => Box::new(redb::Redb::open(directory, opening)),
            Self::Skiplist => Box::new(skiplist::Skiplist::default()),
        }
    }
}
