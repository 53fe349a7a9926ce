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
