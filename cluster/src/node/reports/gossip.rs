//! Gossip and failure detection as one node sees them, for people.

use std::time::Duration;

use serde::Serialize;

use super::{source::Source, status::as_name};
use crate::{
    membership::{
        Member, MemberState,
        clock_watch::ClocksOff,
        digest::{Fact, Tag},
    },
    node::{clock::NodeClock, known_cluster::KnownCluster},
    node_id::HostId,
};

/// What a node has heard of the members, and what it believes of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GossipStatus {
    /// The node that was asked.
    pub host_id: HostId,
    /// All members by host id, itself, removed and evicted ones included.
    pub members: Vec<GossipedMember>,
    /// Members that this node took for dead since it started, each time counted.
    pub convictions: u64,
    /// Facts that it was told and did not believe.
    pub rejected: u64,
}

/// What a node has heard of a member.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GossipedMember {
    /// Its identity.
    pub host_id: HostId,
    /// Address of its peer listener.
    pub address: String,
    /// Datacenter and rack.
    pub datacenter: String,
    /// See `datacenter`.
    pub rack: String,
    /// Where it is in its life.
    #[serde(serialize_with = "as_name")]
    pub state: MemberState,
    /// Number of its tokens.
    pub tokens: usize,
    /// Which of its starts.
    pub generation: u64,
    /// Intervals that it has lived through since, as far as heard.
    pub heartbeat: u64,
    /// Version of what is said above of it.
    pub described: u64,
    /// What else it says of itself.
    pub facts: Vec<NamedFact>,
    /// How it stands with this node; `None` of the node itself, of those that are gone, and of all once the
    /// node takes no part in the cluster any more.
    pub peer: Option<PeerHealth>,
}

/// A fact that a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedFact {
    /// What it is about; the number of its tag, if this build does not know it.
    pub name: String,
    /// Its version among the member's facts.
    pub version: u64,
    /// Its value; hexadecimal, if this build does not know it.
    pub value: String,
}

/// How a peer stands with the node that was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeerHealth {
    /// Whether requests are sent to it.
    pub up: bool,
    /// Whether it is taken for alive, unreachable (alive, though not for this node's calls), suspected or dead.
    pub belief: &'static str,
    /// The suspicion as a number: the decimal exponent of how unlikely a silence so long is.
    pub phi: f64,
    /// How long it has been silent, in seconds.
    pub silent_seconds: f64,
    /// Rounds of probes, this node's and others' together, that have failed since it is suspected.
    pub failed_probes: u32,
    /// Since when it is taken for dead, in seconds, if it is.
    pub dead_seconds: Option<f64>,
    /// How far its clock is ahead, in microseconds, if it was measured since it is up.
    pub clock_offset_us: Option<i64>,
    /// How long question and answer took together, in microseconds.
    pub round_trip_us: Option<u64>,
}

/// What a node knows now.
pub(in crate::node) fn of(source: &Source) -> GossipStatus {
    let Source { identity, cluster, clock, .. } = source;
    let own = identity.host_id();
    let picture = cluster.picture();
    let view = picture.view();
    let mut members: Vec<GossipedMember> =
        view.members().chain(view.gone()).map(|member| member_of(own, member, cluster, clock)).collect();
    members.sort_by_key(|member| member.host_id);
    GossipStatus {
        host_id: own,
        members,
        convictions: cluster.hearsay.convictions(),
        rejected: cluster.hearsay.rejected(),
    }
}

fn member_of(own: HostId, member: &Member, cluster: &KnownCluster, clock: &NodeClock) -> GossipedMember {
    let host_id = member.host_id;
    let is_peer = host_id != own && !member.state.is_gone() && !cluster.has_left();
    GossipedMember {
        host_id,
        address: member.address.clone(),
        datacenter: member.datacenter.clone(),
        rack: member.rack.clone(),
        state: member.state,
        tokens: member.tokens.len(),
        generation: member.generation.0,
        heartbeat: cluster.hearsay.digest(host_id).map_or(0, |digest| digest.heartbeat),
        described: member.version,
        facts: cluster.hearsay.facts(host_id).iter().map(|(tag, fact)| named(*tag, fact)).collect(),
        peer: is_peer.then(|| health_of(host_id, cluster, clock)),
    }
}

fn health_of(host_id: HostId, cluster: &KnownCluster, clock: &NodeClock) -> PeerHealth {
    let (phi, silence) = cluster.hearsay.suspicion(host_id).unwrap_or((0.0, Duration::ZERO));
    let measured = clock.measured(host_id);
    PeerHealth {
        up: cluster.is_up(host_id),
        belief: cluster.opinion_of(host_id),
        phi,
        silent_seconds: silence.as_secs_f64(),
        failed_probes: cluster.hearsay.failed_probes(host_id),
        dead_seconds: cluster.hearsay.convicted_for(host_id).map(|since| since.as_secs_f64()),
        clock_offset_us: measured.map(|measured| measured.offset_us),
        round_trip_us: measured.map(|measured| measured.round_trip_us),
    }
}

fn named(tag: Tag, fact: &Fact) -> NamedFact {
    let name = match tag {
        Tag::LOAD => "load".to_owned(),
        Tag::SCHEMA => "schema".to_owned(),
        Tag::RELEASE => "release".to_owned(),
        Tag::CLOCKS_OFF => "clocks-off".to_owned(),
        Tag(number) => number.to_string(),
    };
    NamedFact { name, version: fact.version, value: value(tag, &fact.bytes) }
}

/// The value of a fact; hexadecimal, if this build does not understand it.
pub(super) fn value(tag: Tag, bytes: &[u8]) -> String {
    let number = || bytes.try_into().ok().map(u64::from_le_bytes);
    let value = match tag {
        Tag::LOAD => number().map(|bytes| bytes.to_string()),
        Tag::SCHEMA => number().map(|version| format!("{version:016x}")),
        Tag::RELEASE => std::str::from_utf8(bytes).ok().map(|text| text.escape_debug().to_string()),
        Tag::CLOCKS_OFF => ClocksOff::decode(bytes).map(|ClocksOff(off)| {
            let off = off.iter().map(|(host_id, seconds)| format!("{host_id} {seconds:+} s"));
            off.collect::<Vec<_>>().join(", ")
        }),
        _ => None,
    };
    value.unwrap_or_else(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
