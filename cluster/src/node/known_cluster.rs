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
    hearsay::{Hearsay, unknown_descriptions},
    identity::LocalIdentity,
    local_store::LocalStore,
    log_limit::LogLimit,
    saved_cluster::{self, SaveCounter},
    transport::{CallError, Destination},
    user_records::{Intent, UserRecords},
};
use crate::{
    membership::{
        CallFailure, Changes, Exchange, Flaw, Join, JoinVerdict, Liveness, Member, MemberState, Note,
        SignOfDeath, SignOfLife, Verdict, View,
        digest::{Ack, Delta, Syn, Tag},
    },
    message::ReplicaError,
    node_id::{ClusterId, HostId},
    partitioning::{Ring, Token},
    placement::{Placement, SimpleStrategy},
    settings::Settings,
    table::Table,
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
        SimpleStrategy { replication_factor: table.replication_factor }.place(&self.ring, token)
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
    doubt: Notify,
    /// Whether the members known at the start were met; never taken back.
    met: AtomicBool,
    /// Held by whoever changes the picture, from merge to publication.
    writer: tokio::sync::Mutex<Writer>,
    /// Of whom a joining or settling node needs to hear.
    to_be_asked: Mutex<Vec<HostId>>,
    user_records: UserRecords,
    user_records_saved: OnceCell<()>,
    /// Why the node does not serve, or is joining.
    waiting_for: Mutex<Option<String>>,
    news: Notify,
    pub(crate) log_limit: LogLimit,
}

/// What a removed node says, for ever.
pub(crate) const WAS_REMOVED: &str = "it was removed from the cluster, which has let go of its ranges; to join anew, \
                                      stop it, wipe its data directory and start it";

/// Why a member was not removed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// No member has this host id.
    #[error("no member has host id {0}")]
    Unknown(HostId),
    /// A node does not remove itself.
    #[error("a node does not remove itself: ask another one")]
    Itself,
    /// It was removed before.
    #[error("host {0} was removed already")]
    RemovedAlready(HostId),
    /// It lives, or may: only who is dead for sure can be removed.
    #[error("host {0} is not known to be dead: only a member that nobody reaches is removed")]
    Alive(HostId),
    /// It could not be made durable.
    #[error("the removal could not be saved: {0}")]
    Storage(ReplicaError),
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
        for table in &loaded.remembered.tables {
            engine.create_table(table.table_id())?;
            user_records |= !engine.is_empty(table.table_id())?;
        }
        let view = View::new(own, loaded.remembered, settings.default_replication_factor);
        if let Some(note) = view.factor_note() {
            tracing::warn!("{note}");
        }
        let hearsay = Hearsay::new(settings, &view);
        let to_be_asked = view.others().map(|member| member.host_id).collect();
        let cluster = Self {
            identity,
            store,
            hearsay,
            picture: ArcSwap::from_pointee(Picture::of(view)),
            liveness: RwLock::default(),
            in_doubt: Mutex::default(),
            doubt: Notify::new(),
            met: AtomicBool::new(false),
            writer: tokio::sync::Mutex::new(Writer { saves: loaded.saves, join: Join::default() }),
            to_be_asked: Mutex::new(to_be_asked),
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
            self.publish(view.clone(), &changes.members);
        }
        if theirs.cluster_id == view.cluster_id() || theirs.cluster_id.is_none() {
            mark(self, sender);
        }
        writer.join.on_exchange(&view, sender, theirs);
        self.move_on(&mut writer, view).await
    }

    /// Answers the first message of gossip.
    pub(crate) fn answer_syn(&self, sender: HostId, syn: &Syn) -> Ack {
        let (ack, flaws) = self.hearsay.on_syn(syn);
        self.log_flaws(sender, &flaws);
        self.mark_heard(sender);
        ack
    }

    /// Learns from the second message of gossip, durably; its sender is up. Returns whether it told anything new.
    pub(crate) async fn learn_ack(
        &self,
        sender: HostId,
        ack: &Ack,
        now: Timestamp,
    ) -> Result<(), ReplicaError> {
        self.learn_deltas(sender, &ack.deltas, now).await?;
        let flaws = self.hearsay.on_ack(ack);
        self.log_flaws(sender, &flaws);
        self.mark_up(sender);
        Ok(())
    }

    /// Learns from the third message of gossip, durably.
    pub(crate) async fn learn_ack2(
        &self,
        sender: HostId,
        deltas: &[Delta],
        now: Timestamp,
    ) -> Result<(), ReplicaError> {
        self.learn_deltas(sender, deltas, now).await?;
        self.mark_heard(sender);
        Ok(())
    }

    /// Descriptions go the way of all changes, and are gossip's when they are published; what else is told of a member
    /// is taken once its description is believed.
    async fn learn_deltas(
        &self,
        sender: HostId,
        deltas: &[Delta],
        now: Timestamp,
    ) -> Result<(), ReplicaError> {
        if !unknown_descriptions(deltas, self.picture.load().view()).is_empty() {
            let mut writer = self.writer.lock().await;
            let mut view = self.picture.load().view.clone();
            let changes = view.merge_members(unknown_descriptions(deltas, &view), now);
            self.log_gossiped(sender, &changes);
            if changes.is_news() {
                self.save(&mut writer, &view, &changes).await?;
                self.publish(view.clone(), &changes.members);
            }
            self.move_on(&mut writer, view).await?;
        }
        let picture = self.picture.load();
        let is_believed =
            |delta: &&Delta| delta.description.as_ref().is_none_or(|member| picture.view.believes(member));
        let believed: Vec<Delta> = deltas.iter().filter(is_believed).cloned().collect();
        let flaws = self.hearsay.accept(&believed);
        self.log_flaws(sender, &flaws);
        Ok(())
    }

    /// Puts a tombstone in the place of a dead member, durably. Its ranges are one replica short from then on.
    pub(crate) async fn remove(&self, host_id: HostId) -> Result<(), RemovalError> {
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        if host_id == self.identity.host_id() {
            return Err(RemovalError::Itself);
        }
        let Some(known) = view.known(host_id) else { return Err(RemovalError::Unknown(host_id)) };
        if known.state == MemberState::Removed {
            return Err(RemovalError::RemovedAlready(host_id));
        }
        if !self.hearsay.is_convicted(host_id) {
            return Err(RemovalError::Alive(host_id));
        }
        view.remove(host_id);
        let changes = Changes { members: vec![host_id], ..Changes::default() };
        self.save(&mut writer, &view, &changes).await.map_err(RemovalError::Storage)?;
        self.publish(view.clone(), &changes.members);
        helenus_storage::sometimes!("a dead member was removed");
        tracing::warn!(host = %host_id, "removed a dead member: its ranges are one replica short until they are repaired");
        // It may have been the last of whom this node waited to hear.
        self.move_on(&mut writer, view).await.map_err(RemovalError::Storage)
    }

    /// Settles or becomes normal if that is due.
    async fn move_on(&self, writer: &mut Writer, mut view: View) -> Result<(), ReplicaError> {
        if view.cluster_id().is_none()
            || matches!(view.own().state, MemberState::Normal | MemberState::Removed)
        {
            return Ok(());
        }
        *self.to_be_asked.lock() = writer.join.to_be_asked(&view).collect();
        match writer.join.verdict(&view) {
            JoinVerdict::Wait { why } => self.wait_for(why),
            JoinVerdict::MoveOn(state) => {
                view.move_on(state);
                saved_cluster::save(&self.store, &mut writer.saves, [view.own()], []).await?;
                *self.to_be_asked.lock() = writer.join.to_be_asked(&view).collect();
                let own = view.own().host_id;
                self.publish(view, &[own]);
                self.waiting_for.lock().take();
                if state == MemberState::Settling {
                    tracing::info!("joined: this node owns its ranges");
                }
            }
        }
        Ok(())
    }

    /// Forms a cluster, unless the node belongs to one by now.
    pub(crate) async fn form(&self, cluster_id: ClusterId, factor: u32) -> Result<(), ReplicaError> {
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        if view.cluster_id().is_some() {
            helenus_storage::sometimes!("another cluster was found while forming one");
            return Ok(());
        }
        view.form(cluster_id, factor);
        let changes = Changes {
            cluster_id: Some(cluster_id),
            members: vec![self.identity.host_id()],
            tables: view.tables().iter().map(|table| table.name.clone()).collect(),
            ..Changes::default()
        };
        self.save(&mut writer, &view, &changes).await?;
        self.publish(view, &changes.members);
        self.waiting_for.lock().take();
        tracing::info!(%cluster_id, factor, "formed a new cluster");
        Ok(())
    }

    /// The cluster id comes last: see [`saved_cluster`].
    async fn save(&self, writer: &mut Writer, view: &View, changes: &Changes) -> Result<(), ReplicaError> {
        let members = changes.members.iter().filter_map(|host_id| view.known(*host_id));
        let tables: Vec<&Table> = changes.tables.iter().filter_map(|name| view.tables().get(name)).collect();
        for table in &tables {
            self.store.create_table(table.table_id()).await?;
        }
        saved_cluster::save(&self.store, &mut writer.saves, members, tables).await?;
        // Durable before the id: see `saved_cluster`.
        if let Some(cluster_id) = changes.cluster_id {
            self.identity.join_cluster(&self.store, cluster_id).await?;
        }
        Ok(())
    }

    fn publish(&self, view: View, changed: &[HostId]) {
        let picture = Arc::new(Picture::of(view));
        self.picture.store(Arc::clone(&picture));
        self.hearsay.publish(&picture.view, changed);
        self.news.notify_one();
    }

    /// What gossip taught is no exchange's to tell: what was not believed is one line per sender.
    fn log_gossiped(&self, sender: HostId, changes: &Changes) {
        let mut flaws = Vec::new();
        for note in &changes.notes {
            match note {
                Note::MemberIgnored { about, flaw } => flaws.push((*about, flaw.clone())),
                note => {
                    let line = format!("gossip of host {sender}: {note}");
                    if self.log_limit.allows(&line) {
                        tracing::warn!("{line}");
                    }
                }
            }
        }
        let flaws = self.hearsay.count(flaws);
        self.log_flaws(sender, &flaws);
    }

    /// Says once per sender and minute that it tells what cannot be.
    fn log_flaws(&self, sender: HostId, flaws: &[(HostId, Flaw)]) {
        let Some((about, flaw)) = flaws.first() else { return };
        helenus_storage::sometimes!("gossip was not believed");
        if self.log_limit.allows(&format!("flaws of {sender}")) {
            let count = flaws.len();
            tracing::warn!(count, "ignored what host {sender} said, first of host {about}: {flaw}");
        }
    }

    /// Whether the sender was removed from the cluster: nobody listens to it any more.
    pub(crate) fn is_removed(&self, host_id: HostId) -> bool {
        let known = self.picture.load();
        known.view.known(host_id).is_some_and(|member| member.state == MemberState::Removed)
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
        if self.picture.load().view.is_removed() {
            return Some(WAS_REMOVED.to_owned());
        }
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
        self.hearsay.on_contact(host_id);
        if self.liveness.write().on_answer(host_id, Instant::now().into_std()) {
            helenus_storage::sometimes!("a peer came up");
            tracing::info!(host = %host_id, address = member.address, "peer is up");
        }
    }

    /// A member has called.
    fn mark_heard(&self, host_id: HostId) {
        let picture = self.picture.load();
        let Some(member) = picture.view.member(host_id) else { return };
        self.hearsay.on_contact(host_id);
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

    /// The other members that were not called yet.
    pub(crate) fn untried(&self) -> Vec<HostId> {
        let picture = self.picture.load();
        let liveness = self.liveness.read();
        let others = picture.view.others().map(|member| member.host_id);
        others.filter(|host_id| !liveness.is_settled(*host_id)).collect()
    }

    /// The members that a joining or settling node needs to hear of.
    pub(crate) fn to_be_asked(&self) -> Vec<HostId> {
        self.to_be_asked.lock().clone()
    }

    /// Bytes of a member's data on disk, as it said last.
    pub(crate) fn load_of(&self, host_id: HostId) -> Option<u64> {
        let facts = self.hearsay.facts(host_id);
        let (_, load) = facts.into_iter().find(|(tag, _)| *tag == Tag::LOAD)?;
        load.bytes.as_slice().try_into().ok().map(u64::from_le_bytes)
    }

    /// Bytes of this node's data on disk.
    pub(crate) fn load_bytes(&self) -> u64 {
        self.store.engine().counters().sstable_bytes
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
        if sign != SignOfDeath::Outdated && !matches!(why, CallFailure::TimedOut | CallFailure::Local) {
            self.hearsay.on_broken(host_id);
            self.doubt.notify_one();
        }
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

    /// A probe of a member has ended: whether this node or one that it asked has reached it. Whether it is taken for
    /// dead since.
    pub(crate) fn on_probe(&self, host_id: HostId, is_reached: bool) -> bool {
        let verdict = self.hearsay.on_probe(host_id, is_reached);
        let address = || self.picture.load().view.member(host_id).map(|member| member.address.clone());
        match verdict {
            Verdict::Unchanged | Verdict::Again => return false,
            Verdict::Acquitted => {
                helenus_storage::sometimes!("a peer that was taken for dead lives");
                tracing::info!(host = %host_id, address = address(), "peer is alive after all");
                self.call_soon(host_id);
                return false;
            }
            Verdict::Convicted => {}
        }
        let was_up = self.liveness.write().on_conviction(host_id);
        if was_up {
            helenus_storage::sometimes!("a silent peer was convicted");
        }
        tracing::warn!(host = %host_id, address = address(), "peer is dead: neither this node nor others reach it");
        true
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
