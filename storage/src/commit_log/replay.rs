//! Reads segments back, and tells a torn tail from rot.

use std::path::Path;

use bytes::{Buf, Bytes};

use crate::{
    commit_log::{
        frame::{self, Frame},
        group::{self, Batch},
        header::{self, Birth, HEADER_BYTES},
        segment::{self, GROUP, LogPosition, SEAL, START, SegmentId, Start},
    },
    disk::Disk,
    error::{Error, Result},
};

/// Receives the groups of a segment in the order they were written.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(LogPosition, Batch) -> Result<()>;

/// One segment file, read.
#[derive(Debug)]
pub(crate) struct StoredSegment<'a> {
    id: SegmentId,
    path: &'a Path,
    birth: Birth,
    contents: Bytes,
}

/// What a frame of a segment says.
#[derive(Debug)]
pub(crate) enum Entry {
    /// How the segment begins.
    Start(Start),
    /// What happens together.
    Group {
        /// When it was written, everything before this offset was durable.
        durable: u64,
        /// Its mutations.
        batch: Batch,
    },
    /// Nothing follows.
    Seal,
}

/// How far the last segment is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Everything before was durable already when the last valid group, or the seal, was written.
    pub(crate) durable: u64,
    /// The valid frames end here.
    pub(crate) end: u64,
}

impl<'a> StoredSegment<'a> {
    /// Reads the whole file and checks its header.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub(crate) fn read(disk: &dyn Disk, path: &'a Path, id: SegmentId) -> Result<Self> {
        let file = disk.open_to_read(path).map_err(|e| Error::io("open", path, e))?;
        let file_bytes = file.len().map_err(|e| Error::io("measure", path, e))?;
        let read = |length: u64| {
            let length = usize::try_from(length.min(file_bytes)).unwrap_or(usize::MAX);
            let mut contents = vec![0; length];
            file.read_exact_at(&mut contents, 0).map_err(|e| Error::io("read", path, e))?;
            Ok::<_, Error>(contents)
        };
        // What the header vouches for, however long somebody made the file since.
        let start = read(HEADER_BYTES as u64)?;
        let birth = header::check(path, segment::MAGIC, id.0, &start, file_bytes)?;
        let contents = read(birth.length)?;
        Ok(Self { id, path, birth, contents: contents.into() })
    }

    /// Visits the groups between two positions, of which the caller knows that frames lie there back to
    /// back.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they do not, and what the visitor answers.
    pub(crate) fn visit(&self, from: u64, to: u64, visitor: Visitor<'_>) -> Result<()> {
        let mut at = from;
        while at < to {
            let frame = self.frame(at).ok_or_else(|| {
                self.corrupt(at, &format!("no valid frame, though the segment goes on to {to}"))
            })?;
            let next = frame.next as u64;
            if frame.kind == GROUP {
                let batch = group::mutations(frame, (self.birth.salt, at))
                    .map_err(|e| self.corrupt(at, &format!("a group: {e}")))?;
                visitor(LogPosition { segment: self.id, offset: at }, batch)?;
            }
            at = next;
        }
        if at == to { Ok(()) } else { Err(self.corrupt(to, "the segment ends within a frame")) }
    }

    /// The frame at an offset and where the next one starts; `None` if none is valid there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is valid and says nothing that this build knows.
    pub(crate) fn entry(&self, at: u64) -> Result<Option<(Entry, u64)>> {
        let Some(mut frame) = self.frame(at) else { return Ok(None) };
        let next = frame.next as u64;
        let place = (self.birth.salt, at);
        let malformed = |e: Error| self.corrupt(at, &e.to_string());
        let entry = match frame.kind {
            START => {
                let short = |_| self.corrupt(at, "a short frame");
                Entry::Start(Start {
                    predecessor_end: frame.payload.try_get_u64_le().map_err(short)?,
                    before_end: frame.payload.try_get_u64_le().map_err(short)?,
                })
            }
            GROUP => Entry::Group {
                durable: group::durable(&frame, place).map_err(malformed)?,
                batch: group::mutations(frame, place).map_err(malformed)?,
            },
            SEAL => Entry::Seal,
            kind => return Err(self.corrupt(at, &format!("unknown frame kind {kind}"))),
        };
        Ok(Some((entry, next)))
    }

    /// What the file says of its birth.
    pub(crate) fn birth(&self) -> Birth {
        self.birth
    }

    /// Where one of the two frames of the start is damaged, of which the other one is valid.
    pub(crate) fn damaged_start(&self) -> Option<u64> {
        segment::damaged_start(&self.contents, self.birth.salt).map(|at| at as u64)
    }

    /// Whether there is nothing but zeros from an offset on.
    pub(crate) fn is_zero_from(&self, at: u64) -> bool {
        let rest = usize::try_from(at).ok().and_then(|at| self.contents.get(at..));
        rest.is_none_or(|rest| rest.iter().all(|&byte| byte == 0))
    }

    /// A place in this segment.
    pub(crate) fn position(&self, offset: u64) -> LogPosition {
        LogPosition { segment: self.id, offset }
    }

    /// Up to where the segment was written before it got its name.
    pub(crate) fn born(&self) -> u64 {
        self.birth.durable
    }

    /// Finds the end of the last segment of the log, the only one that may be torn.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for rot.
    pub(crate) fn tail(&self) -> Result<Tail> {
        let mut tail = Tail { durable: self.birth.durable, end: HEADER_BYTES as u64 };
        loop {
            let Some(frame) = self.frame(tail.end) else {
                self.refuse_rot(tail.end)?;
                return Ok(tail);
            };
            match frame.kind {
                GROUP => {
                    let durable = group::durable(&frame, (self.birth.salt, tail.end))
                        .map_err(|e| self.corrupt(tail.end, &e.to_string()))?;
                    tail.durable = tail.durable.max(durable);
                }
                START => {}
                SEAL => {
                    crate::sometimes!("a sealed segment was replayed");
                    return Ok(Tail { durable: tail.end, ..tail });
                }
                // Its checksum is right, so a later build wrote it.
                kind => return Err(self.corrupt(tail.end, &format!("unknown frame kind {kind}"))),
            }
            tail.end = frame.next as u64;
        }
    }

    /// There is no valid frame at `at`. That is a torn tail only if no group or seal further on claims that this place
    /// was durable. (What the segment's own header says is checked by visiting what is durable.)
    pub(crate) fn refuse_rot(&self, at: u64) -> Result<()> {
        match self.witness(at) {
            Some(witness) => Err(self.corrupt(
                at,
                &format!("no valid frame, though the one at {witness} says that data was durable here"),
            )),
            None => {
                if frame::peek(&self.contents, at as usize).is_some() {
                    crate::sometimes!("a torn tail was cut");
                }
                Ok(())
            }
        }
    }

    /// Bytes of what looks like a group of this life of the segment, at a place where no frame is valid.
    pub(crate) fn torn_bytes(&self, at: u64) -> Option<usize> {
        let looks_like_one =
            self.frame(at).is_none() && group::may_claim(&self.contents, (self.birth.salt, at), 0);
        let payload =
            frame::peek(&self.contents, usize::try_from(at).ok()?).filter(|_| looks_like_one)?.payload;
        Some(frame::size(payload.len()))
    }

    /// A frame behind `at` that was written when `at` was durable.
    pub(crate) fn witness(&self, at: u64) -> Option<u64> {
        let contents = &self.contents[..];
        let behind = contents.iter().enumerate().skip(at as usize + 1);
        // Most of what is behind is zeros, where nothing was ever written.
        let places = behind.filter(|&(_, &byte)| byte != 0).map(|(place, _)| place as u64);
        let mut likely = places.filter(|&place| group::may_claim(contents, (self.birth.salt, place), at));
        likely.find(|&place| self.frame(place).is_some())
    }

    fn frame(&self, at: u64) -> Option<Frame> {
        match usize::try_from(at).ok()? {
            HEADER_BYTES => segment::start_frame(&self.contents, self.birth.salt),
            at => frame::read(&self.contents, self.birth.salt, at),
        }
    }

    /// An error that names this segment.
    pub(crate) fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt { path: self.path.into(), offset, what: what.into() }
    }
}
