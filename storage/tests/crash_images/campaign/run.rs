//! One run of a workload, with the power cut at its operations, or a fault at one of them.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use helenus_storage::{
    Clock, Engine, Error, Options, Step, Ticket, Timestamp,
    disk::{Damage, Disk, Fault, SimulatedDisk},
};
use rand::RngExt;

use super::{
    DIRECTORY,
    image::{Examiner, Findings},
    oracle::{Oracle, Promise},
    place::{Place, Strike},
    watch::WatchedDisk,
    workload::{Action, Workload},
};

/// In a run with a fault, one in so many operations is cut.
const CUTS_AFTER_FAULT: u32 = 6;
/// Actions after which an engine that is poisoned is started again, so that it has a chance to acknowledge.
const ACTIONS_WHEN_POISONED: u32 = 3;
/// Failures after which a fault that strikes for ever goes away, while the engine is open.
const FAILURES: u32 = 12;

/// Which cuts of a run are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Only {
    /// At this operation only.
    pub(crate) operation: Option<u64>,
    /// With this damage only.
    pub(crate) damage: Option<Damage>,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) images: u64,
    pub(crate) in_recovery: u64,
    pub(crate) operations: u64,
    pub(crate) durable: usize,
    /// Where it went wrong first, and how.
    pub(crate) violation: Option<(Place, String)>,
}

/// Runs a workload and looks at what a power cut at each of its operations leaves; at some, if a fault strikes.
pub(crate) fn run(seed: u64, workload: &Workload, strike: Option<Strike>, only: Only) -> Outcome {
    let disk = SimulatedDisk::new(seed);
    let clock = Arc::<AtomicU64>::default();
    let asked = Arc::clone(&clock);
    let time = Clock::new(move || Timestamp(asked.load(Ordering::Relaxed)));
    let options = Options { clock: Some(time), ..workload.options.clone() };
    let workload = &Workload { options, ..workload.clone() };
    let record = Arc::new(Mutex::new(Record {
        seed,
        strike,
        only,
        operations_before: 0,
        oracle: Arc::new(Oracle::new(&workload.options)),
        waiting: Vec::new(),
        acknowledged_when_poisoned: false,
        cancels: false,
        outcome: Outcome::default(),
    }));
    if let Some(strike) = strike {
        strike.arm(&disk);
    }
    let mut run = Run { disk, record, workload, clock, engine: None, poisoned_for: 0, failures: 0 };
    if let Err(what) = run.go() {
        let mut record = run.record();
        let operation = record.operations_before + run.disk.operations();
        record.report(operation, what);
    }
    let operation = run.record().operations_before + run.disk.operations() + 1;
    run.record().cut(&run.disk, operation, workload, true);
    let mut record = run.record();
    record.outcome.operations = operation - 1;
    record.outcome.durable = record.oracle.promised(Promise::Durable);
    std::mem::take(&mut record.outcome)
}

/// What is known while the run goes on. The watcher of the disk has it too.
struct Record {
    seed: u64,
    strike: Option<Strike>,
    only: Only,
    /// Operations of the disk before its last restart.
    operations_before: u64,
    oracle: Arc<Oracle>,
    waiting: Vec<(usize, Ticket)>,
    acknowledged_when_poisoned: bool,
    /// Whether merges are cancelled as soon as they touch the disk.
    cancels: bool,
    outcome: Outcome,
}

impl Record {
    fn place(&self, operation: u64) -> Place {
        Place { seed: self.seed, strike: self.strike, operation }
    }

    fn report(&mut self, operation: u64, what: String) {
        if self.outcome.violation.is_none() {
            self.outcome.violation = Some((self.place(operation), what));
        }
    }

    fn cut(&mut self, disk: &SimulatedDisk, operation: u64, workload: &Workload, is_last: bool) {
        if self.outcome.violation.is_some() || self.only.operation.is_some_and(|only| only != operation) {
            return;
        }
        let mut random = self.place(operation).random();
        if self.strike.is_some() && !is_last && !random.random_ratio(1, CUTS_AFTER_FAULT) {
            return;
        }
        let examiner = Examiner { oracle: Arc::clone(&self.oracle), options: workload.options.clone() };
        let Findings { images, in_recovery, violation } = examiner.cut(disk, &mut random, self.only.damage);
        self.outcome.images += images;
        self.outcome.in_recovery += in_recovery;
        if let Some(what) = violation {
            self.report(operation, what);
        }
    }

    fn collect_tickets(&mut self, was_poisoned: bool) {
        let mut context = Context::from_waker(Waker::noop());
        let oracle = Arc::make_mut(&mut self.oracle);
        let acknowledged_when_poisoned = &mut self.acknowledged_when_poisoned;
        self.waiting.retain_mut(|(number, ticket)| match Pin::new(ticket).poll(&mut context) {
            Poll::Ready(Ok(_)) => {
                oracle.acknowledged(*number);
                *acknowledged_when_poisoned |= was_poisoned;
                false
            }
            Poll::Ready(Err(error)) => {
                if error.is_harmless() {
                    oracle.refused(*number);
                }
                false
            }
            Poll::Pending => true,
        });
    }
}

struct Run<'a> {
    disk: SimulatedDisk,
    record: Arc<Mutex<Record>>,
    workload: &'a Workload,
    clock: Arc<AtomicU64>,
    engine: Option<Arc<Engine>>,
    poisoned_for: u32,
    failures: u32,
}

impl Run<'_> {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go(&mut self) -> Result<(), String> {
        self.start(Promise::Durable)?;
        for action in &self.workload.actions {
            self.act(action)?;
            if self.record().outcome.violation.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<Arc<Engine>, Error> {
        let place = Arc::new(OnceLock::<Weak<Engine>>::new());
        let known = Arc::clone(&place);
        let (disk, record, workload) =
            (self.disk.clone(), Arc::downgrade(&self.record), self.workload.clone());
        let watcher = move |operation| {
            let Some(record) = record.upgrade() else { return };
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.collect_tickets(false);
            if let (true, Some(engine)) = (record.cancels, known.get().and_then(Weak::upgrade)) {
                for merge in engine.compactions() {
                    engine.cancel_compaction(merge.id);
                }
            }
            let operation = record.operations_before + operation;
            record.cut(&disk, operation, &workload, false);
        };
        let disk: Arc<dyn Disk> = Arc::new(WatchedDisk::new(self.disk.clone(), Arc::new(watcher)));
        let engine = Engine::open(disk, Path::new(DIRECTORY), self.workload.options.clone())?;
        let engine = Arc::new(engine);
        let _ = place.set(Arc::downgrade(&engine));
        Ok(engine)
    }

    /// Opens the engine, with the fault or after it has gone, and holds it against the oracle.
    fn start(&mut self, kept: Promise) -> Result<(), String> {
        self.engine = None;
        let engine = match self.open() {
            Err(Error::Corrupt { path, offset, what }) => {
                return Err(format!("started again: {} is damaged at {offset}: {what}", path.display()));
            }
            Err(_) if self.record().strike.is_some() => {
                self.disk.repair();
                self.open().map_err(|error| format!("started again, without faults: {error}"))?
            }
            opened => opened.map_err(|error| format!("started again: {error}"))?,
        };
        let mut record = self.record();
        let found = record.oracle.check(&engine, kept).map_err(|what| format!("started again: {what}"))?;
        let snapshots = match record.oracle.check_snapshots(&engine) {
            // The fault may have struck that.
            Err(_) if record.strike.is_some() => {
                self.disk.repair();
                record.oracle.check_snapshots(&engine)
            }
            found => found,
        };
        let snapshots = snapshots.map_err(|what| format!("started again: {what}"))?;
        Arc::make_mut(&mut record.oracle).recovered(&found, &snapshots);
        record.waiting.clear();
        drop(record);
        self.engine = Some(engine);
        self.poisoned_for = 0;
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Close => {
                let engine = self.engine.take().ok_or("no engine")?;
                if engine.close().is_ok() {
                    let mut record = self.record();
                    record.collect_tickets(false);
                    Arc::make_mut(&mut record.oracle).synced();
                }
                drop(engine);
                return self.start(Promise::Acknowledged);
            }
            Action::Die => return self.start(Promise::Acknowledged),
            Action::PowerCut(seed, damage) => return self.power_cut(*seed, *damage),
            _ => {}
        }
        let engine = Arc::clone(self.engine.as_ref().ok_or("no engine")?);
        let was_poisoned = engine.poisoned().is_some();
        let outcome = self.ask(&engine, action);
        let poisoned = engine.poisoned();
        let is_poisoned = poisoned.is_some();
        // A restart needs its lock.
        drop(engine);
        let mut record = self.record();
        record.collect_tickets(was_poisoned);
        if record.acknowledged_when_poisoned {
            return Err(
                "something was acknowledged after a failure that leaves unknown what is durable".into()
            );
        }
        drop(record);
        self.failures += u32::from(outcome.is_err());
        if self.failures == FAILURES {
            self.disk.repair();
        }
        match outcome {
            Err(Error::Corrupt { path, offset, what }) => {
                return Err(format!("{} is damaged at {offset}: {what}", path.display()));
            }
            Err(error) if self.record().strike.is_none() && !is_poisoned => {
                return Err(format!("{action:?}, without a fault: {error}"));
            }
            // A second try could succeed without making up for the first.
            Err(error)
                if matches!(action, Action::Step(Step::Commit | Step::Sync))
                    && !is_poisoned
                    && !error.is_harmless() =>
            {
                return Err(format!("{action:?} failed, and the engine goes on: {error}"));
            }
            Ok(()) | Err(_) => {}
        }
        if is_poisoned {
            self.poisoned_for += 1;
            let strike = self.record().strike;
            if strike.is_some_and(|strike| matches!(strike.fault, Fault::NoSpace | Fault::Files)) {
                return Err(format!("want of room poisoned it: {poisoned:?}"));
            }
            if self.record().strike.is_none() {
                return Err(format!("it is poisoned without a fault: {poisoned:?}"));
            }
            if self.poisoned_for >= ACTIONS_WHEN_POISONED {
                return self.start(Promise::Durable);
            }
        }
        Ok(())
    }

    fn ask(&self, engine: &Engine, action: &Action) -> Result<(), Error> {
        match action {
            Action::CreateTable(table) => {
                self.oracle(|oracle| oracle.table_creation_started(*table));
                engine.create_table(*table)?;
                self.oracle(|oracle| oracle.table_created(*table));
            }
            Action::Apply(batch) => {
                let number = self.oracle(|oracle| oracle.queued(batch));
                match engine.apply_batch(batch) {
                    Ok(ticket) => self.record().waiting.push((number, ticket)),
                    Err(refusal) => {
                        self.oracle(|oracle| oracle.refused(number));
                        return match refusal {
                            Error::Overloaded { .. } => {
                                engine.step(Step::Flush)?;
                                engine.step(Step::Compact).map(drop)
                            }
                            Error::MutationTooLarge { .. } | Error::NoSuchTable(_) => Ok(()),
                            other => Err(other),
                        };
                    }
                }
            }
            Action::Step(Step::Sync) => {
                engine.step(Step::Sync)?;
                self.oracle(Oracle::synced);
            }
            Action::Step(step) => {
                engine.step(*step)?;
            }
            Action::DropTable(table) => {
                self.oracle(|oracle| oracle.table_drop_started(*table));
                match engine.drop_table(*table) {
                    Err(Error::NoSuchTable(_)) => {}
                    outcome => {
                        outcome?;
                        self.oracle(|oracle| oracle.table_dropped(*table));
                    }
                }
            }
            Action::CompactTable(table) => match engine.compact_table(*table) {
                Err(Error::NoSuchTable(_)) => {}
                outcome => outcome?,
            },
            Action::CancelledCompact => {
                self.record().cancels = true;
                let outcome = engine.step(Step::Compact);
                self.record().cancels = false;
                outcome?;
            }
            Action::Time(now) => {
                self.clock.fetch_max(*now, Ordering::Relaxed);
                self.oracle(|oracle| oracle.time(*now));
            }
            Action::Snapshot(name) => {
                self.oracle(|oracle| oracle.snapshot_started(name));
                engine.snapshot(name)?;
                self.oracle(|oracle| oracle.snapshot_made(name));
            }
            Action::ClearSnapshot(name) => {
                let was_sure = self.oracle(|oracle| oracle.snapshot_clearing(name));
                match engine.clear_snapshot(name) {
                    Err(Error::NoSuchSnapshot { .. }) if !was_sure => {}
                    outcome => outcome?,
                }
                self.oracle(|oracle| oracle.snapshot_cleared(name));
            }
            Action::SwitchMemtables => engine.switch_memtables()?,
            Action::Close | Action::Die | Action::PowerCut(..) => {}
        }
        Ok(())
    }

    fn power_cut(&mut self, seed: u64, damage: Damage) -> Result<(), String> {
        self.engine = None;
        let operations = self.disk.operations();
        self.disk.restart(seed, damage);
        let mut record = self.record();
        record.operations_before += operations;
        if damage != Damage::ProcessOnly {
            Arc::make_mut(&mut record.oracle).power_cut();
        }
        drop(record);
        self.start(Promise::Acknowledged)
    }

    fn oracle<T>(&self, note: impl FnOnce(&mut Oracle) -> T) -> T {
        note(Arc::make_mut(&mut self.record().oracle))
    }
}
