//! Promise: each snitch says where a node stands or what is wrong with its source, line by line; and replicas that have
//! been slow are asked later, as soon as they are worse than the threshold and no longer than the reset.

use std::time::{Duration, Instant};

use helenus_cluster::{
    node_id::HostId,
    snitch::{
        DynamicSnitch, LineError, Locality, PropertyFile, dynamic,
        ec2::{self, Naming},
        gossiping, rack_inferring, simple,
    },
};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use uuid::Uuid;

fn at(datacenter: &str, rack: &str) -> Locality {
    Locality::new(datacenter, rack).expect("sound names")
}

fn lines(errors: &[LineError]) -> Vec<(usize, &str)> {
    errors.iter().map(|error| (error.line, error.what.as_str())).collect()
}

#[test]
fn the_simple_snitch_knows_one_place() {
    assert_eq!(simple::locality(), at("datacenter1", "rack1"));
}

#[test]
fn an_ipv4_address_tells_datacenter_and_rack_by_its_second_and_third_part() {
    let of = |address: &str| rack_inferring::locality(address.parse().expect("an address"));
    assert_eq!(of("10.20.30.40"), Ok(at("20", "30")));
    assert_eq!(of("::ffff:127.2.3.6"), Ok(at("2", "3")));
    assert!(of("fe80::1").expect_err("no such parts").contains("IPv4"));
}

#[test]
fn a_property_file_knows_each_address_and_a_default() {
    let text = "# where we are\n\n10.0.0.1=DC1:RAC1\n 10.0.0.2 = DC2 : RAC3 \nfe80\\:\\:1=DC1:RAC2\n! old\ndefault=DC9:r1\n";
    let file = PropertyFile::parse(text).expect("a sound file");
    let of = |address: &str| file.locality(address.parse().expect("an address")).cloned();
    assert_eq!(of("10.0.0.1"), Some(at("DC1", "RAC1")));
    assert_eq!(of("10.0.0.2"), Some(at("DC2", "RAC3")));
    assert_eq!(of("fe80::1"), Some(at("DC1", "RAC2")));
    assert_eq!(of("10.0.0.9"), Some(at("DC9", "r1")));

    let without_default = PropertyFile::parse("10.0.0.1=a:b").expect("a sound file");
    assert_eq!(without_default.locality("10.0.0.2".parse().expect("an address")), None);
}

#[test]
fn every_wrong_line_of_a_property_file_is_named() {
    let text = "10.0.0.1=DC1:RAC1\nnonsense\nnode7=DC1:RAC1\n10.0.0.2=DC1\n10.0.0.3=:r\n10.0.0.1=DC2:r\ndefault=a:b\ndefault=a:c";
    let errors = PropertyFile::parse(text).expect_err("six lines are wrong");
    assert_eq!(
        lines(&errors),
        [
            (2, "`nonsense` is not of the form key=value"),
            (3, "`node7` is neither an IP address nor `default`"),
            (4, "`DC1` is not datacenter:rack"),
            (5, "the datacenter has no name"),
            (6, "`10.0.0.1` has a line already"),
            (8, "`default` has a line already"),
        ]
    );
}

#[test]
fn a_file_of_the_nodes_own_needs_both_lines_and_no_other() {
    assert_eq!(gossiping::parse("# mine\ndc=DC1\nrack = RAC2\n"), Ok(at("DC1", "RAC2")));
    let errors = gossiping::parse("dc=DC1\nprefer_local=true\ndc=DC2").expect_err("wrong lines");
    assert_eq!(
        lines(&errors),
        [
            (2, "there is no `prefer_local` here; there are `dc` and `rack`"),
            (3, "`dc` has a line already"),
            (0, "there is no line `rack=…`"),
        ]
    );
}

#[test]
fn an_availability_zone_is_named_in_two_ways() {
    let of = |zone: &str| {
        (
            ec2::locality(zone, Naming::Standard).expect("a zone"),
            ec2::locality(zone, Naming::Legacy).expect("a zone"),
        )
    };
    assert_eq!(of("us-east-1d"), (at("us-east-1", "us-east-1d"), at("us-east", "1d")));
    assert_eq!(of("us-west-2a\n"), (at("us-west-2", "us-west-2a"), at("us-west-2", "2a")));
    for wrong in ["", "us", "us-east-1", "us-east-a", "-1a", "us-east-1aa", "<html>-1a", "us east-1a"] {
        assert!(ec2::locality(wrong, Naming::Standard).is_err(), "{wrong}");
    }
}

/// Three replicas, and a dynamic snitch that heard `latencies` of them in milliseconds, 50 of each.
struct Replicas {
    snitch: DynamicSnitch,
    random: Xoshiro256PlusPlus,
    start: Instant,
}

fn host(number: u128) -> HostId {
    HostId(Uuid::from_u128(number))
}

fn near_first() -> Vec<HostId> {
    [1, 2, 3].map(host).to_vec()
}

impl Replicas {
    fn new(badness_threshold: f64) -> Self {
        let start = Instant::now();
        let settings = dynamic::Settings { badness_threshold, ..dynamic::Settings::default() };
        let random = Xoshiro256PlusPlus::seed_from_u64(1);
        Self { snitch: DynamicSnitch::new(settings, start), random, start }
    }

    fn hear(&mut self, at_seconds: f64, latencies: [u64; 3]) {
        let now = self.start + Duration::from_secs_f64(at_seconds);
        for (number, millis) in (1..).zip(latencies) {
            for _ in 0..50 {
                self.snitch.record(host(number), Duration::from_millis(millis), now, &mut self.random);
            }
        }
    }

    fn order(&mut self, at_seconds: f64) -> Vec<u128> {
        let now = self.start + Duration::from_secs_f64(at_seconds);
        self.snitch.order(near_first(), now).iter().map(|host| host.0.as_u128()).collect()
    }
}

#[test]
fn the_nearest_stays_first_until_it_is_worse_than_the_threshold() {
    let mut replicas = Replicas::new(1.0);
    assert_eq!(replicas.order(0.0), [1, 2, 3], "nothing is known");
    replicas.hear(1.0, [19, 10, 12]);
    assert_eq!(replicas.order(1.0), [1, 2, 3], "less than twice as slow");
    replicas.hear(60.0, [21, 10, 12]);
    replicas.hear(60.0, [21, 10, 12]);
    assert_eq!(replicas.order(60.0), [2, 3, 1], "more than twice as slow");
}

#[test]
fn whoever_was_late_comes_last_for_a_second_or_until_it_answers() {
    let mut replicas = Replicas::new(1.0);
    replicas.hear(0.0, [1, 1, 1]);
    let (now, late) = (replicas.start, Duration::from_millis(1));
    let [first, second, third] = [1, 2, 3].map(host);
    replicas.snitch.late(first, late, now, &mut replicas.random);
    assert_eq!(replicas.snitch.order(near_first(), now), [second, third, first]);
    replicas.snitch.answered(first, late, now, &mut replicas.random);
    assert_eq!(replicas.snitch.order(near_first(), now), near_first());

    for host in near_first() {
        replicas.snitch.late(host, late, now, &mut replicas.random);
    }
    assert_eq!(replicas.snitch.order(near_first(), now), near_first(), "all were late");
    replicas.snitch.record(second, late, now, &mut replicas.random);
    replicas.snitch.answered(third, late, now, &mut replicas.random);
    assert_eq!(
        replicas.snitch.order(near_first(), now),
        [third, first, second],
        "it was given up, not heard"
    );
    assert_eq!(replicas.snitch.order(near_first(), now + Duration::from_secs(1)), near_first());
}

#[test]
fn without_a_threshold_the_scores_always_decide() {
    let mut replicas = Replicas::new(0.0);
    replicas.hear(1.0, [12, 11, 10]);
    assert_eq!(replicas.order(1.0), [3, 2, 1]);
}

#[test]
fn differences_below_a_millisecond_are_no_news() {
    let mut replicas = Replicas::new(1.0);
    let now = replicas.start;
    for (number, micros) in [(1, 30), (2, 10), (3, 10)] {
        replicas.snitch.record(host(number), Duration::from_micros(micros), now, &mut replicas.random);
    }
    assert_eq!(replicas.order(0.0), [1, 2, 3]);
}

#[test]
fn recent_latencies_push_out_old_ones() {
    let mut replicas = Replicas::new(1.0);
    replicas.hear(0.0, [500, 10, 10]);
    replicas.hear(0.0, [500, 10, 10]);
    assert_eq!(replicas.order(0.0), [2, 3, 1]);
    replicas.hear(10.0, [10, 10, 10]);
    replicas.hear(10.0, [10, 10, 10]);
    assert_eq!(replicas.order(10.0), [1, 2, 3], "of 200 samples the 100 that are left are new");
}

#[test]
fn scores_are_computed_once_per_interval_and_forgotten_at_the_reset() {
    let mut replicas = Replicas::new(1.0);
    replicas.hear(0.0, [10, 10, 10]);
    assert_eq!(replicas.order(0.0), [1, 2, 3]);
    for _ in 0..4 {
        replicas.hear(0.05, [900, 10, 10]);
    }
    assert_eq!(replicas.order(0.05), [1, 2, 3], "too soon");
    assert_eq!(replicas.order(0.11), [2, 3, 1]);
    assert_eq!(replicas.order(600.0), [1, 2, 3], "everyone gets another chance");
}
