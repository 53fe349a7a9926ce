//! Scrubbing a running engine, see [`mod@crate::scrub`].

use std::{io::ErrorKind, ops::ControlFlow, sync::atomic::Ordering::Relaxed};

use crate::{
    engine::Engine,
    error::{Error, Result},
    inspect::TableInspection,
    scrub::ScrubReport,
    sstable::TableReader,
};

impl Engine {
    /// Reads every SSTable that is live now and verifies every checksum. `after_block` is called after each block with
    /// what was found so far; it may wait, and may end the scrub. Damage is reported and counted, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn scrub(&self, after_block: impl FnMut(&ScrubReport) -> ControlFlow<()>) -> Result<ScrubReport> {
        let mut report = ScrubReport::default();
        let ended = self.scrub_into(&mut report, after_block);
        if report.cancelled || ended.is_err() {
            // What it has not read may be as damaged as before.
            self.counted.scrub_damages.fetch_max(report.damages, Relaxed);
        } else {
            self.counted.scrub_damages.store(report.damages, Relaxed);
        }
        ended.map(|()| report)
    }

    fn scrub_into(
        &self,
        report: &mut ScrubReport,
        mut after_block: impl FnMut(&ScrubReport) -> ControlFlow<()>,
    ) -> Result<()> {
        let trees = self.trees.load_full();
        let ids = trees.values().flat_map(|tree| {
            let view = tree.view();
            view.tables.iter().map(|table| table.file().id).collect::<Vec<_>>()
        });
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
                if after_block(report).is_break() {
                    report.cancelled = true;
                    return Ok(());
                }
            }
            report.tables += 1;
        }
        Ok(())
    }
}
