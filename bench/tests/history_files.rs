//! Promise: a history file says exactly what was recorded, and a file that does not is refused.

mod support;

use helenus_bench::history::{
    Fault, FileError, History, Level, MemberView, Moment, Phase, Seen, Silence, Timestamp, View,
};
use support::Story;

#[test]
fn what_was_written_is_read_back_equal() {
    let history = everything();
    let bytes = history.write(Vec::new()).expect("a vector takes everything");
    assert_eq!(History::read(bytes.as_slice()).expect("a complete history"), history);
}

#[test]
fn lines_in_the_order_of_their_ends_are_ordered_by_their_beginnings() {
    let history = everything();
    let mut shuffled = history.clone();
    shuffled.operations.reverse();
    shuffled.faults.reverse();
    let bytes = shuffled.write(Vec::new()).expect("a vector takes everything");
    assert_eq!(History::read(bytes.as_slice()).expect("a complete history"), history);
}

#[test]
fn every_front_part_of_a_history_is_refused() {
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    for count in 0..lines.len() {
        let front = lines[..count].join("\n");
        assert!(
            matches!(History::read(front.as_bytes()), Err(FileError::Incomplete { lines }) if lines == count),
            "{count} lines"
        );
    }
    for len in 1..text.len() - 1 {
        assert!(History::read(&text.as_bytes()[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_line_that_is_out_of_place_missing_or_strange_is_refused_by_its_number() {
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    let refused = |lines: &[&str], expected_line: usize| match History::read(lines.join("\n").as_bytes()) {
        Err(FileError::Line { line, .. }) => assert_eq!(line, expected_line),
        other => panic!("not refused: {other:?}"),
    };
    let last = lines.len();

    refused(&lines[1..], 1);
    refused(&[lines[0], lines[0]], 2);
    refused(&[&lines[..2], &lines[3..]].concat(), last - 1);
    refused(&[&lines[..], &[lines[1]]].concat(), last + 1);
    let strange = lines[1].replacen("\"client\"", "\"colour\":1,\"client\"", 1);
    refused(&[&[lines[0], &strange], &lines[2..]].concat(), 2);
    let later_format = lines[0].replacen("\"format\":3", "\"format\":4", 1);
    refused(&[&later_format], 1);
    refused(&[lines[0], "", lines[1]], 2);
}

fn text() -> String {
    let bytes = everything().write(Vec::new()).expect("a vector takes everything");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// At least one of each kind of everything.
fn everything() -> History {
    let mut story = Story::new();
    story.write(0, 2, 1).ok(100).replicas(2, 2);
    story.write_for(1, 3, 2, 60).ok(101).level(Level::All);
    story.write_stamped(2, 4, 3, Some(50)).ok(50).level(Level::Count(2));
    story.write(3, 9, 4).unknown().level(Level::One).through(3);
    story.write(4, 5, 5).failed();
    story.write(4, 6, 6).rejected();
    story.delete(10, 12).ok(200).level(Level::Two);
    story.read(13, 14).sees(1, 100).level(Level::Three);
    story.read(13, 15).sees_expiring(2, 101, 59);
    story.read(13, 16).sees_tombstone(200).phase(Phase::Healed);
    story.read(13, 17).sees_nothing().phase(Phase::Final);
    story.read(13, 18).saw(Seen::Garbage { timestamp: Timestamp(1), bytes: "\u{0}\"ü".to_owned() });
    story.fault(1, 2, Fault::Kill { node: 1 });
    story.fault(2, 3, Fault::Pause { node: 2 });
    story.fault(3, 4, Fault::Restart { node: 3 });
    story.fault(4, 5, Fault::Cut { a: 1, b: 2, silence: Silence::Broken });
    story.fault(5, 6, Fault::Cut { a: 1, b: 2, silence: Silence::Held });
    story.fault(6, 7, Fault::CutOneWay { from: 2, to: 1 });
    story.fault(7, 8, Fault::Slow { a: 1, b: 3, delay_ms: 100 });
    story.fault(8, 9, Fault::KillAll);
    let member = MemberView { host_id: "a".to_owned(), state: "normal".to_owned(), up: true };
    story.history_mut().views.push(View { at: Moment(20_000), node: 1, members: vec![member] });
    story.history()
}
