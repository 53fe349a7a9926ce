//! Promise: a session's token holds what the session wrote and read, however full it is; and nothing that a node did not
//! give out is taken for one.

use std::collections::BTreeMap;

use helenus_cluster::{
    consistency::Consistency,
    node_id::ClusterId,
    session::{Demand, Held, MAX_TOKEN_BYTES, Observed, Session, TokenError, Version, demand::Heard},
    table::Replication,
    time::Timestamp,
};
use helenus_storage::Record;
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(7));
const NEVER: Timestamp = Timestamp(0);
const REPLICATION: Replication = Replication::Simple { factor: 3 };

/// A read whose demand was met.
fn saw(key: u64, timestamp: u64, level: Consistency) -> Observed {
    saw_this(key, &value(timestamp), level)
}

fn wrote(key: u64, timestamp: u64, level: Consistency) -> Observed {
    wrote_this(key, &value(timestamp), level)
}

fn saw_this(key: u64, record: &Record, level: Consistency) -> Observed {
    Observed { is_newest: true, ..wrote_this(key, record, level) }
}

fn wrote_this(key: u64, record: &Record, level: Consistency) -> Observed {
    let (held, version) = (Held::at(level, "dc1"), Version::of(record));
    Observed { cluster: CLUSTER, key, version, held, is_newest: false }
}

fn value(timestamp: u64) -> Record {
    Record::plain(Timestamp(timestamp), "value")
}

/// As it comes back from the client.
fn carried(session: &mut Session) -> Session {
    Session::from_token(&session.to_token()).expect("it was given out")
}

/// A session whose key 1, met at this level, has folded into the floor.
fn folded(level: Consistency) -> Session {
    let mut session = Session::default();
    session.note(&wrote(1, 100, level));
    (2..300).for_each(|key| session.note(&wrote(key, 100 + key, Consistency::All)));
    carried(&mut session)
}

fn met(demand: &Demand, newest: Option<u64>, unheard: &[&str]) -> bool {
    met_by(demand, newest.map(value).as_ref(), unheard)
}

fn met_by(demand: &Demand, newest: Option<&Record>, unheard: &[&str]) -> bool {
    demand.is_met(&Heard { newest: newest.map(Version::of), counts: newest.is_some(), unheard })
}

#[test]
fn a_listed_key_is_read_at_its_newest_timestamp_or_above() {
    let mut session = Session::default();
    session.note(&wrote(1, 100, Consistency::One));
    session.note(&saw(1, 90, Consistency::All));
    let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);

    assert!(!met(&demand, Some(99), &[]), "whoever has answered");
    assert!(!met(&demand, None, &[]));
    assert!(met(&demand, Some(100), &["", ""]));
    assert_eq!(session.demand(2, &REPLICATION, NEVER), Demand::Nothing, "a key that it never met");
    assert_eq!(session.clock(), Timestamp(100));
}

#[test]
fn what_may_be_forgotten_is_missed_only_by_all_replicas_together() {
    let mut session = Session::default();
    session.note(&wrote(1, 100, Consistency::One));
    let demand = session.demand(1, &REPLICATION, Timestamp(100));

    assert!(met(&demand, None, &[]));
    assert!(!met(&demand, None, &[""]), "one of them may have it");
    assert!(!met(&demand, Some(99), &[]), "an older version is no deletion");
    assert!(!met(&session.demand(1, &REPLICATION, Timestamp(99)), None, &[]));
}

#[test]
fn an_unlisted_key_is_read_where_it_overlaps_with_the_level_of_the_floor() {
    let unheard = [&["", ""][..], &[""], &[]];
    let needs = |level| {
        let demand = folded(level).demand(1, &REPLICATION, NEVER);
        unheard.map(|unheard| met(&demand, Some(50), unheard))
    };

    assert_eq!(needs(Consistency::All), [true, true, true]);
    assert_eq!(needs(Consistency::Quorum), [false, true, true]);
    assert_eq!(needs(Consistency::One), [false, false, true]);
    let hint_alone = wrote(1, 100, Consistency::Any);
    let mut session = Session::default();
    session.note(&Observed { held: Held::BY_NONE, ..hint_alone });
    (2..300).for_each(|key| session.note(&wrote(key, 100 + key, Consistency::All)));
    assert!(!met(&session.demand(1, &REPLICATION, NEVER), Some(50), &[]), "no replica need have it");
    let floor = folded(Consistency::One).demand(1, &REPLICATION, NEVER);
    assert!(met(&floor, Some(280), &["", ""]), "newer than all that has folded");
}

#[test]
fn a_floor_counts_by_datacenters() {
    let replication = Replication::NetworkTopology {
        factors: BTreeMap::from([("dc1".to_owned(), 3), ("dc2".to_owned(), 3)]),
    };
    let demand = folded(Consistency::LocalQuorum).demand(1, &replication, NEVER);

    assert!(
        met(&demand, Some(50), &["dc1", "dc2", "dc2", "dc2"]),
        "two of dc1 are heard, and it was two of dc1"
    );
    assert!(!met(&demand, Some(50), &["dc1", "dc1", "dc2"]));
    let demand = folded(Consistency::EachQuorum).demand(1, &replication, NEVER);
    assert!(met(&demand, Some(50), &["dc2", "dc1", "dc1", "dc1"]), "one datacenter will do");
    let unknown = folded(Consistency::Count(7)).demand(1, &replication, NEVER);
    assert!(!met(&unknown, Some(50), &["dc1"]) && met(&unknown, Some(50), &[]), "a level of another table");
}

#[test]
fn a_write_with_an_old_timestamp_of_its_own_hides_no_newer_version_of_its_key() {
    let mut session = Session::default();
    session.note(&wrote(1, 100, Consistency::Quorum));
    for key in 2..=128 {
        let large = Record::expiring(Timestamp(100 + key), "value", Timestamp(u64::MAX / 2));
        session.note(&wrote_this(key, &large, Consistency::LocalQuorum));
    }
    // What its token had no room for has folded: it lists fewer keys than it may.
    let mut session = carried(&mut session);
    let floor = |session: &Session| match session.demand(1, &REPLICATION, NEVER) {
        Demand::Overlap { timestamp, .. } => timestamp.0,
        demand => panic!("it is listed: {demand:?}"),
    };
    for timestamp in [3, floor(&session)] {
        session.note(&wrote(1, timestamp, Consistency::All));
        assert!(floor(&session) >= timestamp);
    }
    session.note(&saw(1, 1000, Consistency::One));
    assert!(matches!(
        session.demand(1, &REPLICATION, NEVER),
        Demand::AtLeast { version: Version { timestamp: Timestamp(1000), .. }, .. }
    ));
}

#[test]
fn another_value_of_its_timestamp_is_read_only_where_those_who_hold_its_own_are_met() {
    let (five, nine) = (Record::plain(Timestamp(100), "5"), Record::plain(Timestamp(100), "9"));
    for observe in [wrote_this, saw_this] {
        let mut session = Session::default();
        session.note(&observe(1, &nine, Consistency::Quorum));
        let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);

        assert!(met_by(&demand, Some(&nine), &["", "", ""]), "its own");
        assert!(!met_by(&demand, Some(&five), &["", ""]), "the one that is heard may have missed it");
        assert!(met_by(&demand, Some(&five), &[""]), "one of those who hold it has said so");
        assert!(!met_by(&demand, None, &[]));

        session.note(&Observed { held: Held::BY_NONE, ..observe(2, &nine, Consistency::Any) });
        let demand = session.demand(2, &REPLICATION, NEVER);
        assert!(!met_by(&demand, Some(&five), &[]), "a hint may hold the newer one");
        assert!(met_by(&demand, Some(&nine), &["", ""]) && met(&demand, Some(101), &["", ""]));
    }
}

#[test]
fn of_two_values_with_one_timestamp_that_it_wrote_each_needs_those_who_hold_the_other() {
    let values = ["5", "9"].map(|value| Record::plain(Timestamp(100), value));
    let unheard = [&["", ""][..], &[""], &[]];
    for (levels, is_met) in [
        ([Consistency::Quorum, Consistency::Quorum], [false, true, true]),
        ([Consistency::Quorum, Consistency::All], [false, false, true]),
    ] {
        for order in [[0, 1], [1, 0]] {
            let mut session = Session::default();
            for number in order {
                session.note(&wrote_this(1, &values[number], levels[number]));
            }
            let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);
            for newest in &values {
                assert_eq!(unheard.map(|unheard| met_by(&demand, Some(newest), unheard)), is_met);
            }
            session.note(&saw_this(1, &values[1], Consistency::One));
            let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);
            assert!(met_by(&demand, Some(&values[1]), &["", ""]), "it has read which of them is newer");
            assert!(!met_by(&demand, Some(&values[0]), &["", ""]));
        }
    }
    let mut session = Session::default();
    session.note(&wrote_this(1, &values[0], Consistency::All));
    session.note(&Observed { held: Held::BY_NONE, ..wrote_this(1, &values[1], Consistency::Any) });
    assert!(!met_by(&session.demand(1, &REPLICATION, NEVER), Some(&values[0]), &[]));
}

#[test]
fn what_was_read_without_the_session_is_not_taken_for_the_newest() {
    let (five, nine) = (Record::plain(Timestamp(100), "5"), Record::plain(Timestamp(100), "9"));
    let unaware = |record| Observed { is_newest: false, ..saw_this(1, record, Consistency::One) };
    let mut session = Session::default();
    session.note(&wrote_this(1, &nine, Consistency::One));
    session.note(&unaware(&five));
    assert!(!met_by(&session.demand(1, &REPLICATION, NEVER), Some(&five), &["", ""]));

    let mut session = folded(Consistency::Quorum);
    session.note(&unaware(&value(50)));
    assert!(!met(&session.demand(1, &REPLICATION, NEVER), Some(50), &["", ""]), "it has folded");
}

#[test]
fn a_deletion_wins_over_the_value_that_it_shares_its_timestamp_with() {
    let (at, value) = (Timestamp(100), value(100));
    let deletion = Record::tombstone(at, Timestamp(7));
    let mut session = Session::default();
    session.note(&wrote_this(1, &value, Consistency::Quorum));
    let demand = session.demand(1, &REPLICATION, NEVER);
    assert!(met_by(&demand, Some(&deletion), &["", ""]), "no other replica can have a newer value of then");

    session.note(&wrote_this(1, &deletion, Consistency::Quorum));
    session.note(&wrote_this(1, &value, Consistency::Quorum));
    let demand = carried(&mut session).demand(1, &REPLICATION, Timestamp(100));
    assert!(met_by(&demand, Some(&deletion), &["", ""]));
    assert!(!met_by(&demand, Some(&value), &[]), "the value came back");
    let later = Record::tombstone(at, Timestamp(8));
    assert!(met_by(&demand, Some(&later), &["", ""]));
    assert!(met(&demand, None, &[]), "all have forgotten it");
}

#[test]
fn a_value_that_has_expired_since_is_what_the_session_met() {
    let (at, end) = (Timestamp(100), Timestamp(900));
    let mut session = Session::default();
    session.note(&wrote_this(1, &Record::expiring(at, "9", end), Consistency::One));
    let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);
    assert!(met_by(&demand, Some(&Record::expired(at, end)), &["", ""]));
    assert!(
        !met_by(&demand, Some(&Record::expired(at, Timestamp(899))), &[]),
        "another one, of a shorter life"
    );
    assert!(!met_by(&demand, Some(&Record::expiring(at, "5", end)), &["", ""]));

    session.note(&saw_this(1, &Record::expired(at, end), Consistency::One));
    let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);
    assert!(met_by(&demand, Some(&Record::expired(at, end)), &["", ""]));
}

#[test]
fn a_key_of_the_floors_own_timestamp_needs_those_who_hold_it() {
    let mut session = Session::default();
    (0..128).for_each(|key| session.note(&wrote(key, 100 + key, Consistency::Quorum)));
    session.note(&wrote(128, 500, Consistency::Quorum));
    let demand = carried(&mut session).demand(0, &REPLICATION, NEVER);

    assert!(matches!(demand, Demand::Overlap { timestamp: Timestamp(100), .. }), "{demand:?}");
    assert!(!met(&demand, Some(100), &["", ""]));
    assert!(met(&demand, Some(100), &[""]) && met(&demand, Some(101), &["", ""]));
}

#[test]
fn a_full_token_lists_its_128_keys_and_those_with_an_end_or_a_datacenter_as_many_as_have_room() {
    let hour_us = 3_600_000_000;
    let full = |level, record: fn(Timestamp) -> Record| {
        let mut session = Session::default();
        let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for number in 0..128 {
            let timestamp = Timestamp(1_800_000_000_000_000 + number * hour_us / 16);
            session.note(&wrote_this(key(number), &record(timestamp), level));
        }
        let token = session.to_token();
        assert!(token.len() <= MAX_TOKEN_BYTES);
        let is_listed = |number: &u64| {
            matches!(session.demand(key(*number), &REPLICATION, NEVER), Demand::AtLeast { .. })
        };
        ((0..128).filter(is_listed).count(), token.len())
    };
    let plain = |timestamp| Record::plain(timestamp, timestamp.0.to_string());
    let expiring = |timestamp: Timestamp| {
        let end = Timestamp(timestamp.0 + 86_400_000_000);
        Record::expiring(timestamp, timestamp.0.to_string(), end)
    };
    let deleted = |timestamp| Record::tombstone(timestamp, timestamp);

    let (listed, bytes) = full(Consistency::Quorum, plain);
    assert_eq!(listed, 128, "{bytes} bytes");
    assert!((2600..2800).contains(&bytes), "{bytes} bytes");
    assert_eq!(full(Consistency::Quorum, deleted).0, 128);
    let least = full(Consistency::LocalQuorum, expiring).0;
    assert!((75..128).contains(&least), "{least}");
}

#[test]
fn what_is_damaged_too_long_or_of_a_later_build_is_no_token() {
    let mut session = folded(Consistency::LocalQuorum);
    let token = session.to_token();
    assert_eq!(Session::from_token(&token).as_ref(), Ok(&session));
    for place in 0..token.len() {
        let mut damaged = token.clone();
        damaged[place] ^= 0x10;
        assert_eq!(Session::from_token(&damaged), Err(TokenError::Damaged), "byte {place}");
        assert_eq!(Session::from_token(&token[..place]), Err(TokenError::Damaged), "cut at {place}");
    }
    assert_eq!(Session::from_token(&vec![0; MAX_TOKEN_BYTES + 1]), Err(TokenError::TooLong));
    let mut later = vec![9];
    later.extend(xxhash_rust::xxh3::xxh3_64(&later).to_le_bytes());
    assert_eq!(Session::from_token(&later), Err(TokenError::UnknownVersion(9)));
}

fn levels() -> impl Strategy<Value = Consistency> {
    use Consistency::*;
    prop::sample::select(vec![
        One,
        Two,
        Three,
        Quorum,
        All,
        LocalOne,
        LocalQuorum,
        EachQuorum,
        Count(4_000_000_000),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A replica set that holds what the session met, and answers that miss it: the demand must tell.
    #[test]
    fn whatever_a_session_met_no_answer_that_lacks_it_is_let_through(
        steps in vec((0u64..400, 1u64..1_000_000, levels(), any::<bool>()), 1..600),
    ) {
        let mut session = Session::default();
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, timestamp, level, is_written) in steps {
            let known = newest.get(&key).copied().unwrap_or(0);
            let mut observed = saw(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), timestamp, level);
            observed.is_newest = !is_written;
            if !is_written {
                // Its demand was met.
                observed.version = Version::of(&value(timestamp.max(known)));
            }
            session.note(&observed);
            if key % 8 == 0 {
                session = carried(&mut session);
            }
            newest.insert(key, known.max(observed.version.timestamp.0));
        }
        prop_assert!(session.to_token().len() <= MAX_TOKEN_BYTES);
        for (key, newest) in newest {
            let demand = session.demand(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), &REPLICATION, NEVER);
            prop_assert!(!met(&demand, Some(newest - 1), &["", "", ""]), "{key} may be read as older: {demand:?}");
            prop_assert!(!met(&demand, None, &["", "", ""]), "{key} may be missed: {demand:?}");
            prop_assert!(session.clock() >= Timestamp(newest));
        }
    }
    /// Three replicas, each of which keeps the newest version that it is given, and few timestamps for many keys.
    #[test]
    fn what_a_session_reads_of_real_replicas_is_never_older_by_the_order_of_versions(
        steps in vec(step(), 1..800),
        folds_at in 0usize..800,
    ) {
        let mut session = Session::default();
        let mut replicas = vec![BTreeMap::<u64, Record>::new(); 3];
        let mut known = BTreeMap::<u64, Record>::new();
        let mut has_hints_alone = false;
        for (number, Step { key, written, level, order, is_aware }) in steps.into_iter().enumerate() {
            if number == folds_at {
                (1000..1128).for_each(|key| session.note(&saw(key, 1000, Consistency::All)));
            }
            let Some(written) = written else {
                let demand = session.demand(key, &REPLICATION, NEVER);
                let demand = if is_aware { demand } else { Demand::Nothing };
                let newest = |heard: usize| {
                    let held = order[..heard].iter().filter_map(|replica| replicas[*replica].get(&key).cloned());
                    held.reduce(Record::reconcile)
                };
                let is_met = |heard: &usize| met_by(&demand, newest(*heard).as_ref(), &["", "", ""][*heard..]);
                let Some(heard) = (required(level)..=3).find(is_met) else {
                    prop_assert!(has_hints_alone, "{key} cannot be read: {demand:?}");
                    continue;
                };
                let Some(read) = newest(heard) else {
                    prop_assert!(!is_aware || !known.contains_key(&key), "{key} is missed: {demand:?}");
                    continue;
                };
                if is_aware && let Some(known) = known.get(&key) {
                    prop_assert!(!known.supersedes(&read), "{read:?} after {known:?}: {demand:?}");
                }
                // As a read repairs.
                order[..heard].iter().for_each(|replica| keep(&mut replicas[*replica], key, &read));
                let is_newest = demand != Demand::Nothing;
                session.note(&Observed { is_newest, ..saw_this(key, &read, level) });
                keep(&mut known, key, &read);
                continue;
            };
            order[..required(level)].iter().for_each(|replica| keep(&mut replicas[*replica], key, &written));
            let mut observed = wrote_this(key, &written, level);
            if level == Consistency::Any {
                has_hints_alone = true;
                observed.held = Held::BY_NONE;
            }
            session.note(&observed);
            keep(&mut known, key, &written);
            if key % 8 == 0 {
                session = carried(&mut session);
            }
        }
    }

    /// What a token keeps of a version orders it as the versions are ordered, or does not say.
    #[test]
    fn versions_are_compared_as_they_are_reconciled(met in record(), newest in record()) {
        let mut session = Session::default();
        session.note(&wrote_this(1, &met, Consistency::One));
        let demand = carried(&mut session).demand(1, &REPLICATION, NEVER);
        let alone = met_by(&demand, Some(&newest), &["", ""]);
        let with_all = met_by(&demand, Some(&newest), &[]);

        prop_assert!(!alone || !met.supersedes(&newest));
        prop_assert!(with_all || met.supersedes(&newest));
        let could_tell = met.timestamp != newest.timestamp
            || met.end() != newest.end()
            || std::mem::discriminant(&met.kind) != std::mem::discriminant(&newest.kind)
                && (met.end().is_none() || newest.end().is_none());
        prop_assert!(alone == with_all || !could_tell, "{met:?}, {newest:?}");
    }
}

/// What a session of the model does.
#[derive(Debug, Clone)]
struct Step {
    key: u64,
    /// A read if none.
    written: Option<Record>,
    level: Consistency,
    /// Of the replicas, as many as the level requires, or as the session does.
    order: Vec<usize>,
    /// Whether a read is made with the session.
    is_aware: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let level = prop_oneof![
        30 => Just(Consistency::One),
        20 => Just(Consistency::Quorum),
        5 => Just(Consistency::All),
    ];
    let order = Just(vec![0, 1, 2]).prop_shuffle();
    let (key, written, is_aware) = (0u64..200, prop::option::of(record()), prop::bool::weighted(0.9));
    (key, written, level, order, is_aware, 0..2000).prop_map(
        |(key, written, level, order, is_aware, rare)| {
            let is_hint_alone = rare == 0 && written.is_some();
            let level = if is_hint_alone { Consistency::Any } else { level };
            // Most of what is done is done to few keys.
            Step { key: if key < 60 { key % 3 } else { key }, written, level, order, is_aware }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    (1u64..5, 0..4, 10u64..12, prop::sample::select(vec!["", "5", "9"])).prop_map(
        |(timestamp, kind, end, value)| {
            let (timestamp, end) = (Timestamp(timestamp), Timestamp(end));
            match kind {
                0 => Record::expiring(timestamp, value, end),
                1 => Record::tombstone(timestamp, end),
                2 => Record::expired(timestamp, end),
                _ => Record::plain(timestamp, value),
            }
        },
    )
}

fn required(level: Consistency) -> usize {
    match level {
        Consistency::Any => 0,
        Consistency::One => 1,
        Consistency::Quorum => 2,
        _ => 3,
    }
}

/// What a replica does.
fn keep(replica: &mut BTreeMap<u64, Record>, key: u64, record: &Record) {
    let newest = match replica.remove(&key) {
        Some(held) => held.reconcile(record.clone()),
        None => record.clone(),
    };
    replica.insert(key, newest);
}
