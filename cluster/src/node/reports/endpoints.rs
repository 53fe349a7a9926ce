//! Where the replicas of a key are, for people.

use serde::Serialize;

use super::source::Source;
use crate::{
    node::known_cluster::{KnownCluster, Picture},
    node_id::HostId,
};

/// The replicas of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// The table.
    pub table: String,
    /// The key's token.
    pub token: String,
    /// The members that reads ask, the owner of the token first.
    pub replicas: Vec<Endpoint>,
    /// Members that writes go to besides.
    pub pending: Vec<Endpoint>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its identity.
    pub host_id: HostId,
    /// Address of its peer listener.
    pub address: String,
    /// Where it stands.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Whether the node that was asked takes it for alive.
    pub up: bool,
}

/// The replicas of a key as the node knows them.
pub(super) fn of(source: &Source, table: &str, key: &[u8]) -> Option<Endpoints> {
    let cluster = &source.cluster;
    let picture = cluster.picture();
    let table = picture.table(table)?;
    let token = source.identity.partitioner().token(key);
    let placement = picture.place(table, token);
    let endpoints =
        |hosts: &[HostId]| hosts.iter().filter_map(|host| endpoint(cluster, &picture, *host)).collect();
    Some(Endpoints {
        table: table.name.clone(),
        token: token.to_string(),
        replicas: endpoints(&placement.natural),
        pending: endpoints(&placement.pending),
    })
}

fn endpoint(cluster: &KnownCluster, picture: &Picture, host_id: HostId) -> Option<Endpoint> {
    let member = picture.view().member(host_id)?;
    Some(Endpoint {
        host_id,
        address: member.address.clone(),
        datacenter: member.datacenter.clone(),
        rack: member.rack.clone(),
        up: cluster.is_up(host_id),
    })
}
