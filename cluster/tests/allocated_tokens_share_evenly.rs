//! Promise: nodes that choose their tokens one after another, each knowing those before, share the keys evenly, replicas
//! counted, where random tokens would not; the same seed gives the same tokens.

mod setting;

use std::collections::BTreeMap;

use helenus_cluster::{
    membership::Member,
    partitioning::{Ring, draw_tokens},
    placement::{Strategy, allocate},
    table::Replication,
};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use setting::{host, normal};

/// A datacenter of nodes that came one after another, spread over racks in turn.
fn datacenter(nodes: usize, racks: usize, tokens: usize, seed: u64, is_allocated: bool) -> Vec<Member> {
    let order: Vec<usize> = (0..nodes).map(|number| number % racks).collect();
    in_order(&order, tokens, seed, is_allocated)
}

/// A datacenter of nodes that came one after another, in these racks.
fn in_order(order: &[usize], tokens: usize, seed: u64, is_allocated: bool) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for (number, rack) in order.iter().enumerate() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed * 1000 + number as u64);
        let rack = format!("rack{rack}");
        let known: Vec<&Member> = members.iter().collect();
        let chosen = if is_allocated {
            allocate(&known, &rack, 3, tokens, &mut random)
        } else {
            draw_tokens(&mut random, tokens)
        };
        let chosen: Vec<i64> = chosen.into_iter().map(|token| token.0).collect();
        members.push(Member { rack, ..normal(number as u128 + 1, &chosen) });
    }
    members
}

/// How much the largest share exceeds the mean, 0 to 1.
fn excess(members: &[Member]) -> f64 {
    let replication = Replication::NetworkTopology { factors: BTreeMap::from([("dc1".to_owned(), 3)]) };
    let shares = Strategy::from(&replication).ownership(&Ring::from_members(members));
    let mean = 3.0 / members.len() as f64;
    let largest = (1..=members.len() as u128).map(|number| shares[&host(number)]).fold(0.0, f64::max);
    largest / mean - 1.0
}

/// The worst of a few seeds.
fn worst(nodes: usize, racks: usize, tokens: usize, is_allocated: bool) -> f64 {
    let of = |seed| excess(&datacenter(nodes, racks, tokens, seed, is_allocated));
    (1..=2).map(of).fold(0.0, f64::max)
}

#[test]
fn the_largest_share_is_near_the_mean() {
    println!("nodes racks tokens   random  allocated   (largest share above the mean, worst of 2 seeds)");
    for racks in [1, 3] {
        for (tokens, bound) in [(4, 0.30), (8, 0.15), (16, 0.10)] {
            for nodes in [3, 6, 12, 24] {
                let (random, allocated) =
                    (worst(nodes, racks, tokens, false), worst(nodes, racks, tokens, true));
                println!("{nodes:5} {racks:5} {tokens:6} {:7.1}% {:9.1}%", random * 100.0, allocated * 100.0);
                assert!(allocated <= bound, "{nodes} nodes, {racks} racks, {tokens} tokens: {allocated:.3}");
            }
        }
    }
}

#[test]
fn racks_may_fill_up_in_any_order() {
    let shares =
        |order: &[usize]| (1..=5).map(|seed| excess(&in_order(order, 16, seed, true))).fold(0.0, f64::max);
    for order in [[0, 1, 0, 1, 2, 2], [0, 1, 1, 0, 2, 2], [0, 0, 1, 1, 2, 2]] {
        let worst = shares(&order);
        println!("{order:?}: {:.1}%", worst * 100.0);
        assert!(worst <= 0.10, "{order:?}: {worst:.3}");
    }
}

#[test]
fn the_same_seed_chooses_the_same_distinct_tokens() {
    let members = datacenter(5, 2, 16, 7, true);
    assert_eq!(members, datacenter(5, 2, 16, 7, true));
    let mut all: Vec<i64> = members.iter().flat_map(|member| member.tokens.clone()).collect();
    assert!(members.iter().all(|member| member.tokens.is_sorted()));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5 * 16);
}
