//! SSTables: sorted, immutable files, the final home of records (Chang et al., "Bigtable", OSDI 2006, §4; the
//! block layout follows the idea of LevelDB's table format).
//!
//! One file holds everything: the records in key order in compressed blocks, the index that finds the block of a
//! key, the bloom filter that spares reads of absent keys, and statistics. It is written under a temporary name,
//! synced, renamed, and its directory synced, so a table under its final name is complete. It is never changed
//! afterwards, which is what makes reading it through a memory map sound.
//!
//! ```text
//! file      block × n │ index │ filter │ stats │ footer        nothing between them, numbers little-endian
//!
//! block     payload │ compression u8 │ contents_len u32 │ checksum u64
//!             compression  0 = the payload is the contents, 1 = it is one LZ4 block that unpacks to contents_len
//! contents  entry × m │ restart u32 × r │ r u32
//!             restart      offset in the contents of an entry with shared = 0; the first is 0
//! entry     shared varint │ unshared varint │ record_len varint │ key_rest │ record
//!             the key is the first `shared` bytes of the key before it, then the `unshared` bytes of key_rest;
//!             a varint is LEB128 of at most 32 bits; record as in `crate::record`
//!
//! index     count u32 │ count × (last_key_len u32 │ last_key │ block_len u32) │ checksum u64
//!             block_len includes the 13 bytes behind the payload; the blocks lie back to back from offset 0
//! filter    version u8 = 1 │ bitmap_len u64 │ hashes u32 │ seed [32] │ bitmap │ checksum u64
//!             set bits: byte i/8, lowest first; items are the 8 bytes of `KeyHash`, little-endian
//! stats     first_key_len u32 │ first_key │ last_key_len u32 │ last_key │ min_timestamp u64 │ max_timestamp u64
//!             │ plain u64 │ expiring u64 │ tombstones u64 │ min_expiry u64 │ max_expiry u64 │ min_deletion u64
//!             │ max_deletion u64 │ contents_bytes u64 │ blocks_bytes u64
//!             │ first_segment u64 │ first_offset u64 │ last_segment u64 │ last_offset u64
//!             │ sizes u32 │ sizes × (log2 u32 │ records u64) │ drops u32 │ drops × (from u64 │ until u64 │ records u64)
//!             │ checksum u64
//!             expiry and deletion are zero without a record of the kind; the log positions are zero when unknown;
//!             sizes: records of 2^log2 to 2^(log2+1)-1 bytes, key and encoded record; drops: records that
//!             expire, or tombstones that were made, between the two instants, both included and in whole seconds
//! footer    file_id u64 │ index_offset u64 │ filter_offset u64 │ stats_offset u64
//!             │ format_version u32 = 3 │ magic "HELENSST" │ checksum u64                            52 bytes
//! ```
//!
//! Each checksum is the 64-bit xxh3 of the bytes of its structure before it, with a seed made of the file id and
//! the offset of the structure (of the offset alone in the footer, where the id is read from). So a block that a
//! disk delivered from the wrong place, or a file that got the name of another, is as damaged as one with a
//! flipped bit. Every byte of the file is under a checksum; a block's is verified when the
//! block is read from the file, not when it is found in the block cache.
//!
//! A file is read through a memory map or by reads into buffers, see `source`; either way a block is verified, unpacked
//! into memory of its own, and kept in the `cache`. Values of a read are slices of that block: a small one keeps the
//! whole block alive as long as it is held, so whoever keeps it for long copies it (memtables do).
//!
//! Blocks are small by default, 4 KiB: measured against 16 KiB, reads from the cache are as fast, and a read that misses
//! it unpacks a quarter, against an index four times as large, some 45 bytes for each block.
//!
//! Rejected: a hash table in each block (the search of a block is a third of a read from the cache, but mostly it waits
//! for memory, and so would the table); the first key of each block in the index (with the last key a lookup between two blocks needs no
//! read); values as slices of the map (a slow reader would pin the space of a deleted file); a dictionary for LZ4
//! (blocks would depend on a structure outside them).
//!
//! Reading order: `block` (entries), `section` (checksums), `index`, `filter`, `stats` (with `size_histogram` and
//! `drop_times`), `footer`; `source`, `cache`; then `writer`, `reader` and `table_iter`, which put them together.

mod block;
mod cache;
mod drop_times;
mod file;
mod filter;
mod footer;
mod index;
mod reader;
mod section;
mod size_histogram;
mod source;
mod stats;
mod table_iter;
mod writer;

pub use cache::BlockCache;
pub use drop_times::{DropBin, DropTimes};
pub(crate) use file::parse_name;
pub use file::{FileId, TableFile};
pub use filter::KeyHash;
pub use footer::FORMAT_VERSION;
pub(crate) use footer::{FOOTER_LEN, claimed_id};
pub use reader::{Cached, InspectedBlock, TableMemory, TableReader};
pub use size_histogram::SizeHistogram;
pub use stats::{LogSpan, Stats, TimeSpan};
pub use table_iter::TableIter;
pub use writer::TableWriter;
