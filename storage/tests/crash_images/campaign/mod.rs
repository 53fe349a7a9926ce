//! A campaign of crash images: what an engine acknowledged survives a power cut at any disk operation, also one during
//! the recovery from the one before; nothing comes back that was not written; and after an error of the disk it never
//! acknowledges what may be lost.
//!
//! ```text
//! seed ─► workload ─► run, without a fault    each operation: an image ─► open ─► oracle
//!                 └─► run × many, a fault     some operations: an image      │
//!                     at each of some                              each operation of the recovery, by chance:
//!                     operations                                   an image of that, and so on
//! ```
//!
//! The loop is SQLite's (a power cut in the middle of each operation), but a workload is run once, not once per
//! operation: the disk shows each operation to a watcher, which takes an image of what a cut would leave at that
//! moment, opens it and holds it against the oracle while the engine under test stands still. A fault changes what
//! comes after it, so each has a run of its own.
//!
//! An image is a disk that a crash left and that was opened and read. What is checked, by the numbers of the usual list of
//! invariants, and where:
//!
//! | invariant                                                                        | where                              |
//! |----------------------------------------------------------------------------------|------------------------------------|
//! | I1 what was promised is there, or something newer; snapshots too                 | `Oracle::check`, `check_snapshots` |
//! | I2 writes are whole or absent, the log has no hole                               | `Oracle::check`                    |
//! | I3 nothing is there that was not written, or that was refused                    | `Oracle::check`                    |
//! | I4 what was deleted stays so; only what is past its grace goes; no table is back | `Oracle::was_purged`, `read_tables` |
//! | I5 a crash is never taken for damage; a failed read stops the start              | `Run::act`, `Examiner::read_fails` |
//! | I6 no file is left over or missing; what was read stays after further crashes    | `is_tidy`, `Examiner::stays`       |
//! | I7 point reads (filters), reads from memory and scans agree                      | `Oracle::read_tables`              |
//! | I8 merging everything changes nothing; the log shrinks to its bound              | `Examiner::works`                  |
//! | I10 a poisoned engine acknowledges nothing; want of room does not poison         | `Run::act`                         |
//!
//! The other half of I5, that damage is never taken for a torn tail, is for `bit_rot`.
//!
//! All is seeded and on one thread per seed. Reading order: `workload`, `oracle`, `watch`, `place`, `image`, `run`.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

mod image;
mod oracle;
mod place;
mod run;
mod watch;
mod workload;

pub(crate) use place::{Place, Strike};
pub(crate) use run::{Only, Outcome, run};
pub(crate) use workload::Workload;

const DIRECTORY: &str = "/data";
/// One in so many operations of a workload is struck by a fault, in a run of its own.
const FAULT_STRIDE: u64 = 5;

/// What came of a campaign so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Summary {
    pub(crate) seeds: u64,
    pub(crate) images: u64,
    pub(crate) in_recovery: u64,
    pub(crate) faults: u64,
    pub(crate) operations: u64,
    pub(crate) durable: usize,
    pub(crate) violations: Vec<(Place, String)>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.images += outcome.images;
        self.in_recovery += outcome.in_recovery;
        self.operations += outcome.operations;
        self.durable += outcome.durable;
        self.violations.extend(outcome.violation);
    }

    fn join(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.images += other.images;
        self.in_recovery += other.in_recovery;
        self.faults += other.faults;
        self.operations += other.operations;
        self.durable += other.durable;
        self.violations.extend(other.violations);
    }
}

/// All images of a seed.
pub(crate) fn explore(seed: u64) -> Summary {
    let workload = Workload::draw(seed);
    let mut summary = Summary { seeds: 1, ..Summary::default() };
    let whole = run(seed, &workload, None, Only::default());
    let operations = whole.operations;
    summary.add(whole);
    let faults = (1 + seed % FAULT_STRIDE..=operations).step_by(FAULT_STRIDE as usize);
    for (turn, at) in faults.enumerate() {
        if !summary.violations.is_empty() {
            break;
        }
        let strike = Strike::draw(at, seed.wrapping_add(turn as u64));
        summary.faults += 1;
        summary.add(run(seed, &workload, Some(strike), Only::default()));
    }
    summary
}

/// Seeds from `from` on until there are so many images, or a violation; on several threads.
pub(crate) fn campaign(
    from: u64,
    images: u64,
    threads: usize,
    progress: impl Fn(&Summary) + Sync,
) -> Summary {
    let next = AtomicU64::new(from);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    {
                        let summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                        if summary.images >= images || !summary.violations.is_empty() {
                            return;
                        }
                    }
                    let found = explore(next.fetch_add(1, Ordering::Relaxed));
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.join(found);
                    progress(&summary);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}
