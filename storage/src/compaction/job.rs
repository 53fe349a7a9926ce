//! The merge itself.

use std::{ops::Bound, sync::Arc};

use super::{KeySpace, Purge};
use crate::{
    error::Result,
    merge::merge_lazily,
    sstable::{TableFile, TableReader, TableWriter},
};

/// Records between two looks at whether to go on.
const RECORDS_BETWEEN_CHECKS: u64 = 256;

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

/// How far a merge is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Records of the inputs that came out of the merge, superseded ones not counted.
    pub(crate) records: u64,
    /// Bytes of the outputs so far.
    pub(crate) written: u64,
}

/// Writes what wins of all inputs, and is not purged, to as many outputs as the cuts make. `go_on` is told now and
/// then how far it is; its error ends the merge. Holds a block of each input that it stands in, between its first and its
/// last key.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Corrupt`], or that of `new_output` or `go_on`.
pub(crate) fn merge_tables(
    inputs: &[Arc<TableReader>],
    cuts: Cuts,
    purge: Option<&Purge<'_>>,
    mut new_output: impl FnMut() -> Result<TableWriter>,
    mut go_on: impl FnMut(Progress) -> Result<()>,
) -> Result<Vec<TableFile>> {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let sources =
        inputs.iter().map(|table| (table.stats().first_key.clone(), table.range_uncached(everything)));
    let mut progress = Progress::default();
    let mut finished = Vec::new();
    let mut finish = |output: TableWriter| -> Result<u64> {
        let file = output.finish()?;
        let length = file.as_ref().map_or(0, |file| file.length_bytes);
        finished.extend(file);
        Ok(length)
    };
    let (mut output, mut shard, mut before) = (None::<TableWriter>, 0, 0);
    go_on(progress)?;
    for entry in merge_lazily(sources) {
        let (key, record) = entry?;
        progress.records += 1;
        if progress.records % RECORDS_BETWEEN_CHECKS == 0 {
            progress.written = before + output.as_ref().map_or(0, TableWriter::bytes);
            go_on(progress)?;
        }
        let rest = match purge {
            Some(purge) => purge.rest_of(&key, record),
            None => Some(record),
        };
        let Some(record) = rest else { continue };
        let key_shard = cuts.shard_of(&key);
        if let Some(full) = output.take_if(|output| cuts.is_end(output.bytes(), shard != key_shard)) {
            before += finish(full)?;
        }
        shard = key_shard;
        let writer = match &mut output {
            Some(writer) => writer,
            None => output.insert(covering(inputs, new_output()?)),
        };
        writer.add(&key, &record)?;
    }
    if let Some(last) = output {
        finish(last)?;
    }
    Ok(finished)
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
