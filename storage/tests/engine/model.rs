//! Whatever is done in whatever order, the engine holds what a map with [`Record::reconcile`] would.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use helenus_storage::{
    Mutation, Options, Record, Step, StepOutcome, TableOptions, Timestamp, TryGet,
    disk::{Damage, SimulatedDisk},
};
use proptest::prelude::*;

use crate::rig::{TABLE, everything, flush, open, small};

#[derive(Debug, Clone)]
enum Action {
    Write { key: u8, suffix: u8, record: Record },
    Switch,
    Flush,
    FlushAll,
    Compact,
    Crash { seed: u64, damage: usize },
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

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => (0..8_u8, 0..3_u8, record()).prop_map(|(key, suffix, record)| Action::Write { key, suffix, record }),
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
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_is_a_map_that_reconciles(actions in prop::collection::vec(action(), 1..120)) {
        let disk = SimulatedDisk::default();
        let mut engine = open(&disk, options());
        let mut model = BTreeMap::<Bytes, Record>::new();
        for action in actions {
            match action {
                Action::Write { key, suffix, record } => {
                    let (key, suffix) = (vec![b'k', key], vec![b's'; suffix.into()]);
                    let storage_key = Bytes::from([&key[..], &suffix].concat());
                    let rows = vec![(suffix.into(), record.clone())];
                    let ticket = engine.apply(TABLE, Mutation { key: key.into(), rows }).unwrap();
                    engine.step(Step::Commit).unwrap();
                    ticket.wait().unwrap();
                    let newest = match model.remove(&storage_key) {
                        Some(known) => known.reconcile(record),
                        None => record,
                    };
                    model.insert(storage_key, newest);
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
