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
