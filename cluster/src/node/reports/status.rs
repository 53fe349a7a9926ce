//! The members as one node sees them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::source::Source;
use crate::{
    membership::MemberState,
    node::known_cluster::Picture,
    node_id::{ClusterId, HostId},
    placement::Strategy,
    table::DEFAULT_TABLE,
};

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster_name: String,
    /// Its id, once known.
    pub cluster_id: Option<ClusterId>,
    /// The partitioner.
    pub partitioner: String,
    /// The node that was asked.
    pub host_id: HostId,
    /// All members, itself included, ordered by datacenter, address and host id.
    pub members: Vec<MemberStatus>,
}

/// A member as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberStatus {
    /// Its identity.
    pub host_id: HostId,
    /// Address of its peer listener.
    pub address: String,
    /// Datacenter and rack.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Whether this node's calls reach it; `None` if the node that was asked takes no part in the cluster any more.
    pub up: Option<bool>,
    /// Where it is in its life.
    #[serde(serialize_with = "as_name")]
    pub state: MemberState,
    /// Why it is not normal yet, if it is not and the node that was asked knows: of itself always, of others if it holds
    /// user records. Of itself also that it takes no part any more; of others also why they are down and not dead.
    pub why: Option<String>,
    /// How far off its clock is, if it is too far.
    pub clock: Option<String>,
    /// Number of its tokens.
    pub tokens: usize,
    /// Share of the data that it holds, 0 to 1; in a status, of the table `default`.
    pub owns: f64,
    /// Bytes on disk, as the member said last.
    pub load_bytes: Option<u64>,
}

/// A state by its name.
pub(super) fn as_name<S: Serializer>(state: &MemberState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(state)
}

/// What the node knows now.
pub(in crate::node) fn of(source: &Source) -> ClusterStatus {
    let picture = source.cluster.picture();
    let default = picture.table(DEFAULT_TABLE).map(|table| &table.definition.replication);
    let owned = default.map(|default| Strategy::from(default).ownership(picture.ring())).unwrap_or_default();
    ClusterStatus {
        cluster_name: source.settings.cluster_name.clone(),
        cluster_id: source.identity.cluster_id(),
        partitioner: source.identity.partitioner().name().to_owned(),
        host_id: source.identity.host_id(),
        members: members(source, &picture, &owned),
    }
}

/// The members with these shares of the data.
pub(super) fn members(
    source: &Source,
    picture: &Picture,
    owned: &BTreeMap<HostId, f64>,
) -> Vec<MemberStatus> {
    let Source { identity, clock, cluster, .. } = source;
    let mut members: Vec<MemberStatus> = picture
        .view()
        .members()
        .map(|member| {
            let host_id = member.host_id;
            let is_self = host_id == identity.host_id();
            MemberStatus {
                host_id,
                address: member.address.clone(),
                datacenter: member.datacenter.clone(),
                rack: member.rack.clone(),
                up: (!cluster.has_left()).then(|| cluster.is_up(host_id)),
                state: member.state,
                why: match is_self {
                    true => cluster.why_not_normal(),
                    false => cluster.why_others_join(member).or_else(|| cluster.why_down(host_id)),
                },
                clock: if is_self { clock.skew() } else { clock.off(host_id) },
                tokens: member.tokens.len(),
                owns: owned.get(&host_id).copied().unwrap_or(0.0).min(1.0),
                load_bytes: if is_self { Some(cluster.load_bytes()) } else { cluster.load_of(host_id) },
            }
        })
        .collect();
    members
        .sort_by(|a, b| (&a.datacenter, &a.address, a.host_id).cmp(&(&b.datacenter, &b.address, b.host_id)));
    members
}
