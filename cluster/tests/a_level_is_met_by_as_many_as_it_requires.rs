//! Promise: a request is answered when as many replicas as its level requires have answered, and fails as soon as
//! they no longer can.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod setting;

use std::time::Duration;

use helenus_cluster::{
    consistency::Consistency::{self, *},
    error::RequestError,
    message::ReplicaError,
    quorum::{Missing, Operation, ReadQuorum, Verdict, WriteQuorum, required},
    time::Timestamp,
};
use helenus_storage::Record;
use proptest::prelude::*;
use setting::host;

const TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn what_each_level_requires_of_each_factor() {
    // Zero stands for: invalid, more than the factor.
    let table: [(Consistency, [u32; 5]); 8] = [
        (One, [1, 1, 1, 1, 1]),
        (Two, [0, 2, 2, 2, 2]),
        (Three, [0, 0, 3, 3, 3]),
        (Quorum, [1, 2, 2, 3, 3]),
        (All, [1, 2, 3, 4, 5]),
        (Count(1), [1, 1, 1, 1, 1]),
        (Count(4), [0, 0, 0, 4, 4]),
        (Count(u32::MAX), [0, 0, 0, 0, 0]),
    ];
    for (level, by_factor) in table {
        for (factor, expected) in (1..).zip(by_factor) {
            for operation in [Operation::Read, Operation::Write] {
                match required(operation, level, factor) {
                    Ok(required) => assert_eq!(required, expected, "{level} at {factor}"),
                    Err(RequestError::InvalidConsistency { level: named, detail }) => {
                        assert_eq!((named, expected), (level, 0), "{level} at {factor}");
                        assert!(detail.contains(&format!("level {level} ")), "{detail}");
                        assert!(detail.contains(&format!("replication factor {factor}")), "{detail}");
                    }
                    Err(other) => panic!("{level} at {factor}: {other}"),
                }
            }
        }
    }
}

#[test]
fn a_level_that_requires_nobody_is_invalid() {
    for level in [All, Quorum, Count(0)] {
        assert!(matches!(required(Operation::Write, level, 0), Err(RequestError::InvalidConsistency { .. })));
    }
}

#[test]
fn levels_of_later_builds_are_unsupported_and_levels_of_the_other_operation_invalid() {
    for level in [LocalOne, LocalQuorum, EachQuorum] {
        for operation in [Operation::Read, Operation::Write] {
            assert_eq!(required(operation, level, 3), Err(RequestError::UnsupportedConsistency(level)));
        }
    }
    assert_eq!(required(Operation::Write, Any, 3), Err(RequestError::UnsupportedConsistency(Any)));
    assert!(matches!(required(Operation::Read, Any, 3), Err(RequestError::InvalidConsistency { .. })));
    for level in [Serial, LocalSerial] {
        assert_eq!(required(Operation::Read, level, 3), Err(RequestError::UnsupportedConsistency(level)));
        assert!(matches!(required(Operation::Write, level, 3), Err(RequestError::InvalidConsistency { .. })));
    }
}

#[test]
fn every_level_at_every_factor_under_every_number_of_failures() {
    for factor in 1..=5 {
        for level in [One, Two, Three, Quorum, All, Count(2)] {
            let Ok(required) = required(Operation::Write, level, factor) else { continue };
            for failures in 0..=factor {
                let mut write = WriteQuorum::new(level, required, 0, (1..=factor.into()).map(host)).unwrap();
                for failed in 1..=failures {
                    assert_eq!(write.verdict(), expected(factor, required, 0, failed - 1));
                    write.on_failure(host(failed.into()), Missing::Lost);
                }
                for acknowledged in 1..=factor - failures {
                    write.on_ack(host((failures + acknowledged).into()));
                    let context = format!("{level}, factor {factor}, {failures} failed, {acknowledged} done");
                    assert_eq!(
                        write.verdict(),
                        expected(factor, required, acknowledged, failures),
                        "{context}"
                    );
                }
            }
        }
    }
}

fn expected(candidates: u32, required: u32, acknowledged: u32, failures: u32) -> Verdict {
    if acknowledged >= required {
        Verdict::Reached { acknowledged }
    } else if required + failures > candidates {
        Verdict::OutOfReach { silent: true }
    } else {
        Verdict::Pending
    }
}

#[test]
fn too_few_candidates_are_unavailable_and_nothing_is_sent() {
    let unavailable = RequestError::Unavailable { level: Quorum, required: 2, alive: 1 };
    assert_eq!(WriteQuorum::new(Quorum, 2, 0, [host(1)]).unwrap_err(), unavailable);
    assert_eq!(WriteQuorum::new(Quorum, 2, 0, [host(1), host(1)]).unwrap_err(), unavailable);
    assert_eq!(ReadQuorum::new(Quorum, 2, Timestamp(0), [host(1)]).unwrap_err(), unavailable);
}

#[test]
fn a_replica_counts_once_and_its_first_word_holds() {
    let mut write = WriteQuorum::new(Quorum, 2, 0, [1, 2, 3].map(host)).unwrap();
    write.on_ack(host(1));
    write.on_ack(host(1));
    write.on_failure(host(1), Missing::Silence);
    assert_eq!((write.verdict(), write.acknowledged()), (Verdict::Pending, 1));

    write.on_failure(host(2), Missing::Lost);
    write.on_ack(host(2));
    write.on_ack(host(99));
    assert_eq!((write.verdict(), write.acknowledged()), (Verdict::Pending, 1));

    write.on_failure(host(3), Missing::Lost);
    assert_eq!(write.verdict(), Verdict::OutOfReach { silent: true });
}

#[test]
fn a_pending_replica_raises_the_level_and_may_help_to_meet_it() {
    let replicas = [1, 2, 3, 9].map(host);
    let mut write = WriteQuorum::new(Quorum, 2, 1, replicas).unwrap();
    assert_eq!(write.required(), 3);
    write.on_ack(host(1));
    write.on_ack(host(9));
    assert_eq!(write.verdict(), Verdict::Pending);
    write.on_ack(host(2));
    assert_eq!(write.verdict(), Verdict::Reached { acknowledged: 3 });

    let short = WriteQuorum::new(Quorum, 2, 1, [host(1), host(2)]).unwrap_err();
    assert_eq!(short, RequestError::Unavailable { level: Quorum, required: 3, alive: 2 });
}

#[test]
fn error_answers_are_a_failure_unless_some_replica_was_silent() {
    let storage = || ReplicaError::Storage("disk on fire".to_owned());
    let mut write = WriteQuorum::new(Quorum, 2, 0, [1, 2, 3].map(host)).unwrap();
    write.on_ack(host(3));
    write.on_failure(host(1), Missing::Error(storage()));
    write.on_failure(host(2), Missing::Error(ReplicaError::Expired));
    assert_eq!(write.verdict(), Verdict::OutOfReach { silent: false });
    let failures = vec![(host(1), storage()), (host(2), ReplicaError::Expired)];
    assert_eq!(
        write.error(TIMEOUT),
        RequestError::Failed { level: Quorum, required: 2, received: 1, failures }
    );

    for (silence, silent, lost) in [(Missing::Silence, 1, 0), (Missing::Lost, 0, 1)] {
        let mut write = WriteQuorum::new(Quorum, 2, 0, [1, 2, 3].map(host)).unwrap();
        write.on_failure(host(1), Missing::Error(storage()));
        write.on_failure(host(2), silence);
        assert_eq!(write.verdict(), Verdict::OutOfReach { silent: true });
        let expected =
            RequestError::Timeout { level: Quorum, required: 2, received: 0, silent, lost, timeout: TIMEOUT };
        assert_eq!(write.error(TIMEOUT), expected);
    }
}

#[test]
fn an_error_says_in_time_only_if_time_ran_out() {
    let words = |told: &dyn Fn(&mut WriteQuorum)| {
        let mut write = WriteQuorum::new(Quorum, 2, 0, [1, 2, 3].map(host)).unwrap();
        told(&mut write);
        write.error(Duration::from_secs(2)).to_string()
    };

    let out_of_reach = words(&|write| {
        write.on_failure(host(1), Missing::Lost);
        write.on_failure(host(2), Missing::Lost);
    });
    assert_eq!(
        out_of_reach,
        "level quorum requires 2 replicas, 0 answered, and 2 could not be reached or lost the connection"
    );
    let late = words(&|write| {
        write.on_ack(host(1));
        write.on_deadline();
    });
    assert_eq!(late, "level quorum requires 2 replicas and 1 answered in time (2s)");
    let both = words(&|write| {
        write.on_ack(host(1));
        write.on_failure(host(2), Missing::Lost);
        write.on_deadline();
    });
    assert_eq!(
        both,
        "level quorum requires 2 replicas and 1 answered in time (2s); 1 could not be reached or lost the connection"
    );
}

#[test]
fn the_deadline_makes_the_rest_silent_and_takes_nothing_back() {
    let mut late = ReadQuorum::new(Quorum, 2, Timestamp(0), [1, 2, 3].map(host)).unwrap();
    late.on_answer(host(1), None);
    late.on_deadline();
    assert_eq!(late.verdict(), Verdict::OutOfReach { silent: true });

    let mut met = late_but_met();
    met.on_deadline();
    assert_eq!(met.verdict(), Verdict::Reached { acknowledged: 2 });
}

fn late_but_met() -> ReadQuorum {
    let mut met = ReadQuorum::new(Quorum, 2, Timestamp(0), [1, 2, 3].map(host)).unwrap();
    met.on_answer(host(1), None);
    met.on_answer(host(2), None);
    met
}

#[test]
fn a_read_answers_the_newest_version_whoever_answers_first() {
    let old = Record::plain(Timestamp(1), "old");
    let new = Record::plain(Timestamp(2), "new");
    for answers in
        [[Some(old.clone()), Some(new.clone())], [Some(new.clone()), None], [None, Some(new.clone())]]
    {
        let mut read = ReadQuorum::new(Two, 2, Timestamp(9), [1, 2].map(host)).unwrap();
        for (number, answer) in (1..).zip(answers) {
            assert_eq!(read.verdict(), Verdict::Pending);
            read.on_answer(host(number), answer);
        }
        assert_eq!(
            (read.verdict(), read.newest()),
            (Verdict::Reached { acknowledged: 2 }, Some(new.clone()))
        );
    }
    assert_eq!(late_but_met().newest(), None);
}

#[test]
fn a_repeated_answer_changes_nothing() {
    let mut read = ReadQuorum::new(Two, 2, Timestamp(9), [1, 2].map(host)).unwrap();
    read.on_answer(host(1), None);
    read.on_answer(host(1), Some(Record::plain(Timestamp(1), "late")));
    read.on_answer(host(7), Some(Record::plain(Timestamp(1), "stranger")));
    assert_eq!((read.verdict(), read.newest()), (Verdict::Pending, None));
}

#[test]
fn an_expired_version_reads_as_the_tombstone_of_its_expiry() {
    let mut read = ReadQuorum::new(One, 1, Timestamp(20), [host(1)]).unwrap();
    read.on_answer(host(1), Some(Record::expiring(Timestamp(5), "v", Timestamp(20))));
    assert_eq!(read.newest(), Some(Record::tombstone(Timestamp(5), Timestamp(20))));
}

#[test]
fn merging_at_the_coordinator_and_merging_at_a_replica_give_the_same_answer() {
    let short = Record::expiring(Timestamp(5), "short", Timestamp(10));
    let long = Record::expiring(Timestamp(5), "long", Timestamp(30));
    let now = Timestamp(20);

    let mut apart = ReadQuorum::new(Two, 2, now, [1, 2].map(host)).unwrap();
    apart.on_answer(host(1), Some(short.clone()));
    apart.on_answer(host(2), Some(long.clone()));

    let mut together = ReadQuorum::new(One, 1, now, [host(1)]).unwrap();
    together.on_answer(host(1), Some(short.reconcile(long.clone())));
    assert_eq!((apart.newest(), together.newest()), (Some(long.clone()), Some(long)));
}

fn records() -> impl Strategy<Value = Option<Record>> {
    let value = prop::sample::select(vec!["a", "b"]);
    prop::option::of((0u64..3, 0u64..3, 0u8..3, value).prop_map(|(at, end, kind, value)| match kind {
        0 => Record::plain(Timestamp(at), value),
        1 => Record::expiring(Timestamp(at), value, Timestamp(end)),
        _ => Record::tombstone(Timestamp(at), Timestamp(end)),
    }))
}

proptest! {
    #[test]
    fn the_order_of_answers_does_not_matter(answers in prop::collection::vec(records(), 1..5), now in 0u64..4) {
        let read = |order: &mut dyn Iterator<Item = (u128, Option<Record>)>| {
            let replicas = (0..answers.len() as u128).map(host);
            let mut read = ReadQuorum::new(All, answers.len() as u32, Timestamp(now), replicas).unwrap();
            order.for_each(|(number, answer)| read.on_answer(host(number), answer));
            read.newest()
        };
        let numbered = || (0..).zip(answers.clone());
        let backwards: Vec<_> = numbered().collect();
        prop_assert_eq!(read(&mut numbered()), read(&mut backwards.into_iter().rev()));
    }
}
