//! The machine: its directories, its power, and the fate of each operation.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{
    directory::{Directory, NameChange},
    fault::{Faults, Operation},
    file::{Body, Inode},
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) directories: BTreeMap<PathBuf, Directory>,
    pub(super) random: Xoshiro256PlusPlus,
    /// Starts of the machine: handles and locks belong to one.
    pub(super) boot: u64,
    pub(super) powered: bool,
    next_inode: u64,
    next_sequence: u64,
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) faults: Faults,
    pub(super) locks: BTreeMap<PathBuf, u64>,
}

/// What becomes of an operation.
pub(super) enum Fate {
    Succeeds,
    /// The power goes in its middle: its change is pending, and nobody learns that.
    PowerCut,
    Fails(io::Error),
}

impl Fate {
    pub(super) fn outcome(self) -> io::Result<()> {
        match self {
            Self::Succeeds => Ok(()),
            Self::PowerCut => Err(power_cut()),
            Self::Fails(error) => Err(error),
        }
    }
}

impl State {
    pub(super) fn new(seed: u64, directories: BTreeMap<PathBuf, Directory>) -> Self {
        let mut state = Self {
            directories,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            boot: 0,
            powered: true,
            next_inode: 0,
            next_sequence: 0,
            operations: 0,
            reads: 0,
            crash_at: None,
            faults: Faults::default(),
            locks: BTreeMap::new(),
        };
        state.continue_numbers();
        state
    }

    pub(super) fn boot_with(&mut self, directories: BTreeMap<PathBuf, Directory>) {
        self.directories = directories;
        self.boot += 1;
        self.powered = true;
        self.operations = 0;
        self.reads = 0;
        self.crash_at = None;
        self.faults = Faults::default();
        self.locks.clear();
    }

    /// Counts a mutating operation and decides its fate.
    pub(super) fn begin(&mut self, operation: Operation) -> Fate {
        self.operations += 1;
        if self.crash_at.is_some_and(|number| self.operations >= number) {
            self.powered = false;
            return Fate::PowerCut;
        }
        match self.faults.strike(self.operations, operation) {
            Some(error) => Fate::Fails(error),
            None => Fate::Succeeds,
        }
    }

    pub(super) fn begin_read(&mut self) -> io::Result<()> {
        self.reads += 1;
        self.faults.strike(self.reads, Operation::Read).map_or(Ok(()), Err)
    }

    /// Asks for a file descriptor, without counting as an operation.
    pub(super) fn begin_open(&mut self) -> io::Result<()> {
        self.faults.strike(self.operations, Operation::Open).map_or(Ok(()), Err)
    }

    pub(super) fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.directories.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Arc<Inode>> {
        let (parent, name) = split(path)?;
        let found = self.directories.get(&parent).and_then(|directory| directory.cached.get(&name));
        found.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn change_names(&mut self, directory: &Path, change: NameChange) -> io::Result<()> {
        let sequence = self.sequence();
        self.directory(directory)?.change(sequence, change);
        Ok(())
    }

    pub(super) fn new_inode(&mut self) -> Arc<Inode> {
        self.next_inode += 1;
        Arc::new(Inode::new(self.next_inode, Body::durable(Vec::new())))
    }

    pub(super) fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    pub(super) fn fork_random(&mut self) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.random.random())
    }

    /// Numbers of new files and changes follow those that an image brought along.
    fn continue_numbers(&mut self) {
        for directory in self.directories.values() {
            for pending in &directory.pending {
                self.next_sequence = self.next_sequence.max(pending.sequence);
                // Also a file that only a pending change knows, since it was removed again.
                if let Some(inode) = pending.change.inode() {
                    self.next_inode = self.next_inode.max(inode.id);
                }
            }
            for inode in directory.durable.values().chain(directory.cached.values()) {
                self.next_inode = self.next_inode.max(inode.id);
                for pending in &inode.body.lock().pending {
                    self.next_sequence = self.next_sequence.max(pending.sequence);
                }
            }
        }
    }
}

pub(super) fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().unwrap_or(Path::new("")).to_owned(), name.to_owned()))
}

pub(super) fn power_cut() -> io::Error {
    io::Error::other("the power of the simulated machine is cut")
}
