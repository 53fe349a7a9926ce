//! A range is read in pages that are bounded every way, and whoever goes on behind the last page sees each key that
//! is there all the time exactly once.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use helenus_storage::{
    Engine, Record, ScanEnd, ScanLimits, ScanPage, Step, Timestamp, TryGet, disk::SimulatedDisk,
};
use proptest::prelude::*;

use crate::rig::{TABLE, flush, open, plain, small, write};

type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

const ALL: Range<'static> = (Bound::Unbounded, Bound::Unbounded);
const NOW: Timestamp = Timestamp(100);

fn page(engine: &Engine, range: Range<'_>, limits: &ScanLimits) -> ScanPage {
    engine.scan_page(TABLE, range, limits).unwrap()
}

/// All pages of a range, with `between` done after each.
fn pages(engine: &Engine, range: Range<'_>, limits: &ScanLimits, mut between: impl FnMut()) -> Vec<ScanPage> {
    let mut pages = vec![page(engine, range, limits)];
    while let Some(lower) = pages.last().and_then(ScanPage::resume_after) {
        between();
        let next = page(engine, (lower, range.1), limits);
        pages.push(next);
    }
    pages
}

fn bytes(records: &[(Bytes, Record)]) -> usize {
    records.iter().map(|(key, record)| key.len() + record.value().map_or(0, Bytes::len)).sum()
}

fn gone(records: &[(Bytes, Record)]) -> usize {
    records.iter().filter(|(_, record)| record.is_gone(NOW)).count()
}

fn any_record() -> impl Strategy<Value = Record> {
    (1..50_u64, 0..4_u8, 0..60_usize).prop_map(|(at, kind, length)| {
        let (at, value) = (Timestamp(at), vec![b'v'; length]);
        match kind {
            0 => Record::plain(at, value),
            1 => Record::expiring(at, value, NOW),
            2 => Record::expiring(at, value, Timestamp(NOW.0 + 1)),
            _ => Record::tombstone(at, Timestamp(7)),
        }
    })
}

fn any_limit() -> impl Strategy<Value = usize> {
    prop_oneof![1..12_usize, 1..300_usize, Just(usize::MAX)]
}

fn any_bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    (0..3_u8, 0..40_u8).prop_map(|(kind, key)| match kind {
        0 => Bound::Included(vec![key]),
        1 => Bound::Excluded(vec![key]),
        _ => Bound::Unbounded,
    })
}

/// Whether nothing is between the bounds, where an ordered map would panic.
fn is_crossed(lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> bool {
    match (lower, upper) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_keep_to_their_limits_and_together_are_the_range(
        // Rounds of writes; each but the last ends in an SSTable.
        rounds in prop::collection::vec(prop::collection::btree_map(0..40_u8, any_record(), 0..30), 1..5),
        items in any_limit(),
        live in any_limit(),
        most_bytes in any_limit(),
        tombstones in any_limit(),
        lower in any_bound(),
        upper in any_bound(),
        block_cache_bytes in prop::sample::select(vec![0_usize, 4 << 10, 1 << 20]),
    ) {
        let options = helenus_storage::Options { block_bytes: 128, block_cache_bytes, ..small() };
        let engine = open(&SimulatedDisk::default(), options);
        let mut model = BTreeMap::<Vec<u8>, Record>::new();
        for (number, round) in rounds.iter().enumerate() {
            if number > 0 {
                flush(&engine);
            }
            for (key, record) in round {
                let mutation = helenus_storage::Mutation::single(vec![*key], record.clone());
                drop(engine.apply(TABLE, mutation).unwrap());
                let newest = model.remove(&vec![*key]).map_or(record.clone(), |old| old.reconcile(record.clone()));
                model.insert(vec![*key], newest);
            }
            while engine.step(Step::Commit).unwrap() == helenus_storage::StepOutcome::Worked {}
        }
        let range = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        let limits = ScanLimits { items, live, bytes: most_bytes, tombstones, now: NOW };
        let found = pages(&engine, range, &limits, || {});
        for page in &found {
            let records = &page.records;
            prop_assert!(records.len() <= items);
            prop_assert!(records.len() <= 1 || bytes(records) <= most_bytes);
            prop_assert!(gone(records) <= tombstones);
            prop_assert!(records.len() - gone(records) <= live);
            match page.end {
                ScanEnd::Finished => {}
                ScanEnd::Items => prop_assert_eq!(records.len(), items),
                ScanEnd::Live => prop_assert_eq!(records.len() - gone(records), live),
                ScanEnd::Tombstones => prop_assert_eq!(gone(records), tombstones),
                // The next record had no place.
                ScanEnd::Bytes => prop_assert!(bytes(records) + 61 > most_bytes),
            }
            prop_assert!(!records.is_empty() || page.end == ScanEnd::Finished, "a page without progress");
        }
        let found: Vec<_> = found.into_iter().flat_map(|page| page.records).collect();
        let expected: Vec<(Bytes, Record)> = if is_crossed(&lower, &upper) {
            Vec::new()
        } else {
            let inside = model.range::<[u8], _>(range);
            inside.map(|(key, record)| (Bytes::from(key.clone()), record.clone())).collect()
        };
        prop_assert_eq!(&found, &expected);
        // And what was read in order is what is read key by key, several at once, and from memory.
        let keys: Vec<Vec<u8>> = (0..41_u8).rev().chain(3..6).map(|key| vec![key]).collect();
        let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let several = engine.multi_get(TABLE, &slices).unwrap();
        for (key, record) in keys.iter().zip(several) {
            prop_assert_eq!(record.as_ref(), model.get(key));
            if let TryGet::Ready(record) = engine.try_get(TABLE, key).unwrap() {
                prop_assert_eq!(record.as_ref(), model.get(key));
            }
        }
    }
}

#[test]
fn keys_that_stay_are_seen_exactly_once_whatever_comes_and_moves_between_two_pages() {
    let engine = open(&SimulatedDisk::default(), small());
    let stable: Vec<String> = (0..60).map(|number| format!("{:03}", number * 10)).collect();
    stable.iter().for_each(|key| write(&engine, key, plain(1, "stable")));
    let limits = ScanLimits { items: 7, ..ScanLimits::NONE };
    let mut round = 0;
    let found = pages(&engine, ALL, &limits, || {
        round += 1;
        // Others come and go before, at and behind the place, and everything moves.
        for near in [round * 50, round * 70 + 1, round * 90 + 3] {
            write(&engine, &format!("{near:03}x"), plain(round, "comes"));
        }
        write(&engine, &format!("{:03}x", round * 50), Record::tombstone(Timestamp(99), Timestamp(1)));
        if round % 2 == 0 {
            flush(&engine);
            engine.step(Step::Compact).unwrap();
        }
    });
    let keys: Vec<_> = found.iter().flat_map(|page| &page.records).map(|(key, _)| key.clone()).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "ascending, none twice: {keys:?}");
    assert!(stable.iter().all(|key| keys.contains(&Bytes::from(key.clone()))), "{keys:?}");
    assert!(round > 8);
}

#[test]
fn a_page_of_no_records_is_no_reason_to_come_back() {
    let engine = open(&SimulatedDisk::default(), small());
    write(&engine, "key", plain(1, "v"));
    let page = page(&engine, ALL, &ScanLimits { items: 0, ..ScanLimits::NONE });
    assert_eq!((page.records.len(), page.resume_after()), (0, None));
}

#[test]
fn a_record_larger_than_a_page_is_a_page_of_its_own() {
    let engine = open(&SimulatedDisk::default(), small());
    for key in ["a", "b", "c"] {
        write(&engine, key, plain(1, &"v".repeat(500)));
    }
    let limits = ScanLimits { bytes: 100, ..ScanLimits::NONE };
    let found = pages(&engine, ALL, &limits, || {});
    assert_eq!(found.iter().map(|page| page.records.len()).collect::<Vec<_>>(), [1, 1, 1, 0]);
}
