//! One file: what is on the platters, what the page cache shows, and the writes between the two.

use parking_lot::Mutex;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A file, apart from its names. Directories and open handles share it; it lives as long as one of them does.
#[derive(Debug)]
pub(super) struct Inode {
    /// Orders files, so that nothing depends on addresses.
    pub(super) id: u64,
    /// Only locked under the disk's lock, hence never contended.
    pub(super) body: Mutex<Body>,
}

impl Inode {
    pub(super) fn new(id: u64, body: Body) -> Self {
        Self { id, body: Mutex::new(body) }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Body {
    /// What a power cut leaves for certain.
    pub(super) durable: Vec<u8>,
    /// What readers see.
    pub(super) cached: Vec<u8>,
    /// Changes that only the cache has, oldest first.
    pub(super) pending: Vec<Pending>,
}

/// A change that is not synced.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// Its place in the order of all changes of the disk.
    pub(super) sequence: u64,
    pub(super) change: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Bytes { offset: usize, bytes: Vec<u8> },
    Grow { length: usize },
}

impl Change {
    /// Length the file needs at least for this change.
    pub(super) fn end(&self) -> usize {
        match self {
            Self::Bytes { offset, bytes } => offset + bytes.len(),
            Self::Grow { length } => *length,
        }
    }

    pub(super) fn apply(&self, target: &mut Vec<u8>) {
        if target.len() < self.end() {
            target.resize(self.end(), 0);
        }
        if let Self::Bytes { offset, bytes } = self {
            target[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl Body {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), cached: bytes, pending: Vec::new() }
    }

    pub(super) fn change(&mut self, sequence: u64, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(Pending { sequence, change });
    }

    /// fsync: everything.
    pub(super) fn sync_all(&mut self) {
        for pending in self.pending.drain(..) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// fdatasync: bytes, and as much of the length as it takes to read them. Growth without bytes is metadata
    /// and stays pending.
    pub(super) fn sync_data(&mut self) {
        for pending in &self.pending {
            if let Change::Bytes { .. } = pending.change {
                pending.change.apply(&mut self.durable);
            }
        }
        let reached = self.durable.len();
        self.pending.retain(|pending| matches!(pending.change, Change::Grow { length } if length > reached));
    }

    /// A sync that failed: each change made it to the platters or did not, and the cache forgets that it owes
    /// them, so that the next sync succeeds and means nothing (Rebello et al., "Can Applications Recover from
    /// fsync Failures?", ATC 2020, §3).
    pub(super) fn fail_sync(&mut self, random: &mut Xoshiro256PlusPlus) {
        for pending in self.pending.drain(..) {
            if random.random_bool(0.5) {
                pending.change.apply(&mut self.durable);
            }
        }
    }
}
