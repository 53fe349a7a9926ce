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
