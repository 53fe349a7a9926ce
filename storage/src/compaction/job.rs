//! The merge itself.

use std::{ops::Bound, sync::Arc};

use crate::{
    error::Result,
    merge::{Source, merge},
    sstable::{TableFile, TableReader, TableWriter},
};

/// Records between two looks at whether to go on.
const RECORDS_BETWEEN_CHECKS: usize = 1024;

/// Writes what wins of all inputs. `go_on` is asked now and then, and its error ends the merge.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Corrupt`], or that of `go_on`.
pub(crate) fn merge_tables(
    inputs: &[Arc<TableReader>],
    mut output: TableWriter,
    go_on: impl Fn() -> Result<()>,
) -> Result<Option<TableFile>> {
    for span in inputs.iter().filter_map(|table| table.stats().log) {
        output.cover_log(span);
    }
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let sources =
        inputs.iter().map(|table| Box::new(table.range_uncached(everything)) as Source<'_>).collect();
    for (count, entry) in merge(sources).enumerate() {
        if count % RECORDS_BETWEEN_CHECKS == 0 {
            go_on()?;
        }
        let (key, record) = entry?;
        output.add(&key, &record)?;
    }
    output.finish()
}
