//! Snapshots of a running engine, see [`mod@crate::snapshot`].

use parking_lot::MutexGuard;

use crate::{
    commit_log::segment::LogPosition,
    engine::Engine,
    error::{Error, Result},
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
        self.begin()?;
        let (number, state) = {
            // Nobody else flushes until the files are linked: the other half of a later batch would not be among them.
            let _awaited = self.await_flushes();
            let flushing = self.flushing.lock();
            self.flush_all(&flushing)?;
            // Files leave the manifest before they are removed: while nothing leaves it, all it lists is there.
            let manifest = self.manifest.lock();
            self.condition.check()?;
            let state = manifest.state().clone();
            let linked = snapshot::link(&*self.disk, &self.directory, name, &state);
            linked.inspect_err(|failure| self.discard_snapshot(name, failure))?;
            (manifest.number(), state)
        };
        let published = snapshot::publish(&self.disk, &self.directory, name, number, state);
        published.inspect_err(|failure| self.discard_snapshot(name, failure))
    }

    /// Removes what there is of a snapshot that was not made, so that its links do not keep files that are gone. What
    /// cannot be removed either has no manifest, most likely; then the next open removes it.
    fn discard_snapshot(&self, name: &str, failure: &Error) {
        if !matches!(failure, Error::SnapshotExists { .. }) {
            let _ = snapshot::discard(&*self.disk, &self.directory, name);
        }
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
    fn flush_all(&self, turn: &MutexGuard<'_, ()>) -> Result<()> {
        let end = self.switch_all()?;
        while self.has_switched_before(end) {
            self.flush_in_turn(turn)?;
        }
        Ok(())
    }

    /// Switches the memtables of all tables at one place of the log, which it answers.
    pub(super) fn switch_all(&self) -> Result<LogPosition> {
        let log = self.log.lock();
        self.condition.check()?;
        let mut switched = false;
        for tree in self.trees.load().values() {
            switched |= tree.switch(log.end());
        }
        self.note_switched(switched);
        Ok(log.end())
    }

    /// Of what waits, this is flushed first: what was switched later holds only what was logged later.
    fn has_switched_before(&self, end: LogPosition) -> bool {
        let trees = self.trees.load();
        trees.values().any(|tree| tree.view().switched.last().is_some_and(|oldest| oldest.end <= end))
    }
}
