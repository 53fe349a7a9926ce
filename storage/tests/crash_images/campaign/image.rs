//! What is expected of a disk that a crash left behind.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use helenus_storage::{
    Engine, Error, Mutation, Options, Record, SNAPSHOTS_DIRECTORY, Step, StepOutcome, TableId, Timestamp,
    disk::{Damage, Disk, Fault, Repeat, SimulatedDisk},
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{
    DIRECTORY,
    oracle::{Oracle, Promise, Tables},
    watch::{WatchedDisk, names},
};

/// Crashes within the recovery from a crash, within its recovery, and so on.
const DEEPEST: u32 = 3;
/// One in so many operations of a recovery is cut.
const RECOVERY_CUTS: u32 = 20;

/// How the images of one place are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Examiner {
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) options: Options,
}

/// What was found: how many images, and what is wrong with the first that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) images: u64,
    /// As many of them were left by a crash during recovery.
    pub(crate) in_recovery: u64,
    pub(crate) violation: Option<String>,
}

impl Findings {
    fn add(&mut self, others: Self) {
        self.images += others.images;
        self.in_recovery += others.in_recovery;
        if self.violation.is_none() {
            self.violation = others.violation;
        }
    }
}

/// What is looked at beyond what was promised; one thing per image, to afford many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    Stays,
    Works,
    Snapshots,
    ReadFails,
}

impl Look {
    fn draw(random: &mut Xoshiro256PlusPlus) -> Self {
        match random.random_range(0..12) {
            0..3 => Self::Stays,
            3..5 => Self::Works,
            5..7 => Self::Snapshots,
            7 => Self::ReadFails,
            _ => Self::Nothing,
        }
    }
}

impl Examiner {
    /// Cuts the power and looks at what is left, now and after further cuts.
    pub(crate) fn cut(
        &self,
        disk: &SimulatedDisk,
        random: &mut Xoshiro256PlusPlus,
        only: Option<Damage>,
    ) -> Findings {
        let drawn = Damage::ALL[random.random_range(0..Damage::ALL.len())];
        let damage = only.unwrap_or(drawn);
        let kept = match damage {
            // A process that dies takes nothing with it that was acknowledged.
            Damage::ProcessOnly => Promise::Acknowledged,
            _ => Promise::Durable,
        };
        self.crash(disk, damage, kept, random, 0)
    }

    fn crash(
        &self,
        disk: &SimulatedDisk,
        damage: Damage,
        kept: Promise,
        random: &mut Xoshiro256PlusPlus,
        depth: u32,
    ) -> Findings {
        let image = disk.crash(random.random(), damage);
        let found =
            Arc::new(Mutex::new(Findings { images: 1, in_recovery: depth.min(1).into(), violation: None }));
        let outcome = self.examine(&image, kept, random, depth, &found);
        let mut found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        let violation = outcome.err().or(found.violation.take());
        found.violation = violation.map(|what| format!("{damage:?}: {what}"));
        found
    }

    fn examine(
        &self,
        image: &SimulatedDisk,
        kept: Promise,
        random: &mut Xoshiro256PlusPlus,
        depth: u32,
        found: &Arc<Mutex<Findings>>,
    ) -> Result<(), String> {
        let look = Look::draw(random);
        let before = (look == Look::ReadFails).then(|| image.crash(0, Damage::ProcessOnly));
        let has_opened = Arc::new(AtomicBool::new(false));
        let disk = self.watched(image, kept, random, depth, Arc::clone(found), Arc::clone(&has_opened));
        let engine = Engine::open(Arc::new(disk), Path::new(DIRECTORY), self.options.clone())
            .map_err(|error| format!("it does not open: {error}"))?;
        has_opened.store(true, Ordering::Relaxed);
        let reads = image.reads();
        is_tidy(image, &engine)?;
        let tables = self.oracle.check(&engine, kept)?;
        let snapshots = self.oracle.check_snapshots(&engine)?;
        if let (Some(before), 1..) = (before, reads) {
            return self.read_fails(&before, random.random_range(1..=reads), kept);
        }
        match look {
            Look::Stays => self.stays(image, &tables, random, found),
            Look::Works => self.works(image, &engine, &tables).map_err(|what| format!("going on: {what}")),
            Look::Snapshots => snapshots.iter().try_for_each(|name| self.keeps_snapshot(image, name)),
            Look::Nothing | Look::ReadFails => Ok(()),
        }
    }

    /// A read that fails once stops the start, which then succeeds.
    fn read_fails(&self, image: &SimulatedDisk, number: u64, kept: Promise) -> Result<(), String> {
        let open = || Engine::open(Arc::new(image.clone()), Path::new(DIRECTORY), self.options.clone());
        image.fail_at(number, Fault::Read, Repeat::Once);
        match open() {
            Err(Error::Io { .. }) => {}
            Err(other) => return Err(format!("read {number} failed once, and was taken for {other}")),
            Ok(_) => return Err(format!("read {number} failed once, and nobody noticed")),
        }
        let engine = open().map_err(|error| format!("after a read that failed it does not open: {error}"))?;
        self.oracle.check(&engine, kept).map_err(|what| format!("after a read that failed: {what}"))?;
        Ok(())
    }

    /// A snapshot is a data directory that holds what was acknowledged when it was asked for.
    fn keeps_snapshot(&self, image: &SimulatedDisk, name: &str) -> Result<(), String> {
        let copy = image.crash(0, Damage::ProcessOnly);
        let directory = Path::new(DIRECTORY).join(SNAPSHOTS_DIRECTORY).join(name);
        let oracle = self.oracle.of_snapshot(name).ok_or("nobody asked for it")?;
        Engine::open(Arc::new(copy), &directory, self.options.clone())
            .map_err(|error| error.to_string())
            .and_then(|engine| oracle.check(&engine, Promise::Acknowledged))
            .map(drop)
            .map_err(|what| format!("snapshot {name}: {what}"))
    }

    /// A disk that crashes again at some operations of the recovery.
    fn watched(
        &self,
        image: &SimulatedDisk,
        kept: Promise,
        random: &mut Xoshiro256PlusPlus,
        depth: u32,
        found: Arc<Mutex<Findings>>,
        has_opened: Arc<AtomicBool>,
    ) -> WatchedDisk {
        let chance = Mutex::new(Xoshiro256PlusPlus::seed_from_u64(random.random()));
        let (examiner, disk) = (self.clone(), image.clone());
        let watcher = move |number| {
            // What goes on after recovery has other promises than these.
            if has_opened.load(Ordering::Relaxed) {
                return;
            }
            if depth >= DEEPEST {
                return;
            }
            let mut random = chance.lock().unwrap_or_else(PoisonError::into_inner);
            if !random.random_ratio(1, RECOVERY_CUTS) {
                return;
            }
            let damage = Damage::ALL[random.random_range(0..Damage::ALL.len())];
            let kept = if damage == Damage::ProcessOnly { kept } else { Promise::Durable };
            let mut inner = examiner.crash(&disk, damage, kept, &mut random, depth + 1);
            inner.violation =
                inner.violation.map(|what| format!("again at operation {number} of recovery, {what}"));
            found.lock().unwrap_or_else(PoisonError::into_inner).add(inner);
        };
        WatchedDisk::new(image.clone(), Arc::new(watcher))
    }

    /// What was read after a crash is there after the next one too, whatever that one is, and nothing else is.
    fn stays(
        &self,
        image: &SimulatedDisk,
        tables: &Tables,
        random: &mut Xoshiro256PlusPlus,
        found: &Arc<Mutex<Findings>>,
    ) -> Result<(), String> {
        let damage = Damage::ALL[random.random_range(0..Damage::ALL.len())];
        let image = image.crash(random.random(), damage);
        found.lock().unwrap_or_else(PoisonError::into_inner).images += 1;
        let open = || Engine::open(Arc::new(image.clone()), Path::new(DIRECTORY), self.options.clone());
        let engine =
            open().map_err(|error| format!("after one more crash, {damage:?}, it does not open: {error}"))?;
        if self.oracle.read_tables(&engine)? == *tables {
            Ok(())
        } else {
            Err(format!("after one more crash, {damage:?}, it holds something else"))
        }
    }

    /// It writes, flushes and merges, which changes nothing of what it holds; files and log shrink to their bounds.
    fn works(&self, image: &SimulatedDisk, engine: &Engine, tables: &Tables) -> Result<(), String> {
        let table = TableId(1000);
        let record = Record::plain(Timestamp(1), &b"alive"[..]);
        self.go_on(engine, table, &record).map_err(|error| error.to_string())?;
        is_tidy(image, engine)?;
        let left = names(image, Path::new(DIRECTORY));
        let segments = left.iter().filter(|name| name.ends_with(".log")).count();
        if segments > 2 {
            return Err(format!("{segments} segments of the log remain after a flush of everything"));
        }
        if engine.get(table, b"probe").map_err(|error| error.to_string())? != Some(record) {
            return Err("a new record is not there".to_owned());
        }
        for (id, records) in tables {
            let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let found = engine.scan(*id, everything, usize::MAX).map_err(|error| error.to_string())?;
            let found: BTreeMap<_, _> = found.into_iter().collect();
            let is_kept = |(key, record)| self.oracle.may_be_left(record, found.get(key));
            if !records.iter().all(is_kept) || !found.keys().all(|key| records.contains_key(key)) {
                return Err(format!("flushing and merging changed table {}", id.0));
            }
        }
        Ok(())
    }

    fn go_on(&self, engine: &Engine, table: TableId, record: &Record) -> Result<(), Error> {
        engine.create_table(table)?;
        engine.switch_memtables()?;
        while engine.step(Step::Flush)? == StepOutcome::Worked {}
        let ticket = engine.apply(table, Mutation::single("probe", record.clone()))?;
        engine.step(Step::Commit)?;
        ticket.wait()?;
        engine.switch_memtables()?;
        while engine.step(Step::Flush)? == StepOutcome::Worked {}
        while engine.step(Step::Compact)? == StepOutcome::Worked {}
        Ok(())
    }
}

/// Nothing lies in the directory that nobody knows, and no file is listed twice.
pub(crate) fn is_tidy(image: &SimulatedDisk, engine: &Engine) -> Result<(), String> {
    let names = names(image, Path::new(DIRECTORY));
    let count = |suffix: &str| names.iter().filter(|name| name.ends_with(suffix)).count() as u64;
    let manifests = names.iter().filter(|name| name.starts_with("manifest-")).count();
    let known = engine.counters().sstables;
    if count(".tmp") > 0 || count(".sst") != known || manifests != 1 {
        return Err(format!("{known} tables are live, and the directory holds {names:?}"));
    }
    let snapshots = image.list_directories(&Path::new(DIRECTORY).join(SNAPSHOTS_DIRECTORY));
    let whole = engine.snapshots().map_err(|error| error.to_string())?.len();
    match snapshots.map_or(0, |names| names.len()) {
        there if there != whole => Err(format!("{there} directories of snapshots, {whole} snapshots")),
        _ => Ok(()),
    }
}
