//! Promise: a node finds out that its clock is wrong as long as most of its live peers' are right, and is not alarmed
//! by slow answers.

mod setting;

use helenus_cluster::{
    membership::{
        ClockWatch,
        clock_watch::{median_with_own, offset_between},
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
    assert_eq!(watch.offset(), 0);
    watch.note(host(2), 3600);
    watch.note(host(3), 3600);
    assert_eq!(watch.offset(), 3600);

    watch.note(host(3), 1);
    assert_eq!(watch.offset(), 1);
    watch.note(host(3), 3600);
    watch.forget(host(2));
    assert_eq!(watch.offset(), 0, "of two nobody can tell who is wrong");
}
