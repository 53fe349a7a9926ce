//! Promise: a key's timeline can be read by a person: one line for each operation, faults in between, the guilty marked.

mod support;

use helenus_bench::{
    checkers::lost_write,
    history::{Fault, Silence},
    timeline::{Extent, of_key, of_violation},
};
use support::Story;

fn story() -> Story {
    let mut story = Story::new();
    story.write(0, 10, 1).ok(1_700_000_000_000_000).replicas(2, 2);
    story.write(11, 12, 9).ok(1).key("another");
    story.fault(15, 200, Fault::Cut { a: 1, b: 2, silence: Silence::Broken });
    story.write_for(20, 30, 2, 60).ok(1_700_000_000_000_500).replicas(3, 2);
    story.write(31, 33, 3).failed();
    story.read(40, 41).sees(1, 1_700_000_000_000_000).through(2);
    story.fault(900, 950, Fault::KillAll);
    story
}

#[test]
fn operations_and_faults_stand_in_the_order_of_their_beginning() {
    let history = story().history();
    let text = of_key(&history, "k", &[2, 4], Extent::All);
    let expected = "\
key k · seed 7 · 3 nodes, factor 3 · times in ms, versions in µs after @1699999999999999
        from           to  client  node  level   operation                          outcome
       0.000       10.000  c0      n1    quorum  write v1 @1                        ok       2/2
      15.000 ────────────  cut n1 – n2 (connections break) until 200.000
      20.000       30.000  c2      n1    quorum  write v2 for 60 s @501             ok       3/2    ◀
      31.000       33.000  c3      n1    quorum  write v3                           failed         503 unavailable
      40.000       41.000  c4      n2    quorum  read → v1 @1                       ok              ◀
";
    assert_eq!(text, expected);
}

#[test]
fn what_is_far_from_a_violation_is_left_out_and_counted() {
    let history = story().history();
    let violation = lost_write::check(&history).remove(0);
    let text = of_violation(&history, &violation, Extent::Around(0));
    assert_eq!(text.matches('◀').count(), 2, "{text}");
    assert!(text.contains("⋮ 1 operations not shown"), "{text}");
    assert!(!text.contains("v3"), "{text}");
}
