//! An engine whose clock the test sets, and whose merges it can step into.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use helenus_storage::{
    Clock, Engine, Options, PurgeFilter, Record, Step, StepOutcome, TableOptions, Timestamp,
    disk::{Damage, SimulatedDisk},
};

use crate::rig::{everything, flush, open, plain, small, try_open, write};

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const HOUR: u64 = 3600 * SECOND;
pub(crate) const GRACE: u64 = 10 * HOUR;
/// Long ago, but not so long that a time before it could not be written.
pub(crate) const THEN: u64 = 1000 * HOUR;

/// What the purge filter does when it is asked about a key.
pub(crate) type Hook = dyn Fn(&Arc<Engine>, &[u8]) -> bool + Send + Sync;

pub(crate) struct Rig {
    pub(crate) disk: SimulatedDisk,
    pub(crate) engine: Arc<Engine>,
    now: Arc<AtomicU64>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let now = Arc::new(AtomicU64::new(THEN));
        let clock = Arc::clone(&now);
        let options = Options {
            clock: Some(Clock::new(move || Timestamp(clock.load(Ordering::Relaxed)))),
            table: TableOptions { gc_grace: Duration::from_micros(GRACE), ..TableOptions::tiered(3) },
            compaction_threads: 1,
            ..small()
        };
        let disk = SimulatedDisk::default();
        let engine = Arc::new(open(&disk, change(options)));
        Self { disk, engine, now }
    }

    /// As if merges were interrupted: the hook runs whenever one is about to purge.
    pub(crate) fn with_hook(hook: Box<Hook>) -> Self {
        Self::with_hook_and(hook, |options| options)
    }

    pub(crate) fn with_hook_and(hook: Box<Hook>, change: impl FnOnce(Options) -> Options) -> Self {
        let place = Arc::new(OnceLock::<Weak<Engine>>::new());
        let engine = Arc::clone(&place);
        let filter = PurgeFilter::new(move |_, key, _| {
            hook(&engine.get().and_then(Weak::upgrade).expect("it asks"), key)
        });
        let rig = Self::with(|options| change(Options { purge_filter: Some(filter), ..options }));
        place.set(Arc::downgrade(&rig.engine)).unwrap();
        rig
    }

    /// After a power cut.
    pub(crate) fn restart(self) -> Self {
        let settings = self.engine.options().clone();
        drop(self.engine);
        let disk = self.disk.crash(1, Damage::Forgotten);
        Self { engine: Arc::new(try_open(&disk, settings).unwrap()), disk, now: self.now }
    }

    pub(crate) fn at(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub(crate) fn write(&self, key: &str, record: Record) {
        write(&self.engine, key, record);
    }

    /// An SSTable of its own for these.
    pub(crate) fn table(&self, records: &[(&str, Record)]) {
        for (key, record) in records {
            self.write(key, record.clone());
        }
        flush(&self.engine);
    }

    /// A table so much larger than others that it is not merged with them.
    pub(crate) fn large_table(&self, record: Option<(&str, Record)>) {
        for number in 0..300 {
            self.write(&format!("a{number}"), plain(THEN - HOUR, "filler"));
        }
        self.write("z", plain(THEN - HOUR, "last"));
        if let Some((key, record)) = record {
            self.write(key, record);
        }
        flush(&self.engine);
    }

    pub(crate) fn merge(&self) {
        assert_eq!(self.engine.step(Step::Compact).unwrap(), StepOutcome::Worked);
    }

    /// A tombstone of "k", written and deleted then, and two tables to merge it with.
    pub(crate) fn tombstone(&self) {
        self.table(&[("k", tombstone(THEN, THEN))]);
        self.two_others();
    }

    pub(crate) fn two_others(&self) {
        self.table(&[("x", plain(THEN, "1"))]);
        self.table(&[("y", plain(THEN, "1"))]);
    }

    /// What is stored for "k", tombstones too.
    pub(crate) fn stored(&self) -> Option<Record> {
        everything(&self.engine).into_iter().find(|(key, _)| key == "k").map(|(_, record)| record)
    }
}

pub(crate) fn tombstone(timestamp: u64, deleted_at: u64) -> Record {
    Record::tombstone(Timestamp(timestamp), Timestamp(deleted_at))
}
