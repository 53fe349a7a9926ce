//! The cluster as a whole, as one node sees it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{gossip, source::Source};
use crate::{
    membership::{Member, MemberState, digest::Tag},
    node_id::{ClusterId, HostId},
};

/// What describes a cluster, but for its tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterDescription {
    /// Its name.
    pub cluster_name: String,
    /// Its id, once known.
    pub cluster_id: Option<ClusterId>,
    /// The partitioner.
    pub partitioner: String,
    /// Who told this node where it stands.
    pub snitch: String,
    /// Whether replicas that have been slow are asked later.
    pub dynamic_snitch: bool,
    /// Addresses of the live members by the version of the schema that they know; as the last, without a version, those
    /// who have not said.
    pub schema_versions: Vec<Version>,
    /// Addresses of the live members by the build that they run, likewise.
    pub releases: Vec<Version>,
    /// Addresses of members that this node does not reach: what they knew last says nothing.
    pub unreachable: Vec<String>,
    /// Addresses of members of which this node does not know whether they are up: all, once it is drained.
    pub unknown: Vec<String>,
    /// How many members there are.
    pub members: MemberCounts,
    /// Datacenters by name.
    pub datacenters: Vec<Place>,
}

/// Members that have the same version of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The version; `None`: it is not known.
    pub version: Option<String>,
    /// Their addresses.
    pub members: Vec<String>,
}

/// Numbers of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemberCounts {
    /// Reached.
    pub live: usize,
    /// Not reached.
    pub unreachable: usize,
    /// Of which that is not known.
    pub unknown: usize,
    /// Of all, those that own no ranges yet.
    pub joining: usize,
}

/// A datacenter, or a rack of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its members.
    pub members: usize,
    /// Those that are down.
    pub down: usize,
    /// Those of which that is not known.
    pub unknown: usize,
    /// Racks by name; a rack has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub racks: Vec<Place>,
}

/// What the node knows now.
pub(super) fn of(source: &Source, schemas: &BTreeMap<HostId, u64>) -> ClusterDescription {
    let Source { settings, identity, cluster, .. } = source;
    let picture = cluster.picture();
    let mut members: Vec<&Member> = picture.view().members().collect();
    members.sort_by_key(|member| &member.address);
    let (live, others): (Vec<&Member>, Vec<&Member>) =
        members.iter().copied().partition(|member| cluster.is_up(member.host_id));
    let (unknown, down) = if cluster.has_left() { (others, Vec::new()) } else { (Vec::new(), others) };
    let addresses =
        |members: &[&Member]| members.iter().map(|member| member.address.clone()).collect::<Vec<_>>();
    let up = |member: &Member| (!cluster.has_left()).then(|| cluster.is_up(member.host_id));
    let said = |member: &Member, tag| Some(gossip::value(tag, &cluster.hearsay.fact(member.host_id, tag)?));
    // What members know, and not what they have said last, as far as this node has just learned it.
    let known = |host_id| match host_id == identity.host_id() {
        true => Some(picture.schema_version()),
        false => schemas.get(&host_id).copied(),
    };
    let schema_of = |member: &Member| match known(member.host_id) {
        Some(version) => Some(gossip::value(Tag::SCHEMA, &version.to_le_bytes())),
        None => said(member, Tag::SCHEMA),
    };
    let is_joining = |member: &&&Member| member.state == MemberState::Joining;
    ClusterDescription {
        cluster_name: settings.cluster_name.clone(),
        cluster_id: identity.cluster_id(),
        partitioner: identity.partitioner().name().to_owned(),
        snitch: settings.snitch.name.to_owned(),
        dynamic_snitch: settings.snitch.dynamic.is_some(),
        schema_versions: versions(&live, schema_of),
        releases: versions(&live, |member| said(member, Tag::RELEASE)),
        unreachable: addresses(&down),
        unknown: addresses(&unknown),
        members: MemberCounts {
            live: live.len(),
            unreachable: down.len(),
            unknown: unknown.len(),
            joining: members.iter().filter(is_joining).count(),
        },
        datacenters: places(&members, |member| &member.datacenter, up)
            .into_iter()
            .map(|(place, members)| {
                let racks = places(&members, |member| &member.rack, up);
                Place { racks: racks.into_iter().map(|(rack, _)| rack).collect(), ..place }
            })
            .collect(),
    }
}

fn versions(members: &[&Member], version_of: impl Fn(&Member) -> Option<String>) -> Vec<Version> {
    let mut by_version: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    for member in members {
        by_version.entry(version_of(member)).or_default().push(member.address.clone());
    }
    let unknown = by_version.remove_entry(&None);
    by_version.into_iter().chain(unknown).map(|(version, members)| Version { version, members }).collect()
}

fn places<'a>(
    members: &[&'a Member],
    name: impl Fn(&'a Member) -> &'a String,
    up: impl Fn(&Member) -> Option<bool>,
) -> Vec<(Place, Vec<&'a Member>)> {
    let mut by_name: BTreeMap<&String, Vec<&Member>> = BTreeMap::new();
    for &member in members {
        by_name.entry(name(member)).or_default().push(member);
    }
    let place = |(name, members): (&String, Vec<&'a Member>)| {
        let count = |state| members.iter().filter(|member| up(member) == state).count();
        let (down, unknown) = (count(Some(false)), count(None));
        (Place { name: name.clone(), members: members.len(), down, unknown, racks: Vec::new() }, members)
    };
    by_name.into_iter().map(place).collect()
}
