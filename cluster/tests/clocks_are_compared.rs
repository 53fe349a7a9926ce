//! Promise: a node finds out that its clock is wrong as long as most of its live peers' are right, and is not alarmed
//! by slow answers.

mod setting;

use helenus_cluster::{
    membership::{
        ClockWatch,
        clock_watch::{ClocksOff, Measured, median_with_own, offset_between},
        digest::Delta,
    },
    time::Timestamp,
};
use setting::host;

#[test]
fn the_median_counts_the_node_itself_and_ties_go_to_the_nearer() {
    for (peers, expected) in [
        (&[][..], 0),
        (&[3600], 0),
        (&[-3600], 0),
        (&[3600, 3600], 3600),
        (&[-3600, -3600], -3600),
        (&[-3600, 5], 0),
        (&[3600, 5], 5),
        (&[7, 3600, 3600], 7),
        (&[-7, -3600, -3600], -7),
        (&[-1, 1, 3600], 0),
        (&[3600, 3600, 3600, 1], 3600),
        (&[i64::MIN, i64::MAX], 0),
        (&[i64::MIN, i64::MIN], i64::MIN),
    ] {
        assert_eq!(median_with_own(peers.iter().copied()), expected, "{peers:?}");
        let reversed = peers.iter().rev().copied();
        assert_eq!(median_with_own(reversed), expected, "the order does not matter: {peers:?}");
    }
}

#[test]
fn only_what_the_round_trip_cannot_explain_is_an_offset() {
    for (theirs, sent, received, expected) in [
        (100, 100, 100, 0),
        (130, 100, 150, 0),
        (100, 100, 150, 0),
        (150, 100, 150, 0),
        (151, 100, 150, 1),
        (99, 100, 150, -1),
        (3_750, 100, 150, 3_600),
        // The node's clock was set back between sending and receiving.
        (120, 150, 100, 0),
        (90, 150, 100, -10),
        (u64::MAX, 0, 0, i64::MAX),
        (0, u64::MAX, u64::MAX, i64::MIN),
    ] {
        let offset = offset_between(Timestamp(theirs), Timestamp(sent), Timestamp(received));
        assert_eq!(offset, expected, "{theirs} between {sent} and {received}");
    }
}

#[test]
fn the_last_word_of_each_live_peer_counts() {
    let mut watch = ClockWatch::default();
    assert_eq!(watch.hybrid_offset(60), 0);
    watch.note(host(2), 3600);
    assert_eq!(watch.hybrid_offset(60), 0, "of two nobody can tell who is wrong");
    watch.note(host(3), 3600);
    assert_eq!(watch.hybrid_offset(60), 3600);
    watch.note(host(3), 1);
    assert_eq!(watch.hybrid_offset(60), 1);
}

#[test]
fn the_dead_are_asked_where_no_majority_of_the_living_agrees() {
    let mut watch = ClockWatch::default();
    watch.note(host(2), 3600);
    watch.note(host(3), 3601);
    watch.forget(host(2));
    assert_eq!(
        watch.hybrid_offset(60),
        3600,
        "it was told, and whoever told it is not refuted by being down"
    );
    watch.note(host(3), 59);
    assert_eq!(watch.hybrid_offset(60), 0, "its clock was set right: all the living agree");
    watch.note(host(3), 3601);
    watch.note(host(2), 0);
    assert_eq!(
        watch.hybrid_offset(60),
        0,
        "what is heard of a living one takes the place of what it said last"
    );
}

#[test]
fn wall_clocks_are_told_apart_from_hybrid_clocks_once_they_are_measured() {
    let measured = |offset_us| Measured { offset_us, round_trip_us: 10 };
    let mut watch = ClockWatch::default();
    watch.note(host(2), 61);
    watch.note(host(3), 61);
    assert_eq!((watch.hybrid_offset(60), watch.wall_offset(60)), (61, 61), "nothing better is known");
    watch.measure(host(2), measured(7));
    watch.measure(host(3), measured(-8));
    assert_eq!((watch.hybrid_offset(60), watch.wall_offset(60)), (61, 0), "nobody's wall clock is off");

    // The last living peer is wrong, so what is known of the dead one decides: its wall clock was right.
    watch.forget(host(2));
    watch.note(host(3), 3600);
    watch.measure(host(3), measured(3600));
    assert_eq!((watch.hybrid_offset(60), watch.wall_offset(60)), (61, 2));
}

#[test]
fn a_measurement_during_which_a_clock_was_set_is_not_certain_of_it() {
    for (name, at) in [
        ("the own one back", [5000, 5001, 5002, 1403]),
        ("the own one ahead", [1400, 1401, 1402, 5003]),
        ("the peer's back", [5000, 5001, 1402, 5003]),
        ("the peer's ahead", [1400, 1401, 5002, 1403]),
    ] {
        let [sent, came, answered, returned] = at.map(|second| Timestamp(second * 1_000_000));
        let certain = Measured::of(sent, came, answered, returned).certain();
        assert!(certain.abs() <= 1_000_000, "{name}: {certain} us, no more than the way took");
    }
}

const SECOND: i64 = 1_000_000;
const ALLOWED_US: u64 = 60_000_000;

/// What a node says that has measured these offsets, in seconds, of hosts 1, 2, …
fn named(offsets: &[i64]) -> Vec<(u128, i32)> {
    let mut watch = ClockWatch::default();
    for (number, offset) in (1..).zip(offsets) {
        watch.measure(host(number), Measured { offset_us: offset * SECOND, round_trip_us: 1000 });
    }
    let ClocksOff(named) = watch.off(ALLOWED_US);
    named.into_iter().map(|(host_id, seconds)| (host_id.0.as_u128(), seconds)).collect()
}

#[test]
fn clocks_that_are_far_off_are_named_while_they_are_a_minority() {
    assert_eq!(named(&[]), []);
    assert_eq!(named(&[0, 59, -60]), []);
    assert_eq!(named(&[3600, 0]), [(1, 3600)]);
    assert_eq!(named(&[0, -3600, 3, 3600]), [(2, -3600), (4, 3600)]);
    assert_eq!(named(&[3600]), [], "of two clocks nobody knows which is wrong");
    assert_eq!(named(&[3600, 3600]), [], "it is this node's that is wrong");
    assert_eq!(named(&[3600, 3600, 0]), [], "nobody knows");
    assert_eq!(named(&[i64::MAX / SECOND, 0]), [(1, i32::MAX)]);

    let mut watch = ClockWatch::default();
    watch.measure(host(2), Measured { offset_us: 0, round_trip_us: 1000 });
    for offset_us in [3_599_999_000, 3_600_001_000, -3_599_999_000, -3_600_001_000] {
        watch.measure(host(1), Measured { offset_us, round_trip_us: 1000 });
        let seconds = if offset_us < 0 { -3600 } else { 3600 };
        assert_eq!(watch.off(ALLOWED_US), ClocksOff([(host(1), seconds)].into()), "{offset_us}");
    }
}

#[test]
fn what_the_way_there_and_back_may_explain_is_not_off() {
    let measured = |offset_us, round_trip_us| Measured { offset_us, round_trip_us };
    assert_eq!(measured(-70, 40).certain_us(), 50);
    assert_eq!(measured(70, 140).certain_us(), 0);
    assert_eq!(measured(i64::MIN, u64::MAX).certain_us(), 1);
}

#[test]
fn the_named_clocks_are_a_fact_that_always_fits_and_damage_is_none() {
    let off = ClocksOff((1..=3).map(|number| (host(number), -3600)).collect());
    let bytes = off.encode();
    assert_eq!(ClocksOff::decode(&bytes), Some(off));
    assert_eq!(ClocksOff::decode(&[]), Some(ClocksOff::default()));
    for length in (1..bytes.len()).filter(|length| length % 20 != 0) {
        assert_eq!(ClocksOff::decode(&bytes[..length]), None, "{length}");
    }
    let many = ClocksOff((1..=1000).map(|number| (host(number), 1)).collect());
    assert!(many.encode().len() <= Delta::MAX_FACT_BYTES);
    assert_eq!(ClocksOff::decode(&many.encode()).map(|ClocksOff(off)| off.len()), Some(51));
}

#[test]
fn of_the_last_measurements_that_of_the_shortest_round_trip_counts() {
    let measured = |offset_us, round_trip_us| Measured { offset_us, round_trip_us };
    let mut watch = ClockWatch::default();
    watch.measure(host(1), measured(-400_000, 800_000));
    watch.measure(host(1), measured(20, 1000));
    for _ in 0..7 {
        watch.measure(host(1), measured(400_000, 800_000));
        assert_eq!(watch.measured(host(1)), Some(measured(20, 1000)), "the others say nothing else");
    }
    watch.measure(host(1), measured(300_000, 700_000));
    assert_eq!(watch.measured(host(1)), Some(measured(300_000, 700_000)), "it is too old by now");

    // A clock that was set is believed at once, however long the way to it is now.
    watch.measure(host(1), measured(20, 1000));
    watch.measure(host(1), measured(-61 * SECOND, 800_000));
    assert_eq!(watch.measured(host(1)), Some(measured(-61 * SECOND, 800_000)));
    watch.forget(host(1));
    assert_eq!(watch.measured(host(1)), None);
}
