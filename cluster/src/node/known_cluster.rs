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
//! saved, and is nobody's fact but this node's.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, OnceCell},
    time::Instant,
};

use super::{
    StartError,
    identity::LocalIdentity,
    local_store::LocalStore,
    log_limit::LogLimit,
    saved_cluster::{self, SaveCounter},
    schema::SchemaError,
    transport::{CallError, Destination},
    user_records::{Intent, UserRecords},
};
use crate::{
    membership::{
        CallFailure, Changes, Exchange, Join, JoinVerdict, Liveness, Member, MemberState, SignOfDeath,
        SignOfLife, View,
    },
    message::ReplicaError,
    node_id::{ClusterId, HostId},
    partitioning::{Ring, Token},
    placement::{Placement, Strategy},
    settings::Settings,
    table::{Refusal, Replication, Schema, Table},
    time::Timestamp,
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
    /// Members whose sign of life only a call can confirm.
    in_doubt: Mutex<BTreeSet<HostId>>,
    doubt: Notify,
    /// Whether the members known at the start were met; never taken back.
    met: AtomicBool,
    /// Held by whoever changes the picture, from merge to publication.
    writer: tokio::sync::Mutex<Writer>,
    user_records: UserRecords,
    user_records_saved: OnceCell<()>,
    /// Why the node does not serve, or is joining.
    waiting_for: Mutex<Option<String>>,
    news: Notify,
    pub(crate) log_limit: LogLimit,
}

#[derive(Debug)]
struct Writer {
    saves: SaveCounter,
    join: Join,
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
            state: known_self.map_or(MemberState::Joining, |member| member.state),
            tokens: identity.tokens().to_vec(),
        };
        let mut user_records = loaded.user_records;
        for table in loaded.remembered.tables.iter().filter(|table| !table.is_dropped) {
            let options = table.definition.storage_options().map_err(StartError::Identity)?;
            engine.create_table_with(table.id(), options)?;
            user_records |= !engine.is_empty(table.id())?;
        }
        let configured_factor = settings.configured_replication().map(|replication| replication.factor());
        let view = View::new(own, loaded.remembered, configured_factor);
        if let Some(note) = view.factor_note() {
            tracing::warn!("{note}");
        }
        let cluster = Self {
            identity,
            store,
            picture: ArcSwap::from_pointee(Picture::of(view)),
            liveness: RwLock::default(),
            in_doubt: Mutex::default(),
            doubt: Notify::new(),
            met: AtomicBool::new(false),
            writer: tokio::sync::Mutex::new(Writer { saves: loaded.saves, join: Join::default() }),
            user_records: UserRecords::default(),
            user_records_saved: OnceCell::new(),
            waiting_for: Mutex::default(),
            news: Notify::new(),
            log_limit: LogLimit::default(),
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

    /// What to tell another node.
    pub(crate) fn exchange(&self) -> Exchange {
        self.picture.load().view.exchange(|| self.user_records.may_exist())
    }

    /// Learns from an exchange that another node began, and answers it.
    pub(crate) async fn answer_exchange(
        &self,
        sender: HostId,
        theirs: &Exchange,
        now: Timestamp,
    ) -> Result<Exchange, ReplicaError> {
        self.merge(sender, theirs, now, Self::mark_heard).await?;
        Ok(self.exchange())
    }

    /// Learns from the answer to an exchange, durably; its sender is up.
    pub(crate) async fn learn(
        &self,
        sender: HostId,
        theirs: &Exchange,
        now: Timestamp,
    ) -> Result<(), ReplicaError> {
        self.merge(sender, theirs, now, Self::mark_up).await
    }

    async fn merge(
        &self,
        sender: HostId,
        theirs: &Exchange,
        now: Timestamp,
        mark: fn(&Self, HostId),
    ) -> Result<(), ReplicaError> {
        if sender == self.identity.host_id() {
            return Ok(());
        }
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        let changes = view.merge(sender, theirs, now);
        self.log_notes(sender, &changes);
        if changes.is_news() {
            self.save(&mut writer, &view, &changes).await?;
            self.publish(view.clone());
        }
        if theirs.cluster_id == view.cluster_id() || theirs.cluster_id.is_none() {
            mark(self, sender);
        }
        writer.join.on_exchange(&view, sender, theirs);
        self.move_on(&mut writer, view).await
    }

    /// Settles or becomes normal if that is due.
    async fn move_on(&self, writer: &mut Writer, mut view: View) -> Result<(), ReplicaError> {
        if view.cluster_id().is_none() || view.own().state == MemberState::Normal {
            return Ok(());
        }
        match writer.join.verdict(&view) {
            JoinVerdict::Wait { why } => self.wait_for(why),
            JoinVerdict::MoveOn(state) => {
                view.move_on(state);
                saved_cluster::save(&self.store, &mut writer.saves, [view.own()], []).await?;
                self.publish(view);
                self.waiting_for.lock().take();
                if state == MemberState::Settling {
                    tracing::info!("joined: this node owns its ranges");
                }
            }
        }
        Ok(())
    }

    /// Forms a cluster, unless the node belongs to one by now.
    pub(crate) async fn form(
        &self,
        cluster_id: ClusterId,
        replication: Replication,
    ) -> Result<(), ReplicaError> {
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        if view.cluster_id().is_some() {
            helenus_storage::sometimes!("another cluster was found while forming one");
            return Ok(());
        }
        view.form(cluster_id, replication.clone());
        let changes = Changes {
            cluster_id: Some(cluster_id),
            members: vec![self.identity.host_id()],
            tables: view.tables().iter().map(|table| table.name.clone()).collect(),
            ..Changes::default()
        };
        self.save(&mut writer, &view, &changes).await?;
        self.publish(view);
        self.waiting_for.lock().take();
        tracing::info!(%cluster_id, ?replication, "formed a new cluster");
        Ok(())
    }

    /// Changes the schema durably, if the change makes a fact.
    pub(crate) async fn change_schema(
        &self,
        change: impl FnOnce(&Schema) -> Result<Option<Table>, Refusal>,
    ) -> Result<(), SchemaError> {
        if let Some(why) = self.starting() {
            return Err(SchemaError::NotServing(why));
        }
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        let Some(fact) = change(view.tables())? else { return Ok(()) };
        let changes = Changes { tables: vec![fact.name.clone()], ..Changes::default() };
        view.insert_table(fact);
        self.save(&mut writer, &view, &changes).await.map_err(SchemaError::NotSaved)?;
        self.publish(view);
        Ok(())
    }

    /// Learns what another member knows of the schema, durably.
    pub(crate) async fn learn_schema(
        &self,
        sender: HostId,
        facts: &[Table],
        now: Timestamp,
    ) -> Result<(), ReplicaError> {
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        if view.cluster_id().is_none() || view.member(sender).is_none() {
            return Ok(());
        }
        let changes = view.merge_tables(facts, now);
        self.log_notes(sender, &changes);
        if changes.is_news() {
            self.save(&mut writer, &view, &changes).await?;
            self.publish(view);
        }
        Ok(())
    }

    /// The cluster id comes last: see [`saved_cluster`].
    async fn save(&self, writer: &mut Writer, view: &View, changes: &Changes) -> Result<(), ReplicaError> {
        let members = changes.members.iter().filter_map(|host_id| view.member(*host_id));
        let tables: Vec<&Table> = changes.tables.iter().filter_map(|name| view.tables().fact(name)).collect();
        for table in tables.iter().filter(|table| !table.is_dropped) {
            let options = table.definition.storage_options().map_err(ReplicaError::Storage)?;
            self.store.create_table(table.id(), options).await?;
        }
        saved_cluster::save(&self.store, &mut writer.saves, members, tables).await?;
        // Durable before the id: see `saved_cluster`.
        if let Some(cluster_id) = changes.cluster_id {
            self.identity.join_cluster(&self.store, cluster_id).await?;
        }
        Ok(())
    }

    fn publish(&self, view: View) {
        self.picture.store(Arc::new(Picture::of(view)));
        self.news.notify_one();
    }

    fn log_notes(&self, sender: HostId, changes: &Changes) {
        if let Some(cluster_id) = changes.cluster_id {
            tracing::info!(%cluster_id, "belongs to a cluster now, learned from host {sender}");
        }
        for note in &changes.notes {
            let line = format!("exchange with host {sender}: {note}");
            if self.log_limit.allows(&line) {
                tracing::warn!("{line}");
            }
        }
        if changes.suppressed > 0 {
            tracing::warn!(suppressed = changes.suppressed, "more notes on the exchange with host {sender}");
        }
    }

    /// Why the node does not serve yet, if so.
    pub(crate) fn starting(&self) -> Option<String> {
        if self.picture.load().is_ring_known() {
            let is_met = self.met.load(Ordering::Acquire);
            return (!is_met).then(|| "it has not tried to reach all members yet".to_owned());
        }
        let why = self.waiting_for.lock().clone();
        Some(why.unwrap_or_else(|| "no seed has answered yet".to_owned()))
    }

    /// Why the node is still joining or settling, if it is.
    pub(crate) fn why_not_normal(&self) -> Option<String> {
        if self.picture.load().view.own().state == MemberState::Normal {
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

    /// Notes for the status and, if it is new, for the log why the node cannot go on.
    pub(crate) fn wait_for(&self, why: String) {
        let mut waiting_for = self.waiting_for.lock();
        if waiting_for.as_ref() != Some(&why) {
            tracing::info!("waiting: {why}");
            *waiting_for = Some(why);
        }
    }

    /// Whether a member is up; this node is.
    pub(crate) fn is_up(&self, host_id: HostId) -> bool {
        host_id == self.identity.host_id() || self.liveness.read().is_up(host_id)
    }

    /// A member has answered a call.
    fn mark_up(&self, host_id: HostId) {
        let picture = self.picture.load();
        let Some(member) = picture.view.member(host_id) else { return };
        if self.liveness.write().on_answer(host_id, Instant::now().into_std()) {
            helenus_storage::sometimes!("a peer came up");
            tracing::info!(host = %host_id, address = member.address, "peer is up");
        }
    }

    /// A member has called.
    fn mark_heard(&self, host_id: HostId) {
        let picture = self.picture.load();
        let Some(member) = picture.view.member(host_id) else { return };
        let heard = self.liveness.write().on_heard(host_id);
        match heard {
            SignOfLife::WasUp => {}
            SignOfLife::IsUp => {
                tracing::info!(host = %host_id, address = member.address, "peer is up");
            }
            SignOfLife::Unproven => self.call_soon(host_id),
        }
    }

    fn call_soon(&self, host_id: HostId) {
        self.in_doubt.lock().insert(host_id);
        self.doubt.notify_one();
    }

    /// Waits for members of which calls that failed and answers or calls of theirs say different things; they are to be
    /// called at once.
    pub(crate) async fn members_in_doubt(&self) -> BTreeSet<HostId> {
        self.doubt.notified().await;
        std::mem::take(&mut *self.in_doubt.lock())
    }

    /// Whether the ring is known and it was tried to reach every other member of it.
    pub(crate) fn has_tried_all(&self) -> bool {
        let picture = self.picture.load();
        let liveness = self.liveness.read();
        picture.is_ring_known() && picture.view.others().all(|member| liveness.is_settled(member.host_id))
    }

    /// From now on the node serves, whoever else comes.
    pub(crate) fn serve(&self) {
        self.met.store(true, Ordering::Release);
    }

    /// A call to a member, begun at `began`, has failed.
    pub(crate) fn on_failure(&self, host_id: HostId, error: &CallError, began: Instant) {
        let why = match error {
            CallError::Unreachable { .. } => CallFailure::Unreachable,
            CallError::Lost { .. } => CallFailure::Lost,
            CallError::Refused(_) => CallFailure::Refused,
            CallError::WrongHost { .. } => CallFailure::WrongHost,
            CallError::TimedOut => CallFailure::TimedOut,
            CallError::Overloaded | CallError::Malformed { .. } => CallFailure::Local,
        };
        let sign = self.liveness.write().on_failure(host_id, why, began.into_std());
        match sign {
            SignOfDeath::None => {}
            SignOfDeath::IsDown => {
                helenus_storage::sometimes!("a peer went down");
                let address = self.picture.load().view.member(host_id).map(|member| member.address.clone());
                tracing::warn!(host = %host_id, address, "peer is down: {error}");
            }
            SignOfDeath::Outdated => {
                helenus_storage::sometimes!("an old call failed after a newer one was answered");
                self.call_soon(host_id);
            }
        }
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
