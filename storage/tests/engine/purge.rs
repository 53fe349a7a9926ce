//! A tombstone goes when its grace is over and nothing can hold something older for its key, and not before; whatever
//! arrives while a merge runs.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use helenus_storage::{
    Error, Options, Record, Step, StepOutcome, TableId, TableOptions, Timestamp,
    table_options::{Strategy, TimeWindow},
};

use crate::{
    merge_rig::{GRACE, HOUR, Rig, SECOND, THEN, tombstone},
    rig::{DIRECTORY, TABLE, everything, files, flush, plain, read, write},
};

fn expiring(timestamp: u64, expires_at: u64) -> Record {
    Record::expiring(Timestamp(timestamp), "value", Timestamp(expires_at))
}

#[test]
fn a_tombstone_goes_when_its_grace_is_over_and_not_a_microsecond_before() {
    for (age, is_kept) in [(0, true), (GRACE, true), (GRACE + 1, false)] {
        let rig = Rig::new();
        rig.tombstone();
        rig.at(THEN + age);
        rig.merge();
        assert_eq!(rig.stored().is_some(), is_kept, "{age}");
        assert_eq!(read(&rig.engine, "x"), Some(plain(THEN, "1")));
    }
}

#[test]
fn what_a_purged_tombstone_hid_goes_with_it() {
    let rig = Rig::new();
    rig.table(&[("k", plain(THEN - 2, "old"))]);
    rig.table(&[("k", tombstone(THEN, THEN))]);
    rig.table(&[("k", plain(THEN - 1, "late"))]);
    rig.at(THEN + GRACE + 1);
    rig.merge();
    assert_eq!(everything(&rig.engine), []);
    assert_eq!(files(&rig.disk, ".sst"), [""; 0], "an empty table is not written");
}

#[test]
fn without_a_clock_every_tombstone_stays() {
    let rig = Rig::with(|options| Options { clock: None, ..options });
    rig.tombstone();
    rig.at(u64::MAX);
    rig.merge();
    assert!(rig.stored().is_some());
}

#[test]
fn the_grace_is_that_of_the_table_and_survives_a_restart() {
    let rig = Rig::new();
    let options = TableOptions { gc_grace: Duration::from_micros(HOUR), ..TableOptions::tiered(3) };
    rig.engine.set_table_options(TABLE, options.clone()).unwrap();
    let given = TableOptions {
        strategy: Strategy::TimeWindow(TimeWindow::default()),
        gc_grace: Duration::from_secs(7),
    };
    rig.engine.create_table_with(TableId(9), given.clone()).unwrap();
    assert_eq!(
        rig.engine.set_table_options(TableId(10), given.clone()).unwrap_err().to_string(),
        "no table with id 10 in this engine"
    );
    rig.tombstone();
    // Twice: the first start writes a new manifest.
    let rig = rig.restart().restart();
    assert_eq!(rig.engine.table_options(TABLE).unwrap(), options);
    assert_eq!(rig.engine.table_options(TableId(9)).unwrap(), given);
    rig.at(THEN + HOUR + 1);
    rig.merge();
    assert_eq!(rig.stored(), None);
}

#[test]
fn a_tombstone_with_a_future_timestamp_stays_until_that_is_past_its_grace() {
    let rig = Rig::new();
    let future = THEN + 5 * GRACE;
    rig.table(&[("k", tombstone(future, THEN))]);
    rig.two_others();
    rig.at(THEN + 2 * GRACE);
    rig.merge();
    rig.write("k", plain(THEN + 2 * GRACE, "hidden"));
    assert_eq!(rig.stored(), Some(tombstone(future, THEN)));
    rig.at(future + GRACE + 1);
    rig.table(&[("x", plain(THEN, "2"))]);
    rig.engine.compact_table(TABLE).unwrap();
    assert_eq!(rig.stored(), None);
}

#[test]
fn an_older_record_in_another_table_keeps_the_tombstone() {
    for (outside, is_kept) in [
        (("k", plain(THEN - 1, "older")), true),
        (("k", plain(THEN, "as old")), true),
        (("k", plain(THEN + 1, "newer")), true), // The filler is older: only its filter could tell.
        (("l", plain(THEN - 1, "another key")), false),
    ] {
        let rig = Rig::new();
        rig.large_table(Some(outside.clone()));
        rig.tombstone();
        rig.at(THEN + GRACE + 1);
        rig.merge();
        assert_eq!(rig.engine.counters().sstables, 2, "the large one is outside");
        let stored = rig.stored();
        let is_tombstone = stored.as_ref().is_some_and(|record| record.value().is_none());
        assert!(is_tombstone == is_kept || stored == Some(outside.1.clone()), "{outside:?}: {stored:?}");
        assert_ne!(stored.as_ref().map(|record| record.timestamp < Timestamp(THEN)), Some(true));
    }
}

#[test]
fn a_table_with_the_same_timestamp_keeps_the_tombstone_and_a_newer_one_does_not() {
    // Tables of tombstones alone are dropped unread, others are merged.
    for (outside, is_merged, is_kept) in
        [(THEN, false, true), (THEN + 1, false, false), (THEN, true, true), (THEN + 1, true, false)]
    {
        let rig = Rig::new();
        for number in 0..300 {
            rig.write(&format!("a{number}"), plain(outside, "filler"));
        }
        rig.table(&[("k", plain(outside, "outside")), ("z", plain(outside, "last"))]);
        for older in 0..3 {
            let records = [("k", tombstone(THEN - older, THEN)), ("x", plain(THEN, "stays"))];
            rig.table(if is_merged { &records } else { &records[..1] });
        }
        rig.at(THEN + GRACE + 1);
        rig.merge();
        assert_eq!(rig.engine.counters().sstables, if is_kept || is_merged { 2 } else { 1 });
        let expected = if is_kept { tombstone(THEN, THEN) } else { plain(outside, "outside") };
        assert_eq!(rig.stored(), Some(expected));
    }
}

#[test]
fn an_older_record_in_a_memtable_keeps_the_tombstone() {
    for (record, is_switched, is_kept) in [
        (plain(THEN - 1, "older"), false, true),
        (plain(THEN - 1, "older"), true, true),
        (plain(THEN, "as old"), false, true),
        (plain(THEN, "as old"), true, true),
        (plain(THEN + 1, "newer"), true, false),
    ] {
        let rig = Rig::new();
        rig.tombstone();
        rig.write("k", record.clone());
        if is_switched {
            rig.engine.switch_memtables().unwrap();
        }
        rig.at(THEN + GRACE + 1);
        rig.merge();
        let expected = if is_kept { tombstone(THEN, THEN) } else { record.clone() };
        assert_eq!(rig.stored(), Some(expected), "{record:?} {is_switched}");
        flush(&rig.engine);
        let left = if is_kept { tombstone(THEN, THEN) } else { record };
        assert_eq!(rig.stored(), Some(left), "and so it is once that is flushed");
    }
}

#[test]
fn an_expired_record_loses_its_value_and_later_goes() {
    let rig = Rig::new();
    let expires_at = THEN + SECOND;
    let merge_at = |now, filler| {
        rig.at(now);
        rig.table(&[("x", plain(filler, "1"))]);
        rig.table(&[("y", plain(filler, "1"))]);
        rig.engine.compact_table(TABLE).unwrap();
        rig.stored()
    };
    rig.table(&[("k", expiring(THEN, expires_at))]);
    assert_eq!(merge_at(expires_at - 1, 1), Some(expiring(THEN, expires_at)), "it is alive");
    assert_eq!(
        merge_at(expires_at + SECOND, 2),
        Some(expiring(THEN, expires_at)),
        "to other clocks it may be"
    );
    let expired = Record::expired(Timestamp(THEN), Timestamp(expires_at));
    assert_eq!(merge_at(expires_at + HOUR + 1, 3), Some(expired.clone()));
    assert_eq!(merge_at(expires_at + GRACE, 4), Some(expired));
    assert_eq!(merge_at(expires_at + GRACE + 1, 5), None);
}

#[test]
fn the_filter_has_a_say() {
    let allowed = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&allowed);
    let rig = Rig::with_hook(Box::new(move |_, key| {
        assert_eq!(key, b"k");
        says.load(Ordering::Relaxed)
    }));
    rig.tombstone();
    rig.at(THEN + GRACE + 1);
    rig.merge();
    assert!(rig.stored().is_some());
    allowed.store(true, Ordering::Relaxed);
    rig.engine.compact_table(TABLE).unwrap();
    assert_eq!(rig.stored(), None);
}

/// What may happen to a record that arrives while its tombstone is being purged.
#[derive(Debug, Clone, Copy)]
enum Arrival {
    Active,
    Switched,
    Flushed,
    /// Flushed, and merged with others by a second merge.
    Merged,
}

#[test]
fn an_old_record_that_arrives_while_the_merge_runs_stays_hidden() {
    for arrival in [Arrival::Active, Arrival::Switched, Arrival::Flushed, Arrival::Merged] {
        let rig = Rig::with_hook(Box::new(move |engine, _| {
            // All that could have kept the tombstone was asked already.
            write(engine, "k", plain(THEN - 1, "by a late hint"));
            match arrival {
                Arrival::Active => {}
                Arrival::Switched => engine.switch_memtables().unwrap(),
                Arrival::Flushed => flush(engine),
                Arrival::Merged => {
                    flush(engine);
                    for number in 0..2 {
                        write(engine, &format!("m{number}"), plain(THEN, "1"));
                        flush(engine);
                    }
                    assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Worked);
                }
            }
            true
        }));
        rig.tombstone();
        rig.at(THEN + GRACE + 1);
        rig.merge();
        assert_eq!(rig.stored(), Some(tombstone(THEN, THEN)), "{arrival:?}");
        flush(&rig.engine);
        assert_eq!(read(&rig.restart().engine, "k"), Some(tombstone(THEN, THEN)), "{arrival:?}");
    }
}

#[test]
fn other_records_that_arrive_while_the_merge_runs_keep_no_tombstone() {
    let rig = Rig::with_hook(Box::new(|engine, _| {
        write(engine, "k", plain(THEN + 1, "newer"));
        write(engine, "j", plain(THEN - 1, "another key"));
        flush(engine);
        true
    }));
    rig.tombstone();
    rig.at(THEN + GRACE + 1);
    rig.merge();
    rig.engine.compact_table(TABLE).unwrap();
    assert_eq!(rig.stored(), Some(plain(THEN + 1, "newer")));
    let left = everything(&rig.engine).len();
    assert_eq!(left, 4, "j, k, x, y");
}

fn windows(options: Options) -> Options {
    let windows = TimeWindow { window: Duration::from_micros(HOUR), min_tables: 4 };
    Options { table: TableOptions { strategy: Strategy::TimeWindow(windows), ..options.table }, ..options }
}

#[test]
fn tables_that_expired_as_a_whole_are_dropped_unread() {
    let rig = Rig::with(windows);
    rig.table(&[("a", expiring(THEN, THEN + HOUR)), ("b", tombstone(THEN, THEN))]);
    rig.table(&[("a", expiring(THEN + 1, THEN + HOUR))]);
    rig.table(&[("a", plain(THEN + 3 * HOUR, "stays"))]);
    for table in &files(&rig.disk, ".sst")[..2] {
        rig.disk.flip_bit(&Path::new(DIRECTORY).join(table), 20, 0).unwrap();
    }
    // Not yet: the two are one window, and due to be merged.
    let rig = rig.restart();
    rig.at(THEN + HOUR + GRACE);
    assert!(matches!(rig.engine.step(Step::Compact), Err(Error::Corrupt { .. })));
    let rig = rig.restart();
    rig.at(THEN + HOUR + GRACE + 1);
    rig.merge();
    assert_eq!(files(&rig.disk, ".sst").len(), 1);
    assert_eq!(everything(&rig.engine), [("a".into(), plain(THEN + 3 * HOUR, "stays"))]);
}

#[test]
fn an_expired_table_stays_while_something_older_could_be_beside_it() {
    for (older, is_flushed) in [("b", true), ("b", false), ("zzz", false)] {
        let rig = Rig::with(windows);
        rig.table(&[("a", tombstone(THEN, THEN)), ("c", tombstone(THEN, THEN))]);
        rig.write(older, plain(THEN - 2 * HOUR, "older"));
        if is_flushed {
            flush(&rig.engine);
        }
        rig.at(THEN + GRACE + 1);
        let before = rig.engine.counters().sstables;
        assert_eq!(rig.engine.step(Step::Compact).unwrap(), StepOutcome::Idle, "{older} {is_flushed}");
        assert_eq!(rig.engine.counters().sstables, before);
    }
}

#[test]
fn a_table_with_many_tombstones_is_rewritten_alone() {
    for (tombstones, is_rewritten) in [(2, false), (3, true)] {
        let rig = Rig::new();
        for number in 0..8 {
            rig.write(&format!("v{number}"), plain(THEN, "value"));
        }
        for number in 0..tombstones {
            rig.write(&format!("t{number}"), tombstone(THEN, THEN));
        }
        flush(&rig.engine);
        assert_eq!(rig.engine.step(Step::Compact).unwrap(), StepOutcome::Idle);
        rig.at(THEN + GRACE + 2 * SECOND);
        let outcome = rig.engine.step(Step::Compact).unwrap();
        assert_eq!(outcome == StepOutcome::Worked, is_rewritten, "{tombstones} of {}", 8 + tombstones);
        assert_eq!(everything(&rig.engine).len(), if is_rewritten { 8 } else { 8 + tombstones });
        assert_eq!(rig.engine.step(Step::Compact).unwrap(), StepOutcome::Idle);
    }
}

#[test]
fn rewriting_in_vain_is_not_done_over_and_over() {
    let rig = Rig::with_hook(Box::new(|_, _| false));
    rig.table(&[("k", tombstone(THEN, THEN)), ("x", plain(THEN, "1"))]);
    let now = THEN + GRACE + 2 * SECOND;
    rig.at(now);
    rig.merge();
    assert_eq!(rig.engine.step(Step::Compact).unwrap(), StepOutcome::Idle);
    rig.at(now + 25 * HOUR);
    rig.merge();
    assert_eq!(rig.engine.step(Step::Compact).unwrap(), StepOutcome::Idle);
}

/// What happens next, a while after what happened before.
#[derive(Debug, Clone)]
struct Event {
    passes: u64,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    /// Written up to a grace ago: so late a record may be.
    Write {
        key: u8,
        age: u64,
        kind: u8,
    },
    Switch,
    Flush,
    Compact,
    Major,
    PowerCut,
}

fn event() -> impl proptest::strategy::Strategy<Value = Event> {
    use proptest::prelude::*;
    let write = (0..4_u8, 0..=GRACE, 0..4_u8).prop_map(|(key, age, kind)| Action::Write { key, age, kind });
    let action = prop_oneof![
        12 => write,
        2 => Just(Action::Switch),
        3 => Just(Action::Flush),
        4 => Just(Action::Compact),
        1 => Just(Action::Major),
        1 => Just(Action::PowerCut),
    ];
    (prop_oneof![Just(0), 0..GRACE / 2], action).prop_map(|(passes, action)| Event { passes, action })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_within_the_grace_readers_see_what_was_written(
        events in proptest::collection::vec(event(), 1..100)
    ) {
        let mut rig = Rig::with(|options| Options {
            table: TableOptions { gc_grace: Duration::from_micros(GRACE), ..TableOptions::tiered(2) },
            ..options
        });
        let mut model = std::collections::BTreeMap::<u8, Record>::new();
        let mut now = THEN;
        for Event { passes, action } in events {
            now += passes;
            rig.at(now);
            match action {
                Action::Write { key, age, kind } => {
                    let timestamp = now - age;
                    let record = match kind {
                        0 => plain(timestamp, &format!("{now}")),
                        1 => expiring(timestamp, now + HOUR),
                        _ => tombstone(timestamp, timestamp),
                    };
                    rig.write(&format!("k{key}"), record.clone());
                    let newest = match model.remove(&key) {
                        Some(known) => known.reconcile(record),
                        None => record,
                    };
                    model.insert(key, newest);
                }
                Action::Switch => rig.engine.switch_memtables().unwrap(),
                Action::Flush => { rig.engine.step(Step::Flush).unwrap(); }
                Action::Compact => { rig.engine.step(Step::Compact).unwrap(); }
                Action::Major => rig.engine.compact_table(TABLE).unwrap(),
                Action::PowerCut => rig = rig.restart(),
            }
            for key in 0..4 {
                let expected = model.get(&key).map(|record| record.clone().as_of(Timestamp(now)));
                let found = read(&rig.engine, &format!("k{key}")).map(|record| record.as_of(Timestamp(now)));
                let seen = |record: Option<Record>| record.and_then(|record| record.value().cloned());
                proptest::prop_assert_eq!(seen(found), seen(expected), "key {} at {}", key, now);
            }
        }
    }
}
