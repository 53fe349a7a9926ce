//! Work in the background that leaves the machine to others.
//!
//! To fill a segment of the commit log or to write a memtable to disk takes a processor for tens or hundreds of
//! milliseconds. Done at once it takes that time from requests, on a busy machine from all of them; and where several
//! nodes share a machine and get the same writes, all of them do it in the same moment. So what nobody waits for is done
//! little by little, with rests in between, until somebody does.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::disk::Disk;

/// Work between two rests. What was filled of a segment is synced before each, and syncs of the commit log wait behind it in
/// the disk's queue: after stints of 2 ms those of three nodes on one disk were seen to wait for 5 to 15 ms.
const STINT: Duration = Duration::from_micros(500);
/// A rest is so many times as long as the work before it.
const REST: u32 = 7;
/// Where a stint took long, because the disk or the processor is slow, the rest is no longer than this.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Says whether somebody waits for what is done in the background, or soon will.
pub(crate) type Urgency<'a> = &'a dyn Fn() -> bool;

/// Somebody does.
pub(crate) const AT_ONCE: Urgency<'static> = &|| true;

/// The rhythm of one piece of work.
pub(crate) struct Leisure<'a> {
    is_urgent: Urgency<'a>,
    /// When the work since the last rest began; `None` where work takes no time that others could use.
    began: Option<Instant>,
}

impl<'a> Leisure<'a> {
    /// Begins work whose results go to a disk.
    pub(crate) fn begin(disk: &dyn Disk, is_urgent: Urgency<'a>) -> Self {
        Self { is_urgent, began: disk.takes_time().then(Instant::now) }
    }

    /// Whether it is time for a rest. To be asked often.
    pub(crate) fn is_due(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= STINT) && !(self.is_urgent)()
    }

    /// Rests.
    pub(crate) fn rest(&mut self) {
        if let Some(began) = &mut self.began {
            thread::sleep((began.elapsed() * REST).min(LONGEST_REST));
            *began = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::disk::{OsDisk, SimulatedDisk};

    #[test]
    fn who_has_worked_for_a_while_may_rest_unless_somebody_waits() {
        let is_awaited = Cell::new(false);
        let is_urgent = || is_awaited.get();
        let mut leisure = Leisure::begin(&OsDisk, &is_urgent);
        let begun = Instant::now().checked_sub(2 * STINT);
        leisure.began = begun;
        assert!(leisure.is_due());
        is_awaited.set(true);
        assert!(!leisure.is_due());
        is_awaited.set(false);
        leisure.rest();
        assert!(leisure.began > begun, "it has begun anew");
    }

    #[test]
    fn a_simulated_disk_takes_no_time() {
        let mut leisure = Leisure::begin(&SimulatedDisk::new(1), &|| false);

        assert!(leisure.began.is_none() && !leisure.is_due());
        leisure.rest();
    }
}
