//! The flush step: the oldest switched memtable becomes an SSTable, and the log shorter.

use std::{
    io::{self, ErrorKind},
    ops::Bound,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use parking_lot::MutexGuard;

use crate::{
    commit_log::{
        segment::{self, LogPosition, SegmentId},
        ticket::Outcome,
    },
    engine::{Engine, Event, Pressure, Step, StepOutcome, TableId},
    error::{Error, Result},
    leisure::Leisure,
    manifest::Edit,
    options::SyncMode,
    sstable::{FileId, LogSpan, TableFile, TableReader, TableWriter},
    tree::{Switched, Tree},
};

/// After so much of an SSTable a flush looks at the clock.
const BYTES_BETWEEN_LOOKS: u64 = 16 << 10;
/// Segments that the log may have at least beyond its size before its flushes are urgent.
const LATE_SEGMENTS: u64 = 1;

impl Engine {
    /// Flushes one memtable.
    pub(super) fn flush(&self) -> Result<StepOutcome> {
        self.flush_in_turn(&self.flushing.lock())
    }

    /// As [`Engine::flush`], by whoever has the turn to flush and goes on having it.
    pub(super) fn flush_in_turn(&self, _turn: &MutexGuard<'_, ()>) -> Result<StepOutcome> {
        self.condition.check()?;
        self.begin()?;
        let Some((table, tree, oldest)) = self.oldest_switched() else {
            self.is_flush_due.store(false, Ordering::Relaxed);
            // Unless the last flush could not, or a table was dropped: on a full disk this is what makes room.
            self.make_room_for_writers()?;
            return Ok(StepOutcome::Idle);
        };
        let began = Instant::now();
        oldest.memtable.await_writers();
        // A batch may have another half, which is in the log alone: what is in an SSTable is durable in the log too.
        // And what a writer whose sync failed has not inserted is not called flushed.
        self.await_durable(oldest.end, SyncMode::Batch)?;
        self.condition.check()?;
        if !self.queue.is_empty() {
            crate::sometimes!("a flush ran while a commit waited");
        }
        let written = self.build_table(|mut writer| {
            if let Some(first) = oldest.memtable.first_position() {
                writer.cover_log(LogSpan { first, last: oldest.end });
            }
            let mut key = Vec::new();
            let is_urgent = || self.is_flush_urgent();
            let mut leisure = Leisure::begin(&*self.disk, &is_urgent);
            let mut next_look = 0;
            for entry in oldest.memtable.range((Bound::Unbounded, Bound::Unbounded)) {
                if writer.bytes() >= next_look {
                    next_look = writer.bytes() + BYTES_BETWEEN_LOOKS;
                    if leisure.is_due() {
                        writer.sync_so_far()?;
                        leisure.rest();
                    }
                }
                let Some(record) = entry.record() else { continue };
                key.clear();
                entry.write_key(&mut key);
                writer.add(&key, &record)?;
            }
            writer.finish()
        })?;
        // In one frame: the position without the file would lose records.
        let mut edits = vec![Edit::Flushed { table, position: oldest.end }];
        edits.extend(written.iter().map(|reader| Edit::AddFile { table, file: reader.file().clone() }));
        match self.record_tables(table, &edits, written.as_slice()) {
            Err(Error::NoSuchTable(_)) => {
                crate::sometimes!("a table was dropped during its flush");
                return Ok(StepOutcome::Worked);
            }
            recorded => recorded?,
        }
        tree.flushed(&oldest.memtable, written.as_ref());
        self.counted.flushes.fetch_add(1, Ordering::Relaxed);
        let written_bytes = written.as_ref().map_or(0, |reader| reader.file().length_bytes);
        self.counted.flush_written_bytes.fetch_add(written_bytes, Ordering::Relaxed);
        self.measure_debt();
        self.tell_flushed(table, oldest.end);
        self.listener.tell_done(&Event::Flushed { table, written_bytes, elapsed: began.elapsed() });
        self.listener.tell(Step::Compact);
        oldest.memtable.free();
        self.make_room_for_writers()?;
        Ok(StepOutcome::Worked)
    }

    /// Somebody waits for flushes, until the answer is dropped.
    pub(super) fn await_flushes(&self) -> Arc<()> {
        Arc::clone(&self.flushes_awaited)
    }

    /// Whether somebody waits for the end of a flush, or soon will: since memory or the log is filling up, merges are behind,
    /// or a table has filled another memtable meanwhile. That several tables wait says nothing: all that hold the oldest of
    /// a long log are switched at once.
    fn is_flush_urgent(&self) -> bool {
        let is_outrun = || self.trees.load().values().any(|tree| tree.view().switched.len() > 1);
        self.is_ending.load(Ordering::Relaxed)
            || Arc::strong_count(&self.flushes_awaited) > 1
            || !self.awaited.lock().is_empty()
            || self.is_half_used()
            || self.log_segments() > self.kept_segments() + LATE_SEGMENTS.max(self.kept_segments() / 4)
            || self.pressure() != Pressure::None
            || is_outrun()
    }

    /// Shortens the log, wakes those who wait for room, and switches what has to be; the latter two also if the log
    /// could not be shortened.
    fn make_room_for_writers(&self) -> Result<()> {
        let trimmed = self.trim_log();
        self.room.open();
        self.relieve(&self.log.lock());
        trimmed
    }

    /// Tells those who waited for the records of a table before a position.
    fn tell_flushed(&self, table: TableId, end: LogPosition) {
        let told: Vec<_> = self
            .awaited
            .lock()
            .extract_if(.., |awaited| awaited.table == table && awaited.end <= end)
            .collect();
        told.into_iter().for_each(|awaited| awaited.resolve(Ok(())));
    }

    /// Tells those who waited for the records of a table that is gone.
    pub(super) fn tell_dropped(&self, table: TableId) {
        let told: Vec<_> = self.awaited.lock().extract_if(.., |awaited| awaited.table == table).collect();
        told.into_iter().for_each(|awaited| awaited.resolve(Err(Error::NoSuchTable(table.0))));
    }

    /// The memtable that was switched first; within a table the order is what makes [`Edit::Flushed`] true.
    pub(super) fn oldest_switched(&self) -> Option<(TableId, Arc<Tree>, Switched)> {
        let trees = self.trees.load();
        let switched = trees.iter().filter_map(|(&table, tree)| {
            Some((table, Arc::clone(tree), tree.view().switched.last()?.clone()))
        });
        switched.min_by_key(|(_, _, switched)| switched.memtable.first_position())
    }

    /// Builds an SSTable under a new id and opens it. Nothing refers to it yet, so nothing is left of one
    /// that failed.
    pub(super) fn build_table(
        &self,
        build: impl FnOnce(TableWriter) -> Result<Option<TableFile>>,
    ) -> Result<Option<Arc<TableReader>>> {
        let id = self.manifest.lock().new_file_id().inspect_err(|e| drop(self.fail(e)))?;
        let disk = Arc::clone(&self.disk);
        let built =
            TableWriter::create(disk, &self.directory, id, &self.options).and_then(build).and_then(|file| {
                match file {
                    Some(file) => self.open_table(file).map(Some),
                    None => Ok(None),
                }
            });
        if let Err(failure) = &built {
            crate::sometimes!("a flush or merge failed and was cleaned up");
            self.discard(id);
            if let Error::StorageFull { .. } = failure {
                self.make_room_on_disk();
            }
            if failure.is_failed_directory_sync() {
                self.fail(failure);
            }
        }
        built
    }

    /// Opens an SSTable for the readers of this engine.
    pub(super) fn open_table(&self, file: TableFile) -> Result<Arc<TableReader>> {
        let (mode, cache) = (self.options.access_mode, Arc::clone(&self.cache));
        TableReader::open_with(&*self.disk, &self.directory, file, mode, cache).map(Arc::new)
    }

    /// Records edits that add SSTables to a table, unless it was dropped meanwhile.
    pub(super) fn record_tables(
        &self,
        table: TableId,
        edits: &[Edit],
        built: &[Arc<TableReader>],
    ) -> Result<()> {
        self.record(table, edits).inspect_err(|failure| {
            // After any other failure the edits may be there, and need the files.
            if let Error::StorageFull { .. } | Error::NoSuchTable(_) = failure {
                built.iter().for_each(|reader| self.discard(reader.file().id));
            }
        })
    }

    /// Removes what a failed attempt left, so that retries do not fill the disk. What cannot be removed is an
    /// orphan for the next recovery; the failure that led here is the one to report.
    pub(super) fn discard(&self, id: FileId) {
        // Not by listing the directory: that may be what there is no file descriptor for.
        for name in [TableReader::file_name(id), TableWriter::temporary_name(id)] {
            let _ = self.disk.remove(&self.directory.join(name));
        }
    }

    /// Removes the segments that no table needs any more, after the manifest says that they are not needed, but keeps
    /// some to be used again.
    pub(super) fn trim_log(&self) -> Result<()> {
        // Asked before the tables are: whatever is inserted from here on was logged in this segment or later.
        let newest = SegmentId(self.log_newest.load(Ordering::Acquire));
        let trees = self.trees.load();
        let needed = trees.values().filter_map(|tree| tree.view().first_position()).map(|at| at.segment);
        let first = needed.min().unwrap_or(newest).min(newest);
        self.record_log(first, newest)?;
        for id in self.log_oldest.load(Ordering::Relaxed)..first.0 {
            crate::sometimes!("a log segment was removed");
            let path = self.directory.join(segment::file_name(SegmentId(id)));
            match self.put_away(SegmentId(id), &path) {
                // It was removed, but we were told that it was not.
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove", path, e)),
                _ => self.log_oldest.store(id + 1, Ordering::Relaxed),
            }
        }
        Ok(())
    }

    /// Keeps a segment under another name, if it may be used again, else removes it.
    fn put_away(&self, id: SegmentId, path: &Path) -> io::Result<()> {
        let mut spares = self.spares.lock();
        // One that cannot be opened, for want of file descriptors, is not worth keeping.
        let is_alike = || {
            self.disk
                .open(path)
                .and_then(|file| file.len())
                .is_ok_and(|len| len == self.options.segment_bytes)
        };
        let is_wanted =
            spares.len() < self.options.spare_segments && !self.was_disk_full.load(Ordering::Relaxed);
        if !is_wanted || !is_alike() {
            return self.disk.remove(path);
        }
        let spare = self.directory.join(segment::spare_name(id));
        self.disk.rename(path, &spare)?;
        spares.push(spare);
        Ok(())
    }

    /// Gives spares back to a disk that has no room for an SSTable, and keeps none until [`Engine::switch_older`] is called
    /// again.
    pub(super) fn make_room_on_disk(&self) {
        crate::sometimes!("spare segments were given back to a full disk");
        self.was_disk_full.store(true, Ordering::Relaxed);
        self.give_spares_back();
    }

    /// Removes what is kept to be used again. What cannot be removed is for the next recovery.
    pub(super) fn give_spares_back(&self) {
        for spare in self.spares.lock().drain(..) {
            let _ = self.disk.remove(&spare);
        }
    }
}

/// Someone who waits for the records of a table before a position to be in SSTables. Dropped, it answers
/// [`Error::Closed`].
#[derive(Debug)]
pub(super) struct AwaitedFlush {
    table: TableId,
    end: LogPosition,
    outcome: Arc<Outcome>,
}

impl AwaitedFlush {
    pub(super) fn new(table: TableId, end: LogPosition, outcome: Arc<Outcome>) -> Self {
        Self { table, end, outcome }
    }

    pub(super) fn resolve(self, result: Result<()>) {
        self.outcome.resolve(result.map(|()| Vec::new()));
    }
}

impl Drop for AwaitedFlush {
    fn drop(&mut self) {
        self.outcome.resolve(Err(Error::Closed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::SimulatedDisk,
        options::Options,
        record::{Mutation, Record},
    };

    const TABLE: TableId = TableId(1024);

    const OTHER: TableId = TableId(1025);

    fn engine() -> Engine {
        let options = Options {
            segment_bytes: 64 << 10,
            commit_log_bytes: 256 << 10,
            memtable_total_bytes: 256 << 10,
            ..Options::default()
        };
        let engine = Engine::open(Arc::new(SimulatedDisk::new(1)), Path::new("/data"), options);
        let engine = engine.expect("an empty disk");
        engine.create_table(TABLE).expect("a sound disk");
        engine.create_table(OTHER).expect("a sound disk");
        engine
    }

    fn write(engine: &Engine, table: TableId, bytes: usize) {
        let mutation = Mutation::single("key", Record::plain(crate::Timestamp(1), vec![0; bytes]));
        let _applied = engine.apply(table, mutation).expect("room");
        engine.step(Step::Commit).expect("a sound disk");
    }

    #[test]
    fn a_flush_is_urgent_while_somebody_waits_for_it() {
        let engine = engine();
        write(&engine, TABLE, 100);
        engine.switch_memtables().expect("a sound disk");
        assert!(!engine.is_flush_urgent());

        let awaited = engine.await_flushes();
        assert!(engine.is_flush_urgent());
        drop(awaited);
        assert!(!engine.is_flush_urgent());
        engine.hurry();
        assert!(engine.is_flush_urgent());
    }

    #[test]
    fn a_flush_is_urgent_if_memory_fills_up_or_a_table_outruns_it() {
        let engine = engine();
        write(&engine, TABLE, 100);
        write(&engine, OTHER, 100);
        engine.switch_memtables().expect("a sound disk");
        assert!(!engine.is_flush_urgent(), "another table's waits too");
        write(&engine, TABLE, 100);
        engine.switch_memtables().expect("a sound disk");
        assert!(engine.is_flush_urgent());

        while engine.step(Step::Flush).expect("a sound disk") == StepOutcome::Worked {}
        assert!(!engine.is_flush_urgent());
        write(&engine, TABLE, 30 << 10);
        write(&engine, OTHER, 30 << 10);
        assert!(!engine.is_flush_urgent());
        for table in 1026..1029 {
            engine.create_table(TableId(table)).expect("a sound disk");
            write(&engine, TableId(table), 30 << 10);
        }
        assert!(engine.is_flush_urgent());
    }

    #[test]
    fn a_flush_is_urgent_if_the_log_grows_on_while_it_goes_on() {
        let engine = engine();
        let kept = engine.kept_segments();
        assert_eq!(kept, 4);
        while engine.log_segments() <= kept + 1 {
            assert!(!engine.is_flush_urgent(), "{} segments", engine.log_segments());
            write(&engine, TABLE, 10 << 10);
        }
        assert!(engine.is_flush_urgent());
        assert_eq!(engine.pressure(), Pressure::None, "before writers are held up");
    }
}
