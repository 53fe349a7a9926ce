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
