//! Appends groups to the newest segment and makes them durable.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::BufMut;
use parking_lot::Mutex;

use crate::{
    commit_log::{
        frame,
        header::{self, Birth, HEADER_BYTES},
        segment::{self, GROUP, GROUP_BYTES, LogPosition, MAGIC, MUTATION, SEAL, SEAL_BYTES, SegmentId},
    },
    disk::{Disk, DiskFile},
    error::{Error, Result},
    record::Mutation,
    table_id::TableId,
};

/// A group buffer above this is given back after use.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// The end of the commit log. After any error but [`Error::StorageFull`] the state of the file is unknown: use it
/// no more.
#[derive(Debug)]
pub(crate) struct LogWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    segment_bytes: u64,
    id: SegmentId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Where the next group goes.
    written: u64,
    /// Everything before is durable.
    durable: u64,
    sealed: bool,
    buffer: Vec<u8>,
    meter: Arc<SyncMeter>,
}

/// Counts syncs, and remembers a failed one.
#[derive(Debug, Default)]
pub(crate) struct SyncMeter {
    /// Held during a sync. After a failed one the next may succeed and mean nothing: there is no next.
    failed: Mutex<bool>,
    /// Successful ones.
    pub(crate) syncs: AtomicU64,
    /// Nanoseconds spent in them.
    pub(crate) nanos: AtomicU64,
}

/// What a sync without the writer's lock needs; see [`LogWriter::unsynced`].
#[derive(Debug)]
pub(crate) struct Unsynced {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    id: SegmentId,
    written: u64,
    meter: Arc<SyncMeter>,
}

impl LogWriter {
    /// Creates segment `id`, with the mutations that are carried over from its predecessor, which ends at
    /// `predecessor_end` and must be durable up to there.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Io`].
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        directory: &Path,
        id: SegmentId,
        segment_bytes: u64,
        predecessor_end: u64,
        carried: &[(TableId, Mutation)],
    ) -> Result<Self> {
        let start = HEADER_BYTES as u64;
        let mut frames = Vec::new();
        if !carried.is_empty() {
            encode_group(&mut frames, LogPosition { segment: id, offset: start }, start, carried);
        }
        Self::create_with(disk, directory, id, segment_bytes, predecessor_end, &frames)
    }

    /// As [`LogWriter::create`], with frames that are encoded already. Replaces a segment that was never written
    /// to after its birth, whose frames these are.
    ///
    /// # Errors
    /// As [`LogWriter::create`].
    pub(crate) fn create_with(
        disk: Arc<dyn Disk>,
        directory: &Path,
        id: SegmentId,
        segment_bytes: u64,
        predecessor_end: u64,
        frames: &[u8],
    ) -> Result<Self> {
        let durable = (HEADER_BYTES + frames.len()) as u64;
        // The settings may have changed since the carried mutations were accepted.
        let length = segment_bytes.max(durable + SEAL_BYTES as u64);
        let birth = Birth { length, durable, predecessor_end };
        let (path, file) =
            header::create(&*disk, directory, &segment::file_name(id), (MAGIC, id.0), birth, frames)?;
        Ok(Self {
            disk,
            directory: directory.into(),
            segment_bytes,
            id,
            path,
            file,
            written: durable,
            durable,
            sealed: false,
            buffer: Vec::new(),
            meter: Arc::default(),
        })
    }

    /// Where the first group of this segment is, or will be.
    pub(crate) fn start(&self) -> LogPosition {
        LogPosition { segment: self.id, offset: HEADER_BYTES as u64 }
    }

    /// Behind the last record.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition { segment: self.id, offset: self.written }
    }

    /// What counts the syncs of this log.
    pub(crate) fn meter(&self) -> Arc<SyncMeter> {
        Arc::clone(&self.meter)
    }

    /// The segment that is written to.
    pub(crate) fn segment(&self) -> SegmentId {
        self.id
    }

    /// Goes on in a new segment if a group of these mutations does not fit this one.
    ///
    /// # Errors
    /// [`Error::StorageFull`]: nothing happened, and the log can be used on. [`Error::Io`].
    pub(crate) fn make_room(&mut self, mutations: &[(TableId, Mutation)]) -> Result<()> {
        let end = self.written + (group_bytes(mutations) + SEAL_BYTES) as u64;
        if end > self.segment_bytes { self.rotate() } else { Ok(()) }
    }

    /// Writes mutations, for which there must be room, as one group with one call. Answers the group's position
    /// and size; not durable before a sync.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn write(&mut self, mutations: &[(TableId, Mutation)]) -> Result<(LogPosition, u64)> {
        let size = group_bytes(mutations);
        let position = self.end();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.reserve(size);
        encode_group(&mut buffer, position, self.durable, mutations);
        self.append(&buffer)?;
        if buffer.capacity() <= KEPT_BUFFER_BYTES {
            buffer.clear();
            self.buffer = buffer;
        }
        Ok((position, size as u64))
    }

    /// Makes durable what is not, and answers whether there was anything.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn sync(&mut self) -> Result<bool> {
        let Some(unsynced) = self.unsynced() else { return Ok(false) };
        unsynced.sync()?;
        self.synced(&unsynced);
        Ok(true)
    }

    /// What a sync has to cover, to be synced while others go on writing; `None` when all is durable.
    pub(crate) fn unsynced(&self) -> Option<Unsynced> {
        (self.durable < self.written).then(|| Unsynced {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
            id: self.id,
            written: self.written,
            meter: Arc::clone(&self.meter),
        })
    }

    /// Takes note of a successful [`Unsynced::sync`].
    pub(crate) fn synced(&mut self, unsynced: &Unsynced) {
        // A segment that was left in between was synced when its successor was created.
        if unsynced.id == self.id {
            self.durable = self.durable.max(unsynced.written);
        }
    }

    /// Ends the log durably. The order matters: a seal says that everything before it was durable when it was
    /// written, so it must not be in the same sync.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn seal(&mut self) -> Result<()> {
        if self.sealed {
            return Ok(());
        }
        self.sync()?;
        let mut seal = Vec::with_capacity(SEAL_BYTES);
        frame::append(&mut seal, self.id.salt(), self.written, SEAL, |_| ());
        self.append(&seal)?;
        self.sync()?;
        self.sealed = true;
        Ok(())
    }

    /// Goes on in the next segment, whose header says where this one ends.
    fn rotate(&mut self) -> Result<()> {
        crate::sometimes!("the log went on in a new segment");
        self.sync()?;
        let disk = Arc::clone(&self.disk);
        let next =
            Self::create(disk, &self.directory, self.id.next(), self.segment_bytes, self.written, &[])?;
        *self = Self { buffer: std::mem::take(&mut self.buffer), meter: Arc::clone(&self.meter), ..next };
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.written).map_err(|e| Error::io("write", &self.path, e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Unsynced {
    /// Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn sync(&self) -> Result<()> {
        let began = Instant::now();
        let mut failed = self.meter.failed.lock();
        let outcome = match *failed {
            true => Err(io::Error::other("an earlier sync failed")),
            false => self.file.sync_data(),
        };
        *failed = outcome.is_err();
        outcome.map_err(|e| Error::io("sync", &self.path, e))?;
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.meter.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.meter.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn encode_group(out: &mut Vec<u8>, position: LogPosition, durable: u64, mutations: &[(TableId, Mutation)]) {
    let (salt, start) = (position.segment.salt(), position.offset);
    frame::append(out, salt, start, GROUP, |out| out.put_u64_le(durable));
    for (table, mutation) in mutations {
        frame::append(out, salt, start, MUTATION, |out| {
            out.put_u32_le(table.0);
            mutation.encode(out);
        });
    }
}

fn group_bytes(mutations: &[(TableId, Mutation)]) -> usize {
    GROUP_BYTES + mutations.iter().map(|(_, mutation)| mutation_bytes(mutation)).sum::<usize>()
}

/// Bytes that a mutation takes in a segment.
pub(crate) fn mutation_bytes(mutation: &Mutation) -> usize {
    frame::size(4 + mutation.encoded_len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Fault, Repeat, SimulatedDisk},
        record::{Record, Timestamp},
    };

    #[test]
    fn after_a_failed_sync_no_other_sync_of_the_log_succeeds() {
        // Given a sync on another thread, which fails
        let disk = SimulatedDisk::default();
        let directory = Path::new("/log");
        disk.create_dir_all(directory).unwrap();
        let mut log =
            LogWriter::create(Arc::new(disk.clone()), directory, SegmentId(1), 4096, 0, &[]).unwrap();
        let mutation = Mutation::single("key", Record::plain(Timestamp(1), &b"value"[..]));
        log.write(&[(TableId(1), mutation)]).unwrap();
        let elsewhere = log.unsynced().unwrap();
        disk.fail_at(disk.operations() + 1, Fault::Sync, Repeat::Once);
        elsewhere.sync().unwrap_err();
        // Then neither a seal nor a new segment says that what it should have covered is durable
        assert!(log.seal().is_err());
        assert!(log.rotate().is_err());
    }
}
