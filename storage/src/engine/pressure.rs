//! How close the engine is to its bounds, and what writers are told.
//!
//! ```text
//! share of a bound    ½                 1
//! memtables           flush the largest │ refuse        from ¾ on slower and slower
//! commit log          flush the oldest  │ refuse        likewise, where the bound is twice its size
//! merges behind       slower and slower │ refuse
//! ```
//!
//! Between the point where writers are slowed down and the bound their delay grows with the square of the way
//! gone, so that it begins unnoticed and the last bit is paid for. A blocking apply sleeps; who queues is told by
//! [`Engine::pressure`] and may pass it on. RocksDB's write stalls, which limit a rate instead, were rejected: the rate
//! has to be guessed, and is wrong whenever records or disks change.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    engine::Engine,
    error::{Error, Result},
};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a writer should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Go on.
    None,
    /// Wait so long before the next write.
    Slow {
        /// How long.
        delay: Duration,
    },
    /// Nothing is accepted until there is room.
    Refused {
        /// The bound that was hit.
        what: &'static str,
    },
}

/// Where those sleep who wait for room.
#[derive(Debug, Default)]
pub(super) struct Room {
    turn: Mutex<()>,
    changed: Condvar,
}

impl Room {
    /// Wakes all who wait, to look again.
    pub(super) fn open(&self) {
        let _turn = self.turn.lock();
        self.changed.notify_all();
    }
}

impl Engine {
    /// What writers should do right now. Never blocks, and costs a few loads.
    pub fn pressure(&self) -> Pressure {
        let memory = share(self.memtable_bytes.load(Ordering::Relaxed), self.options.memtable_total_bytes);
        if memory >= 1.0 {
            crate::sometimes!("memtables were full");
            return Pressure::Refused { what: "too many bytes wait to be flushed" };
        }
        let segments = self.log_segments();
        // Twice, so that writers do not stop as soon as the flush that will make room begins.
        let most = self.kept_segments().saturating_mul(2) + 2;
        if segments >= most {
            crate::sometimes!("the log was too long");
            return Pressure::Refused { what: "too many commit log segments wait to be flushed" };
        }
        let merges = self.compaction_debt().pressure(&self.options);
        if merges >= 1.0 {
            crate::sometimes!("merges were too far behind");
            return Pressure::Refused { what: "too many SSTables wait to be merged" };
        }
        let log = segments as f64 / most as f64;
        let slowest = beyond(memory, 0.75).max(beyond(log, 0.75)).max(beyond(merges, 0.5));
        if slowest > 0.0 {
            crate::sometimes!("writers were slowed down");
            return Pressure::Slow { delay: self.options.slow_down.mul_f64(slowest * slowest) };
        }
        Pressure::None
    }

    /// Segments of the log.
    pub(super) fn log_segments(&self) -> u64 {
        let newest = self.log_newest.load(Ordering::Relaxed);
        newest.saturating_sub(self.log_oldest.load(Ordering::Relaxed)) + 1
    }

    /// Holds a blocking writer up as long as the pressure asks for.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is no room in time.
    pub(super) fn await_room(&self) -> Result<()> {
        let what = match self.pressure() {
            Pressure::None => return Ok(()),
            Pressure::Slow { delay } => {
                self.counted.writes_slowed.fetch_add(1, Ordering::Relaxed);
                thread::sleep(delay);
                return Ok(());
            }
            Pressure::Refused { what } => what,
        };
        let deadline = Instant::now() + self.options.stall_limit;
        let mut turn = self.room.turn.lock();
        while let Pressure::Refused { .. } = self.pressure() {
            self.condition.check()?;
            // A memtable is freed by its last reader, who tells nobody.
            self.room.changed.wait_until(&mut turn, deadline.min(Instant::now() + LOOK_AGAIN));
            if Instant::now() >= deadline {
                self.counted.writes_refused.fetch_add(1, Ordering::Relaxed);
                return Err(Error::Overloaded { what });
            }
        }
        Ok(())
    }
}

fn share(used: usize, bound: usize) -> f64 {
    used as f64 / bound.max(1) as f64
}

/// The way gone from `start` to 1, in 0..1.
fn beyond(share: f64, start: f64) -> f64 {
    ((share - start) / (1.0 - start)).clamp(0.0, 1.0)
}
