//! A data directory as a whole.

use std::{collections::BTreeSet, io::ErrorKind, path::Path};

use crate::{
    Error, Snapshot,
    disk::Disk,
    error::Result,
    inspect::{InspectedManifest, InspectedSegment},
    manifest, snapshot,
    sstable::{self, FileId},
};

/// What the files of a data directory are for.
#[derive(Debug, Clone)]
pub struct InspectedDirectory {
    /// Which SSTables are live, and more.
    pub manifest: InspectedManifest,
    /// Segments of the commit log.
    pub segments: FileSum,
    /// Segments that wait to be used again.
    pub spares: FileSum,
    /// Its snapshots, by name.
    pub snapshots: Vec<Snapshot>,
    /// Files that nothing refers to: left by a crash and removed at the next opening, or in the making.
    pub orphans: Vec<String>,
    /// The orphans together.
    pub orphaned: FileSum,
}

/// Files of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSum {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl InspectedDirectory {
    /// Looks at a data directory, or a snapshot.
    ///
    /// # Errors
    /// As [`InspectedManifest::read`], also for a manifest of a snapshot.
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        // The names first: what a running engine adds is in its manifest before long, and what it removes is gone.
        let names = disk.list(directory).map_err(|e| Error::io("list", directory, e))?;
        let manifest = InspectedManifest::read(disk, directory)?;
        let live: BTreeSet<FileId> =
            manifest.tables.iter().flat_map(|table| table.files.iter().map(|file| file.id)).collect();
        let (number, log_first) = (manifest.number, manifest.log_first);
        let is_orphan = |name: &str| {
            name.ends_with(".tmp")
                || manifest::parse_file_name(name).is_some_and(|found| found < number)
                || InspectedSegment::parse_file_name(name).is_some_and(|id| id < log_first)
                || sstable::parse_name(name).is_some_and(|id| !live.contains(&id))
        };
        let mut found = Self {
            segments: FileSum::default(),
            spares: FileSum::default(),
            snapshots: snapshot::list(disk, directory)?,
            orphans: Vec::new(),
            orphaned: FileSum::default(),
            manifest,
        };
        for name in names {
            let path = directory.join(&name);
            let bytes = match disk.open_to_read(&path).and_then(|file| file.len()) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                length => length.map_err(|e| Error::io("measure", path, e))?,
            };
            if is_orphan(&name) {
                found.orphaned.add(bytes);
                found.orphans.push(name);
            } else if InspectedSegment::parse_file_name(&name).is_some() {
                found.segments.add(bytes);
            } else if InspectedSegment::is_spare(&name) {
                found.spares.add(bytes);
            }
        }
        Ok(found)
    }
}

impl FileSum {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}
