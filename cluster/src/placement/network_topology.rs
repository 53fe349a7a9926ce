//! Replicas in each datacenter, in distinct racks as far as there are.

use std::collections::BTreeMap;

use super::Placement;
use crate::{
    membership::MemberState,
    partitioning::{Datacenter, Rack, Ring, Token},
};

/// Cassandra's NetworkTopologyStrategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkTopologyStrategy<'a> {
    /// Replicas of each key by datacenter. Of a datacenter that has no members, or is not in the list, there are none.
    pub factors: &'a BTreeMap<String, u32>,
}

impl NetworkTopologyStrategy<'_> {
    /// The replicas of a token, in ring order.
    ///
    /// One walk decides for two rings at once, that of the owners and that of the normal members: see the cover page
    /// for why the second, with each other member tried on its own, gives all who are to be written to.
    pub fn place(self, ring: &Ring, token: Token) -> Placement {
        let datacenters = ring.topology().datacenters();
        let walk = |datacenter: &Datacenter| Walk::new(datacenter, *self.factors.get(&datacenter.name)?);
        let mut walks: Vec<Option<Walk>> = datacenters.iter().map(walk).collect();
        let mut found = Placement::default();
        for entry in ring.clockwise(token) {
            let Some(walk) = &mut walks[entry.location.datacenter] else { continue };
            if found.contains(entry.host_id) {
                continue;
            }
            let rack = entry.location.rack;
            let is_natural = entry.state.owns_ranges() && walk.owners.take(rack);
            let is_written = match entry.state {
                MemberState::Normal => walk.normal.take(rack),
                _ => walk.normal.would_take(rack),
            };
            if is_natural {
                found.natural.push(entry.host_id);
            } else if is_written {
                found.pending.push(entry.host_id);
            } else {
                continue;
            }
            walk.met += 1;
            if walk.is_over() {
                walks[entry.location.datacenter] = None;
                if walks.iter().all(Option::is_none) {
                    break;
                }
            }
        }
        found
    }
}

/// The walk in one datacenter.
struct Walk {
    members: usize,
    met: usize,
    owners: Choice,
    normal: Choice,
}

impl Walk {
    /// `None` if the datacenter holds no replicas.
    fn new(datacenter: &Datacenter, factor: u32) -> Option<Self> {
        let racks_with =
            |count: fn(&Rack) -> usize| datacenter.racks.iter().filter(|rack| count(rack) > 0).count();
        let choice = |racks_of_ring| Choice::new(factor as usize, racks_of_ring, datacenter.racks.len());
        (factor > 0).then(|| Self {
            members: datacenter.members,
            met: 0,
            owners: choice(racks_with(|rack| rack.owners)),
            normal: choice(racks_with(|rack| rack.normal)),
        })
    }

    /// Whether nobody further on can be a replica.
    fn is_over(&self) -> bool {
        self.met == self.members || self.normal.is_over()
    }
}

/// What one ring still takes of one datacenter. The first member of each rack is taken until there are as many racks
/// as replicas; of the others the first few, as many as there are replicas more than racks on that ring.
pub(super) struct Choice {
    racks_left: usize,
    repeats_left: usize,
    is_rack_met: Vec<bool>,
}

impl Choice {
    pub(super) fn new(factor: usize, racks_of_ring: usize, racks: usize) -> Self {
        Self {
            racks_left: factor,
            repeats_left: factor.saturating_sub(racks_of_ring),
            is_rack_met: vec![false; racks],
        }
    }

    fn would_take(&self, rack: usize) -> bool {
        if self.is_rack_met[rack] { self.repeats_left > 0 } else { self.racks_left > 0 }
    }

    pub(super) fn take(&mut self, rack: usize) -> bool {
        let is_taken = self.would_take(rack);
        if is_taken && self.is_rack_met[rack] {
            self.repeats_left -= 1;
        } else if is_taken {
            self.is_rack_met[rack] = true;
            self.racks_left -= 1;
        }
        is_taken
    }

    fn is_over(&self) -> bool {
        let no_rack_is_new = self.racks_left == 0 || self.is_rack_met.iter().all(|is_met| *is_met);
        no_rack_is_new && self.repeats_left == 0
    }
}
