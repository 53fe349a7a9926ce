//! The storage engine as the node sees it: asynchronous, bounded, and with errors that a peer can be told.

use std::sync::Arc;

use bytes::Bytes;
use helenus_storage::{Engine, Error, Mutation, Record, TableId, TryGet};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{message::ReplicaError, settings::Settings};

/// The node's own engine.
#[derive(Debug)]
pub(crate) struct LocalStore {
    engine: Arc<Engine>,
    cold_reads: ColdReads,
}

/// Where reads go that must wait for the disk.
#[derive(Debug)]
enum ColdReads {
    /// On the calling task: a simulation's disk does not block.
    Inline,
    /// On threads for blocking work.
    Pool {
        /// One permit per read that runs.
        running: Arc<Semaphore>,
        /// One permit per read that runs or waits.
        admitted: Arc<Semaphore>,
    },
}

impl LocalStore {
    pub(crate) fn new(engine: Arc<Engine>, settings: &Settings, inline_reads: bool) -> Self {
        let cold_reads = if inline_reads {
            ColdReads::Inline
        } else {
            let running = settings.cold_reads.clamp(1, Semaphore::MAX_PERMITS);
            let admitted = running.saturating_add(settings.cold_read_queue).min(Semaphore::MAX_PERMITS);
            ColdReads::Pool {
                running: Arc::new(Semaphore::new(running)),
                admitted: Arc::new(Semaphore::new(admitted)),
            }
        };
        Self { engine, cold_reads }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Creates a table durably; creating one that exists is a no-op.
    pub(crate) async fn create_table(&self, table: TableId) -> Result<(), ReplicaError> {
        if matches!(self.cold_reads, ColdReads::Inline) {
            return self.engine.create_table(table).map_err(as_answer);
        }
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || engine.create_table(table)).await {
            Ok(created) => created.map_err(as_answer),
            Err(stopped) => Err(ReplicaError::Storage(format!("the table was not created: {stopped}"))),
        }
    }

    /// Applies a mutation; ready when it is as durable as the sync mode promises. Dropping the future does not
    /// undo it.
    pub(crate) async fn apply(&self, table: TableId, mutation: Mutation) -> Result<(), ReplicaError> {
        self.engine.apply(table, mutation).map_err(as_answer)?.await.map_err(as_answer)
    }

    /// The newest record of a storage key, tombstones included.
    pub(crate) async fn get(&self, table: TableId, key: Bytes) -> Result<Option<Record>, ReplicaError> {
        match self.engine.try_get(table, &key).map_err(as_answer)? {
            TryGet::Ready(record) => Ok(record),
            TryGet::Cold => self.get_cold(table, key).await,
        }
    }

    async fn get_cold(&self, table: TableId, key: Bytes) -> Result<Option<Record>, ReplicaError> {
        let ColdReads::Pool { running, admitted } = &self.cold_reads else {
            return self.engine.get(table, &key).map_err(as_answer);
        };
        let Ok(place) = Arc::clone(admitted).try_acquire_owned() else {
            return Err(ReplicaError::Overloaded("too many reads wait for the disk".to_owned()));
        };
        let turn = Arc::clone(running).acquire_owned().await;
        let engine = Arc::clone(&self.engine);
        let read = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the future: an abandoned read still occupies its thread.
            let _held: (OwnedSemaphorePermit, _) = (place, turn);
            engine.get(table, &key)
        });
        match read.await {
            Ok(record) => record.map_err(as_answer),
            Err(stopped) => Err(ReplicaError::Storage(format!("the read did not end: {stopped}"))),
        }
    }
}

/// What a peer is told of a storage error.
pub(crate) fn as_answer(error: Error) -> ReplicaError {
    match error {
        Error::Overloaded { what } => ReplicaError::Overloaded(what.to_owned()),
        Error::NoSuchTable(table) => ReplicaError::NoSuchTable(table),
        Error::Closed => ReplicaError::NotServing("its storage is closed".to_owned()),
        error => ReplicaError::Storage(error.to_string()),
    }
}
