//! Reconciling records gives the same winner in whatever order, grouping and number they arrive, and encodings
//! are read back or refused.

use bytes::Bytes;
use helenus_storage::{Error, Mutation, Record, Timestamp};
use proptest::prelude::*;

/// Few times and values, so that ties are common.
fn any_record() -> impl Strategy<Value = Record> {
    (0_u8..4, 0_u64..3, 0_u64..3, prop::collection::vec(0_u8..2, 0..3)).prop_map(|(kind, at, end, value)| {
        match kind {
            0 => Record::plain(Timestamp(at), value),
            1 => Record::expiring(Timestamp(at), value, Timestamp(end)),
            2 => Record::expired(Timestamp(at), Timestamp(end)),
            _ => Record::tombstone(Timestamp(at), Timestamp(end)),
        }
    })
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    (bytes(), prop::collection::vec((bytes(), any_record()), 1..5))
        .prop_map(|(key, rows)| Mutation { key, rows })
}

fn encoded(mutation: &Mutation) -> Vec<u8> {
    let mut bytes = Vec::new();
    mutation.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn reconcile_is_commutative_associative_and_idempotent(
        a in any_record(), b in any_record(), c in any_record()
    ) {
        let join = |a: &Record, b: &Record| a.clone().reconcile(b.clone());
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(join(&a, &a), a.clone());
        prop_assert!(join(&a, &b) == a || join(&a, &b) == b);
        prop_assert_eq!(a != b, a.supersedes(&b) || b.supersedes(&a), "the order is total");
        prop_assert!(!(a.supersedes(&b) && b.supersedes(&a)));
    }

    #[test]
    fn it_makes_no_difference_whether_versions_expire_before_or_after_they_meet(
        a in any_record(), b in any_record(), now in 0_u64..4
    ) {
        let as_of = |record: &Record| record.clone().as_of(Timestamp(now));
        let met = as_of(&a.clone().reconcile(b.clone()));
        prop_assert_eq!(&as_of(&a).reconcile(as_of(&b)), &met);
        // Nor if only one of them has been rewritten since, or both one after the other.
        prop_assert_eq!(as_of(&as_of(&a).reconcile(b)), met.clone());
        prop_assert_eq!(as_of(&met), met);
    }

    #[test]
    fn encodings_are_read_back(record in any_record(), mutation in any_mutation()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), record.encoded_len());
        prop_assert_eq!(Record::decode(bytes.into()).unwrap(), record);

        let bytes = encoded(&mutation);
        prop_assert_eq!(bytes.len(), mutation.encoded_len());
        prop_assert_eq!(Mutation::decode(bytes.into()).unwrap(), mutation);
    }

    #[test]
    fn truncated_and_lengthened_encodings_are_refused(mutation in any_mutation(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&mutation);
        let short = bytes[..cut.index(bytes.len())].to_vec();
        prop_assert!(Mutation::decode(short.into()).is_err());
        prop_assert!(Mutation::decode([bytes, vec![0]].concat().into()).is_err());
    }

    #[test]
    fn no_input_makes_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(record) = Record::decode(bytes.clone().into()) {
            let mut again = Vec::new();
            record.encode(&mut again);
            prop_assert_eq!(&again, &bytes, "one encoding per record");
        }
        if let Ok(mutation) = Mutation::decode(bytes.clone().into()) {
            prop_assert_eq!(encoded(&mutation), bytes, "one encoding per mutation");
        }
    }
}

#[test]
fn ties_go_to_tombstones_then_to_later_ends_then_to_larger_values() {
    let at = Timestamp(5);
    let ascending = [
        Record::tombstone(Timestamp(4), Timestamp(99)),
        Record::plain(at, &b"a"[..]),
        Record::plain(at, &b"b"[..]),
        Record::expiring(at, &b"b"[..], Timestamp(1)),
        Record::expired(at, Timestamp(1)),
        Record::expiring(at, &b"a"[..], Timestamp(2)),
        Record::tombstone(at, Timestamp(1)),
        Record::tombstone(at, Timestamp(2)),
        Record::plain(Timestamp(6), Bytes::new()),
    ];
    for pair in ascending.windows(2) {
        assert!(pair[1].supersedes(&pair[0]), "{pair:?}");
    }
}

#[test]
fn an_expired_record_has_no_value_and_is_no_deletion() {
    let record = Record::expiring(Timestamp(1), &b"v"[..], Timestamp(10));
    assert_eq!(record.clone().as_of(Timestamp(9)), record);
    assert_eq!(record.as_of(Timestamp(10)), Record::expired(Timestamp(1), Timestamp(10)));
    let plain = Record::plain(Timestamp(1), &b"v"[..]);
    assert_eq!(plain.clone().as_of(Timestamp(u64::MAX)), plain);
}

#[test]
fn an_unknown_kind_is_told_from_damage() {
    let bytes = [vec![4], vec![0; 40]].concat();
    let unknown = Record::decode(bytes.into());
    assert!(matches!(unknown, Err(Error::UnknownRecordKind { kind: 4 })));
    assert!(matches!(Record::decode(Bytes::new()), Err(Error::Malformed { .. })));
}
