//! The manifest: which tables exist, which SSTables are live, and what of the commit log is still needed.
//!
//! A small log of its own, of edits instead of mutations, on the same frames. Every frame is synced before
//! the next is written, and its edits happen together: a merge replaces its inputs by its output in one
//! frame.
//!
//! ```text
//! manifest-<number, 16 hex digits>
//!   header     magic "HELENMAN", see `commit_log::header`; durable covers the snapshot, length the edits to come
//!   kind 1     snapshot: the edits that lead to the state at the file's birth
//!   kind 2     edits
//!   kind 3     the same edits once more
//!   …          zeros, where further edits will be: preallocated, so that a full disk shows before one is written
//! ```
//!
//! A manifest that is full, and the one found at open, is followed by one with the next number before the next edit:
//! written under a temporary name, synced, renamed, directory synced; then the old one is removed. The highest number
//! counts.
//!
//! Edits are written twice, with one write and one sync, and one of the two is enough: so what was acknowledged
//! survives a damaged byte, also where it is the last, which would look like a torn tail otherwise. Rejected: a mark
//! behind what is durable, which takes a second sync for each edit.
//!
//! Edits of which neither is valid are rot if valid ones follow, and so is an invalid snapshot, since a manifest
//! has its name only after that was synced; as the last they are a torn tail, and are dropped: what they
//! announced was not done yet. If it was (both rotted afterwards, as in a sector that is lost), what is lost with it
//! is the options or the drop of a table, or is not lost silently:
//!
//! - Log segments and SSTables are removed only after the edit that says so, so the older state misses them:
//!   the engine names the file that it cannot find.
//! - What a lost flush or table wrote is in the commit log still: segments go by an edit of their own, after
//!   the one that records the flush. Mutations of a table that was never created are rot; those of one that was
//!   dropped are skipped.
//!
//! The length of every SSTable is recorded, so a short one is noticed at open rather than by a fault in its
//! memory map. File ids are never used twice, by reserving them in blocks.
//!
//! Reading order: `edit`, `options`, `dropped`, `state`, this page.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    commit_log::{
        frame::{self, Frame},
        header::{self, Birth, HEADER_BYTES, Magic},
    },
    disk::{Disk, DiskFile},
    error::{Error, Result},
    leisure::AT_ONCE,
    sstable::FileId,
};

mod dropped;
mod edit;
mod options;
mod state;

pub(crate) use edit::Edit;
pub(crate) use state::LiveState;

const MAGIC: Magic = *b"HELENMAN";
const SNAPSHOT: u8 = 1;
const EDITS: u8 = 2;
const AGAIN: u8 = 3;

/// Room for edits, unless the snapshot is larger: then as much as that takes. So the work of rewriting stays
/// proportional to that of appending, and a small manifest stays small enough for tests to see it rewritten.
const EDITS_BYTES: u64 = 2 << 10;
/// Room that any one edit but one of options takes.
const SMALL_BYTES: u64 = 128;
/// File ids reserved at a time.
const RESERVED_FILE_IDS: u64 = 256;

/// The open manifest. After any error but [`Error::StorageFull`] its file's state is unknown: use it no more.
#[derive(Debug)]
pub(crate) struct Manifest {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Where the next edit goes.
    end: u64,
    /// Where there is no more room.
    length: u64,
    state: LiveState,
    next_file: u64,
}

impl Manifest {
    /// Starts manifest `number` with a snapshot of `state`, durably.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Io`].
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        directory: &Path,
        number: u64,
        state: LiveState,
    ) -> Result<Self> {
        Self::with_room(disk, directory, number, state, 0)
    }

    /// Manifest `number`, as it was found. What it says may be in the page cache only, so nothing is added to it: it
    /// has no room.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn open(disk: Arc<dyn Disk>, directory: &Path, number: u64) -> Result<Self> {
        let (file, state, _) = load(&*disk, directory, number)?;
        let path = directory.join(file_name(number));
        let next_file = state.file_ids_end;
        Ok(Self {
            disk,
            directory: directory.into(),
            number,
            path,
            file,
            end: 0,
            length: 0,
            state,
            next_file,
        })
    }

    /// The number of the first manifest that has room: no other opening of the data directory writes to it.
    pub(crate) fn opening(&self) -> u64 {
        if self.length == 0 { self.number + 1 } else { self.number }
    }

    /// As [`Manifest::create`], with room for at least so many bytes of edits.
    fn with_room(
        disk: Arc<dyn Disk>,
        directory: &Path,
        number: u64,
        state: LiveState,
        room: u64,
    ) -> Result<Self> {
        let mut frames = Vec::new();
        let mut edits = Vec::new();
        state.as_edits().iter().for_each(|edit| edit.encode(&mut edits));
        let place = (frame::salt(MAGIC, number), HEADER_BYTES as u64);
        frame::append(&mut frames, place, SNAPSHOT, edits.len(), |out| out.extend_from_slice(&edits));
        let end = (HEADER_BYTES + frames.len()) as u64;
        let length = end + end.max(EDITS_BYTES).max(room);
        let birth = Birth { length, durable: end, salt: frame::salt(MAGIC, number) };
        let (path, file) = header::create(
            &*disk,
            directory,
            &file_name(number),
            (MAGIC, number),
            birth,
            &frames,
            Some(AT_ONCE),
        )?;
        let next_file = state.file_ids_end;
        Ok(Self { disk, directory: directory.into(), number, path, file, end, length, state, next_file })
    }

    /// Its number; the next manifest has the next one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What is live.
    pub(crate) fn state(&self) -> &LiveState {
        &self.state
    }

    /// Records edits that happen together; durable when it returns.
    ///
    /// # Errors
    /// [`Error::StorageFull`]: nothing was recorded. [`Error::Io`]; [`Error::Corrupt`] for edits that contradict
    /// the state.
    pub(crate) fn append(&mut self, edits: &[Edit]) -> Result<()> {
        let mut payload = Vec::new();
        edits.iter().for_each(|edit| edit.encode(&mut payload));
        let size = 2 * frame::size(payload.len()) as u64;
        self.make_room(size)?;
        for edit in edits {
            self.state.apply(edit).map_err(|what| corrupt(&self.path, self.end, what))?;
        }
        let mut bytes = Vec::new();
        let place = (frame::salt(MAGIC, self.number), self.end);
        for kind in [EDITS, AGAIN] {
            frame::append(&mut bytes, place, kind, payload.len(), |out| out.extend_from_slice(&payload));
        }
        self.file.write_all_at(&bytes, self.end).map_err(|e| Error::io("write", &self.path, e))?;
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path, e))?;
        self.end += size;
        Ok(())
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

    /// Sees to it that one more small frame of edits can be written, however full the disk is by then.
    ///
    /// # Errors
    /// As [`Manifest::append`].
    pub(crate) fn reserve_small(&mut self) -> Result<()> {
        self.make_room(SMALL_BYTES)
    }

    fn make_room(&mut self, size: u64) -> Result<()> {
        if self.end + size > self.length { self.rewrite(size) } else { Ok(()) }
    }

    /// Goes on in a new file with room for at least so many bytes.
    fn rewrite(&mut self, room: u64) -> Result<()> {
        crate::sometimes!("the manifest was rewritten");
        let (disk, state) = (Arc::clone(&self.disk), self.state.clone());
        let next = Self::with_room(disk, &self.directory, self.number + 1, state, room)?;
        let old = std::mem::replace(self, Self { next_file: self.next_file, ..next });
        // What was found at open goes with all else that is left over; what cannot be removed goes at the next.
        if old.length > 0 {
            let _ = self.disk.remove(&old.path);
        }
        Ok(())
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
    load(disk, directory, number).map(|(_, state, _)| state)
}

/// As [`read`], with the place of what follows the last edit and is none, if something does.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_to_end(
    disk: &dyn Disk,
    directory: &Path,
    number: u64,
) -> Result<(LiveState, Option<u64>)> {
    load(disk, directory, number).map(|(_, state, torn_at)| (state, torn_at))
}

type Loaded = (Arc<dyn DiskFile>, LiveState, Option<u64>);

fn load(disk: &dyn Disk, directory: &Path, number: u64) -> Result<Loaded> {
    let path = directory.join(file_name(number));
    let file = disk.open_to_read(&path).map_err(|e| Error::io("open", &path, e))?;
    let length_bytes = file.len().map_err(|e| Error::io("measure", &path, e))?;
    let length = usize::try_from(length_bytes)
        .map_err(|_| corrupt(&path, 0, format!("it has {length_bytes} bytes")))?;
    let mut contents = vec![0; length];
    file.read_exact_at(&mut contents, 0).map_err(|e| Error::io("read", &path, e))?;
    header::check(&path, MAGIC, number, &contents, length_bytes)?;
    let contents = contents.into();
    let (state, end) = fold(&path, number, &contents)?;
    let is_torn = contents[end..].iter().any(|&byte| byte != 0);
    Ok((file, state, is_torn.then_some(end as u64)))
}

/// What all edits lead to, and where they end.
fn fold(path: &Path, number: u64, contents: &Bytes) -> Result<(LiveState, usize)> {
    let mut state = LiveState::default();
    let salt = frame::salt(MAGIC, number);
    let mut at = HEADER_BYTES;
    while let Some(Frame { kind, payload, next }) = frame_at(contents, salt, at) {
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
    let is_edit = |frame: Frame| matches!(frame.kind, EDITS | AGAIN);
    let mut behind = at + 1..contents.len();
    match behind.find(|&place| frame::read(contents, salt, place).is_some_and(is_edit)) {
        Some(valid) => Err(corrupt(path, at as u64, format!("a damaged edit, with a valid one at {valid}"))),
        None => Ok((state, at)),
    }
}

/// The snapshot or the edits at a place, from whichever of the two frames is valid, and what comes behind both.
fn frame_at(contents: &Bytes, salt: u64, at: usize) -> Option<Frame> {
    if let Some(frame) = frame::read(contents, salt, at) {
        let again = if frame.kind == EDITS { frame.next - at } else { 0 };
        return Some(Frame { next: frame.next + again, ..frame });
    }
    // The two are of one size.
    let is_again = |place: usize, frame: &Frame| frame.kind == AGAIN && frame.next - place == place - at;
    (at + 1..contents.len()).find_map(|place| {
        let frame = frame::read(contents, salt, place).filter(|frame| is_again(place, frame))?;
        crate::sometimes!("edits were read from their second frame");
        Some(Frame { kind: EDITS, ..frame })
    })
}

fn corrupt(path: &Path, offset: u64, what: String) -> Error {
    Error::Corrupt { path: path.into(), offset, what }
}
