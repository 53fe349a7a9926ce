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
        let keys = BTreeMap::from([("k".to_owned(), vec![("n1", Some(1)), ("n2", Some(1)), ("n3", odd)])]);
        assert_eq!(checkers::replicas::check(&keys).len(), 1, "{odd:?}");
    }
}
