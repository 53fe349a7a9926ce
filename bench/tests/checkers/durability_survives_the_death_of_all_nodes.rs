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
