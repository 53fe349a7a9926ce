//! News reaches all in rounds that grow like the logarithm of their number.

use std::time::Duration;

use helenus_cluster::membership::digest::Tag;

use crate::support::{SECOND, Weather, World, host};

const COLOUR: Tag = Tag(1000);
const MINUTE: Duration = Duration::from_secs(60);

fn all_know_all(world: &World) -> bool {
    let size = world.live().count();
    world.live().all(|(_, node)| node.known().count() >= size)
}

fn all_know_the_colour(world: &World) -> bool {
    world
        .live()
        .all(|(_, node)| node.rumors.facts(host(1)).any(|(tag, fact)| tag == COLOUR && fact.bytes == b"red"))
}

/// Intervals until all know all, and until all know a fact that changed; without pings.
fn rounds(size: usize, seed: u64) -> (f64, f64) {
    let mut world = World::of(size, seed);
    world.pings = false;
    let membership =
        world.run_until(MINUTE, all_know_all).unwrap_or_else(|| panic!("seed {seed}: not acquainted"));
    world.nodes[1].rumors.tell(COLOUR, b"red".to_vec());
    let fact =
        world.run_until(MINUTE, all_know_the_colour).unwrap_or_else(|| panic!("seed {seed}: not all know"));
    let intervals = |time: Duration| time.as_secs_f64() / SECOND.as_secs_f64();
    (intervals(membership), intervals(fact))
}

#[test]
fn membership_and_news_reach_all_in_a_number_of_rounds_that_grows_like_the_logarithm() {
    for (size, seeds) in [(3, 20), (10, 20), (100, 3)] {
        let runs: Vec<_> = (1..=seeds).map(|seed| rounds(size, seed)).collect();
        let most = 4.0 + 2.0 * (size as f64).log2();
        for (seed, (membership, fact)) in (1..).zip(&runs) {
            println!("{size} nodes, seed {seed}: {membership:.1} and {fact:.1} rounds");
            assert!(membership.max(*fact) < most, "seed {seed}: {membership}, {fact} of {most} rounds");
        }
    }
}

#[test]
#[ignore = "ten seconds in a release build; the figures of a thousand nodes"]
fn a_thousand_nodes_converge() {
    let (membership, fact) = rounds(1000, 1);
    println!("1000 nodes: {membership:.1} and {fact:.1} rounds");
    assert!(membership.max(fact) < 4.0 + 2.0 * 1000_f64.log2());
}

#[test]
fn news_reaches_the_survivors_though_half_of_all_messages_are_lost_and_half_of_the_nodes_are_dead() {
    let mut world = World::acquainted(20, 7);
    world.run_for(20 * SECOND);
    world.weather = Weather { loss: 0.5, ..world.weather };
    world.dead.extend(10..20);
    world.nodes[1].rumors.tell(COLOUR, b"red".to_vec());
    assert!(world.run_until(MINUTE, all_know_the_colour).is_some());
}
