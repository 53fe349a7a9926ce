//! Promise: a read answers the newest version of as many replicas as its level requires, sends no value twice if they
//! agree, and is answered only once as many hold what it answers: so no later read at a level that overlaps answers
//! anything older.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod setting;

use std::collections::BTreeMap;

use helenus_cluster::{
    consistency::Consistency::{self, *},
    error::RequestError,
    node_id::HostId,
    quorum::{Answer, AsOf, Ask, BlockFor, Digest, Missing, Operation, ReadQuorum, Replica, Verdict, Wants},
    table::Replication,
    time::Timestamp,
};
use helenus_storage::Record;
use proptest::prelude::*;
use setting::host;

const NOW: AsOf = AsOf { now: Timestamp(20), forgotten_before: Timestamp(3) };

fn replica(number: u128, datacenter: &str) -> Replica<'_> {
    Replica { host_id: host(number), datacenter, is_alive: true }
}

/// A read at a level of replicas 1, 2, 3, … of one datacenter.
fn reading(level: Consistency, factor: u32) -> ReadQuorum {
    let block_for = BlockFor::of(Operation::Read, level, &Replication::Simple { factor }, "dc1").unwrap();
    ReadQuorum::new(block_for, NOW, (1..=u128::from(factor)).map(|number| replica(number, "dc1"))).unwrap()
}

fn record(number: u128) -> Ask {
    Ask { host_id: host(number), wants: Wants::Record }
}

fn digest(number: u128) -> Ask {
    Ask { host_id: host(number), wants: Wants::Digest }
}

/// What a replica that holds this answers.
fn answer(ask: Ask, held: Option<&Record>) -> Answer {
    match ask.wants {
        Wants::Record => Answer::Record(held.cloned()),
        Wants::Digest => Answer::Digest(Digest::of(held, &NOW)),
    }
}

fn old() -> Record {
    Record::plain(Timestamp(5), "old")
}

fn new() -> Record {
    Record::plain(Timestamp(6), "new")
}

#[test]
fn as_many_are_asked_as_the_level_needs_and_the_first_for_the_record() {
    assert_eq!(reading(One, 3).ask(), [record(1)]);
    assert_eq!(reading(Quorum, 3).ask(), [record(1), digest(2)]);
    assert_eq!(reading(All, 3).ask(), [record(1), digest(2), digest(3)]);
    assert_eq!(reading(Count(4), 5).ask(), [record(1), digest(2), digest(3), digest(4)]);
}

#[test]
fn of_datacenters_those_are_asked_whose_answers_count() {
    let factors = [("dc1".to_owned(), 3), ("dc2".to_owned(), 3)].into();
    let replication = Replication::NetworkTopology { factors };
    let asked = |level| {
        let block_for = BlockFor::of(Operation::Read, level, &replication, "dc2").unwrap();
        let replicas = (1..=6).map(|number| replica(number, if number % 2 == 0 { "dc2" } else { "dc1" }));
        ReadQuorum::new(block_for, NOW, replicas).unwrap().ask()
    };
    assert_eq!(asked(LocalOne), [record(2)]);
    assert_eq!(asked(LocalQuorum), [record(2), digest(4)]);
    assert_eq!(asked(Quorum), [record(1), digest(2), digest(3), digest(4)]);
    assert_eq!(asked(EachQuorum), [record(1), digest(3), digest(2), digest(4)]);
}

#[test]
fn too_few_alive_are_unavailable_and_nobody_is_asked() {
    let block_for = BlockFor::of(Operation::Read, Quorum, &Replication::Simple { factor: 3 }, "").unwrap();
    let read = ReadQuorum::new(block_for, NOW, [replica(1, "dc1")]);
    assert!(matches!(read, Err(RequestError::Unavailable { required: 2, alive: 1, .. })));
}

#[test]
fn whoever_fails_is_replaced_by_another_for_the_same_thing() {
    let mut read = reading(Quorum, 4);
    assert_eq!(read.ask(), [record(1), digest(2), digest(3)]);
    read.on_failure(host(2), Missing::Lost);
    assert_eq!(read.ask(), [digest(4)]);
    read.on_failure(host(1), Missing::Lost);
    assert_eq!((read.ask(), read.verdict()), (vec![], Verdict::OutOfReach { silent: true }));

    let mut read = reading(Two, 3);
    read.ask();
    read.on_failure(host(1), Missing::Lost);
    assert_eq!(read.ask(), [record(3)], "the record is still to come");
}

#[test]
fn whoever_is_late_is_helped_by_another_for_what_is_missing() {
    let mut read = reading(Quorum, 3);
    read.ask();
    assert_eq!((read.ask_another(), read.ask_another()), (Some(record(3)), None));

    let mut read = reading(Quorum, 3);
    read.ask();
    read.on_answer(host(1), Answer::Record(None));
    assert_eq!(read.ask_another(), Some(digest(3)));

    let mut read = reading(Quorum, 3);
    read.ask();
    read.on_answer(host(1), Answer::Record(None));
    read.on_answer(host(2), Answer::Digest(Digest::NOTHING));
    assert_eq!(read.ask_another(), None, "nothing is missing");
}

#[test]
fn nobody_who_was_not_asked_is_silent_at_the_deadline() {
    let mut read = reading(Quorum, 5);
    read.ask();
    read.on_answer(host(1), Answer::Record(None));
    read.on_deadline();
    let error = read.error(std::time::Duration::from_secs(1));
    assert!(matches!(error, RequestError::Timeout { required: 3, received: 1, silent: 2, .. }), "{error:?}");
}

#[test]
fn replicas_that_agree_send_one_record() {
    for held in [None, Some(old())] {
        let mut read = reading(All, 3);
        for ask in read.ask() {
            read.on_answer(ask.host_id, answer(ask, held.as_ref()));
        }
        assert_eq!(read.verdict(), Verdict::Reached { acknowledged: 3 });
        assert_eq!((read.differing(), read.newest()), (vec![], held));
        assert!(read.repair().is_none());
    }
}

#[test]
fn of_digests_that_differ_the_records_are_asked_for_and_the_stale_repaired() {
    let held = [Some(old()), Some(old()), Some(new())];
    let mut read = reading(All, 3);
    for (ask, held) in read.ask().into_iter().zip(&held) {
        read.on_answer(ask.host_id, answer(ask, held.as_ref()));
    }
    assert_eq!(read.differing(), [record(3)], "the second one holds what the first one has sent");
    assert_eq!(read.verdict(), Verdict::Pending);
    read.on_answer(host(3), Answer::Record(Some(new())));
    assert_eq!((read.differing(), read.newest()), (vec![], Some(new())));

    let mut repair = read.repair().unwrap();
    assert_eq!(repair.stale(), [host(1), host(2)]);
    assert_eq!((repair.lacking(host(1)), repair.lacking(host(3))), (&new(), &new()));
    repair.on_ack(host(1));
    assert_eq!(repair.verdict(), Verdict::Pending);
    repair.on_ack(host(2));
    assert_eq!(repair.verdict(), Verdict::Reached { acknowledged: 3 });
}

#[test]
fn a_repair_that_fails_is_made_good_by_another_replica() {
    let mut read = reading(Quorum, 3);
    read.ask();
    read.on_answer(host(1), Answer::Record(Some(new())));
    read.on_answer(host(2), Answer::Digest(Digest::of(Some(&old()), &NOW)));
    assert_eq!(read.differing(), [record(2)]);
    read.on_answer(host(2), Answer::Record(Some(old())));
    let mut repair = read.repair().unwrap();
    repair.on_failure(host(2), Missing::Lost);
    assert_eq!((repair.ask(), repair.verdict()), (vec![host(3)], Verdict::Pending));
    repair.on_ack(host(3));
    assert_eq!(repair.verdict(), Verdict::Reached { acknowledged: 2 });
}

#[test]
fn a_tombstone_within_its_grace_is_an_answer_and_beyond_it_is_nothing() {
    let value = Record::plain(Timestamp(1), "deleted since");
    for (deleted_at, seen, is_spread) in [(3, true, true), (2, false, false)] {
        let tombstone = Record::tombstone(Timestamp(2), Timestamp(deleted_at));
        for held in [[Some(&tombstone), Some(&value)], [Some(&value), Some(&tombstone)]] {
            let mut read = reading(Two, 2);
            for (ask, held) in read.ask().into_iter().zip(held) {
                read.on_answer(ask.host_id, answer(ask, held));
            }
            assert_eq!(read.differing(), [record(2)]);
            read.on_answer(host(2), Answer::Record(held[1].cloned()));
            assert_eq!(read.newest(), seen.then(|| tombstone.clone()), "the value is dead either way");
            assert_eq!(read.repair().is_some(), is_spread);
        }
    }
    let forgotten = Record::tombstone(Timestamp(2), Timestamp(2));
    assert_eq!(Digest::of(Some(&forgotten), &NOW), Digest::NOTHING);
    let expired = Record::expiring(Timestamp(2), "v", Timestamp(2));
    assert_eq!(Digest::of(Some(&expired), &NOW), Digest::NOTHING);
}

#[test]
fn digests_are_the_same_on_every_node() {
    let expired = Record::expiring(Timestamp(9), "v", Timestamp(20));
    let merged = expired.clone().as_of(Timestamp(20));
    assert_ne!(merged, expired);
    assert_eq!(Digest::of(Some(&expired), &NOW), Digest::of(Some(&merged), &NOW));
    assert_eq!(format!("{:032x}", Digest::of(Some(&new()), &NOW).0), "83c2575c6256890b2d625ac85ce90ec7");
}

#[test]
fn a_repeated_answer_changes_nothing() {
    let mut read = reading(Two, 3);
    read.ask();
    read.on_answer(host(1), Answer::Record(None));
    read.on_answer(host(1), Answer::Record(Some(new())));
    read.on_answer(host(7), Answer::Record(Some(new())));
    assert_eq!((read.verdict(), read.newest()), (Verdict::Pending, None));
}

#[test]
fn merging_at_the_coordinator_and_merging_at_a_replica_give_the_same_answer() {
    let short = Record::expiring(Timestamp(5), "short", Timestamp(10));
    let long = Record::expiring(Timestamp(5), "long", Timestamp(30));

    let mut apart = reading(Two, 2);
    apart.ask();
    apart.on_answer(host(1), Answer::Record(Some(short.clone())));
    apart.on_answer(host(2), Answer::Record(Some(long.clone())));
    let mut together = reading(One, 1);
    together.ask();
    together.on_answer(host(1), Answer::Record(Some(short.reconcile(long.clone()))));

    assert_eq!((apart.newest(), together.newest()), (Some(long.clone()), Some(long)));
}

/// Replicas as a test of the whole: what each holds, and which do not answer.
#[derive(Debug, Clone)]
struct World {
    held: BTreeMap<HostId, Option<Record>>,
    silent: Vec<HostId>,
}

impl World {
    /// Reads to the end, repairs included; whoever is next to answer is drawn. `None`: not enough answered.
    fn read(
        &mut self,
        read: &mut ReadQuorum,
        draws: &mut impl FnMut(usize) -> usize,
    ) -> Option<Option<Record>> {
        let mut asked = read.ask();
        loop {
            match read.verdict() {
                Verdict::OutOfReach { .. } => return None,
                Verdict::Reached { .. } => {
                    let differing = read.differing();
                    if differing.is_empty() {
                        break;
                    }
                    asked.extend(differing);
                }
                Verdict::Pending => {
                    if draws(4) == 0 {
                        asked.extend(read.ask_another());
                    }
                    let ask = asked.swap_remove(draws(asked.len()));
                    if self.silent.contains(&ask.host_id) {
                        read.on_failure(ask.host_id, Missing::Lost);
                    } else {
                        read.on_answer(ask.host_id, answer(ask, self.held[&ask.host_id].as_ref()));
                    }
                    asked.extend(read.ask());
                }
            }
        }
        let Some(mut repair) = read.repair() else { return Some(read.newest()) };
        let mut written = repair.stale();
        while repair.verdict() == Verdict::Pending {
            let host_id = written.swap_remove(draws(written.len()));
            // Some die between their answer and their repair.
            if self.silent.contains(&host_id) || draws(5) == 0 {
                self.silent.push(host_id);
                repair.on_failure(host_id, Missing::Lost);
            } else {
                let held = self.held.get_mut(&host_id).unwrap();
                *held = Some(match held.take() {
                    Some(held) => held.reconcile(repair.lacking(host_id).clone()),
                    None => repair.lacking(host_id).clone(),
                });
                repair.on_ack(host_id);
            }
            written.extend(repair.ask());
        }
        matches!(repair.verdict(), Verdict::Reached { .. }).then(|| read.newest())
    }
}

/// None has expired: of two versions with one timestamp the one that expires later wins, also over the other's expiry.
fn records() -> impl Strategy<Value = Option<Record>> {
    let value = prop::sample::select(vec!["a", "b"]);
    prop::option::of((1u64..4, 3u64..40, 0u8..3, value).prop_map(|(at, end, kind, value)| match kind {
        0 => Record::plain(Timestamp(at), value),
        1 => Record::expiring(Timestamp(at), value, Timestamp(NOW.now.0 + end)),
        _ => Record::tombstone(Timestamp(at), Timestamp(end)),
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_read_answers_anything_older_than_an_earlier_one_that_it_overlaps_with(
        held in prop::collection::vec(records(), 1..6),
        silent in prop::collection::vec(1u128..6, 0..2),
        level in prop::sample::select(vec![Quorum, All, EachQuorum]),
        seed in any::<u64>(),
    ) {
        let factor = held.len() as u32;
        let mut world = World {
            held: (1u128..).map(host).zip(held).collect(),
            silent: silent.into_iter().map(host).collect(),
        };
        let mut state = seed;
        let mut draws = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let block_for = BlockFor::of(Operation::Read, level, &Replication::Simple { factor }, "").unwrap();
        let mut order: Vec<u128> = (1..=u128::from(factor)).collect();
        let mut newest: Option<Record> = None;
        for _ in 0..4 {
            order.rotate_left(draws(factor as usize));
            let replicas = order.iter().map(|number| replica(*number, "dc1"));
            let mut read = ReadQuorum::new(block_for.clone(), NOW, replicas).unwrap();
            let Some(seen) = world.read(&mut read, &mut draws) else { continue };
            let is_older = match (&newest, &seen) {
                (Some(newest), Some(seen)) => newest.supersedes(seen),
                (Some(_), None) => true,
                (None, _) => false,
            };
            prop_assert!(!is_older, "{newest:?}, then {seen:?} of {world:?}");
            newest = seen;
        }
    }
}
