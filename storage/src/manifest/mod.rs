//! The manifest: which tables exist, which SSTables are live, and what of the commit log is still needed.
//!
//! A small log of its own, of edits instead of mutations, on the same frames. Every frame is synced before the
//! next is written, and its edits happen together: a merge replaces its inputs by its output in one frame.
//!
//! ```text
//! manifest-<number, 16 hex digits>
//!   header     magic "HELENMAN", see `commit_log::header`; length and durable cover the snapshot
//!   kind 1     snapshot: the edits that lead to the state at the file's birth
//!   kind 2     edits
//!   …
//! ```
//!
//! A manifest that has grown, and the one found at open, is followed by one with the next number: written under a
//! temporary name, synced, renamed, directory synced; then the old one is removed. The highest number counts.
//!
//! An invalid frame that is followed by a valid one is rot, and so is an invalid snapshot, since a manifest has its
//! name only after that was synced; an invalid last frame is a torn tail, and is dropped: what it announced was
//! not done yet. If it was (the frame rotted afterwards), the loss is never silent:
//!
//! - Log segments and SSTables are removed only after the edit that says so, so the older state misses them: the
//!   engine names the file that it cannot find.
//! - What a lost flush or table wrote is in the commit log still: segments go by an edit of their own, after the
//!   one that records the flush. Mutations of a table that was never created are rot.
//!
//! The length of every SSTable is recorded, so a short one is noticed at open rather than by a fault in its memory
//! map. File ids are never used twice, by reserving them in blocks.
//!
//! Reading order: `edit`, `state`, this page.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    commit_log::{
        frame::{self, ALIGNMENT, Frame},
        header::{self, Birth, HEADER_BYTES, Magic},
        segment::create_afresh,
    },
    disk::{Disk, DiskFile},
    error::{Error, Result},
    sstable::FileId,
};

mod edit;
mod state;

pub(crate) use edit::Edit;
pub(crate) use state::LiveState;

const MAGIC: Magic = *b"HELENMAN";
const SNAPSHOT: u8 = 1;
const EDITS: u8 = 2;

/// Edits beyond this, and beyond the size of the snapshot, are worth a new one: the work of rewriting stays
/// proportional to that of appending, and a small manifest stays small enough for tests to see it rewritten.
const REWRITE_BYTES: u64 = 1 << 10;
/// File ids reserved at a time.
const RESERVED_FILE_IDS: u64 = 256;

/// The open manifest. After any error its file's state is unknown: use it no more.
#[derive(Debug)]
pub(crate) struct Manifest {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    snapshot_end: u64,
    end: u64,
    state: LiveState,
    next_file: u64,
}

impl Manifest {
    /// Starts manifest `number` with a snapshot of `state`, durably.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        directory: &Path,
        number: u64,
        state: LiveState,
    ) -> Result<Self> {
        let path = directory.join(file_name(number));
        let temporary = directory.join(file_name(number) + ".tmp");
        let mut contents = vec![0; HEADER_BYTES];
        frame::append(&mut contents, number, 0, SNAPSHOT, |out| {
            state.as_edits().iter().for_each(|edit| edit.encode(out));
        });
        let end = contents.len() as u64;
        let birth = Birth { length: end, durable: end, predecessor_end: 0 };
        contents[..HEADER_BYTES].copy_from_slice(&header::encode(MAGIC, number, birth));

        let file = create_afresh(&*disk, &temporary)?;
        file.write_all_at(&contents, 0).map_err(|e| Error::io("write", &temporary, e))?;
        file.sync_all().map_err(|e| Error::io("sync", &temporary, e))?;
        disk.rename(&temporary, &path).map_err(|e| Error::io("rename", &temporary, e))?;
        disk.sync_dir(directory).map_err(|e| Error::io("sync directory", directory, e))?;
        let next_file = state.file_ids_end;
        Ok(Self {
            disk,
            directory: directory.into(),
            number,
            path,
            file,
            snapshot_end: end,
            end,
            state,
            next_file,
        })
    }

    /// What is live.
    pub(crate) fn state(&self) -> &LiveState {
        &self.state
    }

    /// Records edits that happen together; durable when it returns.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for edits that contradict the state.
    pub(crate) fn append(&mut self, edits: &[Edit]) -> Result<()> {
        for edit in edits {
            self.state.apply(edit).map_err(|what| corrupt(&self.path, self.end, what))?;
        }
        let mut bytes = Vec::new();
        frame::append(&mut bytes, self.number, self.end, EDITS, |out| {
            edits.iter().for_each(|edit| edit.encode(out));
        });
        self.file.write_all_at(&bytes, self.end).map_err(|e| Error::io("write", &self.path, e))?;
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path, e))?;
        self.end += bytes.len() as u64;
        let edited = self.end - self.snapshot_end;
        if edited > REWRITE_BYTES.max(self.snapshot_end) { self.rewrite() } else { Ok(()) }
    }

    /// An id that no file of this data directory has or ever had.
    ///
    /// # Errors
    /// As [`Manifest::append`].
    pub(crate) fn new_file_id(&mut self) -> Result<FileId> {
        if self.next_file == self.state.file_ids_end {
            self.append(&[Edit::FileIds { end: self.next_file + RESERVED_FILE_IDS }])?;
        }
        let id = FileId(self.next_file);
        self.next_file += 1;
        Ok(id)
    }

    fn rewrite(&mut self) -> Result<()> {
        crate::sometimes!("the manifest was rewritten");
        let old = std::mem::take(&mut self.path);
        let next_file = self.next_file;
        let state = std::mem::take(&mut self.state);
        *self = Self::create(Arc::clone(&self.disk), &self.directory, self.number + 1, state)?;
        self.next_file = next_file;
        self.disk.remove(&old).map_err(|e| Error::io("remove", old, e))
    }
}

/// The file name of a manifest.
fn file_name(number: u64) -> String {
    format!("manifest-{number:016x}")
}

/// The number of the manifest that a file name stands for, if it is one.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix("manifest-")?, 16).ok()?;
    (file_name(number) == name).then_some(number)
}

/// Reads manifest `number`.
///
/// # Errors
/// [`Error::Corrupt`] for rot, [`Error::Io`].
pub(crate) fn read(disk: &dyn Disk, directory: &Path, number: u64) -> Result<LiveState> {
    let path = directory.join(file_name(number));
    let file = disk.open(&path).map_err(|e| Error::io("open", &path, e))?;
    let length_bytes = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let length = usize::try_from(length_bytes)
        .map_err(|_| corrupt(&path, 0, format!("it has {length_bytes} bytes")))?;
    let mut contents = vec![0; length];
    file.read_exact_at(&mut contents, 0).map_err(|e| Error::io("read", &path, e))?;
    header::check(&path, MAGIC, number, &contents, length_bytes)?;
    fold(&path, number, &contents.into())
}

fn fold(path: &Path, number: u64, contents: &Bytes) -> Result<LiveState> {
    let mut state = LiveState::default();
    let mut at = HEADER_BYTES;
    while let Some(Frame { kind, payload, next }) = frame::read(contents, number, at) {
        let expected = if at == HEADER_BYTES { SNAPSHOT } else { EDITS };
        if kind != expected {
            return Err(corrupt(path, at as u64, format!("frame kind {kind} in the place of {expected}")));
        }
        let edits = Edit::decode_all(payload).map_err(|what| corrupt(path, at as u64, what))?;
        for edit in &edits {
            state.apply(edit).map_err(|what| corrupt(path, at as u64, what))?;
        }
        at = next;
    }
    if at == HEADER_BYTES {
        return Err(corrupt(path, at as u64, "the snapshot is damaged".into()));
    }
    let mut behind = ((at + 1).next_multiple_of(ALIGNMENT)..contents.len()).step_by(ALIGNMENT);
    match behind.find(|&place| frame::read(contents, number, place).is_some()) {
        Some(valid) => Err(corrupt(path, at as u64, format!("a damaged edit, with a valid one at {valid}"))),
        None => Ok(state),
    }
}

fn corrupt(path: &Path, offset: u64, what: String) -> Error {
    Error::Corrupt { path: path.into(), offset, what }
}
