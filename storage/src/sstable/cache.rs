//! The block cache: verified, unpacked blocks of all tables of an engine, bounded in bytes.
//!
//! The policy is that of `quick_cache`, a variant of Clock-Pro (Jiang, Chen and Zhang, "CLOCK-Pro: An Effective
//! Improvement of the CLOCK Replacement", USENIX ATC 2005): a block that was read once waits in a small probationary
//! part and makes no room for itself among those that are read again and again. So a scan over everything passes
//! through. Merges and scrubs do not come here at all.
//!
//! A block's checksum is verified when it enters. Blocks of a table that was removed are not asked for any more and
//! age out; file ids are never used twice, so none is taken for that of another table.

use std::fmt;

use foldhash::fast::FixedState;
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{FileId, block::Block};

/// Charged for each block besides its bytes: key, bookkeeping and hash table slot of the cache, also for half a
/// block that was evicted and is remembered, and the reference count of the bytes (measured, rounded up).
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// Most independently locked parts.
const MAX_SHARDS: usize = 16;

/// A part is at least this large, so that one takes some hundred blocks.
const MIN_SHARD_BYTES: usize = 4 << 20;

/// A block that takes more than this share of a part is not kept: it would push out too many others.
const LARGEST_SHARE: usize = 8;

/// A block: its file, and its offset there.
type Place = (u64, u64);

/// Verified blocks in memory, shared by all tables of an engine.
pub struct BlockCache {
    /// `None`: nothing is kept. The hasher's keys are fixed: what a simulated engine evicts must not depend on the
    /// process.
    blocks: Option<Cache<Place, Block, BlockWeight, FixedState>>,
    largest_block_bytes: usize,
}

impl BlockCache {
    /// A cache of so many bytes, its own overhead included, for blocks of about `block_bytes`. With none, nothing
    /// is kept.
    pub fn new(capacity_bytes: usize, block_bytes: usize) -> Self {
        let shards = (capacity_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        // Rounded as the cache would round it, and downwards.
        let shards = 1 << shards.ilog2();
        let expected = capacity_bytes / block_bytes.saturating_add(ENTRY_OVERHEAD_BYTES).max(1);
        let options = OptionsBuilder::new()
            .shards(shards)
            .weight_capacity(capacity_bytes as u64)
            .estimated_items_capacity(expected.max(1))
            .build();
        let cache = |options| {
            Cache::with_options(options, BlockWeight, FixedState::default(), DefaultLifecycle::default())
        };
        let blocks = options.ok().filter(|_| capacity_bytes > 0).map(cache);
        Self { blocks, largest_block_bytes: capacity_bytes / shards / LARGEST_SHARE }
    }

    /// Bytes in use, overhead included.
    pub fn bytes(&self) -> u64 {
        self.blocks.as_ref().map_or(0, Cache::weight)
    }

    /// How often a block was found, and how often not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        self.blocks.as_ref().map_or((0, 0), |blocks| (blocks.hits(), blocks.misses()))
    }

    pub(super) fn get(&self, file: FileId, offset: u64) -> Option<Block> {
        self.blocks.as_ref()?.get(&(file.0, offset))
    }

    pub(super) fn insert(&self, file: FileId, offset: u64, block: &Block) {
        if let Some(blocks) = self.blocks.as_ref().filter(|_| block.len() <= self.largest_block_bytes) {
            blocks.insert((file.0, offset), block.clone());
        }
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BlockCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
struct BlockWeight;

impl Weighter<Place, Block> for BlockWeight {
    fn weight(&self, _: &Place, block: &Block) -> u64 {
        (block.len() + ENTRY_OVERHEAD_BYTES) as u64
    }
}
