//! Who this node is, kept in its own data directory.
//!
//! Host id and tokens are drawn once and outlive restarts, crashes and changes of address; the generation grows
//! with each start. All of it is durable before anyone hears of it: a node that forgot its tokens, or used a
//! generation twice, would contradict itself in front of the others.

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use helenus_storage::{Engine, Mutation, Record, Step, SyncMode, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    membership::handshake::{Greeting, PROTOCOL_VERSION},
    message::ReplicaError,
    node::{
        StartError,
        local_store::LocalStore,
        own_trees,
        randomness::{random_uuid, stream},
    },
    node_id::{ClusterId, Generation, HostId},
    partitioning::{Partitioner, draw_tokens},
    settings::Settings,
    time::WallClock,
};

/// How often an overloaded engine is asked again, and for how long: flushes make room.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(50);
const MOST_WAIT_FOR_ROOM: Duration = Duration::from_secs(60);

const IDENTITY_KEY: &[u8] = b"identity";
const CLUSTER_KEY: &[u8] = b"cluster";

/// The node's identity: drawn at the first start, loaded ever after; shared with the transport, which greets with
/// it.
#[derive(Debug)]
pub struct LocalIdentity {
    stored: Stored,
    partitioner: Partitioner,
    /// Whether this is its first start.
    is_new: bool,
    /// Tokens that were chosen at the first start instead of those that were drawn.
    chosen_tokens: OnceLock<Vec<i64>>,
    /// The cluster it joins: on disk, on its way there, or that of its seeds.
    chosen: OnceLock<ClusterId>,
    cluster_id: OnceLock<ClusterId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    cluster_name: String,
    partitioner: String,
    host_id: HostId,
    generation: Generation,
    tokens: Vec<i64>,
}

impl LocalIdentity {
    /// Loads the identity from the engine, or draws it from `seed` and stores it durably; advances the generation
    /// to `max(stored + 1, microseconds since 1970)`, durably. The engine's steps must be driven meanwhile.
    ///
    /// # Errors
    /// When storage fails, or the data directory belongs to another cluster name or partitioner.
    pub async fn load_or_create(
        engine: &Engine,
        settings: &Settings,
        clock: &dyn WallClock,
        seed: u64,
    ) -> Result<Self, StartError> {
        engine.create_table(own_trees::IDENTITY)?;
        let record = own_trees::read(engine, own_trees::IDENTITY, IDENTITY_KEY)?;
        let loaded =
            record.map(|record| own_trees::decode::<Stored>("identity", &record)).transpose()?.flatten();
        let is_new = loaded.is_none();
        let mut stored = match loaded {
            Some(stored) => stored,
            None => Stored::draw(settings, seed),
        };
        stored.check(settings)?;
        stored.generation = Generation(clock.now().0.max(stored.generation.0.saturating_add(1)));
        // The generation only grows, so it serves as the record's timestamp: no clock decides what is newer.
        let timestamp = Timestamp(stored.generation.0);
        stored.save(engine, timestamp).await?;

        let cluster_id = OnceLock::new();
        if let Some(record) = own_trees::read(engine, own_trees::IDENTITY, CLUSTER_KEY)?
            && let Some(id) = own_trees::decode::<ClusterId>("cluster id", &record)?
        {
            cluster_id.get_or_init(|| id);
        }
        Ok(Self {
            stored,
            partitioner: settings.partitioner,
            is_new,
            chosen_tokens: OnceLock::new(),
            chosen: cluster_id.clone(),
            cluster_id,
        })
    }

    /// Its host id.
    pub fn host_id(&self) -> HostId {
        self.stored.host_id
    }

    /// Which of its starts this is.
    pub fn generation(&self) -> Generation {
        self.stored.generation
    }

    /// How its cluster turns keys into tokens.
    pub fn partitioner(&self) -> Partitioner {
        self.partitioner
    }

    /// Its tokens, ascending.
    pub fn tokens(&self) -> &[i64] {
        self.chosen_tokens.get().unwrap_or(&self.stored.tokens)
    }

    /// Whether this is its first start, and nobody has heard of its tokens.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Has other tokens than those that were drawn, durably. Only at the first start, before anyone hears of them.
    pub(crate) async fn choose_tokens(&self, engine: &Engine, tokens: Vec<i64>) -> Result<(), StartError> {
        let stored = Stored { tokens: tokens.clone(), ..self.stored.clone() };
        // As new as the record it replaces would be at the next start, and no newer.
        stored.save(engine, Timestamp(self.stored.generation.0.saturating_add(1))).await?;
        self.chosen_tokens.get_or_init(|| tokens);
        Ok(())
    }

    /// The greeting of the moment, for new connections.
    pub fn greeting(&self) -> Greeting {
        Greeting {
            protocol_version: PROTOCOL_VERSION,
            cluster_name: self.stored.cluster_name.clone(),
            cluster_id: self.cluster_id(),
            partitioner: self.stored.partitioner.clone(),
            host_id: self.stored.host_id,
            generation: self.stored.generation,
        }
    }

    /// The cluster it belongs to, once it does.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id.get().copied()
    }

    /// Settles which cluster the node will belong to, if it ever belongs to one in this life: nobody of another one
    /// is told that it is there. A second choice changes nothing.
    pub(crate) fn choose_cluster(&self, id: ClusterId) {
        self.chosen.get_or_init(|| id);
    }

    /// The cluster that it belongs to, or means to.
    pub(crate) fn chosen_cluster(&self) -> Option<ClusterId> {
        self.chosen.get().copied()
    }

    /// Makes the node belong to a cluster, durably and for ever. Joining it again changes nothing.
    ///
    /// # Errors
    /// When it was told to join another one before, even if that was given up half-way: its id may be on disk. When
    /// storage fails; the node then belongs to no cluster yet, though it may find that it does after a restart.
    pub(crate) async fn join_cluster(&self, store: &LocalStore, id: ClusterId) -> Result<(), ReplicaError> {
        let chosen = *self.chosen.get_or_init(|| id);
        if chosen != id {
            return Err(ReplicaError::NotServing(format!("it joins cluster {chosen}")));
        }
        if self.cluster_id().is_none() {
            let record = Record::plain(Timestamp(1), own_trees::encode(&id));
            store.apply(own_trees::IDENTITY, Mutation::single(CLUSTER_KEY, record)).await?;
            store.sync().await?;
            self.cluster_id.get_or_init(|| id);
        }
        Ok(())
    }
}

impl Stored {
    fn draw(settings: &Settings, seed: u64) -> Self {
        let tokens = match settings.initial_tokens.as_slice() {
            [] => draw_tokens(&mut stream(seed, "tokens"), settings.num_tokens.max(1)),
            given => BTreeSet::from_iter(given.iter().copied()).into_iter().collect(),
        };
        Self {
            cluster_name: settings.cluster_name.clone(),
            partitioner: settings.partitioner.name().to_owned(),
            host_id: HostId(random_uuid(&mut stream(seed, "host id"))),
            generation: Generation(0),
            tokens: tokens.into_iter().map(|token| token.0).collect(),
        }
    }

    fn check(&self, settings: &Settings) -> Result<(), StartError> {
        if self.cluster_name != settings.cluster_name {
            return Err(StartError::Identity(format!(
                "this data directory belongs to cluster `{}`, the settings name cluster `{}`",
                self.cluster_name, settings.cluster_name
            )));
        }
        if self.partitioner != settings.partitioner.name() {
            return Err(StartError::Identity(format!(
                "this data directory was written with partitioner `{}`, this node uses `{}`",
                self.partitioner,
                settings.partitioner.name()
            )));
        }
        let given: BTreeSet<i64> = settings.initial_tokens.iter().map(|token| token.0).collect();
        if !given.is_empty() && !given.iter().eq(&self.tokens) {
            return Err(StartError::Identity(
                "this node has other tokens than the settings name; a node keeps the tokens of its first start"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Whatever the sync mode, who it is must not be forgotten. Start-up only: it may wait for the disk.
    async fn save(&self, engine: &Engine, timestamp: Timestamp) -> Result<(), helenus_storage::Error> {
        let record = Record::plain(timestamp, own_trees::encode(self));
        when_there_is_room(engine, Mutation::single(IDENTITY_KEY, record)).await?.await?;
        if engine.options().sync_mode == SyncMode::Periodic {
            engine.step(Step::Sync)?;
        }
        Ok(())
    }
}

/// Applies a mutation, and waits if the engine is overloaded. It may be from the first moment on: a node that crashes
/// again and again before it could flush leaves a longer log each time. If it gave up then, it could never start again.
async fn when_there_is_room(
    engine: &Engine,
    mutation: Mutation,
) -> Result<helenus_storage::Ticket, helenus_storage::Error> {
    let deadline = Instant::now() + MOST_WAIT_FOR_ROOM;
    loop {
        match engine.apply(own_trees::IDENTITY, &mutation) {
            Err(helenus_storage::Error::Overloaded { .. }) if Instant::now() < deadline => {
                helenus_storage::sometimes!("a starting node waited for room in its log");
                sleep(WAIT_FOR_ROOM).await;
            }
            applied => return applied,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use helenus_storage::{Options, disk::SimulatedDisk};
    use tokio::task::yield_now;
    use uuid::Uuid;

    use super::*;
    use crate::time::SystemClock;

    async fn driven<T>(engine: &Engine, work: impl Future<Output = T>) -> T {
        let driver = async {
            loop {
                engine.step(Step::Commit).expect("a sound disk");
                yield_now().await;
            }
        };
        tokio::select! { done = work => done, () = driver => unreachable!("it never ends") }
    }

    #[tokio::test]
    async fn a_join_given_up_half_way_leaves_no_choice_of_another_cluster() {
        let (first, other) = (ClusterId(Uuid::from_u128(1)), ClusterId(Uuid::from_u128(2)));
        let settings = Settings::default();
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        let engine = Engine::open(Arc::new(SimulatedDisk::new(1)), Path::new("/data"), options);
        let engine = Arc::new(engine.expect("an empty disk"));
        let store = LocalStore::new(Arc::clone(&engine), &settings, true);
        let load = || LocalIdentity::load_or_create(&engine, &settings, &SystemClock, 7);
        let identity = driven(&engine, load()).await.expect("a sound disk");

        // Its first poll hands the id to the disk, and nobody polls it again.
        assert!(futures_util::poll!(Box::pin(identity.join_cluster(&store, first))).is_pending());
        let refused = driven(&engine, identity.join_cluster(&store, other)).await;
        yield_now().await;

        assert!(matches!(refused, Err(ReplicaError::NotServing(_))), "{refused:?}");
        driven(&engine, identity.join_cluster(&store, first)).await.expect("it is the one that was chosen");
        assert_eq!(driven(&engine, load()).await.expect("a sound disk").cluster_id(), Some(first));
    }
}
