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
