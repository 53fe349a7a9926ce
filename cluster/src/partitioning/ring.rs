//! The ring: all tokens of all members in order.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::Xxh3;

use super::{Location, Token, Topology};
use crate::{
    membership::{Member, MemberState},
    node_id::HostId,
};

/// One token of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingEntry {
    /// The end, inclusive, of the range it owns.
    pub token: Token,
    /// Whose it is.
    pub host_id: HostId,
    /// Where that member stands in its life, and so whether it owns ranges.
    pub state: MemberState,
    /// Its datacenter and rack, as the ring's [`Topology`] numbers them.
    pub location: Location,
}

/// An immutable picture of all tokens, made anew when a member changes.
///
/// Members that are joining are in it too, marked as such, so that one walk tells both who owns a key now and who
/// is about to. All questions are answered the same on every node that knows the same members: entries are ordered by
/// token, then host id, which also decides about a token that two members claim. The state has no part in the order, so
/// that a member whose state changes does not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    entries: Vec<RingEntry>,
    topology: Topology,
    members: usize,
    owners: usize,
    version: u64,
}

/// A range of tokens between two neighbours on the ring of the members that own ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, exclusive.
    pub after: Token,
    /// Where it ends, inclusive; lower than `after` where the range wraps.
    pub end: Token,
    /// The member that owns it.
    pub owner: HostId,
    /// Tokens in it, of all 2^64.
    pub width: u128,
}

impl Range {
    /// Share of the whole ring, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
    pub fn share(&self) -> f64 {
        self.width as f64 / WHOLE_RING as f64
    }
}

const WHOLE_RING: u128 = 1 << 64;

impl Ring {
    /// The ring of these members.
    pub fn from_members<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let members: Vec<&Member> = members.into_iter().filter(|member| !member.tokens.is_empty()).collect();
        let topology = Topology::of(&members);
        let mut entries: Vec<RingEntry> =
            members.iter().flat_map(|member| entries_of(member, &topology)).collect();
        entries.sort_unstable_by_key(|entry| (entry.token, entry.host_id));
        entries.dedup();
        let members = count(&entries, |_| true);
        let owners = count(&entries, MemberState::owns_ranges);
        let version = version_of(&entries, &topology);
        Self { entries, topology, members, owners, version }
    }

    /// Hash of the whole ring: equal on two nodes that see the same tokens, owners, states, datacenters and racks.
    /// Stable across builds and machines.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Members that own ranges: settling and normal ones with at least one token.
    pub fn owning_members(&self) -> usize {
        self.owners
    }

    /// Members in any state, with at least one token.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Where its members stand.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// All tokens in order.
    pub fn entries(&self) -> &[RingEntry] {
        &self.entries
    }

    /// The owner of a token; `None` while no member owns ranges.
    pub fn owner(&self, token: Token) -> Option<HostId> {
        self.clockwise(token).find(|entry| entry.state.owns_ranges()).map(|entry| entry.host_id)
    }

    /// Once around the ring, beginning with the first entry at or after `token`.
    pub fn clockwise(&self, token: Token) -> impl Iterator<Item = &RingEntry> {
        let first = self.entries.partition_point(|entry| entry.token < token);
        let (before, after) = self.entries.split_at(first);
        after.iter().chain(before)
    }

    /// The ranges of the members that own any, in order of their ends; together they are the whole ring. Empty while
    /// nobody owns ranges.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        let mut owning: Vec<&RingEntry> =
            self.entries.iter().filter(|entry| entry.state.owns_ranges()).collect();
        // Of several claims to one token the first owns the range; the others own nothing by it.
        owning.dedup_by_key(|entry| entry.token);
        let befores = owning.last().copied().into_iter().chain(owning.clone());
        let pairs: Vec<_> = befores.zip(owning.clone()).collect();
        pairs.into_iter().map(|(before, entry)| Range {
            after: before.token,
            end: entry.token,
            owner: entry.host_id,
            width: match before.token.distance_to(entry.token) {
                0 => WHOLE_RING,
                distance => u128::from(distance),
            },
        })
    }

    /// Share of the ring, 0 to 1, that each member owns, replicas not counted.
    pub fn shares(&self) -> BTreeMap<HostId, f64> {
        let mut shares = BTreeMap::new();
        for range in self.ranges() {
            *shares.entry(range.owner).or_insert(0.0) += range.share();
        }
        shares
    }
}

fn entries_of(member: &Member, topology: &Topology) -> impl Iterator<Item = RingEntry> {
    let (host_id, state) = (member.host_id, member.state);
    let location = topology.location(member).expect("the topology was made of all members");
    member.tokens.iter().map(move |&token| RingEntry { token: Token(token), host_id, state, location })
}

fn count(entries: &[RingEntry], is_counted: impl Fn(MemberState) -> bool) -> usize {
    let members = entries.iter().filter(|entry| is_counted(entry.state)).map(|entry| entry.host_id);
    members.collect::<BTreeSet<_>>().len()
}

fn version_of(entries: &[RingEntry], topology: &Topology) -> u64 {
    let mut hasher = Xxh3::new();
    let number = |number: usize| (number as u64).to_le_bytes();
    let datacenters = topology.datacenters();
    hasher.update(&number(datacenters.len()));
    for datacenter in datacenters {
        hasher.update(&number(datacenter.racks.len()));
        for name in datacenter.racks.iter().map(|rack| &rack.name).chain([&datacenter.name]) {
            hasher.update(&number(name.len()));
            hasher.update(name.as_bytes());
        }
    }
    for entry in entries {
        hasher.update(&entry.token.0.to_le_bytes());
        hasher.update(entry.host_id.0.as_bytes());
        hasher.update(&number(entry.location.datacenter));
        hasher.update(&number(entry.location.rack));
        hasher.update(&[match entry.state {
            MemberState::Joining => 0,
            MemberState::Normal => 1,
            MemberState::Settling => 2,
            MemberState::Removed => 3,
            MemberState::Evicted => 4,
            MemberState::Other(number) => number,
        }]);
    }
    hasher.digest()
}
