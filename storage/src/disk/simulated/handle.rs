//! Open files and locks: they belong to one start of the machine and are dead after it.

use std::{io, path::PathBuf, sync::Arc};

use parking_lot::MutexGuard;
use rand::RngExt;

use super::{
    super::{DiskDirectory, DiskFile, LockGuard},
    SimulatedDisk,
    fault::Operation,
    file::{Body, Change, Inode},
    state::{Fate, State, power_cut},
};

#[derive(Debug)]
pub(super) struct SimulatedFile {
    pub(super) disk: SimulatedDisk,
    /// The start of the machine in which the handle was opened.
    pub(super) boot: u64,
    pub(super) inode: Arc<Inode>,
}

impl SimulatedFile {
    fn running(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.running()?;
        if state.boot == self.boot { Ok(state) } else { Err(power_cut()) }
    }

    fn sync(&self, settle: fn(&mut Body)) -> io::Result<()> {
        let mut state = self.running()?;
        match state.begin(Operation::Sync) {
            Fate::Succeeds => settle(&mut self.inode.body.lock()),
            Fate::PowerCut => return Err(power_cut()),
            Fate::Fails(error) => {
                self.inode.body.lock().fail_sync(&mut state.random);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.running()?;
        state.begin_read()?;
        let body = self.inode.body.lock();
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| body.cached.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.running()?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = offset.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut body = self.inode.body.lock();
        let grows = end > body.cached.len();
        let fate = state.begin(if grows { Operation::Grow } else { Operation::Change });
        let written = match fate {
            Fate::Fails(_) => state.random.random_range(0..=bytes.len()),
            Fate::Succeeds | Fate::PowerCut => bytes.len(),
        };
        if written > 0 {
            let change = Change::Bytes { offset, bytes: bytes[..written].to_vec() };
            body.change(state.sequence(), change);
        }
        fate.outcome()
    }

    fn allocate(&self, length_bytes: u64) -> io::Result<()> {
        let mut state = self.running()?;
        let length = usize::try_from(length_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let fate = state.begin(Operation::Grow);
        let mut body = self.inode.body.lock();
        if !matches!(fate, Fate::Fails(_)) && length > body.cached.len() {
            body.change(state.sequence(), Change::Grow { length });
        }
        fate.outcome()
    }

    fn len(&self) -> io::Result<u64> {
        let _running = self.running()?;
        Ok(self.inode.body.lock().cached.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(Body::sync_data)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(Body::sync_all)
    }
}

#[derive(Debug)]
pub(super) struct SimulatedDirectory {
    pub(super) disk: SimulatedDisk,
    /// As of a file.
    pub(super) boot: u64,
    pub(super) path: PathBuf,
}

impl DiskDirectory for SimulatedDirectory {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.running()?;
        if state.boot != self.boot {
            return Err(power_cut());
        }
        state.directory(&self.path)?;
        match state.begin(Operation::Sync) {
            Fate::Succeeds => state.directory(&self.path)?.sync(),
            Fate::PowerCut => return Err(power_cut()),
            Fate::Fails(error) => {
                let mut random = state.fork_random();
                state.directory(&self.path)?.fail_sync(&mut random);
                return Err(error);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct SimulatedLock {
    pub(super) disk: SimulatedDisk,
    pub(super) boot: u64,
    pub(super) path: PathBuf,
}

impl LockGuard for SimulatedLock {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.locks.get(&self.path) == Some(&self.boot) {
            state.locks.remove(&self.path);
        }
    }
}
