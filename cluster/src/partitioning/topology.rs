//! Where the members of a ring stand: datacenters and racks, as small numbers.

use crate::membership::{Member, MemberState};

/// Datacenter and rack of a member: places in the lists of [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Place among the datacenters.
    pub datacenter: usize,
    /// Place among the racks of the datacenter.
    pub rack: usize,
}

/// A datacenter with at least one member that has tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Datacenter {
    /// Its name.
    pub name: String,
    /// Its members, in any state.
    pub members: usize,
    /// Its racks, by name.
    pub racks: Vec<Rack>,
}

/// A rack with at least one member that has tokens. Racks of one name in two datacenters are two racks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rack {
    /// Its name.
    pub name: String,
    /// Its members that own ranges: settling and normal ones.
    pub owners: usize,
    /// Its normal members.
    pub normal: usize,
}

/// The datacenters of a ring, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    datacenters: Vec<Datacenter>,
}

impl Topology {
    /// Where these members stand.
    pub(super) fn of(members: &[&Member]) -> Self {
        let mut topology = Self::default();
        for member in members {
            let datacenters = &mut topology.datacenters;
            let at = place_of(datacenters, &member.datacenter, |datacenter| &datacenter.name);
            let at = at.unwrap_or_else(|at| {
                datacenters
                    .insert(at, Datacenter { name: member.datacenter.clone(), ..Datacenter::default() });
                at
            });
            let datacenter = &mut datacenters[at];
            datacenter.members += 1;
            let racks = &mut datacenter.racks;
            let at = place_of(racks, &member.rack, |rack| &rack.name).unwrap_or_else(|at| {
                racks.insert(at, Rack { name: member.rack.clone(), ..Rack::default() });
                at
            });
            racks[at].owners += usize::from(member.state.owns_ranges());
            racks[at].normal += usize::from(member.state == MemberState::Normal);
        }
        topology
    }

    /// The datacenters, by name.
    pub fn datacenters(&self) -> &[Datacenter] {
        &self.datacenters
    }

    /// Where a member stands, if the topology knows its datacenter and rack.
    pub(super) fn location(&self, member: &Member) -> Option<Location> {
        let datacenter =
            place_of(&self.datacenters, &member.datacenter, |datacenter| &datacenter.name).ok()?;
        let rack = place_of(&self.datacenters[datacenter].racks, &member.rack, |rack| &rack.name).ok()?;
        Some(Location { datacenter, rack })
    }
}

fn place_of<T>(sorted: &[T], name: &str, name_of: impl Fn(&T) -> &String) -> Result<usize, usize> {
    sorted.binary_search_by(|candidate| name_of(candidate).as_str().cmp(name))
}
