//! What operators have one node do with its own storage.

use std::sync::Arc;

use helenus_storage::{Engine, Error, Snapshot, TableId};
use tokio::sync::Semaphore;

use super::{known_cluster::KnownCluster, local_store::LocalStore};

/// Tasks at once, those that wait included.
const MOST_TASKS: usize = 16;

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
}

impl UpkeepTasks {
    pub(crate) fn new(cluster: Arc<KnownCluster>, store: Arc<LocalStore>) -> Self {
        Self { cluster, store, under_way: Semaphore::new(MOST_TASKS) }
    }

    /// Does a task and answers the snapshots that it is about. It goes on if nobody waits any more.
    pub(crate) async fn perform(&self, task: Upkeep) -> Result<Vec<Snapshot>, UpkeepError> {
        let Ok(_permit) = self.under_way.try_acquire() else { return Err(UpkeepError::Overloaded) };
        match task {
            Upkeep::Flush { table } => {
                for table in self.tables(table)? {
                    unless_dropped(async { self.store.engine().flush_table(table)?.await }.await)?;
                }
                Ok(Vec::new())
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

    fn tables(&self, name: Option<String>) -> Result<Vec<TableId>, UpkeepError> {
        let Some(name) = name else { return Ok(self.store.engine().tables()) };
        let table = self.cluster.picture().table(&name).map(|table| table.id());
        Ok(vec![table.ok_or(UpkeepError::NoSuchTable(name))?])
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Engine) -> Result<Vec<Snapshot>, Error> + Send + 'static,
    ) -> Result<Vec<Snapshot>, UpkeepError> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(store.engine())).await {
            Ok(done) => Ok(done?),
            Err(stopped) => Err(UpkeepError::Stopped(stopped.to_string())),
        }
    }
}

/// A table that was dropped since it was chosen needs nothing any more.
fn unless_dropped(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(Error::NoSuchTable(_)) => Ok(()),
        outcome => outcome,
    }
}
