//! Promise: a scan meets every key that is there, once, whatever each replica's page ends at; it answers the newest
//! versions of as many replicas as its level requires, and only once as many hold them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod setting;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency::{self, *},
    error::RequestError,
    node_id::ClusterId,
    partitioning::{
        KeyRange, Partitioner, Ring, Token, key_range::behind_key, split_storage_key, storage_key,
    },
    placement::{SimpleStrategy, Strategy as Placing},
    quorum::{
        AsOf, BlockFor, Missing, Operation, PageLimits, RangeQuorum, Reconciled, Replica, ReplicaPage,
        Verdict,
    },
    scan::{Bounds, BoundsError, Pace, PageToken, PageTokenError, Place, Segment, segments},
    table::Replication,
    time::Timestamp,
};
use helenus_storage::{Record, TableId};
use proptest::prelude::*;
use setting::{host, joining, normal};
use uuid::Uuid;

const NOW: AsOf = AsOf { now: Timestamp(20), forgotten_before: Timestamp(3) };
const MANY: PageLimits = PageLimits { items: 1000, bytes: 1 << 20, tombstones: 1000 };

fn key(name: &str) -> Bytes {
    storage_key(Partitioner::ByteOrdered.token(name.as_bytes()), name.as_bytes())
}

fn name(key: &Bytes) -> String {
    String::from_utf8(split_storage_key(key).unwrap().key.to_vec()).unwrap()
}

fn value(timestamp: u64) -> Record {
    Record::plain(Timestamp(timestamp), "value")
}

fn gone(timestamp: u64) -> Record {
    Record::tombstone(Timestamp(timestamp), Timestamp(10))
}

fn page(records: &[(&str, Record)], is_whole: bool) -> ReplicaPage {
    ReplicaPage { records: records.iter().map(|(name, held)| (key(name), held.clone())).collect(), is_whole }
}

fn quorum(level: Consistency, factor: u32) -> RangeQuorum {
    let block_for = BlockFor::of(Operation::Read, level, &Replication::Simple { factor }, "dc1").unwrap();
    let replica = |number| Replica { host_id: host(number), datacenter: "dc1", is_alive: true };
    RangeQuorum::new(block_for, NOW, (1..=u128::from(factor)).map(replica)).unwrap()
}

/// All replicas have answered.
fn answered(pages: Vec<ReplicaPage>) -> RangeQuorum {
    let mut scan = quorum(All, pages.len() as u32);
    assert_eq!(scan.ask().len(), pages.len());
    for (number, page) in (1..).zip(pages) {
        scan.on_answer(host(number), page);
    }
    assert!(matches!(scan.verdict(), Verdict::Reached { .. }));
    scan
}

fn live(read: &Reconciled) -> Vec<String> {
    read.live.iter().map(|(key, _)| name(key)).collect()
}

#[test]
fn a_page_that_was_cut_says_nothing_of_what_is_behind_its_end() {
    let (read, _) = answered(vec![
        page(&[("a", value(5)), ("b", value(5)), ("c", value(5)), ("d", value(5))], false),
        page(&[("a", value(5)), ("c", value(5)), ("d", value(5)), ("f", value(5)), ("g", value(5))], true),
        page(&[("b", value(5)), ("c", value(5))], false),
    ])
    .reconcile(&MANY);

    assert_eq!(live(&read), ["a", "b", "c"]);
    assert_eq!(read.cut, Some(key("c")));
}

#[test]
fn a_deletion_behind_the_end_of_a_short_page_is_not_missed() {
    // The second replica was stopped by tombstones, and would have sent the deletion of z next.
    let (read, _) = answered(vec![
        page(&[("a", value(5)), ("z", value(5))], true),
        page(&[("a", gone(6)), ("b", gone(6))], false),
    ])
    .reconcile(&MANY);

    assert_eq!((live(&read), read.tombstones), (vec![], 2));
    assert_eq!(read.cut, Some(key("b")), "an empty page that gets somewhere");
}

#[test]
fn a_page_ends_at_its_limits_and_behind_the_last_key_there_is_nothing() {
    let all =
        || page(&[("a", value(5)), ("b", gone(5)), ("c", value(5)), ("d", gone(5)), ("e", value(5))], true);
    let read = |limits| answered(vec![all(), all()]).reconcile(&limits).0;

    let two_items = read(PageLimits { items: 2, ..MANY });
    assert_eq!((live(&two_items), two_items.cut), (vec!["a".to_owned(), "c".to_owned()], Some(key("c"))));
    let one_tombstone = read(PageLimits { tombstones: 1, ..MANY });
    assert_eq!((live(&one_tombstone), one_tombstone.cut), (vec!["a".to_owned()], Some(key("b"))));
    let bytes_of_one = read(PageLimits { bytes: key("a").len() as u32 + 5, ..MANY });
    assert_eq!((live(&bytes_of_one), bytes_of_one.cut), (vec!["a".to_owned()], Some(key("b"))));
    let bytes_of_none = read(PageLimits { bytes: 1, ..MANY });
    assert_eq!((live(&bytes_of_none), bytes_of_none.cut), (vec!["a".to_owned()], Some(key("b"))));
    let three_items = read(PageLimits { items: 3, ..MANY });
    assert_eq!((three_items.live.len(), three_items.cut), (3, None));
}

#[test]
fn the_newest_version_wins_and_is_written_to_those_who_lack_it() {
    let (read, repair) = answered(vec![
        page(&[("a", value(5)), ("b", value(5)), ("d", value(5))], true),
        page(&[("a", value(6)), ("b", gone(6)), ("d", value(5))], true),
        page(&[("a", value(6)), ("c", value(1)), ("d", value(5))], true),
    ])
    .reconcile(&MANY);

    assert_eq!(live(&read), ["a", "c", "d"]);
    let mut repair = repair.expect("they differ");
    let lacking = |number| repair.lacking(host(number)).iter().map(|one| name(&one.key)).collect::<Vec<_>>();
    assert_eq!(repair.stale(), [host(1), host(2), host(3)]);
    assert_eq!((lacking(1), lacking(2), lacking(3)), (strings("abc"), strings("c"), strings("b")));
    repair.on_ack(host(1));
    repair.on_ack(host(2));
    assert_eq!(repair.verdict(), Verdict::Pending);
    repair.on_ack(host(3));
    assert!(matches!(repair.verdict(), Verdict::Reached { .. }));
}

fn strings(letters: &str) -> Vec<String> {
    letters.chars().map(String::from).collect()
}

#[test]
fn a_scan_is_answered_only_once_as_many_hold_what_it_answers() {
    let mut scan = quorum(Quorum, 3);
    assert_eq!(scan.ask(), [host(1), host(2)]);
    scan.on_answer(host(1), page(&[("a", value(6)), ("b", value(5))], true));
    assert_eq!(scan.verdict(), Verdict::Pending);
    scan.on_answer(host(2), page(&[("b", value(5))], true));
    let (_, repair) = scan.reconcile(&MANY);
    let mut repair = repair.expect("the second lacks a");

    assert_eq!((repair.stale(), repair.verdict()), (vec![host(2)], Verdict::Pending));
    repair.on_failure(host(2), Missing::Silence);
    assert_eq!(repair.ask(), [host(3)], "another one in its place");
    assert_eq!(repair.lacking(host(3)).len(), 1, "which may lack what the second lacked");
    repair.on_failure(host(3), Missing::Lost);

    assert_eq!(repair.verdict(), Verdict::OutOfReach { silent: true });
    let error = repair.error(std::time::Duration::from_secs(1));
    assert!(matches!(error, RequestError::Timeout { required: 2, received: 1, .. }), "{error:?}");
}

#[test]
fn what_counts_as_nothing_is_neither_answered_nor_spread() {
    let forgotten = Record::tombstone(Timestamp(9), Timestamp(2));
    let expired = Record::expiring(Timestamp(5), "value", Timestamp(20));
    let (read, repair) = answered(vec![
        page(&[("a", forgotten), ("b", expired.clone()), ("c", value(5))], true),
        page(&[("b", expired.as_of(Timestamp(20))), ("c", value(5))], true),
    ])
    .reconcile(&MANY);

    assert_eq!((live(&read), read.tombstones), (strings("c"), 2));
    assert!(repair.is_none(), "an expired value equals its tombstone: {repair:?}");
}

#[test]
fn a_replica_that_fails_is_replaced_and_too_few_are_an_error() {
    let mut scan = quorum(Quorum, 3);
    scan.ask();
    scan.on_failure(host(1), Missing::Lost);
    assert_eq!((scan.ask(), scan.verdict()), (vec![host(3)], Verdict::Pending));
    scan.on_answer(host(2), page(&[], true));
    scan.on_deadline();
    assert_eq!(scan.verdict(), Verdict::OutOfReach { silent: true });
}

#[test]
fn what_can_be_no_page_of_a_range_is_told() {
    let range = KeyRange { from: key("b"), until: Some(key("m")) };
    let is_of = |records: &[(&str, Record)], is_whole| page(records, is_whole).is_of(&range);

    assert!(is_of(&[("b", value(1)), ("c", value(1))], false) && is_of(&[], true));
    assert!(!is_of(&[], false), "it gets nowhere");
    assert!(!is_of(&[("a", value(1))], true) && !is_of(&[("b", value(1)), ("m", value(1))], true));
    assert!(
        !is_of(&[("c", value(1)), ("b", value(1))], true)
            && !is_of(&[("c", value(1)), ("c", value(1))], true)
    );
    let no_key = ReplicaPage { records: vec![(behind_key(&key("c")), value(1))], is_whole: true };
    assert!(no_key.is_of(&range), "a suffix may follow");
    let no_key = ReplicaPage { records: vec![(key("c").slice(..9), value(1))], is_whole: true };
    assert!(!no_key.is_of(&range));
}

fn parts(members: &[(u128, &[i64])], factor: u32, range: KeyRange) -> Vec<Segment> {
    let members: Vec<_> = members.iter().map(|(number, tokens)| normal(*number, tokens)).collect();
    let ring = Ring::from_members(&members);
    let strategy = Placing::Simple(SimpleStrategy { replication_factor: factor });
    segments(&ring, strategy, range).collect()
}

#[test]
fn ranges_with_the_same_replicas_are_one() {
    let ring: &[(u128, &[i64])] = &[(1, &[0, 300]), (2, &[100]), (3, &[200])];
    let all = parts(ring, 3, KeyRange::default());
    assert_eq!(all.len(), 1, "everybody holds everything: {all:?}");
    assert_eq!(all[0].range, KeyRange::default());

    // (.., 0] 1 2 · (0, 100] 2 3 · (100, 200] 3 1 · (200, 300] 1 1→2 · (300, ..) 1 2
    let some = parts(ring, 2, KeyRange::default());
    let hosts: Vec<_> = some.iter().map(|part| part.replicas.clone()).collect();
    assert_eq!(hosts, [[host(1), host(2)], [host(2), host(3)], [host(3), host(1)], [host(1), host(2)]]);
    assert!(parts(ring, 2, KeyRange { from: key("b"), until: Some(key("b")) }).is_empty());
    assert_eq!(parts(&[], 3, KeyRange::default()).len(), 1, "nobody to ask, and no reason to forget it");
}

#[test]
fn prefix_and_end_need_keys_in_their_own_order() {
    let bounds = |start: Option<&'static str>, prefix: Option<&'static [u8]>, end: Option<&'static str>| {
        Bounds { start: start.map(Bytes::from), prefix: prefix.map(Bytes::from), end: end.map(Bytes::from) }
    };
    let murmur = |bounds: Bounds| bounds.range(Partitioner::Murmur3);
    assert_eq!(murmur(bounds(None, Some(b"a"), None)), Err(BoundsError { field: "prefix" }));
    assert_eq!(murmur(bounds(None, None, Some("a"))), Err(BoundsError { field: "end" }));
    let from = storage_key(Partitioner::Murmur3.token(b"a"), b"a");
    assert_eq!(murmur(bounds(Some("a"), None, None)), Ok(KeyRange { from, until: None }));

    let ordered = |bounds: Bounds| bounds.range(Partitioner::ByteOrdered).unwrap();
    let prefix = |prefix| ordered(bounds(None, Some(prefix), None));
    assert_eq!(prefix(b"ab"), KeyRange { from: key("ab"), until: Some(key("ac")) });
    assert_eq!(prefix(b"a\xFF\xFF").until, Some(key("b")));
    assert_eq!(prefix(b"\xFF\xFF").until, None);
    let all = ordered(bounds(Some("ax"), Some(b"a"), Some("az")));
    assert_eq!(all, KeyRange { from: key("ax"), until: Some(key("az")) });
    let none = ordered(bounds(Some("b"), Some(b"a"), None));
    assert!(none.is_empty(), "what begins with a is over before b");
}

#[test]
fn a_page_reads_more_at_once_where_it_finds_little() {
    let read = |live: usize| Reconciled {
        live: (0..live).map(|at| (key(&at.to_string()), value(1))).collect(),
        ..Reconciled::default()
    };
    let mut pace = Pace::new(PageLimits { items: 100, ..MANY });
    let mut widths = Vec::new();
    let mut segments = 0;
    while segments < 2000 {
        widths.push(pace.at_once());
        (0..pace.at_once()).for_each(|_| assert!(pace.take(&mut read(0))));
        segments += pace.at_once();
        pace.on_round();
    }
    assert_eq!(widths[..7], [1, 2, 4, 8, 16, 32, 32]);
    assert!(widths.len() < 70, "2000 empty ranges, {} round trips", widths.len());
    let share = pace.share();
    assert!(share.bytes as usize * pace.at_once() <= 2 << 20, "bounded together: {share:?}");

    let mut pace = Pace::new(PageLimits { items: 100, ..MANY });
    assert!(pace.take(&mut read(40)));
    pace.on_round();
    assert_eq!(pace.at_once(), 2, "sixty more are likely in two");
    assert!(pace.take(&mut read(59)));
    pace.on_round();
    assert_eq!(pace.at_once(), 1, "one more");
    assert!(!pace.is_full());
    assert!(pace.take(&mut read(1)));
    assert!(pace.is_full());
}

#[test]
fn segments_that_were_read_at_once_are_taken_as_far_as_there_is_room() {
    let read = |names: &[&str]| Reconciled {
        live: names.iter().map(|name| (key(name), value(1))).collect(),
        bytes: 1,
        ..Reconciled::default()
    };
    let mut pace = Pace::new(PageLimits { items: 3, ..MANY });
    let (mut first, mut second, mut third) = (read(&["a", "b"]), read(&["c", "d"]), read(&["e"]));
    assert!(pace.take(&mut first) && pace.take(&mut second));
    assert_eq!((live(&first), first.cut), (strings("ab"), None));
    assert_eq!((live(&second), second.cut), (strings("c"), Some(key("c"))), "and is cut there");
    assert!(pace.is_full() && !pace.take(&mut third), "the page ends before it");

    let one = (key("a").len() + "value".len()) as u32;
    let mut pace = Pace::new(PageLimits { bytes: one, ..MANY });
    assert!(pace.take(&mut read(&["a"])));
    assert!(!pace.take(&mut Reconciled { bytes: 0, ..read(&["bbbbbbbb"]) }));
}

fn token<'a>(cluster: u128, table: u32, partitioner: Partitioner, range: &'a KeyRange) -> PageToken<'a> {
    let cluster = Some(ClusterId(Uuid::from_u128(cluster)));
    PageToken { cluster, table: TableId(table), partitioner, range }
}

#[test]
fn a_page_token_is_tied_to_its_cluster_table_order_and_upper_bound() {
    use Partitioner::{ByteOrdered, Murmur3};
    let (all, other) = (KeyRange::default(), KeyRange { from: Bytes::new(), until: Some(key("m")) });
    let given = token(1, 1024, Murmur3, &all).encode(&Place::Behind("key".into()));

    let read = |of: PageToken<'_>| of.decode(given.clone());
    assert_eq!(read(token(1, 1024, Murmur3, &all)), Ok(Place::Behind("key".into())));
    let started_elsewhere = KeyRange { from: key("b"), until: None };
    assert!(read(token(1, 1024, Murmur3, &started_elsewhere)).is_ok(), "`start` is behind it");
    assert_eq!(read(token(2, 1024, Murmur3, &all)), Err(PageTokenError::Damaged));
    assert_eq!(read(token(1, 1025, Murmur3, &all)), Err(PageTokenError::Table));
    assert_eq!(read(token(1, 1024, ByteOrdered, &all)), Err(PageTokenError::Order));
    assert_eq!(read(token(1, 1024, Murmur3, &other)), Err(PageTokenError::Bounds));
    let longest = token(1, 1024, Murmur3, &all).encode(&Place::Behind(vec![0; 4096].into()));
    assert!(longest.len() <= 4096 + 32, "{}", longest.len());
}

#[test]
fn a_page_token_with_any_wrong_byte_is_refused() {
    let all = KeyRange::default();
    let of = token(1, 1024, Partitioner::Murmur3, &all);
    for place in [Place::Behind("key".into()), Place::At(Token(-7))] {
        let given = of.encode(&place);
        assert_eq!(of.decode(given.clone()), Ok(place));
        for at in 0..given.len() {
            let mut wrong = given.to_vec();
            wrong[at] ^= 0x40;
            assert!(of.decode(wrong.into()).is_err(), "byte {at}");
            assert!(of.decode(given.slice(..at)).is_err(), "cut at {at}");
        }
        assert!(of.decode([&given[..], b"x"].concat().into()).is_err());
    }
}

/// What three replicas hold of twelve keys: of each nothing, or a version.
fn replicas() -> impl Strategy<Value = Vec<BTreeMap<u8, Record>>> {
    let version = prop_oneof![
        3 => (1..9_u64).prop_map(value),
        1 => (1..9_u64).prop_map(gone),
        1 => (1..9_u64, 10..30_u64).prop_map(|(at, end)| Record::expiring(Timestamp(at), "v", Timestamp(end))),
    ];
    prop::collection::vec(prop::collection::btree_map(b'a'..b'm', version, 0..12), 3)
}

/// A replica's page: as far as its limits allow, which need not be those of the others.
fn page_of(held: &BTreeMap<u8, Record>, from: &Bytes, most: usize) -> ReplicaPage {
    let all: Vec<(Bytes, Record)> = held
        .iter()
        .map(|(letter, record)| (key(&char::from(*letter).to_string()), record.clone()))
        .filter(|(key, _)| key >= from)
        .collect();
    let is_whole = all.len() <= most;
    ReplicaPage { records: all.into_iter().take(most).collect(), is_whole }
}

proptest! {
    /// Page after page, whatever each replica's page ends at, is what a look at everything at once would see.
    #[test]
    fn pages_together_are_everything_once(
        held in replicas(),
        most in prop::collection::vec(1..5_usize, 3),
        items in 1..4_u32,
        tombstones in 1..4_u32,
    ) {
        let mut from = Bytes::new();
        let mut found = Vec::new();
        for round in 0.. {
            prop_assert!(round < 40, "no progress");
            let pages = held.iter().zip(&most).map(|(held, most)| page_of(held, &from, *most)).collect();
            let (read, _) = answered(pages).reconcile(&PageLimits { items, bytes: 1 << 20, tombstones });
            prop_assert!(read.live.len() <= items as usize && read.tombstones <= tombstones as usize);
            found.extend(read.live);
            match read.cut {
                Some(last) => from = behind_key(&last),
                None => break,
            }
        }
        let mut newest: BTreeMap<u8, Record> = BTreeMap::new();
        for (letter, record) in held.iter().flatten() {
            let merged = newest.remove(letter).map_or(record.clone(), |old| old.reconcile(record.clone()));
            newest.insert(*letter, merged);
        }
        let expected: Vec<(Bytes, Record)> = newest
            .into_iter()
            .map(|(letter, record)| (key(&char::from(letter).to_string()), record.as_of(NOW.now)))
            .filter(|(_, record)| record.value().is_some())
            .collect();
        prop_assert_eq!(found, expected);
    }

    /// Segments are the range, without gaps, each with one replica set that is not that of its neighbours.
    #[test]
    fn segments_are_the_whole_range_and_their_replicas_those_of_each_token(
        owners in prop::collection::btree_map(any::<i64>(), 1..6_u128, 1..40),
        arriving in prop::collection::btree_set(any::<i64>(), 0..4),
        factor in 1..4_u32,
        bounds in any::<(Option<i64>, Option<i64>)>(),
        probes in prop::collection::vec(any::<i64>(), 20),
    ) {
        let mut tokens: BTreeMap<u128, Vec<i64>> = BTreeMap::new();
        owners.iter().for_each(|(token, owner)| tokens.entry(*owner).or_default().push(*token));
        let mut members: Vec<_> = tokens.iter().map(|(number, tokens)| normal(*number, tokens)).collect();
        let arriving: Vec<i64> = arriving.into_iter().filter(|token| !owners.contains_key(token)).collect();
        members.push(joining(9, &arriving));
        let ring = Ring::from_members(&members);
        let strategy = Placing::Simple(SimpleStrategy { replication_factor: factor });
        let start = |token: Option<i64>| token.map(|token| storage_key(Token(token), b"k"));
        let range = KeyRange { from: start(bounds.0).unwrap_or_default(), until: start(bounds.1) };

        let found: Vec<Segment> = segments(&ring, strategy, range.clone()).collect();

        prop_assert_eq!(found.is_empty(), range.is_empty());
        if let (Some(first), Some(last)) = (found.first(), found.last()) {
            prop_assert_eq!((&first.range.from, &last.range.until), (&range.from, &range.until));
        }
        for pair in found.windows(2) {
            prop_assert_eq!(pair[0].range.until.as_ref(), Some(&pair[1].range.from));
            let of = |segment: &Segment| segment.replicas.iter().copied().collect::<BTreeSet<_>>();
            prop_assert_ne!(of(&pair[0]), of(&pair[1]));
        }
        for token in probes.into_iter().chain(owners.into_keys()).map(Token) {
            let probe = storage_key(token, b"k");
            let of_token: BTreeSet<_> = strategy.place(&ring, token).natural.into_iter().collect();
            for segment in found.iter().filter(|segment| segment.range.contains(&probe)) {
                prop_assert_eq!(segment.replicas.iter().copied().collect::<BTreeSet<_>>(), of_token.clone());
            }
        }
    }
}
