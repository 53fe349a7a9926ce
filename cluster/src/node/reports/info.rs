//! One node, as it sees itself.

use serde::Serialize;

use super::{source::Source, status::as_name};
use crate::{
    membership::MemberState,
    node_id::{ClusterId, HostId},
};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeInfo {
    /// Its identity.
    pub host_id: HostId,
    /// The cluster.
    pub cluster_name: String,
    /// See `cluster_name`; once known.
    pub cluster_id: Option<ClusterId>,
    /// Address of its peer listener.
    pub address: String,
    /// Datacenter and rack.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Where it is in its life.
    #[serde(serialize_with = "as_name")]
    pub state: MemberState,
    /// Why it is not normal yet, if it is not, or takes no part any more.
    pub why: Option<String>,
    /// Which of its starts.
    pub generation: u64,
    /// Bytes of its data on disk.
    pub load_bytes: u64,
    /// Its tokens, ascending, as texts.
    pub tokens: Vec<String>,
    /// Its clock among the others'.
    pub clock: ClockInfo,
    /// Client requests that it coordinates now.
    pub requests_in_flight: usize,
    /// Such requests at most.
    pub max_requests: usize,
    /// Bytes of memory of records that are not in SSTables yet.
    pub memtable_bytes: u64,
    /// Bytes of memory of the indexes of SSTables.
    pub index_bytes: u64,
    /// Bytes of memory of their bloom filters.
    pub filter_bytes: u64,
    /// Blocks of SSTables that are kept in memory.
    pub block_cache: CacheInfo,
}

/// A clock among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockInfo {
    /// How far the median of the live nodes' wall clocks is ahead of it, in microseconds.
    pub offset_us: i64,
    /// Why the node coordinates no writes, if its clock keeps it from that.
    pub skew: Option<String>,
    /// The live members that say that it is far off.
    pub told_by: Vec<ToldOff>,
}

/// What a member says of a node's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToldOff {
    /// The member.
    pub host_id: HostId,
    /// Its address.
    pub address: String,
    /// By how many seconds the node's clock is ahead of the member's.
    pub ahead_seconds: i32,
}

/// A cache, and what it was good for since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheInfo {
    /// Its size.
    pub bytes: u64,
    /// Its size at most.
    pub capacity_bytes: usize,
    /// What was found in it.
    pub hits: u64,
    /// What was not.
    pub misses: u64,
}

/// What the node knows now.
pub(super) fn of(source: &Source) -> NodeInfo {
    let Source { settings, identity, clock, cluster, store, coordinator, .. } = source;
    let picture = cluster.picture();
    let own = picture.view().own();
    let counters = store.engine().counters();
    let told_by = cluster.told_off().into_iter().filter_map(|(host_id, ahead_seconds)| {
        let address = picture.view().member(host_id)?.address.clone();
        Some(ToldOff { host_id, address, ahead_seconds })
    });
    NodeInfo {
        host_id: own.host_id,
        cluster_name: settings.cluster_name.clone(),
        cluster_id: identity.cluster_id(),
        address: own.address.clone(),
        datacenter: own.datacenter.clone(),
        rack: own.rack.clone(),
        state: own.state,
        why: cluster.why_not_normal(),
        generation: identity.generation().0,
        load_bytes: counters.sstable_bytes,
        tokens: own.tokens.iter().map(ToString::to_string).collect(),
        clock: ClockInfo {
            offset_us: clock.wall_offset_us(),
            skew: clock.skew(),
            told_by: told_by.collect(),
        },
        requests_in_flight: coordinator.in_flight(),
        max_requests: settings.max_requests,
        memtable_bytes: counters.memtable_bytes,
        index_bytes: counters.index_bytes,
        filter_bytes: counters.filter_bytes,
        block_cache: CacheInfo {
            bytes: counters.block_cache_bytes,
            capacity_bytes: store.engine().options().block_cache_bytes,
            hits: counters.block_cache_hits,
            misses: counters.block_cache_misses,
        },
    }
}
