//! Scrubbing a running engine, see [`mod@crate::scrub`].

use std::{io::ErrorKind, ops::ControlFlow};

use crate::{
    engine::Engine,
    error::{Error, Result},
    inspect::TableInspection,
    scrub::ScrubReport,
    sstable::TableReader,
};

impl Engine {
    /// Reads every SSTable that is live now and verifies every checksum. `after_block` is called after each block with
    /// what was found so far; it may wait, and may end the scrub. Damage is reported, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn scrub(&self, mut after_block: impl FnMut(&ScrubReport) -> ControlFlow<()>) -> Result<ScrubReport> {
        let trees = self.trees.load_full();
        let ids = trees.values().flat_map(|tree| {
            let view = tree.view();
            view.tables.iter().map(|table| table.file().id).collect::<Vec<_>>()
        });
        let mut report = ScrubReport::default();
        for id in ids.collect::<Vec<_>>() {
            let path = self.directory.join(TableReader::file_name(id));
            let table = match TableInspection::open(&*self.disk, &path) {
                Ok(table) => table,
                Err(Error::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
                    report.vanished += 1;
                    continue;
                }
                Err(damage) => {
                    report.note(damage);
                    continue;
                }
            };
            for block in table.blocks() {
                self.condition.check()?;
                report.bytes += u64::from(block.length_bytes);
                if let Err(damage) = block.records {
                    report.note(damage);
                }
                if after_block(&report).is_break() {
                    return Ok(ScrubReport { cancelled: true, ..report });
                }
            }
            report.tables += 1;
        }
        Ok(report)
    }
}
