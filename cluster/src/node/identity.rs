//! Who this node is, kept in its own data directory.
//!
//! Host id and tokens are chosen once and outlive restarts, crashes and changes of address; the generation grows
//! with each start. All of it is durable before anyone hears of it: a node that forgot its tokens, or used a
//! generation twice, would contradict itself in front of the others.
//!
//! Tokens that depend on those of the others are chosen when their cluster is found (`token_choice`). Until then a node has
//! none, however often it starts.

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use helenus_storage::{Engine, Mutation, Record, Step, SyncMode, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
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
const TOKENS_KEY: &[u8] = b"tokens";
const CLUSTER_KEY: &[u8] = b"cluster";

/// The node's identity: drawn at the first start, loaded ever after; shared with the transport, which greets with
/// it.
#[derive(Debug)]
pub struct LocalIdentity {
    stored: Stored,
    partitioner: Partitioner,
    tokens: OnceLock<Vec<i64>>,
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
}

impl LocalIdentity {
    /// Loads the identity from the engine, or draws it from `seed` and stores it durably; advances the generation
    /// to `max(stored + 1, microseconds since 1970)`, durably. The engine's steps must be driven meanwhile. A new node that
    /// is to share the keys evenly has no tokens yet.
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
        let mut stored = match load::<Stored>(engine, "identity", IDENTITY_KEY)? {
            Some(stored) => stored,
            None => Stored::draw(settings, seed),
        };
        stored.check(settings)?;
        let tokens = load::<Vec<i64>>(engine, "tokens", TOKENS_KEY)?;
        check_tokens(settings, tokens.as_deref())?;
        stored.generation = Generation(clock.now().0.max(stored.generation.0.saturating_add(1)));
        // The generation only grows, so it serves as the record's timestamp: no clock decides what is newer.
        let timestamp = Timestamp(stored.generation.0);
        save(engine, IDENTITY_KEY, Record::plain(timestamp, own_trees::encode(&stored))).await?;

        let cluster_id = once(load(engine, "cluster id", CLUSTER_KEY)?);
        let chosen = cluster_id.clone();
        let partitioner = settings.partitioner;
        let identity = Self { stored, partitioner, tokens: once(tokens), chosen, cluster_id };
        if identity.tokens().is_empty()
            && let Some(tokens) = tokens_of_settings(settings, seed)
        {
            identity.choose_tokens(engine, tokens).await?;
        }
        Ok(identity)
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

    /// Its tokens, ascending; none before they are chosen.
    pub fn tokens(&self) -> &[i64] {
        self.tokens.get().map_or(&[], Vec::as_slice)
    }

    /// Has these tokens, ascending, durably and for ever. Only if it has none.
    pub(crate) async fn choose_tokens(
        &self,
        engine: &Engine,
        tokens: Vec<i64>,
    ) -> Result<(), helenus_storage::Error> {
        // A later start that found none on disk chooses anew, and what it chooses wins.
        let timestamp = Timestamp(self.stored.generation.0);
        save(engine, TOKENS_KEY, Record::plain(timestamp, own_trees::encode(&tokens))).await?;
        self.tokens.get_or_init(|| tokens);
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
        Self {
            cluster_name: settings.cluster_name.clone(),
            partitioner: settings.partitioner.name().to_owned(),
            host_id: HostId(random_uuid(&mut stream(seed, "host id"))),
            generation: Generation(0),
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
        Ok(())
    }
}

/// The tokens of a new node that asks nobody about them.
fn tokens_of_settings(settings: &Settings, seed: u64) -> Option<Vec<i64>> {
    match settings.initial_tokens.as_slice() {
        [] if settings.allocate_tokens_for.is_some() => None,
        [] => Some(random_tokens(settings.num_tokens, seed)),
        given => Some(BTreeSet::from_iter(given.iter().map(|token| token.0)).into_iter().collect()),
    }
}

/// Tokens with no regard to anyone's, ascending.
pub(super) fn random_tokens(count: usize, seed: u64) -> Vec<i64> {
    let drawn = draw_tokens(&mut stream(seed, "tokens"), count.max(1));
    drawn.into_iter().map(|token| token.0).collect()
}

fn check_tokens(settings: &Settings, tokens: Option<&[i64]>) -> Result<(), StartError> {
    let given: BTreeSet<i64> = settings.initial_tokens.iter().map(|token| token.0).collect();
    if !given.is_empty() && tokens.is_some_and(|tokens| !given.iter().eq(tokens)) {
        return Err(StartError::Identity(
            "this node has other tokens than the settings name; a node keeps the tokens of its first start"
                .to_owned(),
        ));
    }
    Ok(())
}

fn load<T: DeserializeOwned>(engine: &Engine, what: &str, key: &[u8]) -> Result<Option<T>, StartError> {
    let record = own_trees::read(engine, own_trees::IDENTITY, key)?;
    Ok(record.map(|record| own_trees::decode(what, &record)).transpose()?.flatten())
}

fn once<T>(value: Option<T>) -> OnceLock<T> {
    value.map(OnceLock::from).unwrap_or_default()
}

/// Whatever the sync mode, who it is must not be forgotten. Start-up only, up to the choice of tokens: it may wait for the disk.
async fn save(engine: &Engine, key: &'static [u8], record: Record) -> Result<(), helenus_storage::Error> {
    when_there_is_room(engine, Mutation::single(key, record)).await?.await?;
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
