//! Promise: reads ask another replica only when answers are later than usual, and only for one read in ten.

use std::time::{Duration, Instant};

use helenus_cluster::quorum::speculation::{Budget, RecentLatencies};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn extra_requests_are_a_tenth_of_all_and_what_was_saved_before() {
    for reads in [0, 9, 10, 1000, 12_345] {
        let mut budget = Budget::default();
        let mut extra = 0;
        for _ in 0..reads {
            budget.deposit();
            extra += u32::from(budget.withdraw());
        }
        while budget.withdraw() {
            extra += 1;
        }
        assert!((reads / 10..=100 + reads / 10).contains(&extra), "{extra} for {reads} reads");
        if reads <= 10 {
            assert_eq!(extra, 100, "a full bucket holds no more");
        }
    }
}

#[test]
fn a_percentile_is_what_so_many_reads_did_not_exceed() {
    let now = Instant::now();
    let mut recent = RecentLatencies::new(now);
    for latency in 1..=1000 {
        recent.record(millis(latency), now);
    }
    for (permille, expected) in [(1, 1), (500, 500), (990, 990), (999, 999)] {
        let said = recent.percentile(permille, now).expect("there were a thousand");
        let (least, most) = (millis(expected), millis(expected).mul_f64(1.13) + millis(1));
        assert!((least..=most).contains(&said), "p{permille}: {said:?} for {expected} ms");
    }
}

#[test]
fn a_few_reads_say_nothing_and_old_ones_fade_but_for_the_last() {
    let now = Instant::now();
    let mut recent = RecentLatencies::new(now);
    for _ in 0..49 {
        recent.record(millis(1), now);
    }
    assert_eq!(recent.percentile(990, now), None);
    for _ in 0..1000 {
        recent.record(millis(1), now);
    }
    assert!(recent.percentile(990, now).is_some_and(|p99| p99 < millis(2)));

    let later = now + Duration::from_secs(30);
    for _ in 0..100 {
        recent.record(millis(80), later);
    }
    assert!(
        recent.percentile(500, later).is_some_and(|median| median >= millis(80)),
        "65 of the old ones count"
    );
    let p99 = recent.percentile(990, later + Duration::from_secs(3_600));
    assert!(p99.is_some_and(|p99| p99 >= millis(80)), "{p99:?}, though nobody reads any more");
}

#[test]
fn no_latency_is_too_short_or_too_long_to_be_recorded() {
    let now = Instant::now();
    let mut recent = RecentLatencies::new(now);
    for _ in 0..100 {
        recent.record(Duration::ZERO, now);
    }
    assert!(recent.percentile(999, now).is_some_and(|p99| p99 <= millis(1)));
    for _ in 0..10_000 {
        recent.record(Duration::MAX, now);
    }
    assert!(recent.percentile(999, now).is_some_and(|p99| p99 > Duration::from_secs(3600)));
}
