//! Merges run beside each other and beside whatever else happens, can be watched and cancelled, and leave no more behind than
//! they should.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use helenus_storage::{
    CompactionKind, Error, Options, Step, StepOutcome, TableId, TableOptions,
    table_options::{Strategy, Unified},
};

use crate::{
    merge_rig::{GRACE, Rig, THEN, tombstone},
    rig::{TABLE, everything, files, flush, plain},
};

#[test]
fn a_merge_under_way_is_shown_and_can_be_cancelled_and_leaves_nothing() {
    let rig = Rig::with_hook(Box::new(|engine, key| {
        let [shown] = &engine.compactions()[..] else { panic!("there is one") };
        assert_eq!((shown.table, shown.kind), (TABLE, CompactionKind::Major));
        assert_eq!(shown.input_tables as u64, engine.counters().sstables);
        assert!(shown.done_bytes <= shown.input_bytes && (key != b"k999" || shown.done_bytes > 0));
        assert!(!engine.cancel_compaction(shown.id + 1));
        assert!(engine.cancel_compaction(shown.id));
        true
    }));
    rig.at(THEN + GRACE + 1);
    for number in 0..1000 {
        rig.write(&format!("k{number:03}"), tombstone(THEN, THEN));
        if number % 400 == 0 {
            flush(&rig.engine);
        }
    }
    flush(&rig.engine);
    let (before, tables) = (everything(&rig.engine), files(&rig.disk, ""));
    let error = rig.engine.compact_table(TABLE).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!((everything(&rig.engine), files(&rig.disk, "")), (before, tables));
    assert_eq!(rig.engine.compactions(), []);
}

#[test]
fn removed_files_count_until_nobody_reads_them_any_more() {
    let rig = Rig::with_hook(Box::new(|engine, _| {
        let live = engine.counters().sstable_bytes;
        engine.drop_table(TABLE).unwrap();
        let counters = engine.counters();
        assert!(
            live > 0 && (counters.sstable_bytes, counters.pending_delete_bytes) == (0, live),
            "{counters:?}"
        );
        true
    }));
    rig.table(&[("k", tombstone(THEN, THEN))]);
    rig.at(THEN + GRACE + 1);
    assert_eq!(rig.engine.counters().pending_delete_bytes, 0);
    let outcome = rig.engine.compact_table(TABLE);
    assert!(matches!(outcome, Err(Error::Cancelled | Error::NoSuchTable(_))), "{outcome:?}");
    assert_eq!(rig.engine.counters().pending_delete_bytes, 0, "the merge has ended");
}

#[test]
fn merges_of_different_tables_run_at_the_same_time() {
    let merged = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&merged);
    let other = TableId(7);
    let rig = Rig::with_hook(Box::new(move |engine, _| {
        assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Worked);
        assert_eq!(engine.step(Step::Compact).unwrap(), StepOutcome::Idle, "nothing is merged twice at once");
        count.fetch_add(1, Ordering::Relaxed);
        true
    }));
    rig.engine.create_table(other).unwrap();
    rig.tombstone();
    rig.table(&[("y", plain(THEN, "longer, so that this merge is the larger one"))]);
    for key in ["a", "b", "c"] {
        let mutation = helenus_storage::Mutation::single(key, plain(THEN, "1"));
        let ticket = rig.engine.apply(other, mutation).unwrap();
        rig.engine.step(Step::Commit).unwrap();
        ticket.wait().unwrap();
        flush(&rig.engine);
    }
    rig.at(THEN + GRACE + 1);
    rig.merge();
    assert_eq!((merged.load(Ordering::Relaxed), rig.engine.counters().sstables), (1, 2));
}

#[test]
fn a_large_merge_is_split_and_nothing_is_lost() {
    let unified = Unified { target_bytes: 8 << 10, min_bytes: 4 << 10, base_shards: 4, ..Unified::default() };
    let rig = Rig::with(|options| Options {
        table: TableOptions { strategy: Strategy::Unified(unified), ..options.table },
        ..options
    });
    for number in 0..2000_u32 {
        // Spread over the key space, and not to be compressed.
        let key = number.wrapping_mul(2_654_435_761);
        rig.write(&format!("{key:08x}"), plain(THEN, &format!("{:032x}", u128::from(key).pow(3))));
    }
    flush(&rig.engine);
    let before = everything(&rig.engine);
    rig.engine.compact_table(TABLE).unwrap();
    assert!((4..=16).contains(&rig.engine.counters().sstables), "{}", rig.engine.counters().sstables);
    assert_eq!(everything(&rig.engine), before);
    let debt = rig.engine.compaction_debt();
    assert_eq!((debt.pending_bytes, debt.sorted_runs), (0, 0), "nothing is due");
    assert_eq!(rig.engine.step(Step::Compact).unwrap(), StepOutcome::Idle);
}

#[test]
fn the_debt_is_what_is_due() {
    let rig = Rig::new();
    let debt = || (rig.engine.compaction_debt().pending_bytes, rig.engine.compaction_debt().sorted_runs);
    assert_eq!(debt(), (0, 0));
    rig.two_others();
    rig.table(&[("x", plain(THEN, "2")), ("y", plain(THEN, "2"))]);
    assert_eq!(
        debt(),
        (rig.engine.counters().sstable_bytes, 2),
        "three are due, and a key is in two of them"
    );
    assert!(rig.engine.compaction_debt().pressure(rig.engine.options()) > 2.0 / 65.0);
    rig.merge();
    assert_eq!(debt(), (0, 0));
}

#[test]
fn a_merge_keeps_no_memory_of_what_is_flushed_meanwhile() {
    let left = Arc::new(AtomicU64::new(u64::MAX));
    let seen = Arc::clone(&left);
    let rig = Rig::with_hook(Box::new(move |engine, _| {
        flush(engine);
        seen.store(engine.counters().memtable_bytes, Ordering::Relaxed);
        true
    }));
    rig.tombstone();
    rig.write("in memory when the merge begins", plain(THEN, "1"));
    assert!(rig.engine.counters().memtable_bytes > 0);
    rig.at(THEN + GRACE + 1);
    rig.merge();
    assert_eq!(left.load(Ordering::Relaxed), 0);
}
