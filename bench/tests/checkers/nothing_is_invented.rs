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
