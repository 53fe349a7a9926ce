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

#[test]
fn a_delete_that_was_stamped_anew_may_have_had_the_timestamp_of_a_value_written_at_that_time() {
    let seen_meanwhile = |deleted: u64, stamp| {
        let mut story = Story::new();
        story.write_for(3_000, 3_010, 1, 50).ok(100);
        story.delete(deleted, deleted + 100).ok(stamp);
        story.read(deleted + 50, deleted + 60).sees_tombstone(100);
        story
    };
    no_objection(seen_meanwhile(3_005, 200));
    objection(seen_meanwhile(3_005, 50), Checker::Expiry, &[0, 2]);
    objection(seen_meanwhile(9_000, 200), Checker::Expiry, &[0, 2]);
}
