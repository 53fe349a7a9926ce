//! Snapshots of a running engine, see [`mod@crate::snapshot`].

use std::sync::Arc;

use crate::{
    commit_log::segment::LogPosition,
    engine::{Engine, StepOutcome},
    error::Result,
    snapshot::{self, Snapshot},
};

impl Engine {
    /// Makes a snapshot of all tables: everything that was acknowledged before is in it. Flushes on the calling thread
    /// what is in memory, and may block for that; then it takes a few milliseconds, since files are linked and not
    /// copied, and writers wait at most for the links.
    ///
    /// # Errors
    /// [`crate::Error::SnapshotName`], [`crate::Error::SnapshotExists`]; those of a flush;
    /// [`crate::Error::StorageFull`] and [`crate::Error::Io`]. There is no snapshot then, unless the
    /// disk failed so that what was made could not be removed.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot> {
        let _turn = self.snapshots.lock();
        snapshot::place(&self.directory, name)?;
        self.flush_all()?;
        let (number, state) = {
            // Files leave the manifest before they are removed: while nothing leaves it, all it lists is there.
            let manifest = self.manifest.lock();
            self.condition.check()?;
            let state = manifest.state().clone();
            snapshot::link(&*self.disk, &self.directory, name, &state)?;
            (manifest.number(), state)
        };
        snapshot::publish(&self.disk, &self.directory, name, number, state).inspect_err(|_| {
            // What cannot be removed either has no manifest, most likely; then the next open removes it.
            let _ = snapshot::clear(&*self.disk, &self.directory, name);
        })
    }

    /// The snapshots there are, by name.
    ///
    /// # Errors
    /// [`crate::Error::Io`]; [`crate::Error::Corrupt`] for a damaged manifest of one.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let _turn = self.snapshots.lock();
        self.condition.check()?;
        snapshot::list(&*self.disk, &self.directory)
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchSnapshot`], [`crate::Error::SnapshotName`], [`crate::Error::Io`].
    pub fn clear_snapshot(&self, name: &str) -> Result<()> {
        let _turn = self.snapshots.lock();
        self.condition.check()?;
        snapshot::clear(&*self.disk, &self.directory, name)
    }

    /// Flushes what is in memory now, not what is written meanwhile, which might never end.
    fn flush_all(&self) -> Result<()> {
        self.switch_memtables()?;
        let end = self.log.lock().end();
        while self.has_switched_before(end) {
            if self.flush()? == StepOutcome::Idle {
                break;
            }
        }
        Ok(())
    }

    fn has_switched_before(&self, end: LogPosition) -> bool {
        let trees = self.trees.load();
        let mut views = trees.values().map(|tree| Arc::clone(&tree.view()));
        views.any(|view| view.switched.last().is_some_and(|oldest| oldest.end <= end))
    }
}
