use super::*;

const TRANSITION: Duration = Duration::from_secs(2);

/// 200 quorum writes through a node, one each 10 ms from `start_ms` on, all failing.
fn failing(faults: &[(u64, u64, Fault)], node: u32, start_ms: u64) -> (u64, usize) {
    let mut story = Story::new();
    for &(from, until, fault) in faults {
        story.fault(from, until, fault);
    }
    for index in 0..200 {
        let from = start_ms + index * 10;
        story.write(from, from + 5, index).failed().through(node);
    }
    let accounting = checkers::availability::account(&story.history(), TRANSITION);
    (accounting.judged, accounting.failed.len())
}

#[test]
fn nothing_is_judged_while_too_many_replicas_or_the_coordinator_are_sick() {
    let kill = |node| Fault::Kill { node };
    assert_eq!(failing(&[(0, 10_000, kill(2)), (0, 10_000, kill(3))], 1, 1_000), (0, 0));
    assert_eq!(failing(&[(0, 10_000, kill(1))], 1, 1_000), (0, 0));
    assert_eq!(failing(&[(0, 10_000, Fault::KillAll)], 1, 1_000), (0, 0));
    let cut = |a, b, silence| Fault::Cut { a, b, silence };
    let cuts = [(0, 10_000, cut(1, 2, Silence::Held)), (0, 10_000, cut(3, 1, Silence::Broken))];
    assert_eq!(failing(&cuts, 1, 1_000), (0, 0));
    let one_way = [(0, 10_000, Fault::CutOneWay { from: 2, to: 1 }), (0, 10_000, kill(3))];
    assert_eq!(failing(&one_way, 1, 1_000), (0, 0));
}

#[test]
fn one_sick_replica_of_three_excuses_nothing() {
    assert_eq!(failing(&[(0, 10_000, Fault::Kill { node: 3 })], 1, 1_000), (200, 200));
    let cut = Fault::Cut { a: 2, b: 3, silence: Silence::Held };
    assert_eq!(failing(&[(0, 10_000, cut)], 1, 1_000), (200, 200), "the coordinator is not concerned");
    let slow = Fault::Slow { a: 1, b: 2, delay_ms: 20 };
    assert_eq!(failing(&[(0, 10_000, slow), (0, 9_000, Fault::Pause { node: 3 })], 1, 1_000), (200, 200));
}

#[test]
fn a_transition_after_the_end_is_excused_and_no_more() {
    let two = [(0, 1_000, Fault::Kill { node: 2 }), (0, 1_000, Fault::Kill { node: 3 })];
    assert_eq!(failing(&two, 1, 2_100), (109, 109));
    assert_eq!(failing(&two, 1, 3_001), (200, 200));
    // A fault that begins during an operation excuses it.
    assert_eq!(failing(&[(1_003, 9_000, Fault::KillAll)], 1, 900), (10, 10));
}

#[test]
fn less_than_one_percent_may_fail() {
    let with_failures = |failures: u64| {
        let mut story = Story::new();
        for index in 0..1_000 {
            let write = story.write(index * 10, index * 10 + 5, index);
            if index < failures {
                write.unknown()
            } else {
                write.ok(index + 1)
            };
        }
        checkers::availability::check(&story.history(), TRANSITION).len()
    };
    assert_eq!(with_failures(9), 0);
    assert_eq!(with_failures(10), 1);
}
