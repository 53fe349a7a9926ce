//! What operators have one node do with its own storage.

mod meter;

use std::{
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use helenus_storage::{Engine, Error, ScrubReport, Snapshot, Step, StepOutcome, TableId, TableStats};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use meter::Meter;

use super::{known_cluster::KnownCluster, local_store::LocalStore};

/// Tasks at once, those that wait included; drains, which end the others, have as much room of their own.
const MOST_TASKS: usize = 16;
/// Longest rest of a scrub before it looks whether the node stops.
const NAP: Duration = Duration::from_millis(50);

/// Is told how many bytes of a table are done, none while others are waited for, and says whether to go on.
type GoOn<'a> = &'a dyn Fn(u64) -> bool;

/// A task of upkeep. Where a table is named, all tables are meant without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upkeep {
    /// Write what is in memory to SSTables.
    Flush {
        /// Name of the table.
        table: Option<String>,
    },
    /// Merge all SSTables of a table.
    Compact {
        /// Name of the table.
        table: Option<String>,
    },
    /// Read all SSTables and verify every checksum.
    Scrub {
        /// How fast, at most.
        bytes_per_second: u64,
    },
    /// Write all that is in memory to SSTables, in a node that takes no more requests. It merges and verifies SSTables no
    /// more, so that it can be stopped at any time.
    Drain,
    /// Make a snapshot of all tables.
    MakeSnapshot {
        /// Its name.
        name: String,
    },
    /// List the snapshots.
    ListSnapshots,
    /// Remove a snapshot.
    ClearSnapshot {
        /// Its name.
        name: String,
    },
}

/// A task for which there is room.
#[derive(Debug)]
pub struct AdmittedUpkeep {
    task: Upkeep,
    _room: OwnedSemaphorePermit,
}

impl AdmittedUpkeep {
    /// What is to be done.
    pub fn task(&self) -> &Upkeep {
        &self.task
    }
}

/// What came of a task.
#[derive(Debug, Clone)]
pub enum UpkeepOutcome {
    /// What was asked is done.
    Done,
    /// The snapshots that were made, or that there are.
    Snapshots(Vec<Snapshot>),
    /// What was found.
    Scrubbed(ScrubReport),
}

/// Why upkeep was not done, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The node knows no such table.
    #[error("there is no table `{0}`")]
    NoSuchTable(String),
    /// Too much of it is under way.
    #[error("{MOST_TASKS} tasks are under way already, and no more may be, whatever they do")]
    Overloaded,
    /// Whoever asked for it has ended it.
    #[error("the task was cancelled")]
    Cancelled,
    /// The node is about to stop, and ends what it merges and verifies.
    #[error("the node is draining: until it is started again it compacts and scrubs no more")]
    Draining,
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(Error),
    /// The node is being torn down.
    #[error("the task did not end: {0}")]
    Stopped(String),
}

impl From<Error> for UpkeepError {
    fn from(error: Error) -> Self {
        match error {
            Error::Cancelled => Self::Cancelled,
            Error::Closed => Self::Draining,
            error => Self::Storage(error),
        }
    }
}

/// The upkeep of one node.
#[derive(Debug)]
pub(crate) struct UpkeepTasks {
    cluster: Arc<KnownCluster>,
    store: Arc<LocalStore>,
    room: Arc<Semaphore>,
    room_of_drains: Arc<Semaphore>,
    stop: CancellationToken,
}

impl UpkeepTasks {
    pub(crate) fn new(cluster: Arc<KnownCluster>, store: Arc<LocalStore>, stop: CancellationToken) -> Self {
        let room = || Arc::new(Semaphore::new(MOST_TASKS));
        Self { cluster, store, room: room(), room_of_drains: room(), stop }
    }

    /// Lets a task in, if there is room for it and the node still does such things.
    pub(crate) fn admit(&self, task: Upkeep) -> Result<AdmittedUpkeep, UpkeepError> {
        if self.stop.is_cancelled() && matches!(task, Upkeep::Compact { .. } | Upkeep::Scrub { .. }) {
            return Err(UpkeepError::Draining);
        }
        let room = if task == Upkeep::Drain { &self.room_of_drains } else { &self.room };
        let room = Arc::clone(room).try_acquire_owned().map_err(|_| UpkeepError::Overloaded)?;
        Ok(AdmittedUpkeep { task, _room: room })
    }

    /// Does a task. Whoever may not wait for its end spawns it; dropping the future leaves what is under way to its end.
    pub(crate) async fn perform(
        &self,
        AdmittedUpkeep { task, _room }: AdmittedUpkeep,
        meter: &Arc<Meter>,
    ) -> Result<UpkeepOutcome, UpkeepError> {
        match task {
            Upkeep::Flush { table } => self.flush(self.tables(table)?, meter).await,
            Upkeep::Drain => self.drain(meter).await,
            Upkeep::Compact { table } => self.compact(self.tables(table)?, meter).await,
            Upkeep::Scrub { bytes_per_second } => self.scrub(bytes_per_second, Arc::clone(meter)).await,
            Upkeep::MakeSnapshot { name } => {
                let made = self.blocking(move |engine| engine.snapshot(&name)).await?;
                Ok(UpkeepOutcome::Snapshots(vec![made]))
            }
            Upkeep::ListSnapshots => Ok(UpkeepOutcome::Snapshots(self.blocking(Engine::snapshots).await?)),
            Upkeep::ClearSnapshot { name } => {
                self.blocking(move |engine| engine.clear_snapshot(&name)).await?;
                Ok(UpkeepOutcome::Done)
            }
        }
    }

    async fn flush(&self, tables: Vec<TableId>, meter: &Arc<Meter>) -> Result<UpkeepOutcome, UpkeepError> {
        self.each(tables, |stats| stats.memtable_bytes, |engine, table, _| flush(engine, table), meter).await
    }

    async fn drain(&self, meter: &Arc<Meter>) -> Result<UpkeepOutcome, UpkeepError> {
        self.blocking(|engine| {
            engine.end_compactions();
            Ok(())
        })
        .await?;
        self.flush(self.tables(None)?, meter).await
    }

    async fn compact(&self, tables: Vec<TableId>, meter: &Arc<Meter>) -> Result<UpkeepOutcome, UpkeepError> {
        let compact = |engine: &Engine, table, go_on: GoOn<'_>| engine.compact_table_while(table, go_on);
        match self.each(tables, |stats| stats.sstable_bytes, compact, meter).await {
            // Nobody asked for that; the engine has ended it.
            Err(UpkeepError::Cancelled) if !meter.is_cancelled() => Err(UpkeepError::Draining),
            outcome => outcome,
        }
    }

    /// Does work on one table after the other, each of which is worth so many bytes; the work tells how many of them it
    /// has done, and is told whether to go on.
    async fn each(
        &self,
        tables: Vec<TableId>,
        bytes_of: fn(TableStats) -> u64,
        work: fn(&Engine, TableId, GoOn<'_>) -> Result<(), Error>,
        meter: &Arc<Meter>,
    ) -> Result<UpkeepOutcome, UpkeepError> {
        let engine = self.store.engine();
        let sizes: Vec<u64> =
            tables.iter().map(|&table| engine.table_stats(table).map_or(0, bytes_of)).collect();
        meter.expect(sizes.iter().sum());
        let mut done = 0;
        for (table, bytes) in tables.into_iter().zip(sizes) {
            if meter.is_cancelled() {
                return Err(UpkeepError::Cancelled);
            }
            let watched = Arc::clone(meter);
            let go_on = move |of_table| {
                match of_table {
                    0 => watched.wait(done),
                    _ => watched.reach(done + of_table),
                }
                !watched.is_cancelled()
            };
            self.blocking(move |engine| unless_dropped(work(engine, table, &go_on))).await?;
            done += bytes;
            meter.reach(done);
        }
        Ok(UpkeepOutcome::Done)
    }

    /// Reads all SSTables and verifies every checksum, so many bytes a second at most. Ends early when the node stops.
    async fn scrub(&self, bytes_per_second: u64, meter: Arc<Meter>) -> Result<UpkeepOutcome, UpkeepError> {
        let (stop, total) = (self.stop.clone(), Arc::clone(&meter));
        meter.expect(self.store.engine().counters().sstable_bytes);
        let report = self.blocking(move |engine| {
            let began = Instant::now();
            let is_over = || stop.is_cancelled() || meter.is_cancelled();
            engine.scrub(|report| {
                meter.reach(report.bytes);
                let due = Duration::from_secs_f64(report.bytes as f64 / bytes_per_second.max(1) as f64);
                // In short naps, so that a stop is noticed.
                while began.elapsed() < due && !is_over() {
                    thread::sleep((due - began.elapsed().min(due)).min(NAP));
                }
                if is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        let report = report.await?;
        if report.cancelled && !total.is_cancelled() {
            return Err(UpkeepError::Draining);
        }
        if !report.cancelled {
            // Of the files only the blocks are read, and some may have gone meanwhile.
            total.expect(report.bytes);
        }
        Ok(UpkeepOutcome::Scrubbed(report))
    }

    fn tables(&self, name: Option<String>) -> Result<Vec<TableId>, UpkeepError> {
        let Some(name) = name else { return Ok(self.store.engine().tables()) };
        let table = self.cluster.picture().table(&name).map(|table| table.id());
        Ok(vec![table.ok_or(UpkeepError::NoSuchTable(name))?])
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(store.engine())).await {
            Ok(done) => Ok(done?),
            Err(stopped) => Err(UpkeepError::Stopped(stopped.to_string())),
        }
    }
}

/// Flushes on this thread, so that whoever asked hears of a full disk, instead of waiting until there is room.
fn flush(engine: &Engine, table: TableId) -> Result<(), Error> {
    let ticket = engine.flush_table(table)?;
    while engine.step(Step::Flush)? == StepOutcome::Worked {}
    ticket.wait()
}

/// A table that was dropped since it was chosen needs nothing any more.
fn unless_dropped(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::NoSuchTable(_)) => Ok(()),
        outcome => outcome,
    }
}
