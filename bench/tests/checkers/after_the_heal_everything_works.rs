use super::*;

#[test]
fn failing_and_slow_operations_are_caught_only_after_the_heal() {
    let mut story = Story::new();
    story.write(0, 10, 1).failed();
    story.write(100, 200, 2).ok(100).phase(Phase::Healed);
    no_objection(story);
    let mut story = Story::new();
    story.write(0, 10, 1).failed().phase(Phase::Healed);
    objection(story, Checker::Liveness, &[0]);
    let mut story = Story::new();
    story.read(0, 2_500).sees_nothing().phase(Phase::Final);
    objection(story, Checker::Liveness, &[0]);
}

#[test]
fn a_node_that_ended_by_itself_is_caught() {
    let mut story = Story::new();
    story.fault(0, 10, Fault::Crash { node: 2 });
    objection(story, Checker::Liveness, &[]);
}

#[test]
fn all_nodes_see_all_nodes_up() {
    let member = |id: &str, up: bool| MemberView { host_id: id.to_owned(), state: "normal".to_owned(), up };
    let views = |last: Vec<MemberView>| {
        let mut story = Story::of(2, 2);
        let all = vec![member("a", true), member("b", true)];
        // Only the last view of a node counts.
        for (at, node, members) in [(1, 1, Vec::new()), (2, 1, all), (3, 2, last)] {
            story.history_mut().views.push(View { at: Moment(at), node, members });
        }
        checkers::membership::check(&story.history())
    };
    assert_eq!(views(vec![member("a", true), member("b", true)]), []);
    assert!(!views(vec![member("a", false), member("b", true)]).is_empty());
    assert!(!views(vec![member("a", true)]).is_empty());
    assert!(!views(vec![member("a", true), member("c", true)]).is_empty());
    assert!(!views(Vec::new()).is_empty());
}
