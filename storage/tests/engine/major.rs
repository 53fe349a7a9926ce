//! A merge of a whole table takes in no more SSTables at once than it may hold, however many there are, and purges
//! what a single merge would have purged.

use helenus_storage::Options;

use crate::{
    merge_rig::{GRACE, Rig, THEN, tombstone},
    rig::{TABLE, everything, flush, plain, read, write},
};

const MOST: usize = 4;

/// Merges take in at most four tables; the hook sees each that purges.
fn rig() -> Rig {
    let is_within = |compactions: Vec<helenus_storage::Compaction>| {
        compactions.iter().all(|merge| merge.input_tables <= MOST)
    };
    Rig::with_hook_and(
        Box::new(move |engine, _| {
            assert!(is_within(engine.compactions()), "{:?}", engine.compactions());
            true
        }),
        |options| Options { merge_max_tables: MOST, ..options },
    )
}

#[test]
fn more_tables_than_a_merge_may_take_are_merged_in_as_few_passes_as_it_takes() {
    // The first pass takes what would be missing in the last, all others take four and leave one.
    for (tables, passes) in [(4, 1), (5, 2), (7, 2), (8, 3), (33, 11)] {
        let rig = rig();
        for number in 0..tables {
            let (own, deleted) = (format!("k{number}"), format!("t{number}"));
            rig.table(&[
                ("a", plain(THEN + number, "a")),
                (&own, plain(THEN, "own")),
                (&deleted, tombstone(THEN, THEN)),
                ("z", plain(THEN, "z")),
            ]);
        }
        rig.at(THEN + GRACE + 1);
        rig.engine.compact_table(TABLE).unwrap();
        let counters = rig.engine.counters();
        assert_eq!((counters.compactions, counters.sstables), (passes, 1), "{tables} tables");
        assert_eq!(read(&rig.engine, "a"), Some(plain(THEN + tables - 1, "a")));
        assert_eq!(
            everything(&rig.engine).len() as u64,
            tables + 2,
            "no tombstone, and nothing else is missing"
        );
    }
}

#[test]
fn a_tombstone_outlives_the_passes_that_do_not_take_what_it_hides() {
    let rig = rig();
    rig.large_table(Some(("k", plain(THEN - 1, "hidden"))));
    for number in 0..20 {
        rig.table(&[("a", plain(THEN, "1")), ("k", tombstone(THEN + number, THEN))]);
    }
    rig.at(THEN + GRACE + 100);
    rig.engine.compact_table(TABLE).unwrap();
    assert_eq!(rig.stored(), None);
    assert_eq!(rig.engine.counters().sstables, 1);
}

#[test]
fn tables_that_follow_one_another_are_merged_in_one_pass() {
    let rig = rig();
    for number in 10..30 {
        rig.table(&[(&format!("{number}a"), plain(THEN, "1")), (&format!("{number}b"), plain(THEN, "1"))]);
    }
    rig.engine.compact_table(TABLE).unwrap();
    let counters = rig.engine.counters();
    assert_eq!((counters.compactions, counters.sstables), (1, 1));
    assert_eq!(everything(&rig.engine).len(), 40);
}

#[test]
fn what_is_flushed_during_a_pass_is_left_for_later() {
    let rig = Rig::with_hook_and(
        Box::new(|engine, _| {
            write(engine, "late", plain(THEN, "1"));
            flush(engine);
            true
        }),
        |options| Options { merge_max_tables: 2, ..options },
    );
    for number in 0..4 {
        rig.table(&[("a", plain(THEN + number, "1")), ("z", plain(THEN, "1"))]);
    }
    rig.table(&[("a", plain(THEN - 1, "1")), ("k", tombstone(THEN, THEN)), ("z", plain(THEN, "1"))]);
    rig.at(THEN + GRACE + 1);
    rig.engine.compact_table(TABLE).unwrap();
    let counters = rig.engine.counters();
    assert_eq!((counters.compactions, counters.flushes, counters.sstables), (4, 6, 2));
    assert_eq!(everything(&rig.engine).len(), 3, "a, late, z");
}
