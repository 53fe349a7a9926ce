//! The cluster as one node sees it, for people.

use super::{ClusterStatus, MemberStatus, identity::LocalIdentity, known_cluster::KnownCluster};
use crate::{placement::Strategy, settings::Settings, table::DEFAULT_TABLE};

/// What `node` knows now; `load_bytes` is its own.
pub(super) fn of(
    settings: &Settings,
    node: &LocalIdentity,
    cluster: &KnownCluster,
    load_bytes: u64,
) -> ClusterStatus {
    let picture = cluster.picture();
    let default = picture.table(DEFAULT_TABLE).map(|table| &table.definition.replication);
    let owned = default.map(|default| Strategy::from(default).ownership(picture.ring())).unwrap_or_default();
    let mut members: Vec<MemberStatus> = picture
        .view()
        .members()
        .map(|member| {
            let is_self = member.host_id == node.host_id();
            MemberStatus {
                host_id: member.host_id,
                address: member.address.clone(),
                datacenter: member.datacenter.clone(),
                rack: member.rack.clone(),
                up: cluster.is_up(member.host_id),
                state: member.state,
                why: if is_self { cluster.why_not_normal() } else { cluster.why_others_join(member) },
                tokens: member.tokens.len(),
                owns: owned.get(&member.host_id).copied().unwrap_or(0.0).min(1.0),
                load_bytes: if is_self { Some(load_bytes) } else { cluster.load_of(member.host_id) },
            }
        })
        .collect();
    members
        .sort_by(|a, b| (&a.datacenter, &a.address, a.host_id).cmp(&(&b.datacenter, &b.address, b.host_id)));
    ClusterStatus {
        cluster_name: settings.cluster_name.clone(),
        cluster_id: node.cluster_id(),
        partitioner: node.partitioner().name().to_owned(),
        host_id: node.host_id(),
        members,
    }
}
