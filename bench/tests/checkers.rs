//! Promise: each checker finds what contradicts its promise, and nothing in a history that does not.

mod support;

use std::{collections::BTreeMap, time::Duration};

use helenus_bench::{
    checkers::{self, Checker, Checks, Violation},
    history::{Fault, History, Level, MemberView, Moment, Phase, Seen, Silence, Timestamp, View},
};
use support::{Story, Told};

/// The checkers that object, and the operations they name.
fn objections(history: &History) -> Vec<(Checker, Vec<u64>)> {
    let checks = Checks::default();
    checkers::check(history, &checks).into_iter().map(|found| (found.checker, found.operations)).collect()
}

fn no_objection(story: Story) {
    let history = story.history();
    let found: Vec<Violation> = checkers::check(&history, &Checks::default());
    assert_eq!(found, []);
}

#[track_caller]
fn objection(story: Story, checker: Checker, operations: &[u64]) {
    assert_eq!(objections(&story.history()), [(checker, operations.to_vec())]);
}

mod no_acknowledged_write_is_lost {
    use super::*;

    #[test]
    fn a_read_of_the_acknowledged_or_a_newer_version_is_right() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).sees(1, 100);
        story.write(31, 40, 2).ok(200);
        story.read(41, 50).sees(2, 200);
        no_objection(story);
    }

    #[test]
    fn an_older_version_after_the_acknowledgement_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 30, 2).ok(200);
        story.read(31, 40).sees(1, 100);
        objection(story, Checker::LostWrite, &[1, 2]);
    }

    #[test]
    fn nothing_at_all_after_the_acknowledgement_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).sees_nothing();
        objection(story, Checker::LostWrite, &[0, 1]);
    }

    #[test]
    fn a_read_that_began_before_the_acknowledgement_may_miss_it() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 40, 2).ok(200);
        story.read(30, 50).sees(1, 100);
        story.read(40, 60).sees(1, 100);
        no_objection(story);
    }

    #[test]
    fn levels_that_do_not_overlap_promise_nothing() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).level(Level::One);
        story.read(20, 30).sees_nothing();
        story.write(40, 50, 2).ok(200);
        story.read(60, 70).sees(1, 100).level(Level::One);
        no_objection(story);
    }

    #[test]
    fn one_and_all_overlap() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).level(Level::One);
        story.read(20, 30).sees_nothing().level(Level::All);
        objection(story, Checker::LostWrite, &[0, 1]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).level(Level::All);
        story.read(20, 30).sees_nothing().level(Level::One);
        objection(story, Checker::LostWrite, &[0, 1]);
    }

    #[test]
    fn an_older_quorum_write_counts_where_a_newer_one_at_one_does_not() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 30, 2).ok(200).level(Level::One);
        story.read(40, 50).sees_nothing();
        objection(story, Checker::LostWrite, &[0, 2]);
    }

    #[test]
    fn an_unknown_write_may_appear_late_and_vanish_again() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 30, 2).unknown();
        story.read(31, 40).sees(1, 100);
        story.read(500, 510).sees(2, 200);
        story.read(520, 530).sees(1, 100);
        no_objection(story);
    }

    #[test]
    fn clocks_do_not_matter_only_versions_do() {
        // The second write's client has chosen an earlier timestamp: its version loses for good, and that is right.
        let mut story = Story::new();
        story.write(0, 10, 1).ok(5_000);
        story.write_stamped(20, 30, 2, Some(3_000)).ok(3_000);
        story.read(40, 50).sees(1, 5_000);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(5_000);
        story.write_stamped(20, 30, 2, Some(3_000)).ok(3_000);
        story.read(40, 50).sees(2, 3_000);
        objection(story, Checker::LostWrite, &[0, 2]);
    }

    #[test]
    fn equal_timestamps_are_decided_by_the_store_order() {
        let mut story = Story::new();
        story.write_stamped(0, 10, 1, Some(100)).ok(100);
        story.write_stamped(0, 10, 2, Some(100)).ok(100);
        story.read(20, 30).sees(2, 100);
        no_objection(story);
        let mut story = Story::new();
        story.write_stamped(0, 10, 1, Some(100)).ok(100);
        story.write_stamped(0, 10, 2, Some(100)).ok(100);
        story.read(20, 30).sees(1, 100);
        objection(story, Checker::LostWrite, &[1, 2]);
    }

    #[test]
    fn a_delete_wins_its_tie_and_its_tombstone_must_be_seen() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.delete(20, 30).ok(100);
        story.read(40, 50).sees_tombstone(100);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.delete(20, 30).ok(100);
        story.read(40, 50).sees(1, 100);
        objection(story, Checker::LostWrite, &[1, 2]);
    }

    #[test]
    fn a_deleted_value_that_returns_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.delete(20, 30).ok(200);
        story.read(40, 50).sees_tombstone(200);
        story.read(60, 70).sees(1, 100);
        objection(story, Checker::LostWrite, &[1, 3]);
    }

    #[test]
    fn a_tombstone_may_be_forgotten_after_its_grace_and_not_before() {
        let told = |read_at: u64| {
            let mut story = Story::new();
            story.history_mut().header.tombstone_grace_us = 1_000_000;
            story.write(0, 10, 1).ok(100);
            story.delete(20, 30).ok(200);
            story.read(read_at, read_at + 5).sees_nothing();
            story
        };
        no_objection(told(1_100));
        objection(told(500), Checker::LostWrite, &[1, 2]);
    }

    #[test]
    fn many_reads_that_miss_one_write_are_one_violation() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).sees_nothing();
        story.read(40, 50).sees_nothing();
        let history = story.history();
        let found = checkers::lost_write::check(&history);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("2 reads"), "{}", found[0]);
    }
}

mod later_writes_are_newer {
    use super::*;

    #[test]
    fn a_write_that_begins_after_an_acknowledgement_and_is_older_is_caught() {
        let mut story = Story::new();
        story.write_stamped(0, 10, 1, Some(5_000)).ok(5_000);
        story.write(20, 30, 2).ok(3_000);
        story.delete(40, 50).ok(4_999);
        story.write(60, 70, 3).ok(5_001);
        assert_eq!(
            objections(&story.history()),
            [(Checker::Succession, vec![0, 1]), (Checker::Succession, vec![0, 2])]
        );
    }

    #[test]
    fn of_equal_timestamps_the_order_of_the_store_decides() {
        let mut story = Story::new();
        story.delete(0, 10).ok(5_000);
        story.write(20, 30, 2).ok(5_000);
        objection(story, Checker::Succession, &[0, 1]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(5_000);
        story.delete(20, 30).ok(5_000);
        no_objection(story);
    }

    #[test]
    fn concurrent_writes_and_those_of_too_few_replicas_may_be_in_any_order() {
        let mut story = Story::new();
        story.write(0, 20, 1).ok(5_000);
        story.write(10, 30, 2).ok(3_000);
        no_objection(story);
        for (first, second) in [(Level::One, Level::Quorum), (Level::Quorum, Level::One)] {
            let mut story = Story::new();
            story.write(0, 10, 1).ok(5_000).level(first);
            story.write(20, 30, 2).ok(3_000).level(second);
            no_objection(story);
        }
    }

    #[test]
    fn what_the_same_batch_overwrites_may_be_older() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(5_000);
        story.write(20, 30, 2).ok(3_000).client(7);
        story.write(20, 30, 3).ok(6_000).client(7);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(5_000);
        story.write(20, 30, 2).ok(6_000).client(7);
        story.write(20, 30, 3).ok(3_000).client(7);
        objection(story, Checker::Succession, &[0, 2]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(5_000);
        story.write(20, 30, 2).ok(3_000).client(7);
        story.write_stamped(20, 30, 3, Some(4_000)).ok(4_000).client(7);
        objection(story, Checker::Succession, &[0, 1]);
    }
}

mod nothing_is_invented {
    use super::*;

    #[test]
    fn a_value_that_was_never_written_is_caught() {
        let mut story = Story::new();
        story.read(0, 10).sees(9, 100);
        objection(story, Checker::Invention, &[0]);
    }

    #[test]
    fn a_value_of_a_write_answered_with_503_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).failed();
        story.read(20, 30).sees(1, 100).level(Level::One);
        objection(story, Checker::Invention, &[0, 1]);
    }

    #[test]
    fn a_value_of_another_key_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).key("other");
        story.read(20, 30).sees(1, 100);
        objection(story, Checker::Invention, &[0, 1]);
    }

    #[test]
    fn a_value_read_before_it_was_written_is_caught_and_one_read_during_the_write_is_not() {
        let mut story = Story::new();
        story.read(0, 10).sees(1, 100);
        story.write(20, 30, 1).ok(100);
        objection(story, Checker::Invention, &[1, 0]);
        let mut story = Story::new();
        story.write(0, 30, 1).ok(100);
        story.read(5, 10).sees(1, 100);
        no_objection(story);
    }

    #[test]
    fn a_write_may_be_stamped_anew_once_for_another_one_unless_its_client_has_chosen_its_timestamp() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(0, 5, 2).unknown();
        story.read(5, 8).sees(1, 90).level(Level::One);
        story.read(20, 30).sees(1, 100);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(15, 18, 2).unknown();
        story.read(5, 8).sees(1, 90).level(Level::One);
        objection(story, Checker::Invention, &[0, 2]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).sees(1, 150);
        objection(story, Checker::Invention, &[0, 1]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(0, 5, 2).unknown();
        story.read(5, 6).sees(1, 90).level(Level::One);
        story.read(5, 8).sees(1, 80).level(Level::One);
        objection(story, Checker::Invention, &[0, 2, 3]);
        let mut story = Story::new();
        story.write(0, 10, 1).unknown();
        story.read(20, 30).sees(1, 150);
        story.read(40, 50).sees(1, 160);
        objection(story, Checker::Invention, &[0, 1, 2]);
        let mut story = Story::new();
        story.write(0, 10, 1).unknown();
        story.write(0, 5, 2).unknown();
        story.read(20, 30).sees(1, 150);
        story.read(40, 50).sees(1, 160);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).unknown();
        story.read(20, 30).sees(1, 150);
        story.read(40, 50).sees(1, 160);
        story.write(0, 5, 2).unknown();
        story.read(60, 70).sees(1, 170);
        objection(story, Checker::Invention, &[0, 1, 4]);
        let mut story = Story::new();
        story.write_stamped(0, 10, 1, Some(90)).unknown();
        story.read(20, 30).sees(1, 80);
        objection(story, Checker::Invention, &[0, 1]);
    }

    #[test]
    fn a_tombstone_comes_from_a_delete_an_expiry_or_an_unknown_one_of_them() {
        let mut story = Story::new();
        story.delete(0, 10).ok(100);
        story.read(20, 30).sees_tombstone(100);
        no_objection(story);
        let mut story = Story::new();
        story.delete(0, 10).unknown();
        story.read(20, 30).sees_tombstone(123);
        no_objection(story);
        let mut story = Story::new();
        story.delete(0, 10).failed();
        story.write(0, 10, 1).ok(50);
        story.read(20, 30).sees_tombstone(123);
        objection(story, Checker::Invention, &[2]);
        let mut story = Story::new();
        story.read(0, 10).sees_tombstone(123);
        story.delete(20, 30).unknown();
        objection(story, Checker::Invention, &[0]);
        let mut story = Story::new();
        story.delete(0, 10).ok(100);
        story.read(5, 8).sees_tombstone(90).level(Level::One);
        no_objection(story);
        let mut story = Story::new();
        story.delete(0, 10).ok(100);
        story.read(5, 6).sees_tombstone(90).level(Level::One);
        story.read(5, 8).sees_tombstone(80).level(Level::One);
        objection(story, Checker::Invention, &[2]);
    }

    #[test]
    fn garbage_and_lost_or_won_expiries_are_caught() {
        let mut story = Story::new();
        story.read(0, 10).saw(Seen::Garbage { timestamp: Timestamp(3), bytes: "??".to_owned() });
        objection(story, Checker::Invention, &[0]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).sees_expiring(1, 100, 5);
        objection(story, Checker::Invention, &[0, 1]);
    }

    #[test]
    fn a_history_that_writes_a_value_twice_is_itself_refused() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 30, 1).ok(200);
        objection(story, Checker::Invention, &[0, 1]);
    }
}

mod the_last_write_wins_in_the_end {
    use super::*;

    #[test]
    fn the_newest_acknowledged_or_a_newer_unknown_write_may_stand() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(0, 10, 2).unknown();
        story.read(20, 30).sees(1, 100).level(Level::All).phase(Phase::Final);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(0, 10, 2).unknown();
        story.read(20, 30).sees(2, 110).level(Level::All).phase(Phase::Final);
        no_objection(story);
    }

    #[test]
    fn an_older_end_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(0, 10, 2).unknown();
        story.read(20, 30).sees(2, 90).level(Level::All).phase(Phase::Final);
        let history = story.history();
        let found = checkers::last_write_wins::check(&history);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].operations, [0, 2]);
    }

    #[test]
    fn all_replicas_answer_alike_through_every_coordinator() {
        let mut story = Story::new();
        story.write(0, 10, 1).unknown();
        story.write(0, 10, 2).unknown();
        story.read(20, 30).sees(1, 100).level(Level::All).phase(Phase::Final).through(1);
        story.read(20, 30).sees(2, 110).level(Level::All).phase(Phase::Final).through(2);
        objection(story, Checker::LastWriteWins, &[2, 3]);
    }

    #[test]
    fn a_value_may_expire_between_two_final_reads() {
        let mut story = Story::new();
        story.write_for(0, 10, 1, 1).ok(100);
        story.read(900, 910).sees_expiring(1, 100, 0).level(Level::All).phase(Phase::Final);
        story.read(1100, 1110).sees_tombstone(100).level(Level::All).phase(Phase::Final);
        no_objection(story);
    }

    #[test]
    fn replicas_are_compared_one_by_one() {
        let equal = BTreeMap::from([("k".to_owned(), vec![("n1", Some(1)), ("n2", Some(1))])]);
        assert_eq!(checkers::replicas::check(&equal), []);
        for odd in [Some(2), None] {
            let keys =
                BTreeMap::from([("k".to_owned(), vec![("n1", Some(1)), ("n2", Some(1)), ("n3", odd)])]);
            assert_eq!(checkers::replicas::check(&keys).len(), 1, "{odd:?}");
        }
    }
}

mod inserts_are_there_in_the_end {
    use super::*;

    #[test]
    fn an_insert_that_a_final_read_sees_is_right_and_an_unknown_one_may_miss() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(0, 10, 2).unknown().key("u");
        story.read(20, 30).sees(1, 100).phase(Phase::Final);
        story.read(20, 30).sees_nothing().phase(Phase::Final).key("u");
        no_objection(story);
    }

    #[test]
    fn an_insert_that_is_missing_or_that_nobody_could_read_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).sees_nothing().phase(Phase::Final);
        let history = story.history();
        assert_eq!(checkers::inserts::check(&history)[0].operations, [0, 1]);

        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(20, 30).unknown().phase(Phase::Final);
        story.read(20, 30).sees(1, 100).phase(Phase::Final).level(Level::One);
        let history = story.history();
        assert_eq!(checkers::inserts::check(&history)[0].operations, [0]);
    }

    #[test]
    fn overwritten_and_deleted_keys_are_not_inserts() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.delete(20, 30).unknown();
        story.read(40, 50).sees_tombstone(150).phase(Phase::Final);
        no_objection(story);
    }
}

mod durability_survives_the_death_of_all_nodes {
    use super::*;

    #[test]
    fn what_was_acknowledged_before_is_read_after() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.fault(20, 2_000, Fault::KillAll);
        story.read(3_000, 3_010).sees(1, 100);
        no_objection(story);
    }

    #[test]
    fn what_is_missing_afterwards_or_was_never_looked_at_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(12, 15, 2).ok(200);
        story.fault(20, 2_000, Fault::KillAll);
        story.read(3_000, 3_010).sees(1, 100);
        let history = story.history();
        let found = checkers::durability::check(&history);
        assert_eq!(found.iter().map(|found| found.operations.clone()).collect::<Vec<_>>(), [vec![1, 2]]);

        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.read(12, 13).sees(1, 100);
        story.fault(20, 2_000, Fault::KillAll);
        story.read(3_000, 3_010).unknown();
        objection(story, Checker::Durability, &[0]);
    }

    #[test]
    fn what_was_not_acknowledged_when_all_died_may_be_gone() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(15, 25, 2).unknown();
        story.fault(20, 2_000, Fault::KillAll);
        story.read(3_000, 3_010).sees(1, 100);
        no_objection(story);
    }
}

mod after_the_heal_everything_works {
    use super::*;

    #[test]
    fn failing_and_slow_operations_are_caught_only_after_the_heal() {
        let mut story = Story::new();
        story.write(0, 10, 1).failed();
        story.write(100, 200, 2).ok(100).phase(Phase::Healed);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).failed().phase(Phase::Healed);
        objection(story, Checker::Liveness, &[0]);
        let mut story = Story::new();
        story.read(0, 2_500).sees_nothing().phase(Phase::Final);
        objection(story, Checker::Liveness, &[0]);
    }

    #[test]
    fn a_node_that_ended_by_itself_is_caught() {
        let mut story = Story::new();
        story.fault(0, 10, Fault::Crash { node: 2 });
        objection(story, Checker::Liveness, &[]);
    }

    #[test]
    fn all_nodes_see_all_nodes_up() {
        let member =
            |id: &str, up: bool| MemberView { host_id: id.to_owned(), state: "normal".to_owned(), up };
        let views = |last: Vec<MemberView>| {
            let mut story = Story::of(2, 2);
            let all = vec![member("a", true), member("b", true)];
            // Only the last view of a node counts.
            for (at, node, members) in [(1, 1, Vec::new()), (2, 1, all), (3, 2, last)] {
                story.history_mut().views.push(View { at: Moment(at), node, members });
            }
            checkers::membership::check(&story.history())
        };
        assert_eq!(views(vec![member("a", true), member("b", true)]), []);
        assert!(!views(vec![member("a", false), member("b", true)]).is_empty());
        assert!(!views(vec![member("a", true)]).is_empty());
        assert!(!views(vec![member("a", true), member("c", true)]).is_empty());
        assert!(!views(Vec::new()).is_empty());
    }
}

mod enough_healthy_replicas_mean_success {
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
}

mod values_expire_on_time {
    use super::*;

    #[test]
    fn a_value_within_its_time_and_a_tombstone_after_it_are_right() {
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).ok(100);
        story.read(4_000, 4_010).sees_expiring(1, 100, 1);
        story.read(5_500, 5_510).sees_expiring(1, 100, 0);
        story.read(8_000, 8_010).sees_tombstone(100);
        no_objection(story);
    }

    #[test]
    fn a_value_after_its_time_is_caught_unless_its_write_is_unknown() {
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).ok(100);
        story.read(7_000, 7_010).sees_expiring(1, 100, 0);
        objection(story, Checker::Expiry, &[0, 1]);
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).unknown();
        story.read(7_000, 7_010).sees_expiring(1, 100, 0);
        no_objection(story);
    }

    #[test]
    fn a_value_gone_too_early_is_caught_unless_it_was_deleted() {
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).ok(100);
        story.read(2_000, 2_010).sees_tombstone(100);
        objection(story, Checker::Expiry, &[0, 1]);
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).ok(100);
        story.delete(100, 110).ok(200);
        story.read(2_000, 2_010).sees_tombstone(200);
        no_objection(story);
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).ok(100);
        story.delete(100, 110).ok(100);
        story.read(2_000, 2_010).sees_tombstone(100);
        no_objection(story);
    }

    #[test]
    fn more_or_less_time_left_than_can_be_is_caught() {
        let told = |read_from: u64, left_s: u64| {
            let mut story = Story::new();
            story.write_for(1_000, 1_010, 1, 5).ok(100);
            story.read(read_from, 1_030).sees_expiring(1, 100, left_s);
            story
        };
        no_objection(told(1_020, 5));
        no_objection(told(1_020, 4));
        objection(told(1_020, 7), Checker::Expiry, &[0, 1]);
        objection(told(1_020, 3), Checker::Expiry, &[0, 1]);
    }

    #[test]
    fn a_read_that_began_before_the_write_counts_from_its_own_beginning() {
        let mut story = Story::new();
        story.write_for(2_000, 2_010, 1, 5).ok(100);
        story.read(200, 2_030).sees_expiring(1, 100, 7);
        no_objection(story);
    }

    #[test]
    fn a_read_that_begins_before_the_write_counts_the_time_in_between() {
        let mut story = Story::new();
        story.read(0, 3_000).sees_expiring(1, 100, 8);
        story.write_for(2_990, 2_995, 1, 5).ok(100);
        no_objection(story);
        let mut story = Story::new();
        story.read(0, 3_000).sees_expiring(1, 100, 10);
        story.write_for(2_990, 2_995, 1, 5).ok(100);
        objection(story, Checker::Expiry, &[1, 0]);
    }

    #[test]
    fn a_delete_of_unknown_outcome_may_have_the_timestamp_of_a_value_written_at_that_time() {
        let mut story = Story::new();
        story.write_for(3_000, 3_010, 1, 50).ok(100);
        story.delete(3_005, 3_100).unknown();
        story.read(4_000, 4_010).sees_tombstone(100);
        no_objection(story);
        let mut story = Story::new();
        story.write_for(3_000, 3_010, 1, 50).ok(100);
        story.delete(9_000, 9_100).unknown();
        story.read(9_500, 9_510).sees_tombstone(100);
        objection(story, Checker::Expiry, &[0, 2]);
    }
}

mod replies_keep_to_the_interface {
    use super::*;

    #[test]
    fn enough_acknowledgements_are_right() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).replicas(3, 2);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).replicas(0, 1).level(Level::Any);
        no_objection(story);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).replicas(0, 1).level(Level::One);
        objection(story, Checker::Replies, &[0]);
    }

    #[test]
    fn refusals_and_wrong_numbers_are_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).rejected();
        objection(story, Checker::Replies, &[0]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).replicas(1, 2);
        objection(story, Checker::Replies, &[0]);
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).replicas(1, 1);
        objection(story, Checker::Replies, &[0]);
        let mut story = Story::new();
        story.write_stamped(0, 10, 1, Some(99)).ok(100);
        objection(story, Checker::Replies, &[0]);
    }
}

mod monotonic_quorum_reads {
    use super::*;

    fn check(story: Story) -> Vec<Vec<u64>> {
        let history = story.history();
        assert_eq!(objections(&history), [], "off unless asked");
        let checks = Checks { monotonic: true, ..Checks::default() };
        checkers::check(&history, &checks).into_iter().map(|found| found.operations).collect()
    }

    #[test]
    fn an_unacknowledged_write_that_vanishes_is_caught_only_when_asked() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 30, 2).unknown();
        story.read(40, 50).sees(2, 200);
        story.read(60, 70).sees(1, 100);
        assert_eq!(check(story), [vec![2, 3]]);
    }

    #[test]
    fn concurrent_reads_and_reads_at_one_may_differ() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100);
        story.write(20, 30, 2).unknown();
        story.read(40, 60).sees(2, 200);
        story.read(50, 70).sees(1, 100);
        story.read(80, 90).sees(1, 100).level(Level::One);
        assert_eq!(check(story), Vec::<Vec<u64>>::new());
    }

    #[test]
    fn a_read_may_see_an_expiry_earlier_than_another_ones_clock_says() {
        let mut story = Story::new();
        story.write_for(0, 10, 1, 5).ok(100);
        story.read(4500, 4510).sees_tombstone(100);
        story.read(4600, 4610).sees_expiring(1, 100, 1);
        assert_eq!(check(story), Vec::<Vec<u64>>::new());
    }
}

mod sessions {
    use super::*;

    #[test]
    fn what_a_session_wrote_and_read_binds_its_reads_at_one_and_nobody_elses() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).session(1).level(Level::One);
        story.read(20, 30).sees(1, 100).session(1).level(Level::One);
        story.read(40, 50).sees(2, 200).session(1).level(Level::One);
        story.read(60, 70).sees(1, 100).level(Level::One);
        story.read(60, 70).sees(1, 100).session(2).level(Level::One);
        story.read(60, 70).sees_nothing().session(1).level(Level::One).key("other");
        assert_eq!(checkers::sessions::check(&story.history(), Moment(0)), Vec::new());
    }

    #[test]
    fn an_older_version_than_the_session_met_is_caught() {
        let mut story = Story::new();
        story.write(0, 10, 1).ok(100).session(1).level(Level::One);
        story.read(20, 30).sees_nothing().session(1).level(Level::One);
        story.read(40, 50).sees(2, 200).session(2).level(Level::One);
        story.read(60, 70).sees(1, 100).session(2).level(Level::One);
        let caught = checkers::sessions::check(&story.history(), Moment(0));
        assert_eq!(
            caught.iter().map(|violation| &violation.operations[..]).collect::<Vec<_>>(),
            [[0, 1], [2, 3]]
        );
    }

    #[test]
    fn of_two_versions_with_one_timestamp_the_one_that_the_store_prefers_binds() {
        let check = |known: fn(&mut Story), seen: fn(Told<'_>) -> Told<'_>| {
            let mut story = Story::new();
            known(&mut story);
            seen(story.read(40, 50)).session(1).level(Level::One);
            checkers::sessions::check(&story.history(), Moment(0)).len()
        };
        let wrote_both: fn(&mut Story) = |story| {
            story.write(0, 10, 2).ok(100).session(1);
            story.write(20, 30, 1).ok(100).session(1);
        };
        assert_eq!(check(wrote_both, |read| read.sees(1, 100)), 1);
        assert_eq!(check(wrote_both, |read| read.sees(2, 100)), 0);
        assert_eq!(check(wrote_both, |read| read.sees_tombstone(100)), 0);
        let deleted: fn(&mut Story) = |story| {
            story.delete(0, 10).ok(100).session(1);
        };
        assert_eq!(check(deleted, |read| read.sees_expiring(1, 100, 5)), 1);
        let saw_it_gone: fn(&mut Story) = |story| {
            story.read(0, 10).sees_tombstone(100).session(1);
        };
        assert_eq!(check(saw_it_gone, |read| read.sees_expiring(1, 100, 5)), 0, "by another clock it lives");
        assert_eq!(check(saw_it_gone, |read| read.sees(1, 100)), 1);
    }
}

mod levels_of_two_datacenters {
    use super::*;

    /// A write through n1 or n4, then a read that misses it; whether it had to see it.
    fn must_see(write: (u32, Level), read: (u32, Level)) -> bool {
        let mut story = Story::in_two_datacenters();
        story.write(0, 10, 1).ok(100).through(write.0).level(write.1);
        story.read(20, 30).sees_nothing().through(read.0).level(read.1);
        !checkers::lost_write::check(&story.history()).is_empty()
    }

    #[test]
    fn local_quorums_meet_within_their_datacenter_only() {
        assert!(must_see((1, Level::LocalQuorum), (2, Level::LocalQuorum)));
        assert!(!must_see((1, Level::LocalQuorum), (4, Level::LocalQuorum)));
    }

    #[test]
    fn each_quorum_is_met_by_every_local_quorum() {
        for node in [1, 4] {
            assert!(must_see((1, Level::EachQuorum), (node, Level::LocalQuorum)));
            assert!(must_see((node, Level::LocalQuorum), (4, Level::EachQuorum)));
        }
        assert!(must_see((1, Level::EachQuorum), (4, Level::EachQuorum)));
        assert!(must_see((1, Level::EachQuorum), (4, Level::Quorum)), "four and four of six");
    }

    #[test]
    fn a_hint_is_owed_to_nobody_and_all_see_the_rest() {
        assert!(!must_see((1, Level::Any), (1, Level::All)));
        assert!(must_see((1, Level::LocalOne), (4, Level::All)));
        assert!(!must_see((1, Level::LocalQuorum), (1, Level::Quorum)), "two and four of six");
    }
}
