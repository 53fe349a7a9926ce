//! Promise: the replicas of a key are the next distinct members clockwise; a member that joins is written to before
//! it is read from.

mod setting;

use std::collections::BTreeSet;

use helenus_cluster::{
    membership::{Member, MemberState},
    partitioning::{Ring, Token},
    placement::{Placement, SimpleStrategy},
};
use proptest::prelude::*;
use setting::{host, joining, normal, settling};

/// Places `token` and names the replicas by number.
fn place(ring: &Ring, factor: u32, token: i64) -> (Vec<u128>, Vec<u128>) {
    let numbers =
        |hosts: Vec<_>| hosts.into_iter().map(|host: helenus_cluster::node_id::HostId| host.0.as_u128());
    let Placement { natural, pending } =
        SimpleStrategy { replication_factor: factor }.place(ring, Token(token));
    (numbers(natural).collect(), numbers(pending).collect())
}

#[test]
fn replicas_are_distinct_even_where_one_member_has_neighbouring_tokens() {
    let ring = Ring::from_members(&[normal(1, &[10, 20, 50]), normal(2, &[30]), normal(3, &[40])]);
    let table: [(i64, u32, &[u128]); 8] = [
        (5, 1, &[1]),
        (5, 2, &[1, 2]),
        (5, 3, &[1, 2, 3]),
        (15, 3, &[1, 2, 3]),
        (25, 2, &[2, 3]),
        (30, 3, &[2, 3, 1]),
        (41, 2, &[1, 2]),
        (60, 3, &[1, 2, 3]),
    ];
    for (token, factor, natural) in table {
        assert_eq!(place(&ring, factor, token), (natural.to_vec(), vec![]), "token {token}, factor {factor}");
    }
}

#[test]
fn a_cluster_smaller_than_the_factor_has_fewer_replicas() {
    assert_eq!(place(&Ring::from_members(&[]), 3, 0), (vec![], vec![]));
    assert_eq!(place(&Ring::from_members(&[normal(1, &[0])]), 3, 5), (vec![1], vec![]));
    let two = Ring::from_members(&[normal(1, &[0, 2]), normal(2, &[1, 3])]);
    assert_eq!(place(&two, 3, 3), (vec![2, 1], vec![]));
    assert_eq!(place(&two, u32::MAX, 3), (vec![2, 1], vec![]));
    assert_eq!(place(&two, 0, 3), (vec![], vec![]));
}

#[test]
fn a_joining_member_is_pending_where_it_will_be_a_replica_and_nowhere_else() {
    let ring = Ring::from_members(&[normal(1, &[10]), normal(2, &[20]), joining(9, &[30]), normal(3, &[40])]);
    assert_eq!(place(&ring, 2, 25), (vec![3, 1], vec![9]));
    assert_eq!(place(&ring, 2, 15), (vec![2, 3], vec![9]));
    assert_eq!(place(&ring, 2, 5), (vec![1, 2], vec![]));
    assert_eq!(place(&ring, 2, 35), (vec![3, 1], vec![]));
}

#[test]
fn the_first_members_of_a_cluster_are_pending_everywhere() {
    let ring = Ring::from_members(&[normal(1, &[10]), joining(2, &[20]), joining(3, &[30])]);
    assert_eq!(place(&ring, 3, 15), (vec![1], vec![2, 3]));
    assert_eq!(place(&ring, 1, 15), (vec![1], vec![2, 3]));
    assert_eq!(place(&ring, 1, 5), (vec![1], vec![]));
}

#[test]
fn ownership_counts_replicas() {
    let ring = Ring::from_members(&[normal(1, &[i64::MIN / 2]), normal(2, &[0]), joining(3, &[5])]);
    for (factor, first, second) in [(1, 0.75, 0.25), (2, 1.0, 1.0), (3, 1.0, 1.0)] {
        let owns = SimpleStrategy { replication_factor: factor }.ownership(&ring);
        assert_eq!((owns[&host(1)], owns[&host(2)], owns.get(&host(3))), (first, second, None));
    }
}

proptest! {
    /// Against the walk as one would write it without care for its cost.
    #[test]
    fn whoever_joins_has_been_written_to(
        tokens in prop::collection::vec((1u128..8, -20i64..20), 1..30),
        joiners in prop::collection::btree_set(1u128..8, 0..4),
        settlers in prop::collection::btree_set(1u128..8, 0..4),
        owners in prop::collection::btree_set(1u128..8, 0..8),
        factor in 0u32..9,
        token in -25i64..25,
    ) {
        let mut members = Vec::new();
        for number in 1..8 {
            let own: BTreeSet<i64> =
                tokens.iter().filter(|(owner, _)| *owner == number).map(|(_, token)| *token).collect();
            let own: Vec<i64> = own.into_iter().collect();
            members.push(match number {
                _ if joiners.contains(&number) => joining(number, &own),
                _ if settlers.contains(&number) => settling(number, &own),
                _ => normal(number, &own),
            });
        }
        let slow = |present: &dyn Fn(&Member) -> bool| {
            let mut points = Vec::new();
            for member in members.iter().filter(|member| present(member)) {
                points.extend(member.tokens.iter().map(|t| (*t, member.host_id.0.as_u128())));
            }
            points.sort_unstable();
            let start = points.iter().position(|(t, _)| *t >= token).unwrap_or(0);
            points.rotate_left(start);
            let mut found = BTreeSet::new();
            for (_, number) in points {
                if found.len() < factor as usize {
                    found.insert(number);
                }
            }
            found
        };
        let (natural, pending) = place(&Ring::from_members(&members), factor, token);
        let (natural, pending) = (BTreeSet::from_iter(natural), BTreeSet::from_iter(pending));
        prop_assert_eq!(&natural, &slow(&|member| member.state.owns_ranges()));

        // Whichever of the joining and settling members a reader takes for owners, it asks nobody who was not written
        // to; and nobody is written to whom no reader might ask.
        let written: BTreeSet<_> = natural.union(&pending).copied().collect();
        let is_normal = |member: &Member| member.state == MemberState::Normal;
        let is_owner = |member: &Member| is_normal(member) || owners.contains(&member.host_id.0.as_u128());
        prop_assert!(slow(&is_owner).is_subset(&written));
        let mut asked = slow(&is_normal);
        for number in 1..8 {
            asked.extend(slow(&|member| is_normal(member) || member.host_id == host(number)));
        }
        prop_assert_eq!(written, asked);
    }
}
