//! The merge itself.

use std::{cell::Cell, ops::Bound, sync::Arc};

use super::{KeySpace, Purge};
use crate::{
    error::Result,
    merge::{Source, merge_lazily},
    record::Record,
    sstable::{TableFile, TableIter, TableReader, TableWriter},
};

/// Bytes of the inputs, and records, between two looks at whether to go on, whichever comes first.
const BETWEEN_LOOKS: (u64, u64) = (64 << 10, 256);

/// Where the output of a merge is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuts {
    /// Tells where a key lies.
    pub(crate) space: KeySpace,
    /// Parts of the key space, a power of two; an output ends with its part.
    pub(crate) shards: u64,
    /// An output that is smaller goes on into the next part.
    pub(crate) min_bytes: u64,
    /// An output that is larger is cut where it is: its keys crowd in one part.
    pub(crate) max_bytes: u64,
}

/// Writes what wins of all inputs, and is not purged, to as many outputs as the cuts make. `go_on` is told again and
/// again how many bytes of the inputs were read, the last time before the last output is finished; its error ends the
/// merge. Holds a block of each input that it stands in, between its first and its
/// last key.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Corrupt`], or that of `new_output` or `go_on`.
pub(crate) fn merge_tables(
    inputs: &[Arc<TableReader>],
    cuts: Cuts,
    purge: Option<&Purge<'_>>,
    mut new_output: impl FnMut() -> Result<TableWriter>,
    mut go_on: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<TableFile>> {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let read = Cell::new(0);
    let sources = inputs.iter().map(|table| {
        (table.stats().first_key.clone(), Metered { table: table.range_uncached(everything), read: &read })
    });
    let mut finished = Vec::new();
    let (mut output, mut shard) = (None::<TableWriter>, 0);
    let (mut told, mut records) = (0, 0);
    go_on(0)?;
    for entry in merge_lazily(sources) {
        let (key, record) = entry?;
        records += 1;
        if read.get() - told >= BETWEEN_LOOKS.0 || records % BETWEEN_LOOKS.1 == 0 {
            told = read.get();
            go_on(told)?;
        }
        let rest = match purge {
            Some(purge) => purge.rest_of(&key, record),
            None => Some(record),
        };
        let Some(record) = rest else { continue };
        let key_shard = cuts.shard_of(&key);
        if let Some(full) = output.take_if(|output| cuts.is_end(output.bytes(), shard != key_shard)) {
            finished.extend(full.finish()?);
        }
        shard = key_shard;
        let writer = match &mut output {
            Some(writer) => writer,
            None => output.insert(covering(inputs, new_output()?)),
        };
        writer.add(&key, &record)?;
    }
    go_on(read.get())?;
    if let Some(last) = output {
        finished.extend(last.finish()?);
    }
    Ok(finished)
}

/// An input that counts, together with the others, what was read of it.
struct Metered<'a> {
    table: TableIter,
    read: &'a Cell<u64>,
}

impl Source for Metered<'_> {
    fn advance(&mut self) -> Result<bool> {
        let before = self.table.read_bytes();
        let found = self.table.advance();
        self.read.update(|read| read + self.table.read_bytes() - before);
        found
    }

    fn key(&self) -> &[u8] {
        self.table.key()
    }

    fn record(&self) -> Result<Record> {
        self.table.record()
    }
}

/// What the inputs hold of the commit log, each output holds a part of.
fn covering(inputs: &[Arc<TableReader>], mut output: TableWriter) -> TableWriter {
    for span in inputs.iter().filter_map(|table| table.stats().log) {
        output.cover_log(span);
    }
    output
}

impl Cuts {
    fn shard_of(&self, key: &[u8]) -> u64 {
        let bits = self.shards.max(1).ilog2();
        self.space.position(key).checked_shr(u64::BITS - bits).unwrap_or(0)
    }

    fn is_end(&self, bytes: u64, is_other_shard: bool) -> bool {
        bytes >= self.max_bytes || is_other_shard && bytes >= self.min_bytes
    }
}
