//! Promise: each datacenter holds as many replicas as its table asks for, in distinct racks as far as there are, as
//! Cassandra places them; and whichever of the joining and settling members a reader takes for owners, it asks nobody
//! who was not written to.

mod setting;

use std::collections::{BTreeMap, BTreeSet};

use helenus_cluster::{
    membership::{Member, MemberState},
    partitioning::{Ring, Token},
    placement::{Placement, Strategy},
    table::Replication,
};
use proptest::prelude::*;
use setting::normal;

fn at(datacenter: usize, rack: usize, member: Member) -> Member {
    Member { datacenter: format!("dc{datacenter}"), rack: format!("rack{rack}"), ..member }
}

fn replication(factors: &[(usize, u32)]) -> Replication {
    let factors = factors.iter().map(|(datacenter, factor)| (format!("dc{datacenter}"), *factor));
    Replication::NetworkTopology { factors: factors.collect() }
}

/// Places `token` and names the replicas by number.
fn place(members: &[Member], factors: &[(usize, u32)], token: i64) -> (Vec<u128>, Vec<u128>) {
    let replication = replication(factors);
    let Placement { natural, pending } =
        Strategy::from(&replication).place(&Ring::from_members(members), Token(token));
    let numbers = |hosts: Vec<helenus_cluster::node_id::HostId>| {
        hosts.into_iter().map(|host| host.0.as_u128()).collect()
    };
    (numbers(natural), numbers(pending))
}

/// Member i has token 10 i; where each stands is given as (datacenter, rack).
fn members(spots: &[(usize, usize)]) -> Vec<Member> {
    let member = |(index, &(datacenter, rack)): (usize, &(usize, usize))| {
        let number = index as u128 + 1;
        at(datacenter, rack, normal(number, &[number as i64 * 10]))
    };
    spots.iter().enumerate().map(member).collect()
}

#[test]
fn the_second_replica_is_in_the_next_rack_not_on_the_next_node() {
    let six = members(&[(1, 1), (1, 1), (1, 2), (1, 2), (1, 3), (1, 3)]);
    assert_eq!(place(&six, &[(1, 2)], 25), (vec![3, 5], vec![]));
    assert_eq!(place(&six, &[(1, 3)], 25), (vec![3, 5, 1], vec![]));
    assert_eq!(place(&six, &[(1, 3)], 35), (vec![4, 5, 1], vec![]));
}

#[test]
fn replicas_of_one_to_three_datacenters_with_one_to_five_racks() {
    type Case<'a> = (&'a str, &'a [(usize, usize)], &'a [(usize, u32)], i64, &'a [u128]);
    let five = [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)];
    let two_by_three = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)];
    let three_by_two = [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)];
    let uneven = [(1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (1, 3)];
    let table: &[Case] = &[
        ("one rack is a simple ring", &[(1, 1), (1, 1), (1, 1), (1, 1)], &[(1, 3)], 15, &[2, 3, 4]),
        ("more racks than replicas", &five, &[(1, 3)], 25, &[3, 4, 5]),
        ("more racks than replicas, around the end", &five, &[(1, 3)], 45, &[5, 1, 2]),
        ("as many racks as replicas", &five, &[(1, 5)], 5, &[1, 2, 3, 4, 5]),
        ("two racks, three replicas: one repeat", &members_of_two_racks(), &[(1, 3)], 5, &[1, 2, 3]),
        ("the first repeat met is taken", &members_of_two_racks(), &[(1, 3)], 15, &[2, 3, 4]),
        ("a small rack is in every set", &uneven, &[(1, 3)], 5, &[1, 5, 6]),
        ("a small rack is in every set", &uneven, &[(1, 3)], 15, &[2, 5, 6]),
        ("repeats before a new rack", &uneven, &[(1, 4)], 5, &[1, 2, 5, 6]),
        ("factor above the node count", &uneven, &[(1, 9)], 35, &[4, 5, 6, 1, 2, 3]),
        ("two datacenters, each its own walk", &two_by_three, &[(1, 2), (2, 2)], 5, &[1, 2, 3, 4]),
        ("two datacenters, different factors", &two_by_three, &[(1, 3), (2, 1)], 15, &[2, 3, 5, 1]),
        ("a datacenter without a factor", &two_by_three, &[(2, 3)], 5, &[2, 4, 6]),
        ("a datacenter with factor 0", &two_by_three, &[(1, 0), (2, 2)], 5, &[2, 4]),
        ("a datacenter without members", &two_by_three, &[(1, 1), (7, 3)], 5, &[1]),
        ("three datacenters", &three_by_two, &[(1, 1), (2, 2), (3, 1)], 25, &[3, 4, 5, 2]),
        (
            "three datacenters, more than there are",
            &three_by_two,
            &[(1, 3), (2, 3), (3, 3)],
            55,
            &[6, 1, 2, 3, 4, 5],
        ),
        ("racks of one name in two datacenters differ", &[(1, 1), (2, 1)], &[(1, 1), (2, 1)], 5, &[1, 2]),
        ("nobody", &[], &[(1, 3)], 0, &[]),
    ];
    for (what, spots, factors, token, natural) in table {
        assert_eq!(place(&members(spots), factors, *token), (natural.to_vec(), vec![]), "{what}");
    }
}

fn members_of_two_racks() -> [(usize, usize); 5] {
    [(1, 1), (1, 1), (1, 2), (1, 2), (1, 1)]
}

#[test]
fn a_joining_member_with_a_rack_of_its_own_is_pending_everywhere() {
    let mut four = members(&[(1, 1), (1, 1), (1, 2), (1, 3)]);
    four[3].state = MemberState::Joining;
    for token in [5, 15, 25, 35] {
        let (natural, pending) = place(&four, &[(1, 3)], token);
        assert_eq!((natural.len(), pending), (3, vec![4]), "token {token}");
    }
}

#[test]
fn whom_a_settling_member_pushes_out_is_still_written_to_however_far_it_stands() {
    let mut four = members(&[(1, 1), (1, 1), (1, 2), (1, 3)]);
    four[3].state = MemberState::Settling;
    assert_eq!(place(&four, &[(1, 3)], 5), (vec![1, 3, 4], vec![2]));
    assert_eq!(place(&four, &[(1, 3)], 25), (vec![3, 4, 1], vec![2]));
}

/// Cassandra's algorithm as its description reads: reference for the walk above.
fn cassandra(members: &[&Member], factors: &BTreeMap<String, u32>, token: i64) -> Vec<u128> {
    let mut points: Vec<(i64, u128, &Member)> = Vec::new();
    for member in members {
        points.extend(member.tokens.iter().map(|token| (*token, member.host_id.0.as_u128(), *member)));
    }
    points.sort_unstable_by_key(|(token, number, _)| (*token, *number));
    let start = points.iter().position(|(t, ..)| *t >= token).unwrap_or(0);
    points.rotate_left(start);

    let mut left: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (name, factor) in factors {
        let here = || members.iter().filter(|member| member.datacenter == *name && !member.tokens.is_empty());
        let racks: BTreeSet<&str> = here().map(|member| member.rack.as_str()).collect();
        let (factor, nodes) = (i64::from(*factor), here().count() as i64);
        if factor > 0 && nodes > 0 {
            left.insert(name, (factor.min(nodes), factor - racks.len() as i64));
        }
    }
    let (mut racks_seen, mut found) = (BTreeSet::new(), Vec::new());
    for (_, number, member) in points {
        let Some((replicas, repeats)) = left.get_mut(member.datacenter.as_str()) else { continue };
        if *replicas == 0 || found.contains(&number) {
            continue;
        }
        if racks_seen.insert((&member.datacenter, &member.rack)) {
            *replicas -= 1;
            found.push(number);
        } else if *repeats > 0 {
            *replicas -= 1;
            *repeats -= 1;
            found.push(number);
        }
    }
    found
}

fn a_member() -> impl prop::strategy::Strategy<Value = (usize, usize, MemberState, BTreeSet<i64>)> {
    let state = prop_oneof![
        3 => Just(MemberState::Normal),
        1 => Just(MemberState::Settling),
        1 => Just(MemberState::Joining),
    ];
    (1usize..4, 1usize..6, state, prop::collection::btree_set(-40i64..40, 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn readers_ask_only_whom_writers_reached_and_nobody_is_written_to_in_vain(
        drawn in prop::collection::vec(a_member(), 0..9),
        datacenters in 1usize..4,
        racks in 1usize..6,
        factors in prop::collection::vec(0u32..6, 3),
        token in -45i64..45,
    ) {
        let members: Vec<Member> = drawn
            .into_iter()
            .zip(1u128..)
            .map(|((datacenter, rack, state, tokens), number)| {
                let tokens: Vec<i64> = tokens.into_iter().collect();
                let member = Member { state, ..normal(number, &tokens) };
                at(1 + datacenter % datacenters, 1 + rack % racks, member)
            })
            .collect();
        let factors: Vec<(usize, u32)> = (1..).zip(factors).collect();
        let (natural, pending) = place(&members, &factors, token);

        let Replication::NetworkTopology { factors } = replication(&factors) else { unreachable!() };
        let owners: Vec<&Member> = members.iter().filter(|member| member.state.owns_ranges()).collect();
        prop_assert_eq!(&natural, &cassandra(&owners, &factors, token));

        // Every subset of those whom not everybody takes for owners.
        let (all_normal, others): (Vec<&Member>, Vec<&Member>) =
            members.iter().partition(|member| member.state == MemberState::Normal);
        let mut asked = BTreeSet::new();
        for subset in 0..1u32 << others.len() {
            let chosen = others.iter().enumerate().filter(|(bit, _)| subset & 1 << bit != 0);
            let ring: Vec<&Member> = all_normal.iter().copied().chain(chosen.map(|(_, member)| *member)).collect();
            asked.extend(cassandra(&ring, &factors, token));
        }
        prop_assert!(natural.iter().all(|replica| !pending.contains(replica)));
        let written: BTreeSet<u128> = natural.into_iter().chain(pending).collect();
        prop_assert_eq!(written, asked);
    }
}
