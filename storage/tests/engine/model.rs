//! Whatever is done in whatever order, the engine holds what a map with [`Record::reconcile`] would.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};

use bytes::Bytes;
use helenus_storage::{
    Engine, Mutation, Options, Record, ScanLimits, Step, StepOutcome, TableOptions, Timestamp, TryGet,
    disk::{Damage, SimulatedDisk},
};
use proptest::prelude::*;

use crate::rig::{TABLE, everything, flush, open, small};

#[derive(Debug, Clone)]
enum Action {
    /// Mutations of one or several rows each, which happen together.
    Write(Vec<(u8, Vec<(u8, Record)>)>),
    Get(u8, u8),
    /// A range from one key to another, in pages of so many records.
    Scan {
        from: (u8, u8),
        to: (u8, u8),
        is_open: bool,
        page: usize,
    },
    Switch,
    Flush,
    FlushAll,
    Compact,
    Crash {
        seed: u64,
        damage: usize,
    },
    Close,
}

fn record() -> impl Strategy<Value = Record> {
    // Few timestamps, values and ends: ties are the rule.
    (0..6_u64, 0..3_u8, 0..3_u64, 0..3_usize).prop_map(|(timestamp, kind, end, length)| {
        let (timestamp, value) = (Timestamp(timestamp), Bytes::from(vec![b'v'; length * 40]));
        match kind {
            0 => Record::plain(timestamp, value),
            1 => Record::expiring(timestamp, value, Timestamp(end)),
            _ => Record::tombstone(timestamp, Timestamp(end)),
        }
    })
}

/// Mostly one row, and no suffix twice.
fn rows() -> impl Strategy<Value = Vec<(u8, Record)>> {
    prop_oneof![
        3 => (0..3_u8, record()).prop_map(|row| vec![row]),
        1 => prop::collection::btree_map(0..3_u8, record(), 1..4).prop_map(|rows| rows.into_iter().collect()),
    ]
}

fn key() -> impl Strategy<Value = (u8, u8)> {
    (0..8_u8, 0..3_u8)
}

fn storage_key((key, suffix): (u8, u8)) -> Bytes {
    [&[b'k', key][..], &b"sss"[..suffix.into()]].concat().into()
}

/// What a page-wise scan of a part of the model would give, compared with the engine.
fn same_pages(
    engine: &Engine,
    model: &BTreeMap<Bytes, Record>,
    range: (Bound<Bytes>, Bound<Bytes>),
    page: usize,
) -> Result<(), TestCaseError> {
    let expected = model
        .iter()
        .filter(|(key, _)| range.contains(*key))
        .map(|(key, record)| (key.clone(), record.clone()));
    let expected = expected.collect::<Vec<_>>();
    let (mut from, to) = range;
    let mut found = Vec::new();
    loop {
        let bounds = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        let limits = ScanLimits { items: page, ..ScanLimits::NONE };
        let part = engine.scan_page(TABLE, bounds, &limits).unwrap();
        prop_assert!(part.records.len() <= page);
        let next = part.resume_after().map(|bound| bound.map(Bytes::copy_from_slice));
        found.extend(part.records);
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    prop_assert_eq!(found, expected);
    Ok(())
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => prop::collection::vec((0..8_u8, rows()), 1..3).prop_map(Action::Write),
        3 => key().prop_map(|(key, suffix)| Action::Get(key, suffix)),
        3 => (key(), key(), any::<bool>(), 1..5_usize)
            .prop_map(|(from, to, is_open, page)| Action::Scan { from, to, is_open, page }),
        2 => Just(Action::Switch),
        2 => Just(Action::Flush),
        2 => Just(Action::FlushAll),
        2 => Just(Action::Compact),
        1 => (any::<u64>(), 0..Damage::ALL.len()).prop_map(|(seed, damage)| Action::Crash { seed, damage }),
        1 => Just(Action::Close),
    ]
}

fn options() -> Options {
    Options {
        memtable_bytes: 2 << 10,
        segment_bytes: 1 << 10,
        block_bytes: 64,
        table: TableOptions::tiered(2),
        ..small()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_is_a_map_that_reconciles(actions in prop::collection::vec(action(), 1..60)) {
        let disk = SimulatedDisk::default();
        let mut engine = open(&disk, options());
        let mut model = BTreeMap::<Bytes, Record>::new();
        for action in actions {
            match action {
                Action::Write(mutations) => {
                    let mut batch = Vec::new();
                    for (key, rows) in mutations {
                        for (suffix, record) in &rows {
                            let key = storage_key((key, *suffix));
                            let newest = match model.remove(&key) {
                                Some(known) => known.reconcile(record.clone()),
                                None => record.clone(),
                            };
                            model.insert(key, newest);
                        }
                        let rows = rows.into_iter().map(|(suffix, record)| (vec![b's'; suffix.into()].into(), record));
                        batch.push((TABLE, Mutation { key: vec![b'k', key].into(), rows: rows.collect() }));
                    }
                    let ticket = engine.apply_batch(batch).unwrap();
                    engine.step(Step::Commit).unwrap();
                    ticket.wait().unwrap();
                }
                Action::Get(key, suffix) => {
                    let key = storage_key((key, suffix));
                    let found = engine.get(TABLE, &key).unwrap();
                    prop_assert_eq!(found.as_ref(), model.get(&key));
                }
                Action::Scan { from, to, is_open, page } => {
                    let (from, to) = (storage_key(from), storage_key(to));
                    let (from, to) = if from <= to { (from, to) } else { (to, from) };
                    let range = match is_open {
                        true => (Bound::Excluded(from), Bound::Unbounded),
                        false => (Bound::Included(from), Bound::Included(to)),
                    };
                    same_pages(&engine, &model, range, page)?;
                }
                Action::Switch => engine.switch_memtables().unwrap(),
                Action::Flush => { engine.step(Step::Flush).unwrap(); }
                Action::FlushAll => flush(&engine),
                Action::Compact => while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {},
                Action::Crash { seed, damage } => {
                    drop(engine);
                    disk.restart(seed, Damage::ALL[damage]);
                    engine = open(&disk, options());
                }
                Action::Close => {
                    engine.close().unwrap();
                    engine = open(&disk, options());
                }
            }
        }
        prop_assert_eq!(everything(&engine), model.clone().into_iter().collect::<Vec<_>>());
        let all: Vec<_> = (0..8).flat_map(|key| (0..3).map(move |suffix| storage_key((key, suffix)))).collect();
        let many = engine.multi_get(TABLE, &all.iter().map(|key| &key[..]).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(many, all.iter().map(|key| model.get(key).cloned()).collect::<Vec<_>>());
        for key in (0..8_u8).flat_map(|key| (0..3).map(move |suffix| [&[b'k', key][..], &b"sss"[..suffix]].concat())) {
            let expected = model.get(&key[..]);
            let found = engine.get(TABLE, &key).unwrap();
            prop_assert_eq!(found.as_ref(), expected);
            if let TryGet::Ready(found) = engine.try_get(TABLE, &key).unwrap() {
                prop_assert_eq!(found.as_ref(), expected);
            }
            let range = (Bound::Included(&key[..]), Bound::Included(&key[..]));
            prop_assert_eq!(engine.scan(TABLE, range, 9).unwrap().len(), usize::from(expected.is_some()));
        }
        prop_assert_eq!(engine.is_empty(TABLE).unwrap(), model.is_empty());
        let newest = model.values().map(|record| record.timestamp).max();
        prop_assert_eq!(engine.newest_timestamp(TABLE).unwrap(), newest);
    }
}
