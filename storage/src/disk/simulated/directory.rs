//! One directory: its names on the platters, its names as programs see them, and the changes between the two.

use std::{collections::BTreeMap, sync::Arc};

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::file::Inode;

pub(super) type Names = BTreeMap<String, Arc<Inode>>;

#[derive(Debug, Default)]
pub(super) struct Directory {
    /// What a power cut leaves for certain.
    pub(super) durable: Names,
    /// What programs see.
    pub(super) cached: Names,
    /// Changes that only the cache has, oldest first.
    pub(super) pending: Vec<PendingName>,
}

/// A change of names that is not synced.
#[derive(Debug)]
pub(super) struct PendingName {
    /// Its place in the order of all changes of the disk.
    pub(super) sequence: u64,
    pub(super) change: NameChange,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link { name: String, inode: Arc<Inode> },
    Unlink { name: String },
    Rename { from: String, to: String, inode: Arc<Inode> },
}

impl NameChange {
    /// The same change about another file.
    pub(super) fn with_inode(&self, mut translate: impl FnMut(&Arc<Inode>) -> Arc<Inode>) -> Self {
        match self {
            Self::Link { name, inode } => Self::Link { name: name.clone(), inode: translate(inode) },
            Self::Unlink { name } => Self::Unlink { name: name.clone() },
            Self::Rename { from, to, inode } => {
                Self::Rename { from: from.clone(), to: to.clone(), inode: translate(inode) }
            }
        }
    }

    /// The file that gets a name.
    pub(super) fn inode(&self) -> Option<&Arc<Inode>> {
        match self {
            Self::Link { inode, .. } | Self::Rename { inode, .. } => Some(inode),
            Self::Unlink { .. } => None,
        }
    }

    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { name, inode } => {
                names.insert(name.clone(), Arc::clone(inode));
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                // The old name may by now belong to another file, whose creation survived while this is replayed.
                if names.get(from).is_some_and(|found| found.id == inode.id) {
                    names.remove(from);
                }
                names.insert(to.clone(), Arc::clone(inode));
            }
        }
    }

    /// A rename of which only the new name reached the platters.
    pub(super) fn apply_without_removal(&self, names: &mut Names) {
        match self {
            Self::Rename { to, inode, .. } => {
                names.insert(to.clone(), Arc::clone(inode));
            }
            other => other.apply(names),
        }
    }
}

impl Directory {
    pub(super) fn change(&mut self, sequence: u64, change: NameChange) {
        change.apply(&mut self.cached);
        self.pending.push(PendingName { sequence, change });
    }

    pub(super) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// As [`super::file::Body::fail_sync`], for names.
    pub(super) fn fail_sync(&mut self, random: &mut Xoshiro256PlusPlus) {
        for pending in self.pending.drain(..) {
            if random.random_bool(0.5) {
                pending.change.apply(&mut self.durable);
            }
        }
    }
}
