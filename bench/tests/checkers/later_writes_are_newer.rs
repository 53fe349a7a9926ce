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
