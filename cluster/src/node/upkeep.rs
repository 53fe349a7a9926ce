//! What operators have one node do with its own storage.

use std::{
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use helenus_storage::{Engine, Error, ScrubReport, Snapshot, Step, StepOutcome, TableId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{known_cluster::KnownCluster, local_store::LocalStore};

/// Tasks at once, those that wait included.
const MOST_TASKS: usize = 16;
/// Longest rest of a scrub before it looks whether the node stops.
const NAP: Duration = Duration::from_millis(50);

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

/// Why upkeep was not done, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The node knows no such table.
    #[error("there is no table `{0}`")]
    NoSuchTable(String),
    /// Too much of it is under way.
    #[error("{MOST_TASKS} such tasks are under way already")]
    Overloaded,
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(#[from] Error),
    /// The node is being torn down.
    #[error("the task did not end: {0}")]
    Stopped(String),
}

/// The upkeep of one node.
#[derive(Debug)]
pub(crate) struct UpkeepTasks {
    cluster: Arc<KnownCluster>,
    store: Arc<LocalStore>,
    under_way: Semaphore,
    stop: CancellationToken,
}

impl UpkeepTasks {
    pub(crate) fn new(cluster: Arc<KnownCluster>, store: Arc<LocalStore>, stop: CancellationToken) -> Self {
        Self { cluster, store, under_way: Semaphore::new(MOST_TASKS), stop }
    }

    /// Does a task and answers the snapshots that it is about. It goes on if nobody waits any more.
    pub(crate) async fn perform(&self, task: Upkeep) -> Result<Vec<Snapshot>, UpkeepError> {
        let Ok(_permit) = self.under_way.try_acquire() else { return Err(UpkeepError::Overloaded) };
        match task {
            Upkeep::Flush { table } => {
                let tables = self.tables(table)?;
                self.blocking(move |engine| {
                    for table in tables {
                        unless_dropped(flush(engine, table))?;
                    }
                    Ok(Vec::new())
                })
                .await
            }
            Upkeep::Compact { table } => {
                let tables = self.tables(table)?;
                self.blocking(move |engine| {
                    for table in tables {
                        unless_dropped(engine.compact_table(table))?;
                    }
                    Ok(Vec::new())
                })
                .await
            }
            Upkeep::MakeSnapshot { name } => {
                self.blocking(move |engine| engine.snapshot(&name).map(|made| vec![made])).await
            }
            Upkeep::ListSnapshots => self.blocking(Engine::snapshots).await,
            Upkeep::ClearSnapshot { name } => {
                self.blocking(move |engine| engine.clear_snapshot(&name).map(|()| Vec::new())).await
            }
        }
    }

    /// Reads all SSTables and verifies every checksum, so many bytes a second at most. Ends early when the node stops.
    pub(crate) async fn scrub(&self, bytes_per_second: u64) -> Result<ScrubReport, UpkeepError> {
        let Ok(_permit) = self.under_way.try_acquire() else { return Err(UpkeepError::Overloaded) };
        let stop = self.stop.clone();
        self.blocking(move |engine| {
            let began = Instant::now();
            engine.scrub(|report| {
                let due = Duration::from_secs_f64(report.bytes as f64 / bytes_per_second.max(1) as f64);
                // In short naps, so that a stop is noticed.
                while began.elapsed() < due && !stop.is_cancelled() {
                    thread::sleep((due - began.elapsed().min(due)).min(NAP));
                }
                if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        })
        .await
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
