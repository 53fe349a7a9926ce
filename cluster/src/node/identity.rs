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
    site: Site,
    /// On disk or on their way there.
    chosen_tokens: OnceLock<Tokens>,
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
        let mut tokens = load::<Tokens>(engine, "tokens", TOKENS_KEY)?;
        check_tokens(settings, tokens.as_ref())?;
        stored.generation = Generation(clock.now().0.max(stored.generation.0.saturating_add(1)));
        // The generation only grows, so it serves as the record's timestamp: no clock decides what is newer.
        let timestamp = Timestamp(stored.generation.0);
        save(engine, IDENTITY_KEY, Record::plain(timestamp, own_trees::encode(&stored))).await?;

        let cluster_id = once(load(engine, "cluster id", CLUSTER_KEY)?);
        if let Some(old) = &tokens
            && cluster_id.get().is_none()
            && let Some(why) = old.misfit(settings)
        {
            tracing::warn!("{why}");
        }
        if tokens.is_none()
            && let Some(given) = tokens_of_settings(settings, seed)
        {
            let given = Tokens { tokens: given, site: Site::of(settings) };
            save(engine, TOKENS_KEY, Record::plain(timestamp, own_trees::encode(&given))).await?;
            tokens = Some(given);
        }
        Ok(Self {
            stored,
            partitioner: settings.partitioner,
            site: Site::of(settings),
            tokens: once(tokens.as_ref().map(|tokens| tokens.tokens.clone())),
            chosen_tokens: once(tokens),
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

    /// Its tokens, ascending; none before they are chosen.
    pub fn tokens(&self) -> &[i64] {
        self.tokens.get().map_or(&[], Vec::as_slice)
    }

    /// Has these tokens, ascending, durably and for ever; unless it chose others before in this life, even if that was given
    /// up half-way: they may be on disk. Then it has those.
    ///
    /// # Errors
    /// When storage fails; the node has no tokens yet, though it may find that it has after a restart.
    pub(crate) async fn choose_tokens(
        &self,
        store: &LocalStore,
        tokens: Vec<i64>,
    ) -> Result<(), ReplicaError> {
        let chosen = self.chosen_tokens.get_or_init(|| Tokens { tokens, site: self.site.clone() });
        // A later start that found none on disk chooses anew, and what it chooses wins.
        let record = Record::plain(Timestamp(self.stored.generation.0), own_trees::encode(chosen));
        store.apply(own_trees::IDENTITY, Mutation::single(TOKENS_KEY, record)).await?;
        store.sync().await?;
        self.tokens.get_or_init(|| chosen.tokens.clone());
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

/// The tokens of a node, and where it stood when it chose them.
#[derive(Debug, Serialize, Deserialize)]
struct Tokens {
    /// Ascending.
    tokens: Vec<i64>,
    site: Site,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Site {
    datacenter: String,
    rack: String,
}

impl Site {
    fn of(settings: &Settings) -> Self {
        Self { datacenter: settings.datacenter.clone(), rack: settings.rack.clone() }
    }
}

impl Tokens {
    /// What other settings would have chosen otherwise, for the operator of a node that belongs to no cluster yet.
    fn misfit(&self, settings: &Settings) -> Option<String> {
        let Self { tokens, site } = self;
        let is_as_many = tokens.len() == settings.num_tokens.max(1);
        let is_well_placed = *site == Site::of(settings) || settings.allocate_tokens_for.is_none();
        if !settings.initial_tokens.is_empty() || (is_as_many && is_well_placed) {
            return None;
        }
        Some(format!(
            "this node keeps the {} tokens that it chose before for rack `{}` of datacenter `{}`; the settings name {} for \
             rack `{}` of datacenter `{}`: if it is to choose anew, start it with an empty data directory",
            tokens.len(),
            site.rack,
            site.datacenter,
            settings.num_tokens.max(1),
            settings.rack,
            settings.datacenter
        ))
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

fn check_tokens(settings: &Settings, tokens: Option<&Tokens>) -> Result<(), StartError> {
    let given: BTreeSet<i64> = settings.initial_tokens.iter().map(|token| token.0).collect();
    if !given.is_empty() && tokens.is_some_and(|tokens| !given.iter().eq(&tokens.tokens)) {
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

/// Whatever the sync mode, who it is must not be forgotten. Start-up only: it may wait for the disk.
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

    fn empty_engine() -> Arc<Engine> {
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        let engine = Engine::open(Arc::new(SimulatedDisk::new(1)), Path::new("/data"), options);
        Arc::new(engine.expect("an empty disk"))
    }

    #[tokio::test]
    async fn a_choice_of_tokens_given_up_half_way_stands() {
        let (settings, engine) = (Settings::default(), empty_engine());
        let store = LocalStore::new(Arc::clone(&engine), &settings, true);
        let load = || LocalIdentity::load_or_create(&engine, &settings, &SystemClock, 7);
        let identity = driven(&engine, load()).await.expect("a sound disk");

        // Its first poll hands the tokens to the disk, and nobody polls it again.
        assert!(futures_util::poll!(Box::pin(identity.choose_tokens(&store, vec![1, 5]))).is_pending());
        assert!(identity.tokens().is_empty(), "they are not durable yet");
        driven(&engine, identity.choose_tokens(&store, vec![2, 6])).await.expect("a sound disk");

        assert_eq!(identity.tokens(), [1, 5]);
        assert_eq!(driven(&engine, load()).await.expect("a sound disk").tokens(), [1, 5]);
    }

    #[test]
    fn tokens_chosen_for_other_settings_are_told() {
        let settings = Settings { num_tokens: 2, ..Settings::default() };
        let tokens = Tokens { tokens: vec![1, 5], site: Site::of(&settings) };
        assert_eq!(tokens.misfit(&settings), None);
        for other in [
            Settings { rack: "b".to_owned(), ..settings.clone() },
            Settings { datacenter: "b".to_owned(), ..settings.clone() },
            Settings { num_tokens: 3, ..settings.clone() },
        ] {
            let why = tokens.misfit(&other).expect("it would choose others");
            let (now, kept) =
                (&other, "keeps the 2 tokens that it chose before for rack `rack1` of datacenter `dc1`");
            let named =
                format!("{} for rack `{}` of datacenter `{}`", now.num_tokens, now.rack, now.datacenter);
            assert!(why.contains(kept) && why.contains(&named), "{why}");
        }
        let drawn = Settings { rack: "b".to_owned(), allocate_tokens_for: None, ..settings };
        assert_eq!(tokens.misfit(&drawn), None, "racks do not matter to random tokens");
    }

    #[tokio::test]
    async fn a_join_given_up_half_way_leaves_no_choice_of_another_cluster() {
        let (first, other) = (ClusterId(Uuid::from_u128(1)), ClusterId(Uuid::from_u128(2)));
        let (settings, engine) = (Settings::default(), empty_engine());
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
