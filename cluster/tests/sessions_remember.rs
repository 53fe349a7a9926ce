//! Promise: a session's token holds what the session wrote and read, however full it is; and nothing that a node did not
//! give out is taken for one.

use std::collections::BTreeMap;

use helenus_cluster::{
    consistency::Consistency,
    node_id::ClusterId,
    session::{Demand, Held, MAX_TOKEN_BYTES, Observed, Session, TokenError, demand::Heard},
    table::Replication,
    time::Timestamp,
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(7));
const NEVER: Timestamp = Timestamp(0);
const REPLICATION: Replication = Replication::Simple { factor: 3 };

fn saw(key: u64, timestamp: u64, level: Consistency) -> Observed {
    let held = Held::at(level, "dc1");
    Observed { cluster: CLUSTER, key, timestamp: Timestamp(timestamp), held, is_written: false }
}

fn wrote(key: u64, timestamp: u64, level: Consistency) -> Observed {
    Observed { is_written: true, ..saw(key, timestamp, level) }
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
    demand.is_met(&Heard { newest: newest.map(Timestamp), counts: newest.is_some(), unheard })
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
    let mut session = folded(Consistency::Quorum);
    session.note(&wrote(1, 3, Consistency::All));

    assert!(matches!(session.demand(1, &REPLICATION, NEVER), Demand::Overlap { .. }));
    session.note(&saw(1, 1000, Consistency::One));
    assert!(matches!(
        session.demand(1, &REPLICATION, NEVER),
        Demand::AtLeast { timestamp: Timestamp(1000), .. }
    ));
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
            observed.is_written = is_written;
            if !is_written {
                // Its demand was met.
                observed.timestamp = Timestamp(timestamp.max(known));
            }
            session.note(&observed);
            if key % 8 == 0 {
                session = carried(&mut session);
            }
            newest.insert(key, known.max(observed.timestamp.0));
        }
        prop_assert!(session.to_token().len() <= MAX_TOKEN_BYTES);
        for (key, newest) in newest {
            let demand = session.demand(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), &REPLICATION, NEVER);
            prop_assert!(!met(&demand, Some(newest - 1), &["", "", ""]), "{key} may be read as older: {demand:?}");
            prop_assert!(!met(&demand, None, &["", "", ""]), "{key} may be missed: {demand:?}");
            prop_assert!(session.clock() >= Timestamp(newest));
        }
    }
}
