//! The dead are convicted, soon, and nobody else is.

use std::time::Duration;

use crate::support::{SECOND, Weather, World, host};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether every live node takes exactly the dead for dead.
fn exactly_the_dead_are_convicted(world: &World) -> bool {
    world.live().all(|(own, node)| {
        (0..world.nodes.len())
            .filter(|other| *other != own)
            .all(|other| node.detector.is_convicted(host(other)) == world.dead.contains(&other))
    })
}

fn no_live_node_was_convicted(world: &World) -> bool {
    world.convictions.iter().all(|(_, _, whom)| world.dead.contains(whom))
}

#[test]
fn a_silent_death_is_known_to_all_within_ten_seconds() {
    for (size, seeds) in [(3, 20), (5, 20), (20, 5), (50, 2)] {
        for seed in 1..=seeds {
            let mut world = World::acquainted(size, seed);
            world.run_for(60 * SECOND);
            assert_eq!(world.convictions, [], "{size} nodes, seed {seed}");

            world.dead.insert(size - 1);
            let took = world.run_until(10 * SECOND, exactly_the_dead_are_convicted);
            assert!(took.is_some(), "{size} nodes, seed {seed}: {:?}", world.convictions);
            println!("{size} nodes, seed {seed}: {took:?}");
        }
    }
}

#[test]
#[ignore = "a minute in a release build; the figures of many nodes"]
fn a_silent_death_among_many_is_known_to_all() {
    for (size, seconds) in [(100, 10), (300, 10), (1000, 12)] {
        let mut world = World::acquainted(size, 1);
        world.run_for(40 * SECOND);
        assert_eq!(world.convictions, [], "{size} nodes");
        world.dead.insert(size - 1);
        let took = world.run_until(seconds * SECOND, exactly_the_dead_are_convicted);
        println!("{size} nodes: {took:?}, {} messages", world.messages);
        assert!(took.is_some(), "{size} nodes: {} convictions", world.convictions.len());
    }
}

#[test]
fn a_node_that_is_back_is_alive_for_all_within_three_seconds() {
    for seed in 1..=20 {
        let mut world = World::acquainted(5, seed);
        world.run_for(30 * SECOND);
        world.dead.insert(4);
        world.run_for(60 * SECOND);
        assert!(exactly_the_dead_are_convicted(&world), "seed {seed}");

        world.dead.clear();
        let took = world.run_until(3 * SECOND, exactly_the_dead_are_convicted);
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn half_dead_at_half_loss_the_survivors_convict_exactly_the_dead() {
    for seed in 1..=3 {
        let mut world = World::acquainted(20, seed);
        world.run_for(30 * SECOND);
        world.weather = Weather { loss: 0.5, ..world.weather };
        world.dead.extend(10..20);
        let took = world.run_until(120 * SECOND, exactly_the_dead_are_convicted);
        assert!(took.is_some(), "seed {seed}: {:?}", world.convictions);
        println!("seed {seed}: {took:?}");
    }
}

/// Five nodes in bad weather for a time; every conviction is of a live node.
fn in_bad_weather(seed: u64, time: Duration) -> World {
    let mut world = World::acquainted(5, seed);
    world.weather = Weather { loss: 0.1, jitter: Duration::from_millis(500), ..world.weather };
    world.run_for(time);
    world
}

#[test]
fn no_live_node_is_convicted_in_an_hour_of_ten_percent_loss_and_half_a_second_of_jitter() {
    for seed in 1..=2 {
        let world = in_bad_weather(seed, DAY / 24);
        assert_eq!(world.convictions, [], "seed {seed}");
    }
}

#[test]
#[ignore = "minutes in a debug build; the figures of a simulated day"]
fn no_live_node_is_convicted_in_a_day_of_ten_percent_loss_and_half_a_second_of_jitter() {
    for seed in 1..=3 {
        let world = in_bad_weather(seed, DAY);
        println!("seed {seed}: {:?} simulated, {} messages", world.now(), world.messages);
        assert_eq!(world.convictions, [], "seed {seed}");
    }
}

#[test]
fn a_broken_link_convicts_nobody_whether_it_is_one_way_or_both() {
    for seed in 1..=10 {
        for links in [vec![(1, 2)], vec![(1, 2), (2, 1)]] {
            let mut world = World::acquainted(5, seed);
            world.run_for(30 * SECOND);
            world.cut.extend(&links);
            world.run_for(120 * SECOND);
            assert!(no_live_node_was_convicted(&world), "seed {seed}, {links:?}: {:?}", world.convictions);
        }
    }
}

#[test]
fn flapping_is_bounded_by_the_silences() {
    let mut world = World::acquainted(5, 3);
    world.run_for(30 * SECOND);
    for _ in 0..20 {
        // Silences of all lengths up to six seconds.
        for length in 1..=6 {
            world.dead.insert(4);
            world.run_for(length * SECOND);
            world.dead.clear();
            world.run_for(4 * SECOND);
        }
    }
    // Of six silences the shorter ones are no reason for a conviction at all; the others for one by each of four.
    assert!(world.convictions.len() <= 20 * 2 * 4, "{}", world.convictions.len());
    assert!(world.convictions.iter().all(|(_, _, whom)| *whom == 4), "nobody else is touched by it");
}
