//! Promise: stamps of a node only rise, whatever its wall clock does and whatever other nodes claim.

use std::{sync::Arc, thread, time::Duration};

use helenus_cluster::{
    hybrid_clock::{HybridClock, Observed},
    time::Timestamp,
};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_stamp_is_the_wall_time_or_the_last_stamp_and_one() {
    let clock = HybridClock::starting_at(Timestamp(0));
    let stamps = [100, 100, 100, 250, 90, 251, 252].map(|wall| clock.stamp(Timestamp(wall)).0);
    assert_eq!(stamps, [100, 101, 102, 250, 251, 252, 253]);
}

#[test]
fn a_restarted_clock_goes_on_where_it_was() {
    let clock = HybridClock::starting_at(Timestamp(500));
    assert_eq!(clock.stamp(Timestamp(100)), Timestamp(501));
    assert_eq!(clock.latest(), Timestamp(501));
}

#[test]
fn a_remote_stamp_is_overtaken() {
    let clock = HybridClock::starting_at(Timestamp(0));
    assert_eq!(clock.observe(Timestamp(1_000), Timestamp(900), MINUTE), Observed::Followed);
    assert_eq!(clock.stamp(Timestamp(900)), Timestamp(1_001));
}

#[test]
fn an_old_remote_stamp_changes_nothing() {
    let clock = HybridClock::starting_at(Timestamp(1_000));
    assert_eq!(clock.observe(Timestamp(10), Timestamp(900), MINUTE), Observed::Followed);
    assert_eq!(clock.latest(), Timestamp(1_000));
}

#[test]
fn a_remote_is_followed_up_to_the_allowed_drift_and_no_further() {
    let clock = HybridClock::starting_at(Timestamp(0));
    let now = Timestamp(1_000_000);
    assert_eq!(clock.observe(Timestamp(61_000_001), now, MINUTE), Observed::TooFarAhead);
    assert_eq!(clock.latest(), Timestamp(0));
    assert_eq!(clock.observe(Timestamp(61_000_000), now, MINUTE), Observed::Followed);
    assert_eq!(clock.latest(), Timestamp(61_000_000));
    assert_eq!(clock.observe(Timestamp(u64::MAX), now, MINUTE), Observed::TooFarAhead);
}

#[test]
fn a_clock_at_the_end_of_time_stands_still_instead_of_wrapping() {
    let clock = HybridClock::starting_at(Timestamp(u64::MAX - 1));
    assert_eq!(clock.stamp(Timestamp(5)), Timestamp(u64::MAX));
    assert_eq!(clock.stamp(Timestamp(5)), Timestamp(u64::MAX));
}

#[test]
fn stamps_of_many_threads_are_all_different() {
    let clock = Arc::new(HybridClock::starting_at(Timestamp(0)));
    let stamping = |_| {
        let clock = Arc::clone(&clock);
        thread::spawn(move || (0..2_000).map(|wall| clock.stamp(Timestamp(wall / 7))).collect::<Vec<_>>())
    };
    let threads: Vec<_> = (0..4).map(stamping).collect();
    let mut stamps: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), 8_000);
}
