//! The storage engine as the node sees it: asynchronous, bounded, and with errors that a peer can be told.

use std::{borrow::Borrow, collections::BTreeSet, slice, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use helenus_storage::{
    Engine, Error, Mutation, Outrun, Record, ScanLimits, ScanPage, Step, SyncMode, TableId, TableOptions,
    Timestamp, TryGet,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{own_trees::USER_TABLES, room::Room, steps::Steps};
use crate::{counted::counted, message::ReplicaError, partitioning::KeyRange, settings::Settings};

/// The node's own engine.
#[derive(Debug)]
pub(crate) struct LocalStore {
    engine: Arc<Engine>,
    room: Room,
    cold_reads: BlockingReads,
    /// Apart from the others, which are short.
    scans: BlockingReads,
}

/// Where reads go that must wait for the disk.
#[derive(Debug)]
enum BlockingReads {
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

impl BlockingReads {
    fn new(at_once: usize, queue: usize, inline: bool) -> Self {
        if inline {
            return Self::Inline;
        }
        let running = at_once.clamp(1, Semaphore::MAX_PERMITS);
        let admitted = running.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        Self::Pool {
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(admitted)),
        }
    }

    /// Reads when it has its turn.
    async fn read<T: Send + 'static>(
        &self,
        engine: &Arc<Engine>,
        read: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
        steps: &Steps,
    ) -> Result<T, ReplicaError> {
        let Self::Pool { running, admitted } = self else { return read(engine).map_err(as_answer) };
        let Ok(place) = Arc::clone(admitted).try_acquire_owned() else {
            return Err(ReplicaError::Overloaded("too many reads wait for the disk".to_owned()));
        };
        let turn = Arc::clone(running).acquire_owned().await;
        steps.note(|| "has its turn to read from disk");
        let engine = Arc::clone(engine);
        let read = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the future: an abandoned read still occupies its thread.
            let _held: (OwnedSemaphorePermit, _) = (place, turn);
            read(&engine)
        });
        match read.await {
            Ok(read) => read.map_err(as_answer),
            Err(stopped) => Err(ReplicaError::Storage(format!("the read did not end: {stopped}"))),
        }
    }
}

impl LocalStore {
    pub(crate) fn new(engine: Arc<Engine>, settings: &Settings, inline_reads: bool) -> Self {
        let queue = settings.cold_read_queue;
        Self {
            engine,
            room: Room::default(),
            cold_reads: BlockingReads::new(settings.cold_reads, queue, inline_reads),
            scans: BlockingReads::new(settings.scan_reads, queue, inline_reads),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The newest timestamp of all user records; zero if there is none. Never waits.
    pub(crate) fn newest_user_timestamp(&self) -> Result<Timestamp, Error> {
        let mut newest = Timestamp(0);
        for table in self.user_tables() {
            newest = newest.max(self.engine.newest_timestamp(table)?.unwrap_or_default());
        }
        Ok(newest)
    }

    /// The user tables that are stored.
    pub(crate) fn user_tables(&self) -> impl Iterator<Item = TableId> + use<> {
        self.engine.tables().into_iter().filter(|table| USER_TABLES.contains(table))
    }

    /// Drops tables with all that they hold, durably and for ever; answers the last failure. Goes on if nobody waits
    /// any more.
    pub(crate) async fn drop_tables(&self, tables: BTreeSet<TableId>) -> Result<(), ReplicaError> {
        self.block_on(move |engine| {
            let mut outcome = Ok(());
            for table in tables {
                match engine.drop_table(table) {
                    // It was never created.
                    Ok(()) | Err(Error::NoSuchTable(_)) => {}
                    failure => outcome = failure,
                }
            }
            outcome
        })
        .await
    }

    /// Creates a table durably, or gives one that exists these options.
    pub(crate) async fn create_table(
        &self,
        table: TableId,
        options: TableOptions,
    ) -> Result<(), ReplicaError> {
        self.block_on(move |engine| {
            engine.create_table_with(table, options.clone())?;
            engine.set_table_options(table, options)
        })
        .await
    }

    /// Makes what was applied durable where the sync mode promises less than that: for the few facts about the node
    /// and its cluster that must not be forgotten once acted upon, whatever an operator chose for user records.
    pub(crate) async fn sync(&self) -> Result<(), ReplicaError> {
        match self.engine.options().sync_mode {
            SyncMode::Group | SyncMode::Batch => Ok(()),
            SyncMode::Periodic => self.block_on(|engine| engine.step(Step::Sync).map(|_| ())).await,
        }
    }

    /// Does rare work that waits for the disk, or takes long.
    pub(super) async fn block_on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ReplicaError> {
        if matches!(self.cold_reads, BlockingReads::Inline) {
            return work(&self.engine).map_err(as_answer);
        }
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(done) => done.map_err(as_answer),
            Err(stopped) => Err(ReplicaError::Storage(format!("the work did not end: {stopped}"))),
        }
    }

    /// Applies a mutation; ready when it is as durable as the sync mode promises. Waits for room, at most as long as a
    /// blocking writer would. Dropping the future does not undo it.
    pub(crate) async fn apply(&self, table: TableId, mutation: Mutation) -> Result<(), ReplicaError> {
        self.apply_together(&[(table, &mutation)], &Steps::default()).await.map(drop).map_err(as_answer)
    }

    /// As [`LocalStore::apply`], for the mutations of a request that may be traced: they share one wait for the commit log.
    /// What the engine does not take together, since it lacks a table or they are too much for the commit log, it takes or
    /// refuses one by one. Of each that it takes, how it was outrun, if it may have been ([`helenus_storage::Ticket`]).
    pub(crate) async fn apply_group<M>(
        &self,
        writes: &[(TableId, M)],
        steps: &Steps,
    ) -> Vec<Result<Option<Outrun>, ReplicaError>>
    where
        M: Borrow<Mutation>,
    {
        let outrun = match self.apply_together(writes, steps).await {
            // Nothing is applied because of some of them, or of what they are together.
            Err(Error::NoSuchTable(_) | Error::MutationTooLarge { .. }) if writes.len() > 1 => {
                helenus_storage::sometimes!("a group was applied one by one");
                let apart = writes.iter().map(|write| self.apply_together(slice::from_ref(write), steps));
                let of_one = |outrun: Vec<(usize, Outrun)>| outrun.first().map(|(_, how)| *how);
                return join_all(apart)
                    .await
                    .into_iter()
                    .map(|one| one.map(of_one).map_err(as_answer))
                    .collect();
            }
            outcome => outcome.map_err(as_answer),
        };
        let mut of_each = vec![outrun.as_ref().map(|_| None).map_err(Clone::clone); writes.len()];
        outrun.into_iter().flatten().for_each(|(place, how)| of_each[place] = Ok(Some(how)));
        of_each
    }

    /// Which of them were outrun, by their places.
    async fn apply_together<M>(
        &self,
        writes: &[(TableId, M)],
        steps: &Steps,
    ) -> Result<Vec<(usize, Outrun)>, Error>
    where
        M: Borrow<Mutation>,
    {
        let until = Instant::now() + self.engine.options().stall_limit;
        loop {
            let room = self.room.enter(&self.engine, until).await;
            room.map_err(|what| Error::Overloaded { what })?;
            match self.engine.apply_batch(writes) {
                Err(Error::Overloaded { .. }) if Instant::now() < until => self.room.make_way().await,
                queued => {
                    let applied = queued?;
                    steps.note(|| "queued for the commit log");
                    let outrun = applied.await?;
                    steps.note(|| match self.engine.options().sync_mode {
                        SyncMode::Group | SyncMode::Batch => "applied, and synced to disk",
                        SyncMode::Periodic => "applied; to be synced within the interval",
                    });
                    return Ok(outrun);
                }
            }
        }
    }

    /// Returns when a write would be accepted; a write that is not sent anywhere yet waits here.
    ///
    /// # Errors
    /// The bound that was hit, when there is no room in time.
    pub(crate) async fn await_room(&self, until: Instant) -> Result<(), &'static str> {
        self.room.wait(&self.engine, until).await
    }

    /// The newest record of a storage key, tombstones included.
    pub(crate) async fn get(
        &self,
        table: TableId,
        key: Bytes,
        steps: &Steps,
    ) -> Result<Option<Record>, ReplicaError> {
        match self.engine.try_get(table, &key).map_err(as_answer)? {
            TryGet::Ready(record) => {
                steps.note(|| "read from memory");
                Ok(record)
            }
            TryGet::Cold => self.get_cold(table, key, steps).await,
        }
    }

    async fn get_cold(
        &self,
        table: TableId,
        key: Bytes,
        steps: &Steps,
    ) -> Result<Option<Record>, ReplicaError> {
        steps.note(|| "not all in memory");
        let record = self.cold_reads.read(&self.engine, move |engine| engine.get(table, &key), steps).await?;
        steps.note(|| "read blocks from disk");
        Ok(record)
    }

    /// The newest records of a range of storage keys, tombstones included, up to the first limit that is reached.
    pub(crate) async fn scan(
        &self,
        table: TableId,
        range: KeyRange,
        limits: ScanLimits,
        steps: &Steps,
    ) -> Result<ScanPage, ReplicaError> {
        if range.is_empty() {
            return Ok(ScanPage::EMPTY);
        }
        let scan = move |engine: &Engine| engine.scan_page(table, range.bounds(), &limits);
        let page = self.scans.read(&self.engine, scan, steps).await?;
        steps.note(|| format!("scanned {}", counted(page.records.len(), "record")));
        Ok(page)
    }
}

/// What a peer is told of a storage error.
pub(super) fn as_answer(error: Error) -> ReplicaError {
    match error {
        Error::Overloaded { what } => ReplicaError::Overloaded(what.to_owned()),
        Error::NoSuchTable(table) => ReplicaError::NoSuchTable(table),
        error @ Error::StorageFull { .. } => ReplicaError::StorageFull(error.to_string()),
        Error::Closed => ReplicaError::NotServing("its storage is closed".to_owned()),
        error => ReplicaError::Storage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path, time::Duration};

    use helenus_storage::{Options, background::Background, disk::SimulatedDisk};

    use super::*;

    const TABLE: TableId = TableId(1024);

    fn store(settings: &Settings) -> LocalStore {
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        let engine = Engine::open(Arc::new(SimulatedDisk::new(1)), Path::new("/data"), options);
        let engine = Arc::new(engine.expect("an empty disk"));
        engine.create_table(TABLE).expect("a sound disk");
        LocalStore::new(engine, settings, false)
    }

    #[tokio::test]
    async fn cold_reads_beyond_those_that_run_and_wait_are_refused() {
        let store = store(&Settings { cold_reads: 1, cold_read_queue: 1, ..Settings::default() });
        let BlockingReads::Pool { running, .. } = &store.cold_reads else { panic!("not inline") };
        let the_disk_is_busy = Arc::clone(running).acquire_owned().await.expect("never closed");
        let (key, untraced) = (Bytes::from_static(b"key"), Steps::default());

        // Two are admitted and wait; the third is turned away at once.
        let (first, second, third, ()) = tokio::join!(
            store.get_cold(TABLE, key.clone(), &untraced),
            store.get_cold(TABLE, key.clone(), &untraced),
            store.get_cold(TABLE, key.clone(), &untraced),
            async { drop(the_disk_is_busy) },
        );

        assert_eq!((first, second), (Ok(None), Ok(None)));
        assert!(matches!(third, Err(ReplicaError::Overloaded(_))), "{third:?}");
        assert_eq!(store.get_cold(TABLE, key, &untraced).await, Ok(None), "there is room again");
    }

    #[tokio::test]
    async fn a_read_that_waits_for_the_disk_says_so_if_it_is_traced() {
        let (store, steps) = (store(&Settings::default()), Steps::begin(Duration::ZERO));

        assert_eq!(store.get_cold(TABLE, Bytes::from_static(b"key"), &steps).await, Ok(None));

        let told: Vec<String> = steps.end().1.into_iter().map(|step| step.what).collect();
        let cold = ["not all in memory", "has its turn to read from disk", "read blocks from disk"];
        assert_eq!(told, [&["received"][..], &cold].concat());
    }

    #[test]
    fn a_full_file_system_is_told_apart_from_a_broken_one() {
        let full = as_answer(Error::StorageFull { path: "/data/1.log".into() });
        let broken = as_answer(Error::io("write", "/data/1.log", io::ErrorKind::Other.into()));

        assert!(matches!(full, ReplicaError::StorageFull(why) if why.contains("/data/1.log")));
        assert!(matches!(broken, ReplicaError::Storage(_)));
    }

    #[tokio::test]
    async fn writes_that_are_too_much_for_the_commit_log_together_are_applied_one_by_one() {
        let store = store(&Settings::default());
        let background = Background::start(Arc::clone(&store.engine)).expect("threads");
        let of_kib = |key: &'static str, kib: usize| {
            (TABLE, Mutation::single(key, Record::plain(Timestamp(1), vec![b'v'; kib << 10])))
        };
        let writes = [of_kib("a", 40), of_kib("too large", 100), of_kib("b", 40)];

        let applied = store.apply_group(&writes, &Steps::default()).await;

        assert!(
            matches!(applied.as_slice(), [Ok(None), Err(ReplicaError::Storage(_)), Ok(None)]),
            "{applied:?}"
        );
        for (key, is_there) in [("a", true), ("too large", false), ("b", true)] {
            let read = store.get(TABLE, Bytes::from(key), &Steps::default()).await.expect("a sound disk");
            assert_eq!(read.is_some(), is_there, "{key}");
        }
        background.stop();
    }

    #[tokio::test]
    async fn errors_of_the_engine_become_answers() {
        let store = store(&Settings::default());

        let unknown = store.get(TableId(4711), Bytes::from_static(b"key"), &Steps::default()).await;
        store.engine().close().expect("a sound disk");
        let closed = store.get(TABLE, Bytes::from_static(b"key"), &Steps::default()).await;

        assert_eq!(unknown, Err(ReplicaError::NoSuchTable(4711)));
        assert!(matches!(closed, Err(ReplicaError::NotServing(_))), "{closed:?}");
    }
}
