//! Who gives up joining members that are silent, and why that is sound: the cover page of [`crate::membership`].

use std::time::Duration;

use super::{KnownCluster, Writer};
use crate::{
    membership::{Changes, MemberState, View},
    message::ReplicaError,
    node::saved_cluster,
    node_id::HostId,
};

/// How long a joining member is silent before it is evicted: as Apache Cassandra waits for a node without tokens (half of its
/// quarantine).
const EVICTED_AFTER: Duration = Duration::from_secs(30);

impl KnownCluster {
    /// Notes, durably, of which members that are about to be listed this node hears for the first time when it belongs to
    /// the cluster and knows that user records exist, as it will for ever: from this node they never hear the contrary.
    pub(super) async fn note_latecomers(
        &self,
        writer: &mut Writer,
        view: &View,
        changes: &Changes,
    ) -> Result<(), ReplicaError> {
        let before = self.picture.load_full();
        if before.view.cluster_id().is_none() || !self.user_records.do_exist() {
            return Ok(());
        }
        let is_new = |host_id: &&HostId| {
            before.view.known(**host_id).is_none()
                && view.member(**host_id).is_some_and(|member| member.state == MemberState::Joining)
        };
        let new: Vec<HostId> = changes.members.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        // First: a node that forgot its records over a restart would say that it has none.
        self.save_user_records().await?;
        saved_cluster::save_latecomers(&self.store, &new).await?;
        writer.latecomers.extend(new);
        Ok(())
    }

    /// Evicts the joining members that are dead and were silent for long, of those that cannot own ranges without the
    /// word of this node that they never get.
    pub(crate) async fn evict_silent(&self) -> Result<(), ReplicaError> {
        let picture = self.picture.load_full();
        if !picture.view.own().state.owns_ranges() {
            return Ok(());
        }
        let joining = picture.view.others().filter(|member| member.state == MemberState::Joining);
        let silent: Vec<HostId> =
            joining.map(|member| member.host_id).filter(|host_id| self.is_silent(*host_id)).collect();
        if silent.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock().await;
        let mut view = self.picture.load().view.clone();
        let is_hopeless = |host_id: &HostId| writer.latecomers.contains(host_id);
        let silent = silent.into_iter().filter(is_hopeless).collect::<Vec<_>>();
        let evicted = silent.into_iter().filter(|host_id| view.evict(*host_id).is_some());
        let changes = Changes { members: evicted.collect(), ..Changes::default() };
        if !changes.is_news() {
            return Ok(());
        }
        self.save(&mut writer, &view, &changes).await?;
        self.publish(&mut writer, view.clone(), &changes.members);
        for host_id in &changes.members {
            helenus_storage::sometimes!("a silent joining member was evicted");
            let address = view.known(*host_id).map(|member| member.address.as_str());
            tracing::warn!(
                host = %host_id,
                address,
                silent_s = EVICTED_AFTER.as_secs(),
                "evicted a joining member that was silent for too long: writes wait for it no more; if it is back, it joins anew"
            );
        }
        self.move_on(&mut writer, view).await
    }

    fn is_silent(&self, host_id: HostId) -> bool {
        self.hearsay.is_convicted(host_id)
            && self.hearsay.suspicion(host_id).is_some_and(|(_, silence)| silence >= EVICTED_AFTER)
    }
}
