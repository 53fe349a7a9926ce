//! What can go wrong in the engine, with what an operator needs to act on it.

use std::{io::ErrorKind, path::PathBuf};

use rustix::io::Errno;

/// The operation of an [`Error::Io`].
pub(crate) const SYNC_DIRECTORY: &str = "sync directory";

/// An error of the storage engine. Unless a variant says otherwise, the call that returned it changed
/// nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused an operation. When it was a write or sync of the commit log or manifest, the engine
    /// is poisoned too.
    #[error("{operation} {}: {cause}", path.display())]
    Io {
        /// The operation, as a verb phrase: `write`, `sync directory`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system; shared, because every waiter of a group gets it. Not named `source`:
        /// it is in the text already, and a report of the whole chain would repeat it.
        cause: std::sync::Arc<std::io::Error>,
    },
    /// The disk has no room for a new file. Nothing changed: what was asked for is certainly not done, everything
    /// else goes on, and the next attempt succeeds once there is room.
    // The words of the operating system, which operators look for.
    #[error("create {}: No space left on device", path.display())]
    StorageFull {
        /// The file that would have been created.
        path: PathBuf,
    },
    /// This process, or the machine, has as many files open as it may. Nothing changed, as for
    /// [`Error::StorageFull`].
    #[error("create {}: Too many open files", path.display())]
    TooManyFiles {
        /// The file that would have been created.
        path: PathBuf,
    },
    /// A file or directory is not what it was taken for.
    #[error("{} is {what}: {why}", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// What it is, or is not.
        what: &'static str,
        /// By what that shows.
        why: String,
    },
    /// Stored bytes are not what was written: a checksum, magic number or length is wrong in a place that a
    /// crash cannot have left unfinished. The engine refuses to go on and names the place.
    #[error("{} is damaged at offset {offset}: {what}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Byte offset of the damaged structure.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A record of a kind (or format version) that this build does not know.
    #[error("unknown record kind {kind}")]
    UnknownRecordKind {
        /// The tag that was read.
        kind: u8,
    },
    /// Bytes that do not decode as a record or mutation: input from elsewhere, not a damaged file.
    #[error("malformed record: {what}")]
    Malformed {
        /// What is wrong with them.
        what: &'static str,
    },
    /// The mutation does not fit one commit log segment.
    #[error("a mutation of {size_bytes} bytes is larger than the limit of {limit_bytes}")]
    MutationTooLarge {
        /// Its encoded size.
        size_bytes: usize,
        /// The largest that is accepted.
        limit_bytes: usize,
    },
    /// More bytes wait for the commit log, or for a flush, than the settings allow. Try again later.
    #[error("the engine is overloaded: {what}")]
    Overloaded {
        /// The bound that was hit.
        what: &'static str,
    },
    /// The table does not exist in this engine.
    #[error("no table with id {0} in this engine")]
    NoSuchTable(u32),
    /// A table had this id and was dropped; ids never come back.
    #[error("the table with id {0} was dropped, and its id cannot be used again")]
    TableDropped(u32),
    /// An earlier write or sync of the commit log or manifest failed, so the engine no longer knows what is
    /// durable. It stays shut until it is opened again.
    #[error("the engine stopped, not knowing what is durable: {reason}")]
    Poisoned {
        /// The failure that poisoned it.
        reason: String,
    },
    /// A merge was cancelled, by [`crate::Engine::cancel_compaction`] or by whoever asked for it.
    #[error("the compaction was cancelled")]
    Cancelled,
    /// No snapshot can have this name.
    #[error("{name:?} is no name of a snapshot: 1 to 64 letters, digits, '-', '_' and dots, no dot first")]
    SnapshotName {
        /// The name, cut if it is long.
        name: String,
    },
    /// There is a snapshot of this name.
    #[error("the snapshot {name} exists already")]
    SnapshotExists {
        /// Its name.
        name: String,
    },
    /// There is no snapshot of this name.
    #[error("no snapshot {name}")]
    NoSuchSnapshot {
        /// The name.
        name: String,
    },
    /// The engine was closed.
    #[error("the engine is closed")]
    Closed,
    /// Another process (or engine) holds the data directory.
    #[error("the data directory {} is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
}

impl Error {
    /// Wraps an error of the operating system with what was tried on which path.
    pub fn io(operation: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.into(), cause: std::sync::Arc::new(source) }
    }

    /// As [`Error::io`] for a file that nothing refers to yet: that it cannot be completed for want of space
    /// leaves nothing unknown.
    pub(crate) fn new_file(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: std::io::Error,
    ) -> Self {
        match (source.kind(), source.raw_os_error().map(Errno::from_raw_os_error)) {
            (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => Self::StorageFull { path: path.into() },
            (_, Some(Errno::MFILE | Errno::NFILE)) => Self::TooManyFiles { path: path.into() },
            _ => Self::io(operation, path, source),
        }
    }

    /// Whether it says that a file could not be created, and that nothing else changed.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::StorageFull { .. } | Self::TooManyFiles { .. })
    }

    /// Whether it is the failed sync of a directory: names that others have created there may be lost too.
    pub(crate) fn is_failed_directory_sync(&self) -> bool {
        matches!(self, Self::Io { operation: SYNC_DIRECTORY, .. })
    }
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_nothing_behind_is_harmless() {
        let of = |errno: Errno| Error::new_file("create", "commit.log", errno.into());
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE] {
            assert!(of(errno).is_harmless(), "{errno}");
        }
        assert!(matches!(of(Errno::MFILE), Error::TooManyFiles { .. }));
        assert!(!of(Errno::IO).is_harmless());
        assert!(!Error::io("write", "commit.log", Errno::NOSPC.into()).is_harmless());
    }
}
