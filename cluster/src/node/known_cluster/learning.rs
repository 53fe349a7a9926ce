//! What changes the picture: exchanges, gossip, and this node's own steps. One at a time, durable before it is published.

use std::sync::{Arc, atomic::Ordering};

use helenus_storage::TableId;
use tokio::sync::MutexGuard;

use super::{KnownCluster, Picture, Writer};
use crate::{
    membership::{
        Changes, Exchange, Flaw, JoinVerdict, MemberState, Note, View,
        digest::{Ack, Delta, Syn},
    },
    message::ReplicaError,
    node::{hearsay::unknown_descriptions, saved_cluster, schema::SchemaError, token_choice},
    node_id::{ClusterId, HostId},
    table::{Refusal, Replication, Table},
    time::Timestamp,
};

impl KnownCluster {
    /// Learns from an exchange that another node began, and answers it.
    pub(crate) async fn answer_exchange(
        &self,
        sender: HostId,
        theirs: &Exchange,
        now: Timestamp,
    ) -> Result<Exchange, ReplicaError> {
        self.merge(sender, theirs, now, Self::mark_heard).await?;
        Ok(self.exchange(theirs.cluster_id))
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
        self.suspect_rival(&changes);
        if changes.is_news() {
            self.bury_dropped(&mut view, &changes);
            self.note_latecomers(&mut writer, &view, &changes).await?;
            self.save(&mut writer, &view, &changes).await?;
            self.publish(&mut writer, view.clone(), &changes.members);
        }
        if view.cluster_id().is_none()
            && theirs.cluster_id.is_some()
            && let Some(why) = token_choice::taken(&self.identity, &theirs.members)
        {
            let _: Result<(), _> = self.unwanted.set(why);
        }
        if theirs.cluster_id == view.cluster_id() || theirs.cluster_id.is_none() {
            mark(self, sender);
        }
        if view.cluster_id().is_none() && theirs.cluster_id.is_some() {
            // There is a cluster now: the seeds are asked again at once.
            self.news.notify_one();
        }
        writer.join.on_exchange(&view, sender, theirs);
        self.listed.store(writer.join.is_listed(&view), Ordering::Release);
        self.move_on(&mut writer, view).await?;
        self.drop_dead_tables(writer).await;
        Ok(())
    }

    /// Answers the first message of gossip.
    pub(crate) fn answer_syn(&self, sender: HostId, syn: &Syn, now: Timestamp) -> Ack {
        let (ack, flaws) = self.hearsay.on_syn(syn, now);
        self.reject_flaws(sender, &flaws);
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
        let flaws = self.hearsay.on_ack(ack, now);
        self.reject_flaws(sender, &flaws);
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
        if !unknown_descriptions(deltas, self.picture.load().view(), now).is_empty() {
            let mut writer = self.writer.lock().await;
            let mut view = self.picture.load().view.clone();
            let changes = view.merge_members(unknown_descriptions(deltas, &view, now), now);
            self.log_notes(sender, &changes);
            self.suspect_rival(&changes);
            if changes.is_news() {
                self.note_latecomers(&mut writer, &view, &changes).await?;
                self.save(&mut writer, &view, &changes).await?;
                self.publish(&mut writer, view.clone(), &changes.members);
            }
            self.move_on(&mut writer, view).await?;
        }
        let picture = self.picture.load();
        // What is malformed is refused, and counted, where it is accepted.
        let is_judged = |delta: &&Delta| {
            delta.check(now).is_err()
                || delta.description.as_ref().is_none_or(|member| picture.view.believes(member))
        };
        let judged: Vec<Delta> = deltas.iter().filter(is_judged).cloned().collect();
        let flaws = self.hearsay.accept(&judged, now);
        self.reject_flaws(sender, &flaws);
        Ok(())
    }

    /// Puts a tombstone in the place of a dead member, durably. Its ranges are one replica short from then on. Unless
    /// forced, only where a majority of the members is up: the dead may be the ones on this side of a partition.
    pub(crate) async fn remove(&self, host_id: HostId, is_forced: bool) -> Result<Removed, RemovalError> {
        let mut writer = self.writer.lock().await;
        let before = self.picture.load_full();
        let mut view = before.view.clone();
        if host_id == self.identity.host_id() {
            return Err(RemovalError::Itself);
        }
        let Some(known) = view.known(host_id) else { return Err(RemovalError::Unknown(host_id)) };
        if known.state.is_gone() {
            return Err(RemovalError::RemovedAlready(host_id));
        }
        if !self.hearsay.is_convicted(host_id) {
            return Err(RemovalError::Alive(host_id));
        }
        let members = view.members().count();
        let up = view.members().filter(|member| self.is_up(member.host_id)).count();
        if !is_forced && up * 2 <= members {
            return Err(RemovalError::Minority { up, members });
        }
        let removed = Removed { was_replica: known.state.owns_ranges() && before.is_replica(host_id) };
        view.remove(host_id);
        let changes = Changes { members: vec![host_id], ..Changes::default() };
        self.save(&mut writer, &view, &changes).await.map_err(RemovalError::Storage)?;
        self.publish(&mut writer, view.clone(), &changes.members);
        helenus_storage::sometimes!("a dead member was removed");
        match removed.was_replica {
            true => tracing::warn!(
                host = %host_id,
                "removed a dead member: its ranges are one replica short until they are repaired"
            ),
            false => tracing::warn!(host = %host_id, "removed a dead member, which was a replica of nothing"),
        }
        // It may have been the last of whom this node waited to hear.
        self.move_on(&mut writer, view).await.map_err(RemovalError::Storage)?;
        Ok(removed)
    }

    /// Settles or becomes normal if that is due.
    pub(super) async fn move_on(&self, writer: &mut Writer, mut view: View) -> Result<(), ReplicaError> {
        if view.cluster_id().is_none() || !view.own().state.is_arriving() {
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
                self.publish(writer, view, &[own]);
                self.waiting_for.lock().take();
                if state == MemberState::Settling {
                    tracing::info!("joined: this node owns its ranges");
                }
            }
        }
        Ok(())
    }

    /// The node has the tokens of this choice, which may take a while, durably, before it tells anyone; unless it has some.
    pub(crate) async fn choose_tokens(
        &self,
        choice: impl FnOnce() -> Vec<i64> + Send + 'static,
    ) -> Result<(), ReplicaError> {
        let tokens = self.store.block_on(move |_| Ok(choice())).await?;
        let mut writer = self.writer.lock().await;
        if !self.identity.tokens().is_empty() {
            return Ok(());
        }
        self.identity.choose_tokens(&self.store, tokens).await?;
        let tokens = self.identity.tokens();
        tracing::info!(tokens = tokens.len(), "chose its tokens");
        let mut view = self.picture.load().view.clone();
        view.choose_tokens(tokens.to_vec());
        let own = view.own().host_id;
        self.publish(&mut writer, view, &[own]);
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
        self.publish(&mut writer, view, &changes.members);
        self.waiting_for.lock().take();
        tracing::info!(%cluster_id, %replication, "formed a new cluster");
        Ok(())
    }

    /// Changes the schema durably, if the change makes a fact. It is given the view, and whether storage has dropped an id.
    pub(crate) async fn change_schema(
        &self,
        change: impl FnOnce(&View, &dyn Fn(TableId) -> bool) -> Result<Option<Table>, Refusal>,
    ) -> Result<(), SchemaError> {
        if let Some(why) = self.starting() {
            return Err(SchemaError::NotServing(why));
        }
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        let is_spent = |id| self.store.engine().was_dropped(id);
        let Some(fact) = change(&view, &is_spent)? else { return Ok(()) };
        let changes = Changes { tables: vec![fact.name.clone()], ..Changes::default() };
        view.insert_table(fact);
        self.save(&mut writer, &view, &changes).await.map_err(SchemaError::NotSaved)?;
        self.publish(&mut writer, view, &[]);
        self.drop_dead_tables(writer).await;
        Ok(())
    }

    /// Learns what another member knows of the schema, durably.
    pub(crate) async fn learn_schema(&self, sender: HostId, facts: &[Table]) -> Result<(), ReplicaError> {
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        if view.cluster_id().is_none() || view.member(sender).is_none() {
            return Ok(());
        }
        let changes = view.merge_tables(facts);
        self.log_notes(sender, &changes);
        if changes.is_news() {
            self.bury_dropped(&mut view, &changes);
            self.save(&mut writer, &view, &changes).await?;
            self.publish(&mut writer, view, &[]);
            self.drop_dead_tables(writer).await;
        }
        Ok(())
    }

    /// Has storage drop the tables that are no longer in the schema. What fails is tried again at the next exchange, and
    /// at the next start.
    async fn drop_dead_tables(&self, writer: MutexGuard<'_, Writer>) {
        let dead = writer.dead.clone();
        // Removing large files takes long, and the dead stay dead.
        drop(writer);
        if dead.is_empty() {
            return;
        }
        helenus_storage::sometimes!("storage dropped a table");
        match self.store.drop_tables(dead.clone()).await {
            Ok(()) => self.writer.lock().await.dead.retain(|table| !dead.contains(table)),
            Err(error) => {
                tracing::warn!(%error, "storage did not drop what was dropped, and will try again");
            }
        }
    }

    /// Facts that others told may name an id that storage has dropped: such a table is none here.
    fn bury_dropped(&self, view: &mut View, changes: &Changes) {
        let told: Vec<TableId> =
            changes.tables.iter().filter_map(|name| view.tables().get(name)).map(Table::id).collect();
        for id in told.into_iter().filter(|id| self.store.engine().was_dropped(*id)) {
            bury(view, id);
        }
    }

    /// Facts come before the tables that they are about: so one in storage that no saved fact calls live was dropped.
    ///
    /// The cluster id comes last: see [`saved_cluster`].
    pub(super) async fn save(
        &self,
        writer: &mut Writer,
        view: &View,
        changes: &Changes,
    ) -> Result<(), ReplicaError> {
        let members = changes.members.iter().filter_map(|host_id| view.known(*host_id));
        let tables = changes.tables.iter().filter_map(|name| view.tables().fact(name));
        saved_cluster::save(&self.store, &mut writer.saves, members, tables).await?;
        for table in changes.tables.iter().filter_map(|name| view.tables().get(name)) {
            let options = table.definition.storage_options().map_err(ReplicaError::Storage)?;
            self.store.create_table(table.id(), options).await?;
        }
        // Durable before the id: see `saved_cluster`.
        if let Some(cluster_id) = changes.cluster_id {
            self.identity.join_cluster(&self.store, cluster_id).await?;
        }
        Ok(())
    }

    pub(super) fn publish(&self, writer: &mut Writer, view: View, changed: &[HostId]) {
        let dropped = |table: &TableId| view.tables().by_id(*table).is_none();
        writer.dead.extend(self.picture.load().view.tables().iter().map(Table::id).filter(dropped));
        self.log_moves(&self.picture.load().view, &view, changed);
        let is_listed = writer.join.is_listed(&view);
        if self.listed.swap(is_listed, Ordering::AcqRel) && !is_listed {
            helenus_storage::sometimes!("a node heard that it was evicted");
            self.evictions.fetch_add(1, Ordering::AcqRel);
        }
        let picture = Arc::new(Picture::of(view));
        self.picture.store(Arc::clone(&picture));
        self.hearsay.publish(&picture.view, changed);
        self.news.notify_one();
    }

    /// Tells the operator of other members that are new, or own their ranges now. Of removals their causes tell.
    fn log_moves(&self, before: &View, after: &View, changed: &[HostId]) {
        for &host_id in changed.iter().filter(|host_id| **host_id != self.identity.host_id()) {
            let Some(member) = after.member(host_id) else { continue };
            let (address, datacenter, rack) = (&member.address, &member.datacenter, &member.rack);
            match before.member(host_id).map(|known| known.state.owns_ranges()) {
                None if !member.state.owns_ranges() => {
                    tracing::info!(host = %host_id, address, datacenter, rack, "a new member is joining");
                }
                None | Some(false) if member.state.owns_ranges() => {
                    tracing::info!(host = %host_id, address, datacenter, rack, "a member has joined");
                }
                _ => {}
            }
        }
    }

    /// News of this node names an address that is not its own: that is worth a call.
    fn suspect_rival(&self, changes: &Changes) {
        if let Some(address) = &changes.rival {
            *self.rival.lock() = Some(address.clone());
            self.doubt.notify_one();
        }
    }

    /// Tells the operator what a merge has to say.
    fn log_notes(&self, sender: HostId, changes: &Changes) {
        if let Some(cluster_id) = changes.cluster_id {
            tracing::info!(%cluster_id, host = %sender, "belongs to a cluster now, of which a host told");
        }
        let is_flaw = |note: &&Note| matches!(note, Note::MemberIgnored { .. } | Note::TableIgnored { .. });
        let (flaws, notes): (Vec<&Note>, Vec<&Note>) = changes.notes.iter().partition(is_flaw);
        if let Some(first) = flaws.first() {
            self.reject(sender, flaws.len() + changes.suppressed, first);
        }
        for note in notes {
            if let Note::OtherCluster { .. } = note {
                self.hearsay.count_foreign();
            }
            tracing::warn!("host {sender} said: {note}");
        }
    }

    fn reject_flaws(&self, sender: HostId, flaws: &[(HostId, Flaw)]) {
        if let Some((about, flaw)) = flaws.first() {
            self.reject(sender, flaws.len(), &Note::MemberIgnored { about: *about, flaw: flaw.clone() });
        }
    }

    /// Counts facts that are not believed, and says that their sender tells what cannot be.
    fn reject(&self, sender: HostId, count: usize, first: &Note) {
        helenus_storage::sometimes!("gossip was not believed");
        self.hearsay.count_rejected(count);
        let first = if count == 1 { first.to_string() } else { format!("{first}, and {} more", count - 1) };
        tracing::warn!(host = %sender, first, "a host said what cannot be");
    }
}

/// A fact calls a table live whose id storage has dropped.
pub(super) fn bury(view: &mut View, id: TableId) {
    helenus_storage::sometimes!("a table had the id of a dropped one");
    let name = view.tables().by_id(id).map(|table| table.name.clone());
    tracing::error!(
        table = name,
        "its id {} is that of a table that was dropped here, so this node has no such table; create it again here to give \
         it another id",
        id.0
    );
    view.bury_table(id);
}

/// A member that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Whether some table had replicas there, which are missing from now on.
    pub was_replica: bool,
}

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
    /// Half of the members or more are down, as this node sees it: it may be that it is this side that is cut off, and
    /// that the others go on with the member, or remove those on this side.
    #[error(
        "this node sees {up} of {members} members up, and removes nobody without a majority ({}): where the others are \
         merely cut off, they go on with that member. Ask a node of the larger side; or force the removal if the others \
         are dead",
        members / 2 + 1
    )]
    Minority {
        /// Members that are up, this one included.
        up: usize,
        /// Members, the one to be removed included.
        members: usize,
    },
    /// It could not be made durable.
    #[error("the removal could not be saved: {0}")]
    Storage(ReplicaError),
}
