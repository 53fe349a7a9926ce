//! How table files are numbered and named.

/// Numbers the files of an engine; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// What the manifest records of a table file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Its id, and so its name.
    pub id: FileId,
    /// Its exact length: maps and reads never go past it.
    pub length_bytes: u64,
}

pub(super) fn name(id: FileId) -> String {
    format!("{:016x}.sst", id.0)
}

/// The table that a file name stands for, if it is one.
pub(crate) fn parse_name(found: &str) -> Option<FileId> {
    let id = FileId(u64::from_str_radix(found.strip_suffix(".sst")?, 16).ok()?);
    (name(id) == found).then_some(id)
}

/// The name of a table that is not complete yet.
pub(super) fn temporary_name(id: FileId) -> String {
    format!("{}.tmp", name(id))
}
