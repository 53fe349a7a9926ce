//! Reads segments back, and tells a torn tail from rot.

use std::{ops::ControlFlow, path::Path};

use bytes::{Buf, Bytes};

use crate::{
    commit_log::{
        frame::{self, ALIGNMENT, Frame},
        header::{self, HEADER_BYTES},
        segment::{self, GROUP, LogPosition, MUTATION, SEAL, SEAL_BYTES, SegmentId},
    },
    disk::Disk,
    error::{Error, Result},
    record::Mutation,
    table_id::TableId,
};

/// Receives the mutations of a segment in the order they were written.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(LogPosition, TableId, Mutation) -> Result<()>;

/// One segment file, read.
#[derive(Debug)]
pub(crate) struct StoredSegment<'a> {
    id: SegmentId,
    path: &'a Path,
    contents: Bytes,
}

/// How far a segment is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where the seal is, or should be.
    pub(crate) end: u64,
    /// Everything before was durable when the last valid group, or the seal, was written.
    pub(crate) durable: u64,
}

impl<'a> StoredSegment<'a> {
    /// Reads the whole file and checks its header.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub(crate) fn read(disk: &dyn Disk, path: &'a Path, id: SegmentId) -> Result<Self> {
        let file = disk.open(path).map_err(|e| Error::io("open", path, e))?;
        let length_bytes = file.len().map_err(|e| Error::io("measure", path, e))?;
        let length = usize::try_from(length_bytes).map_err(|_| Error::Corrupt {
            path: path.into(),
            offset: 0,
            what: format!("it has {length_bytes} bytes"),
        })?;
        let mut contents = vec![0; length];
        file.read_exact_at(&mut contents, 0).map_err(|e| Error::io("read", path, e))?;
        header::check(path, segment::MAGIC, id.0, &contents)?;
        Ok(Self { id, path, contents: contents.into() })
    }

    /// Visits the mutations. Only the last segment of the log may end in a torn tail.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for rot, and what the visitor answers.
    pub(crate) fn replay(&self, is_last: bool, visit: Visitor<'_>) -> Result<Tail> {
        let mut tail = Tail { end: HEADER_BYTES as u64, durable: HEADER_BYTES as u64 };
        loop {
            let at = tail.end as usize;
            let Some(frame) = frame::read(&self.contents, self.id.0, at) else {
                self.refuse_rot(at, is_last)?;
                return Ok(tail);
            };
            let next = frame.next as u64;
            if self.take(tail.end, frame, &mut tail, visit)?.is_break() {
                return Ok(Tail { durable: tail.end, ..tail });
            }
            tail.end = next;
        }
    }

    fn take(
        &self,
        offset: u64,
        frame: Frame,
        tail: &mut Tail,
        visit: Visitor<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut payload = frame.payload;
        match frame.kind {
            GROUP => {
                let durable =
                    payload.try_get_u64_le().map_err(|_| self.corrupt(offset, "a short group header"))?;
                tail.durable = tail.durable.max(durable.min(offset));
            }
            MUTATION => {
                let table = payload.try_get_u32_le().map_err(|_| self.corrupt(offset, "a short mutation"))?;
                let mutation = Mutation::decode(payload)
                    .map_err(|e| self.corrupt(offset, &format!("a mutation: {e}")))?;
                visit(LogPosition { segment: self.id, offset }, TableId(table), mutation)?;
            }
            SEAL => return Ok(ControlFlow::Break(())),
            // Its checksum is right, so a later build wrote it.
            kind => return Err(self.corrupt(offset, &format!("unknown frame kind {kind}"))),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// There is no valid frame at `at`. That is a torn tail only if nothing says otherwise: neither a successor,
    /// which is created after the seal only, nor a group header or seal further on that was written when
    /// this place was durable already.
    fn refuse_rot(&self, at: usize, is_last: bool) -> Result<()> {
        if !is_last {
            return Err(
                self.corrupt(at as u64, "no valid frame where the segment, which has a successor, goes on")
            );
        }
        match self.proof_of_rot(at) {
            Some(witness) => Err(self.corrupt(
                at as u64,
                &format!("no valid frame where data was durable according to the one at {witness}"),
            )),
            None => Ok(()),
        }
    }

    /// Where a frame behind `at` proves that `at` was durable.
    fn proof_of_rot(&self, at: usize) -> Option<usize> {
        let first = (at + 1).next_multiple_of(ALIGNMENT);
        (first..self.contents.len()).step_by(ALIGNMENT).find(|&place| {
            // Only frames of a fixed small size matter, so even a hostile file costs a checksum of a few
            // bytes per place.
            match frame::peek(&self.contents, place) {
                Some((8, GROUP)) => frame::read(&self.contents, self.id.0, place)
                    .and_then(|mut frame| frame.payload.try_get_u64_le().ok())
                    .is_some_and(|durable| durable > at as u64),
                Some((0, SEAL)) => frame::read(&self.contents, self.id.0, place).is_some(),
                _ => false,
            }
        })
    }

    /// Seals the valid part, durably, so that nobody looks behind it ever again. A seal that is there already
    /// is written again: nobody knows whether it was synced.
    ///
    /// Part of it may be in the page cache only: written, then the sync failed, and the system forgot that it is
    /// dirty, so that another sync would do nothing and succeed (Rebello et al., "Can Applications Recover from
    /// fsync Failures?", USENIX ATC 2020, §3). Hence what is not known to be durable is written once more.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn seal(&self, disk: &dyn Disk, tail: Tail) -> Result<()> {
        let path = self.path;
        let file = disk.open(path).map_err(|e| Error::io("open", path, e))?;
        let doubtful = &self.contents[tail.durable as usize..tail.end as usize];
        file.write_all_at(doubtful, tail.durable).map_err(|e| Error::io("write", path, e))?;
        file.sync_data().map_err(|e| Error::io("sync", path, e))?;
        let mut seal = Vec::with_capacity(SEAL_BYTES);
        frame::append(&mut seal, self.id.0, tail.end, SEAL, |_| ());
        file.write_all_at(&seal, tail.end).map_err(|e| Error::io("write", path, e))?;
        file.sync_data().map_err(|e| Error::io("sync", path, e))
    }

    fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt { path: self.path.into(), offset, what: what.into() }
    }
}
