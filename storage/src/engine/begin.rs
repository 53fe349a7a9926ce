//! The beginning: the manifest and the segment that an opening writes to are made.
//!
//! That is the last part of opening, or, where the disk is full by then, the first of whatever is to be written: a
//! commit, a flush, a merge, a new table, a snapshot. The prepare step begins too, so that an engine at rest, whose log
//! waits to be flushed, does once there is room.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::{commit_log::segment::SegmentId, engine::Engine, error::Result, recovery};

/// What is left to be done of the opening.
#[derive(Debug)]
pub(super) struct Beginning {
    is_done: AtomicBool,
    /// The files that were found, of which some are to be removed.
    found: Mutex<Vec<String>>,
}

impl Beginning {
    pub(super) fn new(found: Vec<String>) -> Self {
        Self { is_done: AtomicBool::new(false), found: Mutex::new(found) }
    }

    /// The files that were found; none once it is done.
    pub(super) fn found(&self) -> Vec<String> {
        self.found.lock().clone()
    }
}

impl Engine {
    /// Sees to it that there is something to write to. To be called before anything is written, without the locks of
    /// log and manifest.
    ///
    /// # Errors
    /// [`crate::Error::StorageFull`], [`crate::Error::TooManyFiles`]: nothing changed. [`crate::Error::Io`], which
    /// poisons the engine; [`crate::Error::Poisoned`], [`crate::Error::Closed`].
    pub(super) fn begin(&self) -> Result<()> {
        if self.beginning.is_done.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut log = self.log.lock();
        let mut manifest = self.manifest.lock();
        self.condition.check()?;
        let mut found = self.beginning.found.lock();
        if self.beginning.is_done.load(Ordering::Acquire) {
            return Ok(());
        }
        let first = SegmentId(self.log_oldest.load(Ordering::Relaxed));
        recovery::begin(&*self.disk, &self.directory, (&mut manifest, &mut log), first, &found)
            .inspect_err(|failure| drop(self.fail(failure)))?;
        found.clear();
        self.beginning.is_done.store(true, Ordering::Release);
        Ok(())
    }
}
