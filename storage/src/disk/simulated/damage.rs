//! What a power cut leaves: the durable state, and some of what was under way.
//!
//! Writes are cut into the pieces that survive or not as a whole: sectors of 512 bytes, pages of 4 KiB, or
//! runs of arbitrary length. A piece reaches no further than its write, so bytes that were durable before stay
//! as they were even when they share a sector with an unsynced write (drives that break this rule exist; no
//! log that appends within a sector survives them). But durable bytes that are written again can be lost, even
//! if they are written as they were: nothing is safe in place.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{
    directory::{Directory, NameChange, Names, PendingName},
    file::{Body, Change, Inode},
};

/// A kind of power cut. Each spares what was synced and picks, by its seed, from what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The process died, not the machine: programs see everything, and what was not synced can still be lost to
    /// a later power cut.
    ProcessOnly,
    /// Nothing unsynced survives, neither bytes nor names.
    Forgotten,
    /// The changes up to some moment survive, those after it do not; the write at that moment is torn.
    Prefix,
    /// Any set of pieces and names survives, in no order; lost pieces inside a grown file are zeros.
    Subset,
    /// The last write of each file is torn at an arbitrary piece. All else survives.
    TornLastWrite,
    /// Lengths and names survive; from some point on, the unsynced bytes of each file are zeros.
    ZeroTail,
    /// As [`Damage::ZeroTail`] with random bytes.
    GarbageTail,
    /// As [`Damage::ZeroTail`] with bytes that some file, also one whose removal is not synced, has at the same
    /// place.
    StaleTail,
    /// Lengths and names survive, no unsynced byte does.
    LengthOnly,
    /// All bytes survive, no unsynced name does.
    NamesLost,
    /// All names survive, and nothing unsynced of the files behind them.
    NamesOnly,
    /// Renames leave the old name as well, removals did not happen, and any set of pieces survives.
    BothNames,
}

impl Damage {
    /// All kinds, to rotate through.
    pub const ALL: [Self; 12] = [
        Self::ProcessOnly,
        Self::Forgotten,
        Self::Prefix,
        Self::Subset,
        Self::TornLastWrite,
        Self::ZeroTail,
        Self::GarbageTail,
        Self::StaleTail,
        Self::LengthOnly,
        Self::NamesLost,
        Self::NamesOnly,
        Self::BothNames,
    ];
}

/// The directories after the power cut.
pub(super) fn image(
    directories: &BTreeMap<PathBuf, Directory>,
    seed: u64,
    damage: Damage,
) -> BTreeMap<PathBuf, Directory> {
    let mut cut = PowerCut::new(directories, seed, damage);
    directories.iter().map(|(path, directory)| (path.clone(), cut.directory(directory))).collect()
}

struct PowerCut {
    random: Xoshiro256PlusPlus,
    damage: Damage,
    /// First change that does not survive whole ([`Damage::Prefix`]).
    moment: u64,
    /// Chance of a piece or name to survive where chance decides.
    survival: f64,
    /// Contents of all files, removed ones included: the source of stale bytes.
    stale: Vec<Vec<u8>>,
    /// Files that were cut already: a file with two names is one file.
    files: BTreeMap<u64, Arc<Inode>>,
}

impl PowerCut {
    fn new(directories: &BTreeMap<PathBuf, Directory>, seed: u64, damage: Damage) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut inodes: BTreeMap<u64, Arc<Inode>> = BTreeMap::new();
        let mut sequences = Vec::new();
        for directory in directories.values() {
            sequences.extend(directory.pending.iter().map(|pending| pending.sequence));
            for inode in directory.durable.values().chain(directory.cached.values()) {
                inodes.insert(inode.id, Arc::clone(inode));
            }
        }
        let mut stale = Vec::new();
        for inode in inodes.values() {
            let body = inode.body.lock();
            sequences.extend(body.pending.iter().map(|pending| pending.sequence));
            if damage == Damage::StaleTail {
                stale.push(body.cached.clone());
            }
        }
        sequences.sort_unstable();
        let moment = match sequences.len() {
            0 => 0,
            count => sequences[random.random_range(0..count)],
        };
        let survival = [0.1, 0.5, 0.9][random.random_range(0..3)];
        Self { random, damage, moment, survival, stale, files: BTreeMap::new() }
    }

    fn directory(&mut self, directory: &Directory) -> Directory {
        if self.damage == Damage::ProcessOnly {
            return self.copy(directory);
        }
        let durable: Names = self
            .names(directory)
            .into_iter()
            .map(|(name, inode)| {
                let survivor = self.file(&inode, Self::survivor);
                (name, survivor)
            })
            .collect();
        Directory { cached: durable.clone(), durable, pending: Vec::new() }
    }

    /// Everything as it was, pending changes included.
    fn copy(&mut self, directory: &Directory) -> Directory {
        let mut names = |names: &Names| {
            names
                .iter()
                .map(|(name, inode)| (name.clone(), self.file(inode, |_, body| body.clone())))
                .collect::<Names>()
        };
        let (durable, cached) = (names(&directory.durable), names(&directory.cached));
        let pending = directory
            .pending
            .iter()
            .map(|pending| {
                let change = pending.change.with_inode(|inode| self.file(inode, |_, body| body.clone()));
                PendingName { sequence: pending.sequence, change }
            })
            .collect();
        Directory { durable, cached, pending }
    }

    fn names(&mut self, directory: &Directory) -> Names {
        let mut names = directory.durable.clone();
        for pending in &directory.pending {
            let change = &pending.change;
            match self.damage {
                Damage::Forgotten | Damage::NamesLost => {}
                Damage::Prefix if pending.sequence >= self.moment => {}
                Damage::Subset if !self.random.random_bool(self.survival) => {}
                Damage::BothNames if matches!(change, NameChange::Unlink { .. }) => {}
                Damage::BothNames => change.apply_without_removal(&mut names),
                _ => change.apply(&mut names),
            }
        }
        names
    }

    /// The file of the image that stands for `inode`, made by `make` when it is met for the first time.
    fn file(&mut self, inode: &Arc<Inode>, make: impl FnOnce(&mut Self, &Body) -> Body) -> Arc<Inode> {
        if let Some(done) = self.files.get(&inode.id) {
            return Arc::clone(done);
        }
        let body = make(self, &inode.body.lock());
        let file = Arc::new(Inode::new(inode.id, body));
        self.files.insert(inode.id, Arc::clone(&file));
        file
    }

    fn survivor(&mut self, body: &Body) -> Body {
        Body::durable(self.bytes(body))
    }

    fn bytes(&mut self, body: &Body) -> Vec<u8> {
        match self.damage {
            Damage::ProcessOnly | Damage::NamesLost => body.cached.clone(),
            Damage::Forgotten | Damage::NamesOnly => body.durable.clone(),
            Damage::LengthOnly => {
                let mut bytes = body.durable.clone();
                bytes.resize(body.cached.len().max(bytes.len()), 0);
                bytes
            }
            Damage::Prefix => self.prefix(body),
            Damage::Subset | Damage::BothNames => self.subset(body),
            Damage::TornLastWrite => self.torn_last_write(body),
            Damage::ZeroTail | Damage::GarbageTail | Damage::StaleTail => self.filled_tail(body),
        }
    }

    fn prefix(&mut self, body: &Body) -> Vec<u8> {
        let mut bytes = body.durable.clone();
        for pending in &body.pending {
            if pending.sequence < self.moment {
                pending.change.apply(&mut bytes);
            } else if pending.sequence == self.moment {
                self.tear(&mut bytes, &pending.change);
            }
        }
        bytes
    }

    fn subset(&mut self, body: &Body) -> Vec<u8> {
        let mut bytes = body.durable.clone();
        for pending in &body.pending {
            match &pending.change {
                Change::Grow { .. } if self.random.random_bool(self.survival) => {
                    pending.change.apply(&mut bytes);
                }
                Change::Grow { .. } => {}
                Change::Bytes { offset, bytes: written } => {
                    for (start, end) in self.pieces(*offset, written.len()) {
                        if self.random.random_bool(self.survival) {
                            put(&mut bytes, *offset + start, &written[start..end]);
                        }
                    }
                }
            }
        }
        if self.random.random_bool(0.5) && bytes.len() < body.cached.len() {
            bytes.resize(body.cached.len(), 0);
        }
        bytes
    }

    fn torn_last_write(&mut self, body: &Body) -> Vec<u8> {
        let mut bytes = body.durable.clone();
        let last = body.pending.iter().rposition(|pending| matches!(pending.change, Change::Bytes { .. }));
        for (index, pending) in body.pending.iter().enumerate() {
            if Some(index) == last {
                self.tear(&mut bytes, &pending.change);
            } else {
                pending.change.apply(&mut bytes);
            }
        }
        bytes
    }

    /// Writes survive up to a piece; the pieces after it are there in length, but filled with something else.
    fn filled_tail(&mut self, body: &Body) -> Vec<u8> {
        let mut bytes = body.durable.clone();
        bytes.resize(body.cached.len().max(bytes.len()), 0);
        let first_lost = self.random.random_range(0..body.pending.len().max(1));
        for (index, pending) in body.pending.iter().enumerate() {
            let Change::Bytes { offset, bytes: written } = &pending.change else { continue };
            let pieces = self.pieces(*offset, written.len());
            let kept = if index < first_lost {
                pieces.len()
            } else if index == first_lost {
                self.random.random_range(0..=pieces.len())
            } else {
                0
            };
            for (number, (start, end)) in pieces.into_iter().enumerate() {
                if number < kept {
                    put(&mut bytes, offset + start, &written[start..end]);
                } else {
                    let fill = self.fill(offset + start, end - start);
                    put(&mut bytes, offset + start, &fill);
                }
            }
        }
        bytes
    }

    fn fill(&mut self, offset: usize, length: usize) -> Vec<u8> {
        let mut fill = vec![0; length];
        match self.damage {
            Damage::GarbageTail => self.random.fill_bytes(&mut fill),
            Damage::StaleTail if !self.stale.is_empty() => {
                let source = &self.stale[self.random.random_range(0..self.stale.len())];
                if let Some(old) = source.get(offset..) {
                    let count = old.len().min(length);
                    fill[..count].copy_from_slice(&old[..count]);
                }
            }
            _ => {}
        }
        fill
    }

    /// Lets a prefix of the pieces of one change survive.
    fn tear(&mut self, target: &mut Vec<u8>, change: &Change) {
        let Change::Bytes { offset, bytes } = change else { return };
        let pieces = self.pieces(*offset, bytes.len());
        let kept = self.random.random_range(0..=pieces.len());
        if let Some((_, end)) = kept.checked_sub(1).map(|last| pieces[last]) {
            put(target, *offset, &bytes[..end]);
        }
    }

    /// Cuts a write of `length` bytes at `offset` into pieces, as ranges relative to the write.
    fn pieces(&mut self, offset: usize, length: usize) -> Vec<(usize, usize)> {
        let unit = match self.random.random_range(0..3) {
            0 => 512,
            1 => 4096,
            _ => self.random.random_range(1..=64),
        };
        let mut pieces = Vec::with_capacity(length / unit + 2);
        let mut start = 0;
        while start < length {
            let end = (start + unit - (offset + start) % unit).min(length);
            pieces.push((start, end));
            start = end;
        }
        pieces
    }
}

fn put(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}
