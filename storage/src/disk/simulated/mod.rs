//! A disk in memory that forgets, tears and fails, from a seed.
//!
//! It keeps to the rules of POSIX file systems and to nothing better: every file has the bytes that are durable,
//! the bytes that programs see, and the writes between the two; every directory likewise has its names. A sync
//! of a file settles its writes but not its name; a sync of a directory settles its names but no byte of the files
//! behind them. A power cut ([`SimulatedDisk::crash`]) keeps what was settled and, by a [`Damage`] and a
//! seed, some of the rest:
//!
//! ```text
//!            write, allocate            sync_data, sync_all
//! program ───────────────────► pending ─────────────────────► durable
//!            create, rename,            sync_dir
//!            remove
//!                     crash: durable + some of pending (the damage's choice)
//! ```
//!
//! Mutating operations are numbered from 1: create, write, allocate, both syncs, rename, hard_link, remove, sync_dir,
//! and the making and removing of a directory. A test counts the operations of a workload once, then repeats it with the power cut in
//! the middle of each ([`SimulatedDisk::crash_at`]) or with an error at each ([`SimulatedDisk::fail_at`]), as
//! SQLite's crash and I/O-error tests do. After the cut every operation fails, on old handles for ever, until
//! [`SimulatedDisk::restart`], or the test goes on with images from [`SimulatedDisk::crash`], of which it can take
//! several.
//!
//! Rejected: a model that enumerates all legal crash states (ALICE, OSDI 2014) is exhaustive for a dozen
//! operations and hopeless for a thousand; a real file system below a lossy block device is slow and cannot
//! forget names.
//!
//! Reading order: `file` and `directory` (what there is), `fault` and `damage` (what happens to it), `state`
//! (who decides when), this page and `handle` (the operations).

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskDirectory, DiskFile, LockGuard};

mod damage;
mod directory;
mod fault;
mod file;
mod handle;
mod state;

pub use damage::Damage;
pub use fault::{Fault, Repeat};

use directory::{Directory, NameChange};
use fault::Operation;
use file::Body;
use handle::{SimulatedDirectory, SimulatedFile, SimulatedLock};
use state::{Fate, State, power_cut, split};

/// [`Disk`] in memory. Clones share one disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SimulatedDisk {
    /// An empty disk. The seed decides what failing operations leave behind.
    pub fn new(seed: u64) -> Self {
        Self::with_directories(seed, BTreeMap::new())
    }

    fn with_directories(seed: u64, directories: BTreeMap<PathBuf, Directory>) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed, directories))) }
    }

    /// Mutating operations since the disk was made or restarted, failed ones included.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Reads and maps since the disk was made or restarted, failed ones included.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// Cuts the power in the middle of operation `number`: it fails, but may have left traces, and so does
    /// everything after it until [`SimulatedDisk::restart`].
    pub fn crash_at(&self, number: u64) {
        self.state.lock().crash_at = Some(number);
    }

    /// Whether the power is cut.
    pub fn is_off(&self) -> bool {
        !self.state.lock().powered
    }

    /// Arms a fault for the first operation (for [`Fault::Read`]: the first read) that it can hit from number
    /// `number` on.
    pub fn fail_at(&self, number: u64, fault: Fault, repeat: Repeat) {
        self.state.lock().faults.arm(number, fault, repeat);
    }

    /// Disarms every [`Fault::NoSpace`].
    pub fn make_room(&self) {
        self.state.lock().faults.disarm(Fault::NoSpace);
    }

    /// Another disk with what a power cut now would leave of this one, which is not changed. The image has no
    /// faults armed, counts from zero, and nobody holds its locks.
    #[must_use]
    pub fn crash(&self, seed: u64, damage: Damage) -> Self {
        let state = self.state.lock();
        Self::with_directories(seed, damage::image(&state.directories, seed, damage))
    }

    /// A power cut and restart in place: as [`SimulatedDisk::crash`], but handles, clones and locks of before are
    /// concerned: the handles are dead, the clones see the new state, the locks are free.
    pub fn restart(&self, seed: u64, damage: Damage) {
        let mut state = self.state.lock();
        let directories = damage::image(&state.directories, seed, damage);
        state.boot_with(directories);
    }

    /// Disarms all faults and a power cut that is yet to come. What they did stays.
    pub fn repair(&self) {
        let mut state = self.state.lock();
        state.faults = fault::Faults::default();
        state.crash_at = None;
    }

    /// Paths of all files, ascending.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let files = state
            .directories
            .iter()
            .flat_map(|(path, directory)| directory.cached.keys().map(move |name| path.join(name)));
        files.collect()
    }

    /// All bytes of a file, without counting as a read.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let inode = self.state.lock().find(path).ok()?;
        let contents = inode.body.lock().cached.clone();
        Some(contents)
    }

    /// Bit rot: gives a file other bytes, durably and without counting as an operation. Maps keep the old ones.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn replace(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let inode = self.state.lock().find(path)?;
        *inode.body.lock() = Body::durable(bytes);
        Ok(())
    }

    /// Bit rot: flips bit `bit` (0–7) of the byte at `offset`.
    ///
    /// # Errors
    /// When there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u8) -> io::Result<()> {
        let mut bytes = self.contents(path).ok_or(io::ErrorKind::NotFound)?;
        *bytes.get_mut(offset).ok_or(io::ErrorKind::UnexpectedEof)? ^= 1 << (bit % 8);
        self.replace(path, bytes)
    }

    /// Bit rot: cuts a file to at most `length_bytes`.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn truncate(&self, path: &Path, length_bytes: usize) -> io::Result<()> {
        let mut bytes = self.contents(path).ok_or(io::ErrorKind::NotFound)?;
        bytes.truncate(length_bytes);
        self.replace(path, bytes)
    }

    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.powered { Ok(state) } else { Err(power_cut()) }
    }
}

impl Disk for SimulatedDisk {
    fn takes_time(&self) -> bool {
        false
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.running()?;
        let (parent, name) = split(path)?;
        if state.directory(&parent)?.cached.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fate = state.begin(Operation::Create);
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        let inode = state.new_inode();
        let link = NameChange::Link { name, inode: Arc::clone(&inode) };
        state.change_names(&parent, link)?;
        fate.outcome()?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), boot: state.boot, inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.running()?;
        let inode = state.find(path)?;
        state.begin_open()?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), boot: state.boot, inode }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut state = self.running()?;
        Ok(state.directory(directory)?.cached.keys().cloned().collect())
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        if state.directories.contains_key(directory) {
            return Ok(());
        }
        // The directories come into being durably and all at once: the seam asks for that, and how the
        // operating system gets there is no concern of the engine.
        state.begin(Operation::Grow).outcome()?;
        for ancestor in directory.ancestors() {
            state.directories.entry(ancestor.to_owned()).or_default();
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        let inode = state.find(from)?;
        let ((from_parent, from), (to_parent, to)) = (split(from)?, split(to)?);
        state.directory(&to_parent)?;
        let fate = state.begin(Operation::Change);
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        if from_parent == to_parent {
            state.change_names(&to_parent, NameChange::Rename { from, to, inode })?;
        } else {
            state.change_names(&to_parent, NameChange::Link { name: to, inode })?;
            state.change_names(&from_parent, NameChange::Unlink { name: from })?;
        }
        fate.outcome()
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        let inode = state.find(from)?;
        let (parent, name) = split(to)?;
        if state.directory(&parent)?.cached.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fate = state.begin(Operation::Grow);
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        state.change_names(&parent, NameChange::Link { name, inode })?;
        fate.outcome()
    }

    fn list_directories(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut state = self.running()?;
        state.directory(directory)?;
        let below = state.directories.keys().filter(|path| path.parent() == Some(directory));
        Ok(below.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn remove_dir(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        let has_files = !state.directory(directory)?.cached.is_empty();
        if has_files || state.directories.keys().any(|path| path.parent() == Some(directory)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        // As creations of directories: durably and at once.
        state.begin(Operation::Change).outcome()?;
        state.directories.remove(directory);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.running()?;
        state.find(path)?;
        let (parent, name) = split(path)?;
        let fate = state.begin(Operation::Change);
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        state.change_names(&parent, NameChange::Unlink { name })?;
        fate.outcome()
    }

    fn open_dir(&self, directory: &Path) -> io::Result<Arc<dyn DiskDirectory>> {
        let mut state = self.running()?;
        state.directory(directory)?;
        state.begin_open()?;
        Ok(Arc::new(SimulatedDirectory { disk: self.clone(), boot: state.boot, path: directory.to_owned() }))
    }

    fn map(&self, path: &Path, length_bytes: u64) -> io::Result<Bytes> {
        let mut state = self.running()?;
        let inode = state.find(path)?;
        state.begin_open()?;
        state.begin_read()?;
        let body = inode.body.lock();
        let length = usize::try_from(length_bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = body.cached.get(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut state = self.running()?;
        if state.locks.contains_key(path) {
            return Ok(None);
        }
        let (parent, name) = split(path)?;
        // The lock file holds nothing and protects nothing by being there: its name may as well be durable.
        if !state.directory(&parent)?.cached.contains_key(&name) {
            let inode = state.new_inode();
            let directory = state.directory(&parent)?;
            directory.durable.insert(name.clone(), Arc::clone(&inode));
            directory.cached.insert(name, inode);
        }
        let boot = state.boot;
        state.locks.insert(path.to_owned(), boot);
        Ok(Some(Box::new(SimulatedLock { disk: self.clone(), boot, path: path.to_owned() })))
    }
}
