//! Who this node is, kept in its own data directory.
//!
//! Host id and tokens are drawn once and outlive restarts, crashes and changes of address; the generation grows
//! with each start. All of it is durable before anyone hears of it: a node that forgot its tokens, or used a
//! generation twice, would contradict itself in front of the others.

use std::{sync::OnceLock, time::Duration};

use helenus_storage::{Engine, Mutation, Record, Step, SyncMode, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    membership::handshake::{Greeting, PROTOCOL_VERSION},
    node::{
        StartError, own_trees,
        randomness::{random_uuid, stream},
    },
    node_id::{ClusterId, Generation, HostId},
    partitioning::{Partitioner, draw_tokens},
    settings::Settings,
    time::WallClock,
};

/// The partitioner of this build; clusters of another one are refused.
pub(crate) const PARTITIONER: Partitioner = Partitioner::Murmur3;

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
    /// to `max(stored + 1, seconds since 1970)`, durably. The engine's steps must be driven meanwhile.
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
        let mut stored = match loaded {
            Some(stored) => stored,
            None => Stored::draw(settings, seed),
        };
        stored.check(settings)?;
        let seconds = clock.now().0 / 1_000_000;
        stored.generation = Generation(seconds.max(stored.generation.0.saturating_add(1)));
        // The generation only grows, so it serves as the record's timestamp: no clock decides what is newer.
        let timestamp = Timestamp(stored.generation.0);
        write(engine, IDENTITY_KEY, timestamp, &stored).await?;

        let cluster_id = OnceLock::new();
        if let Some(record) = own_trees::read(engine, own_trees::IDENTITY, CLUSTER_KEY)?
            && let Some(id) = own_trees::decode::<ClusterId>("cluster id", &record)?
        {
            cluster_id.get_or_init(|| id);
        }
        Ok(Self { stored, cluster_id })
    }

    /// Its host id.
    pub fn host_id(&self) -> HostId {
        self.stored.host_id
    }

    /// Which of its starts this is.
    pub fn generation(&self) -> Generation {
        self.stored.generation
    }

    /// Its tokens, ascending.
    pub fn tokens(&self) -> &[i64] {
        &self.stored.tokens
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

    /// Makes the node belong to a cluster, durably and for ever. The first id stays: joining again, whatever the
    /// id, changes nothing.
    ///
    /// # Errors
    /// When storage fails; the node then belongs to no cluster yet, though it may find that it does after a
    /// restart.
    pub async fn join_cluster(&self, engine: &Engine, id: ClusterId) -> Result<(), helenus_storage::Error> {
        if self.cluster_id().is_none() {
            write(engine, CLUSTER_KEY, Timestamp(1), &id).await?;
            self.cluster_id.get_or_init(|| id);
        }
        Ok(())
    }
}

impl Stored {
    fn draw(settings: &Settings, seed: u64) -> Self {
        let tokens = draw_tokens(&mut stream(seed, "tokens"), settings.num_tokens.max(1));
        Self {
            cluster_name: settings.cluster_name.clone(),
            partitioner: PARTITIONER.name().to_owned(),
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
        if self.partitioner != PARTITIONER.name() {
            return Err(StartError::Identity(format!(
                "this data directory was written with partitioner `{}`, this node uses `{}`",
                self.partitioner,
                PARTITIONER.name()
            )));
        }
        Ok(())
    }
}

async fn write<T: Serialize>(
    engine: &Engine,
    key: &'static [u8],
    timestamp: Timestamp,
    value: &T,
) -> Result<(), helenus_storage::Error> {
    let mutation = Mutation::single(key, Record::plain(timestamp, own_trees::encode(value)));
    when_there_is_room(engine, mutation).await?.await?;
    // Twice in a node's life and once per start: whatever the sync mode, who it is must not be forgotten.
    if engine.options().sync_mode == SyncMode::Periodic {
        engine.step(Step::Sync)?;
    }
    Ok(())
}

/// Applies a mutation, and waits if the engine is overloaded. It may be from the first moment on: a node that crashes
/// again and again before it could flush leaves a longer log each time. If it gave up then, it could never start again.
async fn when_there_is_room(
    engine: &Engine,
    mutation: Mutation,
) -> Result<helenus_storage::Ticket, helenus_storage::Error> {
    let deadline = Instant::now() + MOST_WAIT_FOR_ROOM;
    loop {
        match engine.apply(own_trees::IDENTITY, mutation.clone()) {
            Err(helenus_storage::Error::Overloaded { .. }) if Instant::now() < deadline => {
                helenus_storage::sometimes!("a starting node waited for room in its log");
                sleep(WAIT_FOR_ROOM).await;
            }
            applied => return applied,
        }
    }
}
