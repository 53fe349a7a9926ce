//! What an engine acknowledged survives a power cut at any disk operation, also one during the recovery from the
//! first; nothing comes back that was not written; and after an I/O error it never acknowledges what may be lost.
//!
//! The loop is SQLite's: run a seeded workload once to count its disk operations, then again for each operation
//! with the power cut in its middle, look at what each kind of damage leaves, open it, compare with the oracle.
//!
//! For longer runs by hand:
//!
//! | variable        | default | meaning                                            |
//! |-----------------|---------|----------------------------------------------------|
//! | `CRASH_SEED`    | 1       | first seed                                         |
//! | `CRASH_SEEDS`   | 3       | workloads per test                                 |
//! | `CRASH_ACTIONS` | 400     | actions per workload                               |
//! | `CRASH_STRIDE`  | 1       | every how many operations the power is cut         |
//! | `CRASH_DAMAGES` | 1       | kinds of damage per cut (of 12), rotating          |

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    ops::Range,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use helenus_storage::{
    Engine, Error, Mutation, Record, Step, SyncMode, TableId, Ticket, Timestamp,
    disk::{Damage, Disk, Fault, Repeat, SimulatedDisk},
    engine::EngineCounters,
};

use oracle::{Oracle, Promise};
use workload::{Action, actions, options};

mod oracle;
mod workload;

const DIRECTORY: &str = "/data";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// Whether this is not the suite's own setting, for which alone it is known how much the workloads do.
fn by_hand() -> bool {
    std::env::vars().any(|(name, _)| name.starts_with("CRASH_"))
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = setting("CRASH_SEED", 1);
    first..first + setting("CRASH_SEEDS", 3)
}

fn length() -> usize {
    setting("CRASH_ACTIONS", 400) as usize
}

fn open(disk: &SimulatedDisk, sync_mode: SyncMode) -> Result<Engine, Error> {
    Engine::open(Arc::new(disk.clone()), Path::new(DIRECTORY), options(sync_mode))
}

/// A run of a workload on a disk, up to the first error or past all of them.
struct Run {
    oracle: Oracle,
    waiting: Vec<(Range<usize>, Ticket)>,
    /// Tickets that became ready after the engine said that it is poisoned.
    acknowledged_when_poisoned: usize,
    counters: EngineCounters,
    /// What ended it early.
    stopped: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    GoOn,
}

impl Run {
    fn new(sync_mode: SyncMode) -> Self {
        Self {
            oracle: Oracle::new(sync_mode),
            waiting: Vec::new(),
            acknowledged_when_poisoned: 0,
            counters: EngineCounters::default(),
            stopped: None,
        }
    }

    fn of(disk: &SimulatedDisk, seed: u64, sync_mode: SyncMode, on_error: OnError) -> Self {
        let mut run = Self::new(sync_mode);
        let engine = match (open(disk, sync_mode), on_error) {
            (Ok(engine), _) => engine,
            (Err(_), OnError::Stop) => return run,
            // The operator starts it again.
            (Err(_), OnError::GoOn) => open(disk, sync_mode).expect("the fault strikes once"),
        };
        for action in actions(seed, length()) {
            let poisoned = engine.poisoned().is_some();
            let outcome = run.act(&engine, action);
            run.collect_tickets(poisoned);
            if let (Err(error), OnError::Stop) = (outcome, on_error) {
                run.stopped = Some(error);
                break;
            }
        }
        run.counters = engine.counters();
        run
    }

    fn act(&mut self, engine: &Engine, action: Action) -> Result<(), Error> {
        match action {
            Action::CreateTable(table) => {
                self.oracle.table_creation_started(table);
                engine.create_table(table)?;
                self.oracle.table_created(table);
            }
            Action::DropTable(table) => {
                self.oracle.table_drop_started(table);
                engine.drop_table(table)?;
                self.oracle.table_dropped(table);
            }
            Action::Apply(batch) => {
                let ticket = match engine.apply_batch(batch.clone()) {
                    Err(Error::Overloaded { .. }) => {
                        engine.step(Step::Flush)?;
                        return Ok(());
                    }
                    outcome => outcome?,
                };
                self.waiting.push((self.oracle.queued(batch), ticket));
            }
            Action::Step(Step::Sync) => {
                engine.step(Step::Sync)?;
                self.oracle.synced();
            }
            Action::Step(step) => {
                engine.step(step)?;
            }
            Action::SwitchMemtables => engine.switch_memtables()?,
        }
        Ok(())
    }

    fn collect_tickets(&mut self, poisoned: bool) {
        let mut context = Context::from_waker(Waker::noop());
        self.waiting.retain_mut(|(numbers, ticket)| match Pin::new(ticket).poll(&mut context) {
            Poll::Ready(outcome) => {
                match outcome {
                    Ok(()) => {
                        self.oracle.acknowledged(numbers.clone());
                        self.acknowledged_when_poisoned += usize::from(poisoned);
                    }
                    Err(Error::StorageFull { .. }) => self.oracle.refused(numbers.clone()),
                    Err(_) => {}
                }
                false
            }
            Poll::Pending => true,
        });
    }
}

/// Opens what is left and holds it against the oracle; opened again it must be the same, and work. Answers how
/// many disk operations recovery took.
fn verify(disk: &SimulatedDisk, oracle: &Oracle, kept: Promise, sync_mode: SyncMode) -> Result<u64, String> {
    let engine = open(disk, sync_mode).map_err(|error| format!("it does not open: {error}"))?;
    let recovery_operations = disk.operations();
    oracle.check(&engine, kept)?;
    drop(engine);
    let engine = open(disk, sync_mode).map_err(|error| format!("it does not open again: {error}"))?;
    oracle.check(&engine, kept).map_err(|error| format!("opened again: {error}"))?;
    works(&engine).map_err(|error| format!("it does not work: {error}"))?;
    Ok(recovery_operations)
}

/// Writes, reads, flushes and merges.
fn works(engine: &Engine) -> Result<(), Error> {
    let table = TableId(1000);
    engine.create_table(table)?;
    let record = Record::plain(Timestamp(1), &b"alive"[..]);
    let ticket = engine.apply(table, Mutation::single("probe", record.clone()))?;
    engine.step(Step::Commit)?;
    ticket.wait()?;
    engine.switch_memtables()?;
    while engine.step(Step::Flush)? == helenus_storage::StepOutcome::Worked {}
    engine.step(Step::Compact)?;
    assert_eq!(engine.get(table, b"probe")?, Some(record));
    Ok(())
}

/// Cuts the power in the middle of operation `number` of the workload, then again during recovery.
fn crash(seed: u64, number: u64, damages: &[Damage], sync_mode: SyncMode) {
    let disk = SimulatedDisk::new(seed);
    disk.crash_at(number);
    let run = Run::of(&disk, seed, sync_mode, OnError::Stop);
    assert!(disk.is_off(), "the workload is not deterministic: it has fewer operations than before");
    for (turn, damage) in damages.iter().enumerate() {
        let damage_seed = seed << 32 | number << 4 | turn as u64;
        let kept = match damage {
            // A process that dies takes nothing with it that was acknowledged.
            Damage::ProcessOnly => Promise::Acknowledged,
            _ => Promise::Durable,
        };
        let image = disk.crash(damage_seed, *damage);
        let failed = |what: &str, error: String| -> ! {
            panic!("seed {seed}, operation {number}, {damage:?} (seed {damage_seed}), {what}: {error}")
        };
        let recovery_operations =
            verify(&image, &run.oracle, kept, sync_mode).unwrap_or_else(|error| failed("crash", error));

        let image = disk.crash(damage_seed, *damage);
        let again = 1 + damage_seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % recovery_operations.max(1);
        image.crash_at(again);
        drop(open(&image, sync_mode));
        let second = Damage::ALL[(number as usize + turn * 5 + 3) % Damage::ALL.len()];
        let image = image.crash(damage_seed, second);
        verify(&image, &run.oracle, kept.max(Promise::Durable), sync_mode).unwrap_or_else(|error| {
            failed(&format!("crash again at operation {again} of recovery, {second:?}"), error)
        });
    }
}

fn crash_everywhere(seeds: impl Iterator<Item = u64>, sync_mode: SyncMode, at_least: u64) {
    let stride = setting("CRASH_STRIDE", 1);
    let per_cut = setting("CRASH_DAMAGES", 1) as usize;
    let mut points = 0;
    for seed in seeds {
        let disk = SimulatedDisk::new(seed);
        let run = Run::of(&disk, seed, sync_mode, OnError::Stop);
        assert!(run.stopped.is_none(), "without a fault: {:?}", run.stopped);
        assert!(run.waiting.is_empty(), "the workload ends with a commit");
        assert!(run.oracle.promised(Promise::Durable) > length() / 3, "the workload does something");
        let EngineCounters { flushes, compactions, commit_log_written_bytes, .. } = run.counters;
        let segments = commit_log_written_bytes / options(sync_mode).segment_bytes;
        let recycled = run.counters.segments_recycled;
        let work =
            format!("{flushes} flushes, {compactions} merges, {segments} segments, {recycled} recycled");
        let is_enough = flushes > 5 && compactions > 1 && segments > 3 && recycled > 0;
        assert!(is_enough || by_hand(), "seed {seed}: only {work}");
        println!("seed {seed}: {} operations, {work}", disk.operations());
        for number in (1..=disk.operations()).step_by(stride as usize) {
            let first = number as usize * per_cut + seed as usize;
            let damages: Vec<_> =
                (0..per_cut).map(|turn| Damage::ALL[(first + turn) % Damage::ALL.len()]).collect();
            crash(seed, number, &damages, sync_mode);
            points += 1;
        }
    }
    println!("{points} crash points");
    assert!(points >= at_least || by_hand(), "{points} crash points only");
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_operation() {
    crash_everywhere(seeds(), SyncMode::Group, 1000);
}

#[test]
fn in_periodic_mode_what_was_synced_survives_a_power_cut_at_any_operation() {
    crash_everywhere(seeds().step_by(3), SyncMode::Periodic, 300);
}

/// Lets one operation fail, goes on with the workload, then cuts the power.
fn fail(seed: u64, number: u64, fault: Fault, sync_mode: SyncMode) {
    let disk = SimulatedDisk::new(seed ^ number);
    disk.fail_at(number, fault, Repeat::Once);
    let run = Run::of(&disk, seed, sync_mode, OnError::GoOn);
    let place = format!("seed {seed}, operation {number}, {fault:?}");
    assert_eq!(run.acknowledged_when_poisoned, 0, "{place}: acknowledged after a failed sync");
    for damage in [Damage::Forgotten, Damage::Subset, Damage::ProcessOnly] {
        let image = disk.crash(number, damage);
        verify(&image, &run.oracle, Promise::Durable, sync_mode)
            .unwrap_or_else(|error| panic!("{place}, {damage:?}: {error}"));
    }
    // The process starts again, on a page cache that forgot what it owes; then the power fails.
    let image = disk.crash(number, Damage::ProcessOnly);
    drop(open(&image, sync_mode).unwrap_or_else(|error| panic!("{place}, restarted: {error}")));
    let image = image.crash(number, Damage::Forgotten);
    verify(&image, &run.oracle, Promise::Durable, sync_mode)
        .unwrap_or_else(|error| panic!("{place}, restarted, then a power cut: {error}"));
}

/// Lets the disk be full from one operation on, for a while: nothing is poisoned, and all goes on afterwards.
fn fill(seed: u64, number: u64, sync_mode: SyncMode) -> bool {
    let disk = SimulatedDisk::new(seed);
    let place = format!("seed {seed}, full from operation {number} on");
    let engine = open(&disk, sync_mode).unwrap();
    disk.fail_at(number, Fault::NoSpace, Repeat::Forever);
    let mut run = Run::new(sync_mode);
    let actions = actions(seed, length());
    let (mut refused, mut full_for) = (0, 0);
    for action in actions {
        match run.act(&engine, action) {
            Ok(()) | Err(Error::NoSuchTable(_)) => {}
            Err(Error::StorageFull { .. }) => refused += 1,
            Err(error) => panic!("{place}: {error}"),
        }
        run.collect_tickets(false);
        full_for += usize::from(refused > 0);
        if full_for == length() / 4 {
            disk.make_room();
        }
    }
    assert_eq!(engine.poisoned(), None, "{place}");
    run.oracle.check(&engine, Promise::Acknowledged).unwrap_or_else(|error| panic!("{place}: {error}"));
    for damage in [Damage::Forgotten, Damage::Subset, Damage::BothNames] {
        let image = disk.crash(number, damage);
        verify(&image, &run.oracle, Promise::Durable, sync_mode)
            .unwrap_or_else(|error| panic!("{place}, {damage:?}: {error}"));
    }
    refused > 0
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let mut refused = 0;
    for seed in seeds() {
        let disk = SimulatedDisk::new(seed);
        Run::of(&disk, seed, SyncMode::Group, OnError::Stop);
        for number in (20..=disk.operations()).step_by(23) {
            let sync_mode = if number % 2 == 0 { SyncMode::Group } else { SyncMode::Periodic };
            refused += usize::from(fill(seed, number, sync_mode));
        }
    }
    assert!(refused > 30, "only {refused} workloads met a full disk");
}

#[test]
fn after_an_error_of_the_disk_all_that_was_acknowledged_is_durable() {
    for seed in seeds() {
        let disk = SimulatedDisk::new(seed);
        Run::of(&disk, seed, SyncMode::Group, OnError::Stop);
        for number in (1..=disk.operations()).step_by(7) {
            let fault = [Fault::Io, Fault::Sync, Fault::NoSpace][(number / 7) as usize % 3];
            fail(seed, number, fault, SyncMode::Group);
        }
    }
}

#[test]
fn a_read_that_fails_once_harms_nothing() {
    for seed in seeds() {
        let disk = SimulatedDisk::new(seed);
        let run = Run::of(&disk, seed, SyncMode::Group, OnError::Stop);
        let image = disk.crash(seed, Damage::Forgotten);
        drop(open(&image, SyncMode::Group).unwrap());
        for number in (1..=image.reads()).step_by(3) {
            let image = disk.crash(seed, Damage::Forgotten);
            image.fail_at(number, Fault::Read, Repeat::Once);
            let opened = open(&image, SyncMode::Group);
            assert!(opened.is_err(), "seed {seed}, read {number}: the error was swallowed");
            drop(opened);
            verify(&image, &run.oracle, Promise::Durable, SyncMode::Group)
                .unwrap_or_else(|error| panic!("seed {seed}, read {number}: {error}"));
        }
    }
}

/// A closed engine's disk, and what it promised.
fn closed(seed: u64) -> (SimulatedDisk, Oracle) {
    let disk = SimulatedDisk::new(seed);
    let engine = open(&disk, SyncMode::Group).unwrap();
    let mut run = Run::new(SyncMode::Group);
    for action in actions(seed, length()) {
        run.act(&engine, action).unwrap();
        run.collect_tickets(false);
    }
    engine.close().unwrap();
    drop(engine);
    (disk.crash(seed, Damage::Forgotten), run.oracle)
}

/// After a change behind its back the engine names damage, on opening or on reading, or has everything.
fn named_or_harmless(disk: &SimulatedDisk, oracle: &Oracle, what: &str) -> bool {
    let answer = match open(disk, SyncMode::Group) {
        Ok(engine) => oracle.check(&engine, Promise::Durable),
        Err(Error::Corrupt { .. }) => return true,
        Err(error) => panic!("{what}: {error:?} does not name damage"),
    };
    match answer {
        Ok(()) => false,
        Err(error) if error.contains("is damaged at offset") => true,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn rot_in_any_file_of_a_closed_engine_is_named_or_harmless() {
    for seed in seeds() {
        let (disk, oracle) = closed(seed);
        let mut named = 0;
        for path in disk.files() {
            let length = disk.contents(&path).unwrap().len();
            for offset in (0..length).step_by(length / 60 + 1) {
                let image = disk.crash(0, Damage::ProcessOnly);
                image.flip_bit(&path, offset, offset as u8).unwrap();
                let what = format!("seed {seed}, {}: a bit of byte {offset} flipped", path.display());
                named += usize::from(named_or_harmless(&image, &oracle, &what));
            }
        }
        assert!(named > 100, "seed {seed}: only {named} cases noticed");
    }
}

#[test]
fn a_missing_or_shortened_file_of_a_closed_engine_is_named_or_harmless() {
    for seed in seeds() {
        let (disk, oracle) = closed(seed);
        for path in disk.files() {
            let length = disk.contents(&path).unwrap().len();
            for kept in [None, Some(0), Some(length / 2), Some(length.saturating_sub(1))] {
                let image = disk.crash(0, Damage::ProcessOnly);
                match kept {
                    Some(kept) => image.truncate(&path, kept).unwrap(),
                    None => image.remove(&path).unwrap(),
                }
                let what = format!("seed {seed}, {} cut to {kept:?}", path.display());
                named_or_harmless(&image, &oracle, &what);
            }
        }
    }
}
