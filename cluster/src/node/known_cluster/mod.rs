//! What this node knows of the cluster: one picture that all its parts read, and one place that changes it.
//!
//! ```text
//!   exchange ──> learn ──> merge into a copy ──> save ──> publish ──> answer
//!                (one at a time)   pure          durable   new picture
//! ```
//!
//! Readers take the picture of the moment and never wait. A change is durable before it is published, and
//! published before an answer lists it: so a node never acts on what it could forget, and the proof on the cover
//! page of [`crate::membership`] holds. Which peer is up is kept beside the picture: it changes at once, is never
//! saved, and is nobody's fact but this node's. So is what gossip brought beyond descriptions of members
//! ([`super::hearsay`]).
//!
//! Reading order: this page, `learning`, `evicting`, `health`.

mod evicting;
mod health;
mod learning;

pub use learning::{RemovalError, Removed};

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use helenus_storage::TableId;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, OnceCell};

use super::{
    StartError,
    hearsay::Hearsay,
    identity::LocalIdentity,
    local_store::LocalStore,
    saved_cluster::{self, SaveCounter},
    transport::Destination,
    user_records::{Intent, UserRecords},
};
use crate::{
    membership::{Exchange, Join, Liveness, Member, MemberState, View, clock_watch::ClocksOff, digest::Tag},
    message::ReplicaError,
    node_id::{ClusterId, HostId},
    partitioning::{Ring, Token},
    placement::{Placement, Strategy},
    settings::Settings,
    table::Table,
};

/// The cluster at one moment.
#[derive(Debug)]
pub(crate) struct Picture {
    view: View,
    ring: Ring,
    schema_version: u64,
}

impl Picture {
    fn of(view: View) -> Self {
        let ring = Ring::from_members(view.members());
        let schema_version = view.tables().version();
        Self { view, ring, schema_version }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(crate) fn schema_version(&self) -> u64 {
        self.schema_version
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.view.tables().get(name)
    }

    pub(crate) fn place(&self, table: &Table, token: Token) -> Placement {
        Strategy::from(&table.definition.replication).place(&self.ring, token)
    }

    /// Whether some table has replicas at a member, whatever they hold.
    fn is_replica(&self, host_id: HostId) -> bool {
        let mut tokens = self.ring.ranges().map(|range| range.end);
        let is_of = |table: &Table, token| self.place(table, token).natural.contains(&host_id);
        tokens.any(|token| self.view.tables().iter().any(|table| is_of(table, token)))
    }

    /// How to call a member.
    pub(crate) fn destination(&self, host_id: HostId) -> Option<Destination> {
        let member = self.view.member(host_id)?;
        Some(Destination { host_id: Some(host_id), address: member.address.clone() })
    }

    /// Whether requests can be placed.
    pub(crate) fn is_ring_known(&self) -> bool {
        self.view.cluster_id().is_some() && self.ring.owning_members() > 0
    }
}

/// The known cluster of one node.
#[derive(Debug)]
pub(crate) struct KnownCluster {
    identity: Arc<LocalIdentity>,
    store: Arc<LocalStore>,
    picture: ArcSwap<Picture>,
    liveness: RwLock<Liveness>,
    pub(crate) hearsay: Hearsay,
    /// Members whose sign of life only a call can confirm.
    in_doubt: Mutex<BTreeSet<HostId>>,
    /// Where somebody else may run under this node's host id.
    rival: Mutex<Option<String>>,
    /// Where somebody does, who started later.
    superseded_at: OnceLock<String>,
    doubt: Notify,
    /// Whether the members known at the start were met; never taken back.
    met: AtomicBool,
    /// Whether a member has listed this node as it joins now.
    listed: AtomicBool,
    /// How often this node was evicted.
    evictions: AtomicU64,
    /// Whether this node has ended its part in the cluster; never taken back.
    has_left: AtomicBool,
    /// Held by whoever changes the picture, from merge to publication.
    writer: tokio::sync::Mutex<Writer>,
    /// Of whom a joining or settling node needs to hear.
    to_be_asked: Mutex<Vec<HostId>>,
    user_records: UserRecords,
    user_records_saved: OnceCell<()>,
    /// Why no member will list this node, before it belongs to their cluster.
    unwanted: OnceLock<String>,
    /// Why the node does not serve, or is joining.
    waiting_for: Mutex<Option<String>>,
    news: Notify,
}

/// What a removed node says, for ever.
pub(crate) const WAS_REMOVED: &str = "it was removed from the cluster, which has let go of its ranges; to join anew, \
                                      stop it, wipe its data directory and start it";

/// What a drained node says, until it ends.
const HAS_LEFT: &str = "it is drained and takes no part in the cluster until it is started again; who else is up it does \
                        not know";

#[derive(Debug)]
struct Writer {
    saves: SaveCounter,
    join: Join,
    /// Members of which this node first heard when it knew that user records exist: see `evicting`.
    latecomers: BTreeSet<HostId>,
    /// Tables that were dropped, and perhaps not from storage yet.
    dead: BTreeSet<TableId>,
}

impl KnownCluster {
    /// Reloads what the node knew before it stopped.
    pub(crate) fn load(
        settings: &Settings,
        identity: Arc<LocalIdentity>,
        store: Arc<LocalStore>,
    ) -> Result<Self, StartError> {
        let engine = store.engine();
        let loaded = saved_cluster::load(engine, identity.cluster_id())?;
        let known_self = loaded.remembered.members.iter().find(|member| member.host_id == identity.host_id());
        if let Some(known) = known_self {
            check_stays_put(known, settings)?;
        }
        let own = Member {
            host_id: identity.host_id(),
            generation: identity.generation(),
            version: 0,
            address: settings.advertise.clone(),
            datacenter: settings.datacenter.clone(),
            rack: settings.rack.clone(),
            // One that was evicted as it learned it joins anew with this generation.
            state: known_self.map_or(MemberState::Joining, |member| member.state.max(MemberState::Joining)),
            tokens: identity.tokens().to_vec(),
        };
        let configured_factor = settings.configured_replication().map(|replication| replication.factor());
        let mut view = View::new(own, loaded.remembered, configured_factor);
        let mut user_records = loaded.user_records;
        for table in view.tables().iter().cloned().collect::<Vec<_>>() {
            if engine.was_dropped(table.id()) {
                learning::bury(&mut view, table.id());
                continue;
            }
            let options = table.definition.storage_options().map_err(StartError::Identity)?;
            engine.create_table_with(table.id(), options)?;
            user_records |= !engine.is_empty(table.id())?;
        }
        if let Some(note) = view.factor_note() {
            tracing::warn!("{note}");
        }
        // Without a cluster, what was saved of one that the node did not join counts for nothing.
        let is_dead = |table: &TableId| view.cluster_id().is_some() && view.tables().by_id(*table).is_none();
        let mut dead: BTreeSet<TableId> = store.user_tables().filter(is_dead).collect();
        dead.retain(|table| {
            helenus_storage::sometimes!("a start finished the drop of a table");
            let dropped = engine.drop_table(*table);
            dropped
                .inspect_err(|error| tracing::warn!(tree = table.0, %error, "a table is not dropped yet"))
                .is_err()
        });
        let hearsay = Hearsay::new(settings, &view);
        let is_listed = Join::default().is_listed(&view);
        let to_be_asked = view.others().map(|member| member.host_id).collect();
        let cluster = Self {
            identity,
            store,
            hearsay,
            picture: ArcSwap::from_pointee(Picture::of(view)),
            liveness: RwLock::default(),
            in_doubt: Mutex::default(),
            rival: Mutex::default(),
            superseded_at: OnceLock::new(),
            doubt: Notify::new(),
            met: AtomicBool::new(false),
            listed: AtomicBool::new(is_listed),
            evictions: AtomicU64::new(0),
            has_left: AtomicBool::new(false),
            writer: tokio::sync::Mutex::new(Writer {
                saves: loaded.saves,
                join: Join::default(),
                latecomers: loaded.latecomers,
                dead,
            }),
            to_be_asked: Mutex::new(to_be_asked),
            user_records: UserRecords::default(),
            user_records_saved: OnceCell::new(),
            unwanted: OnceLock::new(),
            waiting_for: Mutex::default(),
            news: Notify::new(),
        };
        if user_records {
            cluster.user_records.exist();
        }
        Ok(cluster)
    }

    /// The picture of the moment.
    pub(crate) fn picture(&self) -> Arc<Picture> {
        self.picture.load_full()
    }

    /// Ends when the picture has changed since the last call.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// What to tell another node, which belongs to a cluster or to none. A node without one shows itself to that which it
    /// has chosen, and to no other.
    pub(crate) fn exchange(&self, with: Option<ClusterId>) -> Exchange {
        let picture = self.picture.load();
        let is_unsettled = picture.view.cluster_id().is_none();
        if is_unsettled && (with.is_none() || with != self.identity.chosen_cluster()) {
            return Exchange::nothing();
        }
        picture.view.exchange(|| self.user_records.may_exist())
    }

    /// Whether the sender was removed from the cluster, or evicted: nobody listens to it until it belongs again.
    pub(crate) fn is_gone(&self, host_id: HostId) -> bool {
        self.picture.load().view.known(host_id).is_some_and(|member| member.state.is_gone())
    }

    /// Why the node will never serve again, if so.
    pub(crate) fn over(&self) -> Option<String> {
        if let Some(address) = self.superseded_at.get() {
            return Some(format!(
                "a process that started later runs under this node's host id at {address}: one of the two has a copy of \
                 the other's data directory, and only one may run; stop this one for good, or stop that one and start \
                 this one again"
            ));
        }
        self.picture.load().view.is_removed().then(|| WAS_REMOVED.to_owned())
    }

    /// Whether the node will never serve again: see [`KnownCluster::over`].
    pub(crate) fn is_over(&self) -> bool {
        self.superseded_at.get().is_some() || self.picture.load().view.is_removed()
    }

    /// Takes out where somebody else may run under this node's host id.
    pub(crate) fn take_rival(&self) -> Option<String> {
        self.rival.lock().take()
    }

    /// A process of this node's host id that started later has answered at this address.
    pub(crate) fn supersede(&self, address: &str) {
        helenus_storage::sometimes!("a node was superseded by one of its host id");
        let _: Result<(), _> = self.superseded_at.set(address.to_owned());
    }

    /// Why the node does not serve yet, if so.
    pub(crate) fn starting(&self) -> Option<String> {
        if let Some(why) = self.over() {
            return Some(why);
        }
        if self.picture.load().is_ring_known() {
            if !self.listed.load(Ordering::Acquire) {
                return Some(
                    "it joins, and no member that owns ranges has listed it since it does".to_owned(),
                );
            }
            let is_met = self.met.load(Ordering::Acquire);
            return (!is_met).then(|| "it has not tried to reach all members yet".to_owned());
        }
        let why = self.waiting_for.lock().clone();
        Some(why.unwrap_or_else(|| "no seed has answered yet".to_owned()))
    }

    /// Why the node is still joining or settling, if it is, or takes no part any more.
    pub(crate) fn why_not_normal(&self) -> Option<String> {
        if self.has_left() {
            return Some(HAS_LEFT.to_owned());
        }
        if !self.picture.load().view.own().state.is_arriving() {
            return None;
        }
        let why = self.waiting_for.lock().clone();
        Some(why.unwrap_or_else(|| "no member has answered yet".to_owned()))
    }

    /// Why another member is still joining, if it is and this node can tell: members do not tell each other their
    /// reasons, but whoever holds user records keeps every newcomer from becoming normal.
    pub(crate) fn why_others_join(&self, member: &Member) -> Option<String> {
        let is_kept_out = member.state == MemberState::Joining && self.user_records.do_exist();
        is_kept_out.then(|| "user records exist already; streaming is not available yet".to_owned())
    }

    /// How often this node was evicted and joined anew. What it began before says nothing of the cluster after.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Acquire)
    }

    /// Why no member will list this node, if so; it can only start over.
    pub(crate) fn unwanted(&self) -> Option<String> {
        self.unwanted.get().cloned()
    }

    /// Notes for the status and, if it is new, for the log why the node cannot go on.
    pub(crate) fn wait_for(&self, why: String) {
        let mut waiting_for = self.waiting_for.lock();
        if waiting_for.as_ref() != Some(&why) {
            tracing::info!(why, "waiting");
            *waiting_for = Some(why);
        }
    }

    /// The members that a joining or settling node needs to hear of.
    pub(crate) fn to_be_asked(&self) -> Vec<HostId> {
        self.to_be_asked.lock().clone()
    }

    /// Bytes of a member's data on disk, as it said last.
    pub(crate) fn load_of(&self, host_id: HostId) -> Option<u64> {
        let load = self.hearsay.fact(host_id, Tag::LOAD)?;
        load.as_slice().try_into().ok().map(u64::from_le_bytes)
    }

    /// The live members that say that this node's clock is far off, and by how many seconds it is ahead of theirs.
    pub(crate) fn told_off(&self) -> Vec<(HostId, i32)> {
        let own = self.identity.host_id();
        let told = |host_id| {
            let ClocksOff(named) = ClocksOff::decode(&self.hearsay.fact(host_id, Tag::CLOCKS_OFF)?)?;
            Some((host_id, *named.get(&own)?))
        };
        let picture = self.picture.load();
        let live = picture.view.others().map(|member| member.host_id).filter(|host_id| self.is_up(*host_id));
        live.filter_map(told).collect()
    }

    /// Bytes of this node's data on disk.
    pub(crate) fn load_bytes(&self) -> u64 {
        self.store.engine().counters().sstable_bytes
    }

    /// From now on the node serves, whoever else comes.
    pub(crate) fn serve(&self) {
        self.met.store(true, Ordering::Release);
    }

    /// A replica is about to store a user record.
    pub(crate) fn note_user_record(&self) {
        self.user_records.exist();
    }

    /// A coordinator is about to plan a write; it takes its picture afterwards.
    pub(crate) fn intend_user_record(&self) -> Intent<'_> {
        self.user_records.intend()
    }

    /// Makes durable that user records exist; the first write of a node waits for it, all others find it done.
    pub(crate) async fn save_user_records(&self) -> Result<(), ReplicaError> {
        self.user_records_saved.get_or_try_init(|| saved_cluster::save_user_records(&self.store)).await?;
        Ok(())
    }
}

/// A member keeps its datacenter and rack: they decide which replicas it holds, and nothing would move those.
fn check_stays_put(known: &Member, settings: &Settings) -> Result<(), StartError> {
    let (datacenter, rack) = (&settings.datacenter, &settings.rack);
    if (&known.datacenter, &known.rack) == (datacenter, rack) {
        return Ok(());
    }
    Err(StartError::Identity(format!(
        "this node belongs to the cluster in datacenter `{}`, rack `{}`, and is now said to be in datacenter \
         `{datacenter}`, rack `{rack}`; its replicas lie where the former put them, so a node that moves must join anew \
         with an empty data directory",
        known.datacenter, known.rack
    )))
}
