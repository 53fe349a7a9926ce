//! The prepare step: what writers would have to wait for is made before they need it.
//!
//! To go on in a new segment takes a file with a durable name, which the manifest knows, and a predecessor that is
//! synced: several syncs, and megabytes of writing in periodic mode. Done in time by another thread, nothing of that
//! remains for the writer who meets the end of a segment.

use std::sync::atomic::Ordering;

use crate::{
    commit_log::segment::SegmentId,
    engine::{Engine, StepOutcome},
    error::Result,
    options::SyncMode,
};

/// Bytes that are synced early in periodic mode: so little that the rest of a segment is synced in a moment.
const EARLY_SYNC_BYTES: u64 = 1 << 20;

impl Engine {
    /// Makes what is missing.
    pub(super) fn prepare(&self) -> Result<StepOutcome> {
        self.begin()?;
        let (segments, missing, is_sync_due) = {
            let mut log = self.log.lock();
            self.condition.check()?;
            let is_due = self.has_much_unsynced(log.unsynced_bytes())
                || (!log.has_durable_start() && log.unsynced_bytes() > 0);
            (log.segments(), log.prepare_next(), is_due)
        };
        if let Some(id) = missing {
            let spare = self.spares.lock().pop();
            let made = segments.create(id, spare.as_deref(), &|| self.is_hurried()).and_then(|file| {
                // Before there is anything in it: so a segment that goes missing is noticed.
                self.record_log(SegmentId(0), id).map(|()| file)
            });
            let (file, failure) = match made {
                Ok(file) => (Some(file), None),
                Err(failure) => (None, Some(failure)),
            };
            self.log.lock().offer_next(file);
            self.prepared.notify_all();
            if failure.is_none() {
                self.counted.segments_prepared.fetch_add(1, Ordering::Relaxed);
                self.counted.segments_recycled.fetch_add(u64::from(spare.is_some()), Ordering::Relaxed);
            }
            if let Some(failure) = failure {
                // Nothing refers to the file yet; who needs the segment makes it then.
                if failure.is_failed_directory_sync() {
                    self.fail(&failure);
                }
                return Err(failure);
            }
        }
        if is_sync_due {
            crate::sometimes!("the log was synced early");
            self.sync()?;
        }
        let worked = missing.is_some() || is_sync_due;
        Ok(if worked { StepOutcome::Worked } else { StepOutcome::Idle })
    }

    /// Whether the next segment may be needed before it is made little by little, or all is about to end.
    fn is_hurried(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed) || !self.log.lock().has_half_left()
    }

    /// Ends the log for good, and gives back what it keeps for later: spares, and, when all is in SSTables, everything
    /// but a segment that holds a seal.
    pub(super) fn seal_log(&self) -> Result<()> {
        let mut log = self.log.lock();
        while log.is_next_in_preparation() {
            self.prepared.wait(&mut log);
            self.condition.check()?;
        }
        if !log.has_begun() {
            // There never was room: nothing was written, so all is as it was found.
            self.condition.close();
            return Ok(());
        }
        if self.is_all_flushed() {
            // First the room to say that there is one more segment: without, the log is sealed where it is.
            let reserved = self.manifest.lock().reserve_small();
            match reserved.and_then(|()| log.rotate_to_last()) {
                Ok(true) => {
                    self.record_log(SegmentId(0), log.segment())?;
                    self.log_newest.store(log.segment().0, Ordering::Release);
                }
                Ok(false) => {}
                // Then it is sealed where it is.
                Err(failure) if failure.is_harmless() => {}
                Err(failure) => return Err(self.fail(&failure)),
            }
        }
        log.seal().inspect_err(|failure| drop(self.fail(failure)))?;
        self.group_sync.is_durable_until(log.end());
        // What cannot be removed is for the next recovery, unless nobody knows what the manifest says.
        let _ = self.trim_log();
        self.condition.check()?;
        // Under the lock, so that nobody writes behind the seal.
        self.condition.close();
        self.give_spares_back();
        Ok(())
    }

    /// Whether so many bytes should be synced before the interval is over.
    pub(super) fn has_much_unsynced(&self, unsynced_bytes: u64) -> bool {
        self.options.sync_mode == SyncMode::Periodic && unsynced_bytes >= EARLY_SYNC_BYTES
    }
}
