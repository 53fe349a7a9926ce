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

use parking_lot::Mutex;

use crate::{
    commit_log::{
        group::{self, Batch, Contents, SEAL_BYTES},
        header::{self, Birth, HEADER_BYTES},
        segment::{self, LogPosition, MAGIC, START_BYTES, SegmentId, Start},
    },
    disk::{Disk, DiskFile},
    error::{Error, Result},
    histogram::Histogram,
    leisure::{AT_ONCE, Urgency},
};

/// A segment in which nothing but a seal is to come.
const LAST_SEGMENT_BYTES: usize = HEADER_BYTES + START_BYTES + group::MOST_OVERHEAD_BYTES + SEAL_BYTES;
/// A group buffer above this is given back after use.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// Where and how the segments of one opening are made.
#[derive(Debug)]
pub(crate) struct Segments {
    /// The disk they are on.
    pub(crate) disk: Arc<dyn Disk>,
    /// The data directory.
    pub(crate) directory: PathBuf,
    /// Size of a segment.
    pub(crate) segment_bytes: u64,
    /// Whether someone waits for syncs.
    pub(crate) are_filled: bool,
    /// Tells this opening of the data directory from all others: the number of its first manifest.
    pub(crate) opening: u64,
}

/// A segment that is written to, or will be.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    id: SegmentId,
    path: PathBuf,
    /// None before [`LogWriter::begin`].
    file: Option<Arc<dyn DiskFile>>,
    salt: u64,
    /// Everything before this offset is durable.
    durable: AtomicU64,
}

impl Segments {
    /// Creates a segment in which nothing is written yet; out of an old one of which nothing is needed any more, if
    /// there is one. A new one is made little by little unless it is urgent.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::TooManyFiles`], [`Error::Io`].
    pub(crate) fn create(
        &self,
        id: SegmentId,
        spare: Option<&Path>,
        is_urgent: Urgency<'_>,
    ) -> Result<SegmentFile> {
        let birth = self.birth(id, 0, self.segment_bytes);
        let (disk, name) = (&*self.disk, segment::file_name(id));
        let (_, file) = match spare {
            Some(old) => header::recycle(disk, &self.directory, &name, (MAGIC, id.0), birth, old)?,
            None => {
                let filled = self.are_filled.then_some(is_urgent);
                header::create(disk, &self.directory, &name, (MAGIC, id.0), birth, &[], filled)?
            }
        };
        Ok(self.file(id, birth, Some(file)))
    }

    fn file(&self, id: SegmentId, birth: Birth, file: Option<Arc<dyn DiskFile>>) -> SegmentFile {
        let path = self.directory.join(segment::file_name(id));
        SegmentFile { id, path, file, salt: birth.salt, durable: AtomicU64::new(birth.durable) }
    }

    /// The log from the first segment after an opening on, with the batches that are carried over from those before,
    /// which must be durable up to where `start` says that they end. The segment is there after [`LogWriter::begin`].
    pub(crate) fn first(self, id: SegmentId, start: Start, carried: &[Batch]) -> LogWriter {
        let salt = segment::salt(&self.directory, self.opening, id);
        let mut frames = Vec::new();
        segment::append_start(&mut frames, salt, start);
        if !carried.is_empty() {
            let at = (HEADER_BYTES + frames.len()) as u64;
            let carried = carried.iter().flatten().map(|(table, mutation)| (*table, mutation));
            group::append(&mut frames, (salt, HEADER_BYTES as u64), at, &Contents::of(carried));
        }
        let birth = self.birth(id, frames.len() as u64, self.segment_bytes);
        LogWriter {
            written: birth.durable,
            file: Arc::new(self.file(id, birth, None)),
            first: Some(First { birth, frames }),
            segments: Arc::new(self),
            predecessor_end: start.predecessor_end,
            start: None,
            next: Next::Absent,
            sealed: false,
            buffer: Vec::new(),
            meter: Arc::default(),
        }
    }

    /// Creates a segment that has room for its start and a seal only, in the place of one of that id that was prepared.
    ///
    /// # Errors
    /// As [`Segments::create`].
    fn create_last(&self, id: SegmentId) -> Result<SegmentFile> {
        let birth = self.birth(id, 0, LAST_SEGMENT_BYTES as u64);
        let (disk, name) = (&*self.disk, segment::file_name(id));
        let (_, file) =
            header::create(disk, &self.directory, &name, (MAGIC, id.0), birth, &[], Some(AT_ONCE))?;
        Ok(self.file(id, birth, Some(file)))
    }

    fn birth(&self, id: SegmentId, frames_bytes: u64, segment_bytes: u64) -> Birth {
        let durable = HEADER_BYTES as u64 + frames_bytes;
        Birth {
            // The settings may have changed since the carried mutations were accepted.
            length: segment_bytes.max(durable + SEAL_BYTES as u64),
            durable,
            salt: segment::salt(&self.directory, self.opening, id),
        }
    }
}

/// The first segment after an opening, before it is there.
#[derive(Debug)]
struct First {
    birth: Birth,
    frames: Vec<u8>,
}

impl SegmentFile {
    fn file(&self) -> io::Result<&dyn DiskFile> {
        self.file.as_deref().ok_or_else(|| io::Error::other("it was not created yet"))
    }
}

/// The segment after the one that is written to.
#[derive(Debug)]
enum Next {
    Absent,
    /// Someone makes it; who needs it has to wait.
    InPreparation,
    Ready(SegmentFile),
}

/// The end of the commit log. After any error that is not harmless the state of the file is unknown: use it no more.
#[derive(Debug)]
pub(crate) struct LogWriter {
    segments: Arc<Segments>,
    file: Arc<SegmentFile>,
    /// What is to be created before anything is written.
    first: Option<First>,
    /// Where the next group goes.
    written: u64,
    predecessor_end: u64,
    /// What this segment has to begin with, if nothing is written in it yet.
    start: Option<Start>,
    next: Next,
    sealed: bool,
    buffer: Vec<u8>,
    meter: Arc<SyncMeter>,
}

/// Counts syncs, and remembers a failed one.
#[derive(Debug, Default)]
pub(crate) struct SyncMeter {
    /// Held during a sync. After a failed one the next may succeed and mean nothing: there is no next.
    failed: Mutex<bool>,
    /// How long successful ones took, the wait for the one before included.
    pub(crate) durations: Histogram,
}

/// What a sync without the writer's lock needs; see [`LogWriter::unsynced`].
#[derive(Debug)]
pub(crate) struct Unsynced {
    file: Arc<SegmentFile>,
    written: u64,
    meter: Arc<SyncMeter>,
}

impl LogWriter {
    /// Creates the first segment, if it is not there. Replaces one of its id that an earlier opening left.
    ///
    /// # Errors
    /// As [`Segments::create`].
    pub(crate) fn begin(&mut self) -> Result<()> {
        let (Some(First { birth, frames }), segments) = (&self.first, &self.segments) else { return Ok(()) };
        let id = self.file.id;
        let (_, file) = header::create(
            &*segments.disk,
            &segments.directory,
            &segment::file_name(id),
            (MAGIC, id.0),
            *birth,
            frames,
            segments.are_filled.then_some(AT_ONCE),
        )?;
        self.file = Arc::new(segments.file(id, *birth, Some(file)));
        self.first = None;
        Ok(())
    }

    /// Whether there is a segment to write to.
    pub(crate) fn has_begun(&self) -> bool {
        self.first.is_none()
    }

    /// Not after any group of this segment.
    pub(crate) fn start(&self) -> LogPosition {
        LogPosition { segment: self.file.id, offset: HEADER_BYTES as u64 }
    }

    /// Behind the last record.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition { segment: self.file.id, offset: self.written }
    }

    /// What counts the syncs of this log.
    pub(crate) fn meter(&self) -> Arc<SyncMeter> {
        Arc::clone(&self.meter)
    }

    /// The segment that is written to.
    pub(crate) fn segment(&self) -> SegmentId {
        self.file.id
    }

    /// Where segments come from.
    pub(crate) fn segments(&self) -> Arc<Segments> {
        Arc::clone(&self.segments)
    }

    /// Whether so many bytes fit this segment.
    pub(crate) fn has_room(&self, group_bytes: usize) -> bool {
        let start = if self.start.is_some() { START_BYTES } else { 0 };
        self.written + (start + group_bytes + SEAL_BYTES) as u64 <= self.segments.segment_bytes
    }

    /// Whether half of this segment is still to be written.
    pub(crate) fn has_half_left(&self) -> bool {
        self.written <= self.segments.segment_bytes / 2
    }

    /// Whether someone makes the next segment.
    pub(crate) fn is_next_in_preparation(&self) -> bool {
        matches!(self.next, Next::InPreparation)
    }

    /// Whether the first frame of this segment is durable.
    pub(crate) fn has_durable_start(&self) -> bool {
        self.file.durable.load(Ordering::Acquire) > HEADER_BYTES as u64
    }

    /// The id of the next segment, if nobody has made it or makes it. Whoever asks has to make it, and to
    /// [`LogWriter::offer_next`] what came of that. There is none before this one has a durable start: a segment says
    /// where two before it end, so no more than one may be there without being able to say it.
    pub(crate) fn prepare_next(&mut self) -> Option<SegmentId> {
        match self.next {
            Next::Absent if !self.sealed && self.has_durable_start() => {
                self.next = Next::InPreparation;
                Some(self.file.id.next())
            }
            _ => None,
        }
    }

    /// Takes the next segment, or takes note that there will be none.
    pub(crate) fn offer_next(&mut self, file: Option<SegmentFile>) {
        self.next = file.map_or(Next::Absent, Next::Ready);
    }

    /// Goes on in the next segment, which is created now if it was not prepared. This one is durable then.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::TooManyFiles`]: nothing happened, and the log can be used on. [`Error::Io`].
    pub(crate) fn rotate(&mut self) -> Result<()> {
        crate::sometimes!("the log went on in a new segment");
        self.sync()?;
        let next = match std::mem::replace(&mut self.next, Next::Absent) {
            Next::Ready(file) => file,
            _ => {
                crate::sometimes!("the next segment was not prepared");
                self.segments.create(self.file.id.next(), None, AT_ONCE)?
            }
        };
        self.go_on_in(next);
        Ok(())
    }

    /// Goes on in a segment that has room for a seal only, since nothing that was written is needed any more. Answers
    /// false, and nothing happened, where this one was never written to.
    ///
    /// # Errors
    /// As [`LogWriter::rotate`].
    pub(crate) fn rotate_to_last(&mut self) -> Result<bool> {
        self.sync()?;
        if !self.has_durable_start() || self.sealed {
            return Ok(false);
        }
        crate::sometimes!("a log of which nothing is needed was cut short");
        let last = self.segments.create_last(self.file.id.next())?;
        self.next = Next::Absent;
        self.go_on_in(last);
        Ok(true)
    }

    fn go_on_in(&mut self, next: SegmentFile) {
        self.start = Some(Start { predecessor_end: self.written, before_end: self.predecessor_end });
        self.predecessor_end = self.written;
        self.written = HEADER_BYTES as u64;
        self.file = Arc::new(next);
    }

    /// Writes a group, for which there must be room, with one call. Answers its position and size; not durable before a
    /// sync.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn write(&mut self, contents: &Contents) -> Result<(LogPosition, u64)> {
        let position = self.end();
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(start) = self.start.take() {
            segment::append_start(&mut buffer, self.file.salt, start);
        }
        let durable = self.file.durable.load(Ordering::Acquire);
        group::append(&mut buffer, (self.file.salt, self.written), durable, contents);
        let size = buffer.len() as u64;
        self.append(&buffer)?;
        if buffer.capacity() <= KEPT_BUFFER_BYTES {
            buffer.clear();
            self.buffer = buffer;
        }
        Ok((position, size))
    }

    /// Makes durable what is not, and answers whether there was anything.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn sync(&mut self) -> Result<bool> {
        let Some(unsynced) = self.unsynced() else { return Ok(false) };
        unsynced.sync()?;
        Ok(true)
    }

    /// Bytes of this segment that are not durable.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.written - self.file.durable.load(Ordering::Acquire)
    }

    /// What a sync has to cover, to be synced while others go on writing; `None` when all is durable.
    pub(crate) fn unsynced(&self) -> Option<Unsynced> {
        (self.unsynced_bytes() > 0).then(|| Unsynced {
            file: Arc::clone(&self.file),
            written: self.written,
            meter: Arc::clone(&self.meter),
        })
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
        if self.start.is_some() {
            // So that it is known for the last one.
            self.write(&Contents::default())?;
        }
        self.sync()?;
        let mut seal = Vec::with_capacity(SEAL_BYTES);
        group::append_seal(&mut seal, (self.file.salt, self.written));
        self.append(&seal)?;
        self.sync()?;
        self.sealed = true;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let file = &self.file;
        let written = file.file().and_then(|file| file.write_all_at(bytes, self.written));
        written.map_err(|e| Error::io("write", &file.path, e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Unsynced {
    /// What will be durable.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition { segment: self.file.id, offset: self.written }
    }

    /// Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn sync(&self) -> Result<()> {
        let began = Instant::now();
        let mut failed = self.meter.failed.lock();
        let outcome = match *failed {
            true => Err(io::Error::other("an earlier sync failed")),
            false => self.file.file().and_then(DiskFile::sync_data),
        };
        *failed = outcome.is_err();
        outcome.map_err(|e| Error::io("sync", &self.file.path, e))?;
        self.file.durable.fetch_max(self.written, Ordering::Release);
        self.meter.durations.record(began.elapsed());
        Ok(())
    }
}

/// Most bytes that a group takes in a segment.
pub(crate) fn group_bytes(contents: &Contents) -> usize {
    group::MOST_OVERHEAD_BYTES + contents.size_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Fault, Repeat, SimulatedDisk},
        record::{Mutation, Record, Timestamp},
        table_id::TableId,
    };

    #[test]
    fn after_a_failed_sync_no_other_sync_of_the_log_succeeds() {
        // Given a sync on another thread, which fails
        let disk = SimulatedDisk::default();
        let directory = Path::new("/log");
        disk.create_dir_all(directory).unwrap();
        let segments = Segments {
            disk: Arc::new(disk.clone()),
            directory: directory.into(),
            segment_bytes: 4096,
            are_filled: true,
            opening: 1,
        };
        let mut log = segments.first(SegmentId(1), Start::default(), &[]);
        log.begin().unwrap();
        let mutation = Mutation::single("key", Record::plain(Timestamp(1), &b"value"[..]));
        log.write(&Contents::of([(TableId(1), &mutation)])).unwrap();
        let elsewhere = log.unsynced().unwrap();
        disk.fail_at(disk.operations() + 1, Fault::Sync, Repeat::Once);
        elsewhere.sync().unwrap_err();
        // Then neither a seal nor a new segment says that what it should have covered is durable
        assert!(log.seal().is_err());
        assert!(log.rotate().is_err());
    }
}
