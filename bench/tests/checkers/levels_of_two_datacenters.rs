use super::*;

/// A write through n1 or n4, then a read that misses it; whether it had to see it.
fn must_see(write: (u32, Level), read: (u32, Level)) -> bool {
    let mut story = Story::in_two_datacenters();
    story.write(0, 10, 1).ok(100).through(write.0).level(write.1);
    story.read(20, 30).sees_nothing().through(read.0).level(read.1);
    !checkers::lost_write::check(&story.history()).is_empty()
}

#[test]
fn local_quorums_meet_within_their_datacenter_only() {
    assert!(must_see((1, Level::LocalQuorum), (2, Level::LocalQuorum)));
    assert!(!must_see((1, Level::LocalQuorum), (4, Level::LocalQuorum)));
}

#[test]
fn each_quorum_is_met_by_every_local_quorum() {
    for node in [1, 4] {
        assert!(must_see((1, Level::EachQuorum), (node, Level::LocalQuorum)));
        assert!(must_see((node, Level::LocalQuorum), (4, Level::EachQuorum)));
    }
    assert!(must_see((1, Level::EachQuorum), (4, Level::EachQuorum)));
    assert!(must_see((1, Level::EachQuorum), (4, Level::Quorum)), "four and four of six");
}

#[test]
fn a_hint_is_owed_to_nobody_and_all_see_the_rest() {
    assert!(!must_see((1, Level::Any), (1, Level::All)));
    assert!(must_see((1, Level::LocalOne), (4, Level::All)));
    assert!(!must_see((1, Level::LocalQuorum), (1, Level::Quorum)), "two and four of six");
}
