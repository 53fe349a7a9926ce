//! Promise: a request is answered when as many replicas as its level requires have answered, and fails as soon as
//! they no longer can.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod setting;

use std::{collections::BTreeMap, time::Duration};

use helenus_cluster::{
    consistency::Consistency::{self, *},
    error::{RequestError, Shortage},
    message::ReplicaError,
    quorum::{BlockFor, Missing, Operation, Replica, Verdict, WriteQuorum},
    table::Replication,
};
use setting::host;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Every level that there is for writes; more than the factor of some tables requires.
const LEVELS: [Consistency; 11] =
    [Any, One, Two, Three, Quorum, All, LocalOne, LocalQuorum, EachQuorum, Count(1), Count(4)];

fn simple(factor: u32) -> Replication {
    Replication::Simple { factor }
}

fn in_datacenters(factors: &[(&str, u32)]) -> Replication {
    Replication::NetworkTopology {
        factors: factors.iter().map(|(name, factor)| ((*name).to_owned(), *factor)).collect(),
    }
}

/// Replicas 1, 2, 3, … of one datacenter after the other, all alive.
fn replicas<'a>(factors: &[(&'a str, u32)]) -> Vec<Replica<'a>> {
    let datacenters = factors.iter().flat_map(|(name, factor)| (0..*factor).map(move |_| *name));
    (1..).zip(datacenters).map(|(number, datacenter)| replica(number, datacenter)).collect()
}

fn replica(number: u128, datacenter: &str) -> Replica<'_> {
    Replica { host_id: host(number), datacenter, is_alive: true }
}

fn dead(number: u128, datacenter: &str) -> Replica<'_> {
    Replica { is_alive: false, ..replica(number, datacenter) }
}

fn block_for(level: Consistency, factor: u32) -> BlockFor {
    BlockFor::of(Operation::Write, level, &simple(factor), "dc1").unwrap()
}

fn quorum_of_three() -> WriteQuorum {
    WriteQuorum::new(block_for(Quorum, 3), replicas(&[("dc1", 3)])).unwrap()
}

#[test]
fn what_each_level_requires_of_each_factor() {
    // Zero stands for: invalid, more than the factor. A table that does not tell datacenters apart has one.
    let table: [(Consistency, [u32; 5]); 12] = [
        (One, [1, 1, 1, 1, 1]),
        (Two, [0, 2, 2, 2, 2]),
        (Three, [0, 0, 3, 3, 3]),
        (Quorum, [1, 2, 2, 3, 3]),
        (All, [1, 2, 3, 4, 5]),
        (LocalOne, [1, 1, 1, 1, 1]),
        (LocalQuorum, [1, 2, 2, 3, 3]),
        (EachQuorum, [1, 2, 2, 3, 3]),
        (Count(1), [1, 1, 1, 1, 1]),
        (Count(4), [0, 0, 0, 4, 4]),
        (Count(u32::MAX), [0, 0, 0, 0, 0]),
        (Count(0), [0, 0, 0, 0, 0]),
    ];
    for (level, by_factor) in table {
        for (factor, expected) in (1..).zip(by_factor) {
            for operation in [Operation::Read, Operation::Write] {
                for replication in [simple(factor), in_datacenters(&[("dc1", factor), ("dc9", 0)])] {
                    match BlockFor::of(operation, level, &replication, "dc1") {
                        Ok(block_for) => assert_eq!(block_for.required(), expected, "{level} at {factor}"),
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
}

#[test]
fn what_each_level_requires_of_which_datacenter() {
    let replication = in_datacenters(&[("dc1", 3), ("dc2", 2), ("dc3", 0)]);
    let anywhere = |required| vec![(None, required)];
    for (level, local, expected) in [
        (Any, "dc1", anywhere(1)),
        (One, "dc1", anywhere(1)),
        (Quorum, "dc1", anywhere(3)),
        (All, "dc1", anywhere(5)),
        (Count(4), "dc1", anywhere(4)),
        (LocalOne, "dc1", vec![(Some("dc1"), 1)]),
        (LocalOne, "dc2", vec![(Some("dc2"), 1)]),
        (LocalQuorum, "dc1", vec![(Some("dc1"), 2)]),
        (LocalQuorum, "dc2", vec![(Some("dc2"), 2)]),
        (EachQuorum, "dc1", vec![(Some("dc1"), 2), (Some("dc2"), 2)]),
        (EachQuorum, "dc9", vec![(Some("dc1"), 2), (Some("dc2"), 2)]),
    ] {
        let block_for = BlockFor::of(Operation::Write, level, &replication, local).unwrap();
        let parts: Vec<_> =
            block_for.parts().iter().map(|part| (part.datacenter.as_deref(), part.required)).collect();
        assert_eq!(parts, expected, "{level} in {local}");
    }
    for (level, local) in [(LocalOne, "dc3"), (LocalQuorum, "dc3"), (LocalQuorum, "dc9")] {
        let invalid = BlockFor::of(Operation::Read, level, &replication, local);
        let Err(RequestError::InvalidConsistency { detail, .. }) = invalid else { panic!("{invalid:?}") };
        assert!(detail.contains(&format!("datacenter {local}")), "{detail}");
    }
}

#[test]
fn a_level_that_requires_nobody_is_invalid() {
    for replication in [simple(0), in_datacenters(&[])] {
        for level in LEVELS {
            let none = BlockFor::of(Operation::Write, level, &replication, "dc1");
            assert!(matches!(none, Err(RequestError::InvalidConsistency { .. })), "{level}: {none:?}");
        }
    }
}

#[test]
fn levels_of_the_other_operation_are_invalid_and_serial_ones_unsupported() {
    let of = |operation, level| BlockFor::of(operation, level, &simple(3), "dc1");
    assert!(matches!(of(Operation::Read, Any), Err(RequestError::InvalidConsistency { .. })));
    for level in [Serial, LocalSerial] {
        assert_eq!(of(Operation::Read, level), Err(RequestError::UnsupportedConsistency(level)));
        assert!(matches!(of(Operation::Write, level), Err(RequestError::InvalidConsistency { .. })));
    }
}

#[test]
fn pending_replicas_are_waited_for_where_the_level_counts() {
    let replication = in_datacenters(&[("dc1", 3), ("dc2", 3)]);
    for (level, expected) in [
        (Any, vec![1]),
        (One, vec![1 + 3]),
        (Quorum, vec![4 + 3]),
        (All, vec![6 + 3]),
        (LocalOne, vec![1 + 1]),
        (LocalQuorum, vec![2 + 1]),
        (EachQuorum, vec![2 + 1, 2 + 2]),
        (Count(5), vec![5 + 3]),
    ] {
        let block_for = BlockFor::of(Operation::Write, level, &replication, "dc1").unwrap();
        let block_for = block_for.with_pending(["dc2", "dc1", "dc2"]);
        let required: Vec<u32> = block_for.parts().iter().map(|part| part.required).collect();
        assert_eq!(required, expected, "{level}");
    }
}

/// What an oracle says that knows nothing of parts: how many acknowledgements there are, and may still come, by
/// datacenter.
fn expected(
    block_for: &BlockFor,
    acknowledged: &BTreeMap<&str, u32>,
    hopes: &BTreeMap<&str, u32>,
) -> &'static str {
    let count = |of: &BTreeMap<&str, u32>, datacenter: Option<&str>| match datacenter {
        Some(name) => of.get(name).copied().unwrap_or(0),
        None => of.values().sum(),
    };
    let meets = |of: &BTreeMap<&str, u32>| {
        block_for.parts().iter().all(|part| count(of, part.datacenter.as_deref()) >= part.required)
    };
    match (meets(acknowledged), meets(hopes)) {
        (true, _) => "reached",
        (false, true) => "pending",
        (false, false) => "out of reach",
    }
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reached { .. } => "reached",
        Verdict::Pending => "pending",
        Verdict::OutOfReach { .. } => "out of reach",
    }
}

#[test]
fn every_level_at_every_factor_under_every_set_of_failures() {
    for factors in [
        vec![("dc1", 1)],
        vec![("dc1", 2)],
        vec![("dc1", 3)],
        vec![("dc1", 5)],
        vec![("dc1", 1), ("dc2", 1)],
        vec![("dc1", 3), ("dc2", 2)],
        vec![("dc1", 3), ("dc2", 3)],
        vec![("dc1", 2), ("dc2", 1), ("dc3", 2)],
    ] {
        let all = replicas(&factors);
        for level in LEVELS {
            let Ok(block_for) = BlockFor::of(Operation::Write, level, &in_datacenters(&factors), "dc1")
            else {
                continue;
            };
            for failed in 0..1u32 << all.len() {
                fails_as_the_oracle_says(&block_for, &all, |place| failed & 1 << place != 0);
            }
        }
    }
}

/// Replicas that fail do so one after the other, then the others acknowledge.
fn fails_as_the_oracle_says(block_for: &BlockFor, all: &[Replica<'_>], fails: impl Fn(usize) -> bool) {
    let mut write = WriteQuorum::new(block_for.clone(), all.iter().copied()).unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut hopes = BTreeMap::new();
    all.iter().for_each(|replica| *hopes.entry(replica.datacenter).or_insert(0) += 1);
    let told = all.iter().enumerate().filter(|(place, _)| fails(*place));
    let told = told.chain(all.iter().enumerate().filter(|(place, _)| !fails(*place)));
    for (place, replica) in told {
        if fails(place) {
            write.on_failure(replica.host_id, Missing::Lost);
            *hopes.get_mut(replica.datacenter).unwrap() -= 1;
        } else {
            write.on_ack(replica.host_id);
            *acknowledged.entry(replica.datacenter).or_insert(0) += 1;
        }
        assert_eq!(
            name(write.verdict()),
            expected(block_for, &acknowledged, &hopes),
            "{block_for:?}, {acknowledged:?} acknowledged, {hopes:?} left"
        );
    }
}

#[test]
fn every_level_is_unavailable_exactly_if_the_living_cannot_meet_it() {
    let factors = [("dc1", 3), ("dc2", 2)];
    for level in LEVELS {
        let block_for = BlockFor::of(Operation::Write, level, &in_datacenters(&factors), "dc1").unwrap();
        for living in 0..1u32 << 5 {
            let mut all = replicas(&factors);
            let mut alive = BTreeMap::new();
            for (place, replica) in all.iter_mut().enumerate() {
                replica.is_alive = living & 1 << place != 0;
                *alive.entry(replica.datacenter).or_insert(0) += u32::from(replica.is_alive);
            }
            let write = WriteQuorum::new(block_for.clone(), all);
            // A hint satisfies level any.
            let is_possible = level == Any || expected(&block_for, &BTreeMap::new(), &alive) == "pending";
            assert_eq!(write.is_ok(), is_possible, "{level}, alive {alive:?}: {write:?}");
        }
    }
}

#[test]
fn an_unavailable_level_says_what_is_lacking_where() {
    let replication = in_datacenters(&[("dc1", 3), ("dc2", 3)]);
    let alive = [
        replica(1, "dc1"),
        replica(2, "dc1"),
        replica(3, "dc1"),
        replica(4, "dc2"),
        dead(5, "dc2"),
        dead(6, "dc2"),
    ];
    let refused = |level| {
        let block_for = BlockFor::of(Operation::Write, level, &replication, "dc1").unwrap();
        WriteQuorum::new(block_for, alive).map(|_| ())
    };

    let shortages = vec![Shortage { datacenter: "dc2".to_owned(), required: 2, had: 1 }];
    let each = refused(EachQuorum).unwrap_err();
    assert_eq!(
        each,
        RequestError::Unavailable {
            level: EachQuorum,
            required: 4,
            alive: 4,
            shortages,
            down: vec![host(5), host(6)]
        }
    );
    assert_eq!(
        each.to_string(),
        format!(
            "level each_quorum requires 4 replicas and 4 are alive; in datacenter dc2 it requires 2 and 1 is alive; \
             down: {}, {}",
            host(5),
            host(6)
        )
    );
    let all = refused(All).unwrap_err().to_string();
    assert_eq!(all, format!("level all requires 6 replicas and 4 are alive; down: {}, {}", host(5), host(6)));
    assert_eq!(refused(LocalQuorum), Ok(()), "the other datacenter is not its business");
}

#[test]
fn what_one_datacenter_has_too_much_makes_up_for_no_other() {
    let replication = in_datacenters(&[("dc1", 3), ("dc2", 3)]);
    let block_for = BlockFor::of(Operation::Write, EachQuorum, &replication, "dc1").unwrap();
    let mut write = WriteQuorum::new(block_for, replicas(&[("dc1", 3), ("dc2", 3)])).unwrap();
    (1..=4).for_each(|number| write.on_ack(host(number)));
    assert_eq!(write.verdict(), Verdict::Pending);
    write.on_deadline();

    let late = write.error(TIMEOUT);
    let shortages = vec![Shortage { datacenter: "dc2".to_owned(), required: 2, had: 1 }];
    let timeout = TIMEOUT;
    assert_eq!(
        late,
        RequestError::Timeout {
            level: EachQuorum,
            required: 4,
            received: 4,
            silent: 2,
            lost: 0,
            timeout,
            shortages
        }
    );
    assert!(late.to_string().ends_with("; in datacenter dc2 it requires 2 and 1 answered"), "{late}");
}

#[test]
fn acknowledgements_of_other_datacenters_are_no_local_ones() {
    let replication = in_datacenters(&[("dc1", 3), ("dc2", 3)]);
    let block_for = BlockFor::of(Operation::Write, LocalQuorum, &replication, "dc1").unwrap();
    let mut write = WriteQuorum::new(block_for, replicas(&[("dc1", 3), ("dc2", 3)])).unwrap();
    (3..=6).for_each(|number| write.on_ack(host(number)));
    assert_eq!((write.verdict(), write.acknowledged()), (Verdict::Pending, 1));
    write.on_ack(host(1));
    assert_eq!(write.verdict(), Verdict::Reached { acknowledged: 2 });
}

#[test]
fn a_replica_counts_once_and_its_first_word_holds() {
    let mut write = quorum_of_three();
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
    let block_for = || block_for(Quorum, 3).with_pending(["dc1"]);
    let all = [1, 2, 3, 9].map(|number| replica(number, "dc1"));
    let mut write = WriteQuorum::new(block_for(), all).unwrap();
    assert_eq!(write.required(), 3);
    write.on_ack(host(1));
    write.on_ack(host(9));
    assert_eq!(write.verdict(), Verdict::Pending);
    write.on_ack(host(2));
    assert_eq!(write.verdict(), Verdict::Reached { acknowledged: 3 });

    let short = WriteQuorum::new(block_for(), [1, 2, 2].map(|number| replica(number, "dc1"))).unwrap_err();
    let (shortages, down) = (Vec::new(), Vec::new());
    assert_eq!(short, RequestError::Unavailable { level: Quorum, required: 3, alive: 2, shortages, down });
}

#[test]
fn error_answers_are_a_failure_unless_some_replica_was_silent() {
    let storage = || ReplicaError::Storage("disk on fire".to_owned());
    let mut write = quorum_of_three();
    write.on_ack(host(3));
    write.on_failure(host(1), Missing::Error(storage()));
    write.on_failure(host(2), Missing::Error(ReplicaError::Expired));
    assert_eq!(write.verdict(), Verdict::OutOfReach { silent: false });
    let failures = vec![(host(1), storage()), (host(2), ReplicaError::Expired)];
    assert_eq!(
        write.error(TIMEOUT),
        RequestError::Failed { level: Quorum, required: 2, received: 1, failures, shortages: Vec::new() }
    );

    for (silence, silent, lost) in [(Missing::Silence, 1, 0), (Missing::Lost, 0, 1)] {
        let mut write = quorum_of_three();
        write.on_failure(host(1), Missing::Error(storage()));
        write.on_failure(host(2), silence);
        assert_eq!(write.verdict(), Verdict::OutOfReach { silent: true });
        let (timeout, shortages) = (TIMEOUT, Vec::new());
        let expected = RequestError::Timeout {
            level: Quorum,
            required: 2,
            received: 0,
            silent,
            lost,
            timeout,
            shortages,
        };
        assert_eq!(write.error(TIMEOUT), expected);
    }
}

#[test]
fn where_nobody_could_be_asked_there_is_silence_and_no_error_answer() {
    let mut write = WriteQuorum::new(block_for(Any, 1), [dead(1, "dc1")]).expect("a hint may satisfy it");
    write.on_deadline();

    let error = write.error(Duration::from_secs(2));

    assert!(matches!(error, RequestError::Timeout { received: 0, silent: 0, lost: 0, .. }), "{error:?}");
}

#[test]
fn an_error_says_in_time_only_if_time_ran_out() {
    let words = |told: &dyn Fn(&mut WriteQuorum)| {
        let mut write = quorum_of_three();
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
    let mut late = quorum_of_three();
    late.on_ack(host(1));
    late.on_deadline();
    assert_eq!(late.verdict(), Verdict::OutOfReach { silent: true });

    let mut met = quorum_of_three();
    met.on_ack(host(1));
    met.on_ack(host(2));
    met.on_deadline();
    assert_eq!(met.verdict(), Verdict::Reached { acknowledged: 2 });
}
