//! Merges keep to their limit from their first bytes on, say how far they are, and heed whoever changes it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    thread,
};

use helenus_storage::{
    Compression, Engine, Error, Options, Record, Step, StepOutcome, Timestamp, disk::SimulatedDisk,
};

use crate::{
    merge_rig::{GRACE, Rig, THEN, tombstone},
    rig::{TABLE, flush, open, plain, small, write},
};

/// At which nothing is done before tomorrow.
const SLOWEST: u64 = 1;

/// Two SSTables with a few small records each.
fn two_small_tables(options: Options) -> Engine {
    let engine = open(&SimulatedDisk::default(), options);
    for part in 0..2 {
        (0..3).for_each(|number| write(&engine, &format!("{number}/{part}"), plain(1, "value")));
        flush(&engine);
    }
    engine
}

/// Merges at [`SLOWEST`], and does something once all inputs are read and the merge should rest.
fn while_a_small_merge_rests(act: impl FnOnce(&Engine)) -> (Engine, Result<(), Error>) {
    let engine = two_small_tables(Options { compaction_bytes_per_second: SLOWEST, ..small() });
    let outcome = thread::scope(|scope| {
        let merge = scope.spawn(|| engine.compact_table(TABLE));
        while !engine.compactions().iter().any(|merge| merge.done_bytes == merge.input_bytes) {
            assert!(!merge.is_finished(), "it did not rest");
            thread::yield_now();
        }
        assert_eq!(engine.counters().sstables, 2);
        act(&engine);
        merge.join().unwrap()
    });
    (engine, outcome)
}

#[test]
fn a_small_merge_pays_too_and_goes_on_when_the_limit_is_lifted() {
    let (engine, outcome) = while_a_small_merge_rests(|engine| {
        let [merge] = &engine.compactions()[..] else { panic!("there is one") };
        assert!(merge.bytes_per_second > Some(0), "{merge:?}");
        engine.set_compaction_throughput(0);
    });
    assert_eq!((outcome.unwrap(), engine.counters().sstables), ((), 1));
}

#[test]
fn who_waits_for_a_merge_can_give_up_and_the_merge_goes_on() {
    let (engine, outcome) = while_a_small_merge_rests(|engine| {
        let waited = engine.compact_table_while(TABLE, |done| {
            assert_eq!(done, 0, "another merge is not its own");
            false
        });
        assert!(matches!(waited, Err(Error::Cancelled)), "{waited:?}");
        assert_eq!(engine.compactions().len(), 1);
        engine.set_compaction_throughput(0);
    });
    assert_eq!((outcome.unwrap(), engine.counters().sstables), ((), 1));
}

#[test]
fn a_merge_that_rests_can_be_cancelled_and_does_not_hold_up_the_end() {
    let (engine, outcome) = while_a_small_merge_rests(|engine| {
        assert!(engine.cancel_compaction(engine.compactions()[0].id));
    });
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert_eq!(engine.counters().sstables, 2);

    let (_, outcome) = while_a_small_merge_rests(|engine| engine.close().unwrap());
    assert!(matches!(outcome, Err(Error::Cancelled | Error::Closed)), "{outcome:?}");
}

#[test]
fn once_merges_have_ended_none_begins_and_the_rest_goes_on() {
    let (engine, outcome) = while_a_small_merge_rests(|engine| {
        engine.end_compactions();
        assert!(engine.compactions().is_empty());
    });
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    engine.set_compaction_throughput(0);
    let again = engine.compact_table(TABLE);
    assert!(matches!(again, Err(Error::Cancelled)), "{again:?}");
    for part in 0..8 {
        write(&engine, &format!("more/{part}"), plain(1, "value"));
        flush(&engine);
        assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Idle);
    }
    assert_eq!((engine.counters().sstables, engine.counters().compactions), (10, 0));
    engine.close().unwrap();
}

#[test]
fn progress_is_what_was_read_in_small_steps() {
    /// Far above a block, far below a table.
    const STEP: u64 = 128 << 10;
    const PARTS: u64 = 40;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let shown = Arc::clone(&seen);
    let look = move |engine: &Arc<Engine>, _: &[u8]| {
        let [merge] = &engine.compactions()[..] else { panic!("there is one") };
        shown.lock().unwrap().insert((merge.done_bytes, merge.input_bytes));
        true
    };
    let rig = Rig::with_hook_and(Box::new(look), |options| Options {
        segment_bytes: 1 << 20,
        commit_log_bytes: 16 << 20,
        memtable_bytes: 4 << 20,
        compression: Compression::None,
        ..options
    });
    let filler = Record::plain(Timestamp(THEN), vec![7; 32 << 10]);
    for table in 0..2 {
        for part in 0..PARTS / 2 {
            write(&rig.engine, &format!("{part:03}/{table}"), filler.clone());
            write(&rig.engine, &format!("{part:03}/{table}/gone"), tombstone(THEN, THEN));
        }
        flush(&rig.engine);
    }
    rig.at(THEN + GRACE + 1);
    rig.engine.compact_table(TABLE).unwrap();

    let seen = seen.lock().unwrap();
    let total = seen.first().unwrap().1;
    assert!(total > PARTS * (32 << 10) && seen.iter().all(|&(_, each)| each == total), "{seen:?}");
    let bounds = seen.iter().map(|&(done, _)| done).chain([total]).collect::<Vec<_>>();
    assert!(bounds.windows(2).all(|pair| pair[1] - pair[0] <= STEP), "{bounds:?}");
}
