//! Snapshots: what an engine held at one moment, kept for as long as somebody wants it.
//!
//! SSTables never change, so a second name for each of them, a hard link, is a copy that takes no space and no time.
//! With a manifest of their own they are a data directory like any other:
//!
//! ```text
//! <data directory>/snapshots/<name>/
//!   <file id>.sst               hard links of the live SSTables
//!   manifest-<number>           which they are, their lengths, the tables and their options; written last
//! ```
//!
//! *What is in it*: all that was acknowledged before it was asked for, since that is flushed first; of what is written
//! meanwhile some may be in it. No commit log: the manifest says of the log what it says in a new directory.
//!
//! *Restore*: copy the directory (`cp -r`, or `cp -al` on the same file system) and open the copy. Opening the snapshot
//! itself works too, and makes a data directory of it that goes its own way.
//!
//! *Checksums*: the manifest is a checksummed frame, and every byte of an SSTable is under a checksum of that file,
//! which is bound to its id. So nothing is read to make a snapshot, and all of it can be verified.
//!
//! *Crashes*: first the links and a sync of the directory, then the manifest, which appears whole or not at all. A
//! directory without a manifest is no snapshot, and removed at the next open, which writes the manifests of the others once
//! more, for a sync that failed. Removal goes the other way, manifest first.
//!
//! *What else is there*, put there by somebody else, is left alone: no file that is not named like ours is removed, nor a
//! directory that has one, or a directory, in it; the next open names it.
//!
//! Rejected: a temporary directory that is renamed (one more thing for a disk to do, and the manifest decides anyway);
//! checksums of whole files (reading gigabytes, for what the files say themselves).

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    commit_log::segment::{self, LogPosition, SPARE_SUFFIX},
    disk::Disk,
    error::{Error, Result, SYNC_DIRECTORY},
    manifest::{self, LiveState, Manifest},
    recovery::LOCK_FILE,
    sstable::{self, TableReader},
};

/// Where the snapshots of a data directory are.
pub const SNAPSHOTS_DIRECTORY: &str = "snapshots";

const LONGEST_NAME: usize = 64;
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Its directory, which an engine can open.
    pub directory: PathBuf,
    /// SSTables in it.
    pub tables: u64,
    /// Their bytes; those of files that are live still are shared with the data directory.
    pub bytes: u64,
}

impl Snapshot {
    /// Whether a snapshot can have this name.
    ///
    /// # Errors
    /// [`Error::SnapshotName`]: a name has 1 to 64 letters, digits, `-`, `_` and dots, no dot first. So it is one
    /// component of a path, whatever a client says.
    pub fn check_name(name: &str) -> Result<()> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let is_name = (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with('.');
        if is_name && name.bytes().all(is_plain) {
            return Ok(());
        }
        Err(Error::SnapshotName { name: name.chars().take(LONGEST_NAME).collect() })
    }

    fn of(name: &str, directory: PathBuf, state: &LiveState) -> Self {
        let files = || state.tables.values().flat_map(|table| table.files.values());
        Self { name: name.to_owned(), directory, tables: files().count() as u64, bytes: files().sum() }
    }
}

/// Where a snapshot of this name is.
///
/// # Errors
/// Of [`Snapshot::check_name`].
pub(crate) fn place(data: &Path, name: &str) -> Result<PathBuf> {
    Snapshot::check_name(name)?;
    Ok(data.join(SNAPSHOTS_DIRECTORY).join(name))
}

/// Links the live files of a state into the directory of a snapshot, which must be new. The caller sees to it that
/// none of them is removed meanwhile.
///
/// # Errors
/// [`Error::SnapshotExists`]; [`Error::StorageFull`] and [`Error::Io`], which leave no snapshot.
pub(crate) fn link(disk: &dyn Disk, data: &Path, name: &str, state: &LiveState) -> Result<()> {
    let directory = place(data, name)?;
    if is_snapshot(disk, &directory)? || is_foreign(disk, &directory)? {
        return Err(Error::SnapshotExists { name: name.to_owned() });
    }
    remove_contents(disk, &directory)?;
    disk.create_dir_all(&directory).map_err(|e| Error::new_file("create directory", &directory, e))?;
    for &id in state.tables.values().flat_map(|table| table.files.keys()) {
        let file = TableReader::file_name(id);
        let to = directory.join(&file);
        disk.hard_link(&data.join(file), &to).map_err(|e| Error::new_file("link", to, e))?;
    }
    Ok(())
}

/// Makes a snapshot of the links: from here on it is one, also after a crash.
///
/// # Errors
/// [`Error::StorageFull`] and [`Error::Io`].
pub(crate) fn publish(
    disk: &Arc<dyn Disk>,
    data: &Path,
    name: &str,
    number: u64,
    mut state: LiveState,
) -> Result<Snapshot> {
    let directory = place(data, name)?;
    disk.sync_dir(&directory).map_err(|e| Error::new_file(SYNC_DIRECTORY, &directory, e))?;
    let unused = LiveState::default();
    (state.log_first, state.log_newest) = (unused.log_first, unused.log_newest);
    state.tables.values_mut().for_each(|table| table.flushed = LogPosition::START);
    let snapshot = Snapshot::of(name, directory.clone(), &state);
    Manifest::create(Arc::clone(disk), &directory, number, state)?;
    Ok(snapshot)
}

/// The snapshots of a data directory, by name.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] for a damaged manifest.
pub(crate) fn list(disk: &dyn Disk, data: &Path) -> Result<Vec<Snapshot>> {
    let mut snapshots = Vec::new();
    for name in directories(disk, data)? {
        let Ok(directory) = place(data, &name) else { continue };
        if let Some(number) = newest_manifest(disk, &directory)? {
            let state = manifest::read(disk, &directory, number)?;
            snapshots.push(Snapshot::of(&name, directory, &state));
        }
    }
    Ok(snapshots)
}

/// Removes a snapshot.
///
/// # Errors
/// [`Error::NoSuchSnapshot`]; [`Error::Io`], after which it may be there or not, and the next open removes what is
/// left of it.
pub(crate) fn clear(disk: &dyn Disk, data: &Path, name: &str) -> Result<()> {
    let directory = place(data, name)?;
    if !is_snapshot(disk, &directory)? {
        return Err(Error::NoSuchSnapshot { name: name.to_owned() });
    }
    remove(disk, &directory)
}

/// Removes what a failed attempt left of a snapshot.
///
/// # Errors
/// As [`clear`].
pub(crate) fn discard(disk: &dyn Disk, data: &Path, name: &str) -> Result<()> {
    remove(disk, &place(data, name)?)
}

/// Removes what crashes left of snapshots that were being made or removed, sees to it that those that are seen are
/// durable, and answers what is not ours.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn tidy(disk: &Arc<dyn Disk>, data: &Path) -> Result<Vec<PathBuf>> {
    let mut foreign = Vec::new();
    for name in directories(&**disk, data)? {
        let Ok(directory) = place(data, &name) else {
            foreign.push(data.join(SNAPSHOTS_DIRECTORY).join(name));
            continue;
        };
        if is_foreign(&**disk, &directory)? {
            foreign.push(directory);
        } else if let Some(number) = newest_manifest(&**disk, &directory)? {
            publish_again(disk, &directory, number)?;
        } else {
            crate::sometimes!("the leftovers of a snapshot were removed");
            remove(&**disk, &directory)?;
        }
    }
    Ok(foreign)
}

/// The last step of a snapshot that failed may have left a manifest that is in the page cache only, and a later sync
/// would not make up for it: so it is written once more. One that an engine has opened is that engine's.
fn publish_again(disk: &Arc<dyn Disk>, directory: &Path, number: u64) -> Result<()> {
    if files(&**disk, directory)?.iter().any(|name| name == LOCK_FILE) {
        return Ok(());
    }
    let state = match manifest::read(&**disk, directory, number) {
        // Whoever lists the snapshots is told.
        Err(Error::Corrupt { .. }) => return Ok(()),
        read => read?,
    };
    match Manifest::create(Arc::clone(disk), directory, number, state) {
        // At the next open.
        Err(failure) if failure.is_harmless() => Ok(()),
        created => created.map(drop),
    }
}

/// Whether a directory has something in it that no snapshot has.
fn is_foreign(disk: &dyn Disk, directory: &Path) -> Result<bool> {
    let has_others = files(disk, directory)?.iter().any(|name| !is_ours(name));
    Ok(has_others || !list_directories(disk, directory)?.is_empty())
}

/// Whether a file is named like those of snapshots, or like what an engine leaves that has opened one.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name);
    name == LOCK_FILE
        || name.ends_with(SPARE_SUFFIX)
        || manifest::parse_file_name(name).is_some()
        || sstable::parse_name(name).is_some()
        || segment::parse_file_name(name).is_some()
}

fn directories(disk: &dyn Disk, data: &Path) -> Result<Vec<String>> {
    list_directories(disk, &data.join(SNAPSHOTS_DIRECTORY))
}

fn list_directories(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>> {
    match disk.list_directories(directory) {
        Err(e) if is_no_directory(&e) => Ok(Vec::new()),
        found => found.map_err(|e| Error::io("list", directory, e)),
    }
}

fn is_no_directory(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_snapshot(disk: &dyn Disk, directory: &Path) -> Result<bool> {
    Ok(newest_manifest(disk, directory)?.is_some())
}

fn newest_manifest(disk: &dyn Disk, directory: &Path) -> Result<Option<u64>> {
    Ok(files(disk, directory)?.iter().filter_map(|name| manifest::parse_file_name(name)).max())
}

/// The files of a directory; none where there is no directory.
fn files(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>> {
    match disk.list(directory) {
        Err(e) if is_no_directory(&e) => Ok(Vec::new()),
        found => found.map_err(|e| Error::io("list", directory, e)),
    }
}

fn remove(disk: &dyn Disk, directory: &Path) -> Result<()> {
    remove_contents(disk, directory)?;
    match disk.remove_dir(directory) {
        // What is left is not ours.
        Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.map_err(|e| Error::io("remove", directory, e)),
    }
}

/// Removes our files from a directory, the manifests durably before any other.
fn remove_contents(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let ours = files(disk, directory)?.into_iter().filter(|name| is_ours(name));
    let (manifests, others): (Vec<_>, Vec<_>) =
        ours.partition(|name| manifest::parse_file_name(name).is_some());
    for group in [manifests, others] {
        for name in &group {
            let path = directory.join(name);
            disk.remove(&path).map_err(|e| Error::io("remove", path, e))?;
        }
        if !group.is_empty() {
            disk.sync_dir(directory).map_err(|e| Error::io(SYNC_DIRECTORY, directory, e))?;
        }
    }
    Ok(())
}
