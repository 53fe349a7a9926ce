//! Faults on cue: which operation fails, and how.

use std::io;

use rustix::io::Errno;

/// A way for operations to fail while the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO on any mutating operation. A write may have reached the cache in part; a sync behaves as
    /// [`Fault::Sync`].
    Io,
    /// EIO on a sync of a file or directory. Any part of what it should have made durable is lost, and the
    /// next sync succeeds without making up for it.
    Sync,
    /// ENOSPC on an operation that needs space: a creation, an allocation, a write beyond the end of its file.
    NoSpace,
    /// EMFILE on an operation that needs a file descriptor: a creation, an opening, a map. All but the first have no
    /// number of their own, and are hit from [`super::SimulatedDisk::operations`] on.
    Files,
    /// EIO on a read or map. Counted in [`super::SimulatedDisk::reads`], not in operations.
    Read,
}

/// How often an armed [`Fault`] strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The first operation that it can hit, then never again.
    Once,
    /// Every operation that it can hit.
    Forever,
}

/// What an operation is to the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Needs no new space: renames, removals, writes within a file.
    Change,
    /// Needs space.
    Grow,
    /// Needs space and a file descriptor.
    Create,
    /// Needs a file descriptor.
    Open,
    /// Makes something durable.
    Sync,
    Read,
}

#[derive(Debug, Clone, Copy)]
struct Armed {
    at: u64,
    fault: Fault,
    repeat: Repeat,
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
}

impl Faults {
    pub(super) fn arm(&mut self, at: u64, fault: Fault, repeat: Repeat) {
        self.armed.push(Armed { at, fault, repeat });
    }

    pub(super) fn disarm(&mut self, fault: Fault) {
        self.armed.retain(|armed| armed.fault != fault);
    }

    /// The error that strikes the operation with this number, if one does.
    pub(super) fn strike(&mut self, number: u64, operation: Operation) -> Option<io::Error> {
        let index = self.armed.iter().position(|armed| number >= armed.at && armed.fault.hits(operation))?;
        let armed = self.armed[index];
        if armed.repeat == Repeat::Once {
            self.armed.remove(index);
        }
        Some(armed.fault.error())
    }
}

impl Fault {
    fn hits(self, operation: Operation) -> bool {
        match self {
            Self::Io => !matches!(operation, Operation::Read | Operation::Open),
            Self::Sync => operation == Operation::Sync,
            Self::NoSpace => matches!(operation, Operation::Grow | Operation::Create),
            Self::Files => matches!(operation, Operation::Create | Operation::Open),
            Self::Read => operation == Operation::Read,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Self::Io | Self::Sync | Self::Read => Errno::IO.into(),
            Self::NoSpace => Errno::NOSPC.into(),
            Self::Files => Errno::MFILE.into(),
        }
    }
}
