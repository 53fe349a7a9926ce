//! Tokens that share the keys evenly, for a node that joins nodes whose tokens are known.
//!
//! With random tokens the share of a node is a sum of random widths: with 16 tokens the largest of two dozen nodes holds
//! half as much again as the mean. Here each token of the new node is chosen, one after the other, among many
//! random points: that one after which the shares, replicas counted, are nearest to even (least sum of squared differences
//! from the fair share). A node that has half of its tokens so far is to have half of a share. This is the plan of Apache
//! Cassandra's replication-aware allocator (CASSANDRA-7032): greedy, within a datacenter, aware of racks. It takes the
//! middles of all ranges for candidates; random points do as well, and two nodes that join at once, not knowing each
//! other, do not choose the same tokens.
//!
//! Replicas alone say nothing while there are no more nodes than replicas: each holds everything, wherever its tokens
//! are. So the widths of the ranges themselves count too, as for one replica. And once there are as many racks as replicas,
//! each rack holds everything once, so a node shares with those of its rack alone; while racks are still missing, the widths
//! among those count too.
//!
//! The largest share above the mean, with 16 tokens chosen for a factor of 3 by nodes that are started at the same instant
//! (`nodes_started_at_once` in the tests of the simulation):
//!
//! ```text
//!   nodes   factor   drawn   chosen
//!       3        1    21 %    1.3 %
//!       6        3    14 %    1.0 %
//!      20        3    40 %   11.5 %
//! ```
//!
//! By chance it is more or less: in another order of joining it was 2.6 % at 20 nodes. Rejected: more candidates, of which
//! the best one for now leaves less to choose from for those who come later (with 512, half as even).
//!
//! A point changes the replicas of few ranges: of the one that it splits, and of those before whose walk passes it. Walks
//! that begin further back end no later, so the first one that does not pass it ends the search. A token costs as many
//! walks as there are candidates, times a few, whatever the size of the ring. Only where racks are more than replicas, and
//! nearly all nodes in fewer racks than there are replicas, walks are long. What the choice does not change is left out: walks
//! for members of a rack without any would go all the way round.

use std::collections::BTreeMap;

use rand::Rng;

use super::network_topology::Choice;
use crate::{membership::Member, partitioning::Token};

/// Points that are tried for each token.
const CANDIDATES: usize = 128;

/// What a ring that is as even as it can be would give everyone; all members are of one datacenter.
#[derive(Debug)]
struct Ring {
    /// Tokens in order, each with the number of its member.
    points: Vec<(u64, usize)>,
    /// Those of the members in the rack of the new one.
    rack_points: Vec<(u64, usize)>,
    /// Rack of each member; the last one is the new member.
    racks: Vec<usize>,
    /// Members of each rack, without the new one.
    rack_sizes: Vec<f64>,
    /// With one replica, and perhaps with the factor of the datacenter and within the rack of the new member.
    loads: Vec<Load>,
}

/// Who holds how much at some factor, as shares of the ring.
#[derive(Debug)]
struct Load {
    factor: usize,
    /// Whether replicas lie in distinct racks.
    by_rack: bool,
    /// Whether the members in the rack of the new one alone hold anything.
    within_rack: bool,
    held: Vec<f64>,
}

/// Chooses `count` tokens, ascending, for a new node of this rack. `members` are those of its datacenter, and
/// `factor` is the replication factor there that most data has. The same generator state gives the same tokens.
pub fn allocate(
    members: &[&Member],
    rack: &str,
    factor: u32,
    count: usize,
    random: &mut impl Rng,
) -> Vec<Token> {
    let mut ring = Ring::of(members, rack, factor.max(1) as usize);
    let mut chosen = Vec::new();
    while chosen.len() < count {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand tokens")]
        let part = (chosen.len() + 1) as f64 / count as f64;
        let candidates = (0..CANDIDATES).map(|_| random.next_u64()).filter(|point| ring.is_free(*point));
        let candidates: Vec<u64> = candidates.collect();
        let cost = |point: u64| (ring.cost_with(point, part), point);
        let best = candidates.into_iter().map(cost).min_by(|(a, _), (b, _)| a.total_cmp(b));
        if let Some((_, point)) = best {
            ring.insert(point);
            chosen.push(Token::from_ordered_bytes(point.to_be_bytes()));
        }
    }
    chosen.sort_unstable();
    chosen
}

impl Ring {
    fn of(members: &[&Member], rack: &str, factor: usize) -> Self {
        let mut rack_numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut number_of = |rack| {
            let next = rack_numbers.len();
            *rack_numbers.entry(rack).or_insert(next)
        };
        let mut racks: Vec<usize> = members.iter().map(|member| number_of(member.rack.as_str())).collect();
        racks.push(number_of(rack));
        let rack_count = rack_numbers.len();
        let mut rack_sizes = vec![0.0; rack_count];
        for rack in &racks[..members.len()] {
            rack_sizes[*rack] += 1.0;
        }
        let load = |factor, within_rack| Load {
            factor,
            by_rack: factor > 1 && rack_count > factor,
            within_rack,
            held: vec![0.0; racks.len()],
        };
        let mut loads = vec![load(1, false)];
        // With one replica in each rack, nothing changes in the other racks.
        if factor > 1 && rack_count != factor {
            loads.push(load(factor, false));
        }
        // Who is alone in its rack holds what the rack holds, wherever its tokens are.
        let new_rack = racks[members.len()];
        if (2..=factor).contains(&rack_count) && rack_sizes[new_rack] > 0.0 {
            loads.push(load(1, true));
        }
        let mut points: Vec<(u64, usize)> = Vec::new();
        for (number, member) in members.iter().enumerate() {
            points.extend(member.tokens.iter().map(|token| (position(*token), number)));
        }
        points.sort_unstable();
        let rack_points = points.iter().copied().filter(|(_, member)| racks[*member] == new_rack).collect();
        let mut ring = Self { points, rack_points, racks, rack_sizes, loads };
        ring.hold_all();
        ring
    }

    fn is_free(&self, point: u64) -> bool {
        point != 0 && self.points.binary_search_by_key(&point, |(point, _)| *point).is_err()
    }

    fn points_of(&self, load: &Load) -> &[(u64, usize)] {
        if load.within_rack { &self.rack_points } else { &self.points }
    }

    /// Computes anew what everyone holds.
    fn hold_all(&mut self) {
        let held = |load: &Load| {
            let mut held = vec![0.0; self.racks.len()];
            let points = self.points_of(load);
            for at in 0..points.len() {
                self.walk(at, load, None).0.iter().for_each(|holder| held[*holder] += width(points, at));
            }
            held
        };
        let held: Vec<Vec<f64>> = self.loads.iter().map(held).collect();
        for (load, held) in self.loads.iter_mut().zip(held) {
            load.held = held;
        }
    }

    /// How uneven the shares are once the new member has this point too, and `part` of its tokens.
    fn cost_with(&self, point: u64, part: f64) -> f64 {
        self.loads.iter().map(|load| self.unevenness(load, &self.held_with(load, point), part)).sum()
    }

    fn insert(&mut self, point: u64) {
        for points in [&mut self.points, &mut self.rack_points] {
            let at = points.partition_point(|(other, _)| *other < point);
            points.insert(at, (point, self.racks.len() - 1));
        }
        self.hold_all();
    }

    /// What everyone holds with a further point of the new member. Of a ring with hardly more members than replicas,
    /// whose walks go all the way round, it is an estimate.
    fn held_with(&self, load: &Load, point: u64) -> Vec<f64> {
        let new = self.racks.len() - 1;
        let mut held = load.held.clone();
        let points = self.points_of(load);
        let Some(last) = points.len().checked_sub(1) else {
            held[new] = 1.0;
            return held;
        };
        let at = points.partition_point(|(other, _)| *other < point);
        let next = if at > last { 0 } else { at };
        let before = |at: usize| if at == 0 { last } else { at - 1 };
        // Of the range that is split, the part up to the point.
        let mut part = share(point.wrapping_sub(points[before(next)].0));
        let mut from = next;
        for _ in 0..=last {
            let (holders, has_passed) = self.walk(from, load, Some((next, new)));
            if !has_passed {
                break;
            }
            self.walk(from, load, None).0.iter().for_each(|holder| held[*holder] -= part);
            holders.iter().for_each(|holder| held[*holder] += part);
            from = before(from);
            part = width(points, from);
        }
        held
    }

    /// The replicas of the range that ends at a point, and whether the walk met the new member, who is met just before
    /// the point `inserted.0`.
    fn walk(&self, from: usize, load: &Load, inserted: Option<(usize, usize)>) -> (Vec<usize>, bool) {
        let (points, racks) = (self.points_of(load), self.rack_sizes.len());
        let mut choice = Choice::new(load.factor, if load.by_rack { racks } else { 0 }, racks);
        let mut found = Vec::with_capacity(load.factor);
        let mut has_passed = false;
        for step in 0..points.len() {
            let at = (from + step) % points.len();
            let met = inserted.filter(|(before, _)| *before == at).map(|(_, new)| new);
            for member in met.into_iter().chain([points[at].1]) {
                has_passed |= met == Some(member);
                if found.contains(&member) {
                    continue;
                }
                if !load.by_rack || choice.take(self.racks[member]) {
                    found.push(member);
                }
                if found.len() == load.factor {
                    return (found, has_passed);
                }
            }
        }
        (found, has_passed)
    }

    /// Sum of the squared differences from the fair shares.
    fn unevenness(&self, load: &Load, held: &[f64], part: f64) -> f64 {
        let new = self.racks.len() - 1;
        let all: f64 = held.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand members")]
        let (members, racks) = (new as f64 + part, self.rack_sizes.len() as f64);
        let fair = |member: usize| {
            let weight = if member == new { part } else { 1.0 };
            let of_rack = self.rack_sizes[self.racks[member]];
            let is_beside = self.racks[member] == self.racks[new];
            let of_rack = if is_beside { of_rack + part } else { of_rack };
            let share = match load {
                Load { within_rack: true, .. } => {
                    if is_beside {
                        all / of_rack
                    } else {
                        0.0
                    }
                }
                Load { by_rack: true, .. } => all / racks / of_rack,
                _ => all / members,
            };
            (share * weight).min(1.0)
        };
        held.iter().enumerate().map(|(member, held)| (held - fair(member)).powi(2)).sum()
    }
}

/// Share of the ring of the range that ends at a point.
fn width(points: &[(u64, usize)], at: usize) -> f64 {
    let before = if at == 0 { points.len() - 1 } else { at - 1 };
    match points.len() {
        1 => 1.0,
        _ => share(points[at].0.wrapping_sub(points[before].0)),
    }
}

/// The place of a token, counted from the lowest.
fn position(token: i64) -> u64 {
    u64::from_be_bytes(Token(token).to_ordered_bytes())
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(steps: u64) -> f64 {
    steps as f64 / (1u128 << 64) as f64
}
