//! Whom a node calls in a round: a few peers, chosen so that news reaches all and no load grows with the cluster.

use std::collections::BTreeSet;

use rand::{Rng, RngExt, seq::SliceRandom};

use crate::node_id::HostId;

/// Members that a node pings in each interval at most. In a cluster of as many others or fewer, everyone meets
/// everyone in each.
pub const PINGS_PER_ROUND: usize = 8;

/// The peers to gossip with in a round, Cassandra's choice: one that lives; with the probability unreachable / (live + 1)
/// one that does not, so that two halves of a healed network find each other; and now and then a seed, which all
/// nodes know.
pub fn gossip_with(
    live: &[HostId],
    unreachable: &[HostId],
    seeds: &[HostId],
    random: &mut impl Rng,
) -> BTreeSet<HostId> {
    let mut chosen = BTreeSet::new();
    let first = pick(live, random);
    chosen.extend(first);
    if chance(unreachable.len(), live.len() + 1, random) {
        chosen.extend(pick(unreachable, random));
    }
    let met_a_seed = first.is_some_and(|first| seeds.contains(&first));
    if !met_a_seed || live.len() < seeds.len() {
        let is_alone = live.is_empty();
        if is_alone || chance(seeds.len(), live.len() + unreachable.len(), random) {
            chosen.extend(pick(seeds, random));
        }
    }
    chosen
}

/// Distinct members, at most `count` of them.
pub fn some_of(members: &[HostId], count: usize, random: &mut impl Rng) -> Vec<HostId> {
    let mut members = members.to_vec();
    let (chosen, _) = members.partial_shuffle(random, count);
    chosen.to_vec()
}

fn pick(members: &[HostId], random: &mut impl Rng) -> Option<HostId> {
    (!members.is_empty()).then(|| members[random.random_range(0..members.len())])
}

fn chance(of: usize, among: usize, random: &mut impl Rng) -> bool {
    of > 0 && random.random_range(0..among.max(1)) < of
}

/// The order in which members are pinged: round after round through all of them, each time in another random order
/// (SWIM, §4.3), so that each is pinged within a bounded time, and not by all others at once.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    left: Vec<HostId>,
}

impl Turns {
    /// The next members to ping.
    pub fn next(&mut self, members: &[HostId], random: &mut impl Rng) -> BTreeSet<HostId> {
        let wanted = members.len().min(PINGS_PER_ROUND);
        let mut chosen = BTreeSet::new();
        while chosen.len() < wanted {
            match self.left.pop() {
                // Whoever is no member any more, or comes again because a new order began, is passed over.
                Some(host_id) if members.contains(&host_id) => {
                    chosen.insert(host_id);
                }
                Some(_) => {}
                None => {
                    self.left = members.to_vec();
                    self.left.shuffle(random);
                }
            }
        }
        chosen
    }
}
