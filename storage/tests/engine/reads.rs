//! A read answers with the record that wins, wherever it lies, in whatever order it came, and whatever moves
//! meanwhile.

use std::{
    ops::Bound,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

use helenus_storage::{
    Engine, Mutation, Options, Record, Step, StepOutcome, TableId, Timestamp, TryGet,
    disk::{Damage, SimulatedDisk},
};

use crate::rig::{TABLE, everything, files, flush, open, plain, queue, read, small, write};

fn engine() -> Engine {
    open(&SimulatedDisk::default(), small())
}

fn try_read(engine: &Engine, key: &str) -> TryGet {
    engine.try_get(TABLE, key.as_bytes()).unwrap()
}

#[test]
fn arrival_order_is_not_timestamp_order() {
    // Every order of arrival of three versions, each in a file (or memtable) of its own
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        for flushed in 0..=3 {
            let engine = engine();
            for (index, timestamp) in order.into_iter().enumerate() {
                write(&engine, "key", plain(timestamp, &format!("version {timestamp}")));
                if index < flushed {
                    flush(&engine);
                }
            }
            assert_eq!(read(&engine, "key"), Some(plain(3, "version 3")), "{order:?}, {flushed} flushed");
            assert_eq!(everything(&engine), [("key".into(), plain(3, "version 3"))]);
        }
    }
}

#[test]
fn an_old_record_in_a_file_with_newer_neighbours_does_not_hide_a_newer_one() {
    let engine = engine();
    write(&engine, "key", plain(5, "wins"));
    flush(&engine);
    write(&engine, "key", plain(4, "loses"));
    write(&engine, "neighbour", plain(100, "v"));
    flush(&engine);
    assert_eq!(read(&engine, "key"), Some(plain(5, "wins")));
}

#[test]
fn ties_are_resolved_alike_wherever_the_records_lie() {
    let at = Timestamp(7);
    let ascending = [
        plain(7, "a"),
        plain(7, "b"),
        Record::expiring(at, "a", Timestamp(50)),
        Record::expiring(at, "a", Timestamp(60)),
        Record::tombstone(at, Timestamp(1)),
        Record::tombstone(at, Timestamp(2)),
    ];
    for (index, loser) in ascending.iter().enumerate() {
        for winner in &ascending[index + 1..] {
            for [first, second] in [[loser, winner], [winner, loser]] {
                for flushes in 0..3 {
                    let engine = engine();
                    write(&engine, "key", first.clone());
                    if flushes > 0 {
                        flush(&engine);
                    }
                    write(&engine, "key", second.clone());
                    if flushes > 1 {
                        flush(&engine);
                    }
                    assert_eq!(read(&engine, "key").as_ref(), Some(winner), "{flushes} flushes");
                }
            }
        }
    }
}

#[test]
fn tables_do_not_see_each_other() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    let tables = [1, 2, 3].map(TableId);
    for table in tables {
        engine.create_table(table).unwrap();
        let record = plain(u64::from(table.0), &format!("of {}", table.0));
        let ticket = engine.apply(table, Mutation::single("key", record)).unwrap();
        engine.step(Step::Commit).unwrap();
        ticket.wait().unwrap();
    }
    let check = |engine: &Engine| {
        for table in tables {
            let expected = plain(u64::from(table.0), &format!("of {}", table.0));
            assert_eq!(engine.get(table, b"key").unwrap(), Some(expected));
        }
    };
    check(&engine);
    flush(&engine);
    check(&engine);
    drop(engine);
    check(&open(&disk.crash(1, Damage::Forgotten), small()));
}

#[test]
fn a_read_that_memory_can_answer_touches_no_file() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    assert_eq!(try_read(&engine, "key"), TryGet::Ready(None));
    write(&engine, "key", plain(5, "old"));
    write(&engine, "zebra", plain(1, "v"));
    flush(&engine);
    // In an SSTable only: has to be read. Outside its bounds, or not in its filter: certainly not there.
    assert_eq!(try_read(&engine, "key"), TryGet::Cold);
    assert_eq!(try_read(&engine, "a"), TryGet::Ready(None));
    assert_eq!(try_read(&engine, "zz"), TryGet::Ready(None));
    let absent = (0..100).filter(|n| try_read(&engine, &format!("l{n}")) == TryGet::Ready(None)).count();
    assert!(absent > 90, "{absent}");
    // A record in memory answers only if it is newer than anything in the SSTable.
    write(&engine, "key", plain(4, "older"));
    assert_eq!(try_read(&engine, "key"), TryGet::Cold);
    write(&engine, "key", plain(5, "p, which wins by its bytes if the other is not larger"));
    assert_eq!(try_read(&engine, "key"), TryGet::Cold);
    write(&engine, "key", plain(6, "newer"));
    assert_eq!(try_read(&engine, "key"), TryGet::Ready(Some(plain(6, "newer"))));
}

#[test]
fn a_scan_merges_memory_and_files_and_keeps_to_its_range() {
    let engine = engine();
    for (round, keys) in [["a", "c", "e"], ["b", "c", "f"], ["c", "d", "g"]].into_iter().enumerate() {
        for key in keys {
            write(&engine, key, plain(round as u64, key));
        }
        if round < 2 {
            flush(&engine);
        }
    }
    let scan = |range: (Bound<&[u8]>, Bound<&[u8]>), limit| {
        let found = engine.scan(TABLE, range, limit).unwrap();
        found.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<String>()
    };
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(scan((Unbounded, Unbounded), 100), "abcdefg");
    assert_eq!(scan((Unbounded, Unbounded), 3), "abc");
    assert_eq!(scan((Unbounded, Unbounded), 0), "");
    assert_eq!(scan((Included(b"b"), Included(b"e")), 100), "bcde");
    assert_eq!(scan((Excluded(b"b"), Excluded(b"e")), 100), "cd");
    assert_eq!(scan((Included(b"bb"), Unbounded), 2), "cd");
    assert_eq!(scan((Included(b"c"), Included(b"c")), 9), "c");
    assert_eq!(scan((Included(b"c"), Excluded(b"c")), 9), "");
    assert_eq!(scan((Excluded(b"c"), Excluded(b"c")), 9), "");
    assert_eq!(scan((Included(b"e"), Included(b"b")), 9), "");
    let c = engine.scan(TABLE, (Included(b"c"), Included(b"c")), 1).unwrap();
    assert_eq!(c, [("c".into(), plain(2, "c"))]);
}

#[test]
fn rows_of_one_mutation_are_separate_keys() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    let rows = vec![("".into(), plain(1, "all")), ("/x".into(), plain(2, "x")), ("/y".into(), plain(3, "y"))];
    let ticket = engine.apply(TABLE, Mutation { key: "k".into(), rows }).unwrap();
    engine.step(Step::Commit).unwrap();
    ticket.wait().unwrap();
    for engine in [engine, open(&disk.crash(1, Damage::Forgotten), small())] {
        let found = [read(&engine, "k"), read(&engine, "k/x"), read(&engine, "k/y")];
        assert_eq!(found, [Some(plain(1, "all")), Some(plain(2, "x")), Some(plain(3, "y"))]);
    }
}

#[test]
fn emptiness_is_exact() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    assert!(engine.is_empty(TABLE).unwrap());
    drop(queue(&engine, "key", Record::tombstone(Timestamp(1), Timestamp(1))));
    engine.step(Step::Commit).unwrap();
    assert!(!engine.is_empty(TABLE).unwrap(), "a tombstone is a record");
    engine.switch_memtables().unwrap();
    assert!(!engine.is_empty(TABLE).unwrap());
    flush(&engine);
    assert!(!engine.is_empty(TABLE).unwrap());
    drop(engine);
    let engine = open(&disk, small());
    assert!(!engine.is_empty(TABLE).unwrap());
    engine.create_table(TableId(2)).unwrap();
    assert!(engine.is_empty(TableId(2)).unwrap());
}

#[test]
fn the_newest_timestamp_is_known_wherever_its_record_lies() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    assert_eq!(engine.newest_timestamp(TABLE).unwrap(), None);
    write(&engine, "key", plain(9, "newest"));
    write(&engine, "key", plain(5, "late"));
    assert_eq!(engine.newest_timestamp(TABLE).unwrap(), Some(Timestamp(9)), "in the memtable");
    engine.switch_memtables().unwrap();
    write(&engine, "other", plain(3, "v"));
    assert_eq!(engine.newest_timestamp(TABLE).unwrap(), Some(Timestamp(9)), "in a switched one");
    flush(&engine);
    assert_eq!(engine.newest_timestamp(TABLE).unwrap(), Some(Timestamp(9)), "in an SSTable");
    write(&engine, "other", Record::tombstone(Timestamp(12), Timestamp(12)));
    drop(engine);
    let engine = open(&disk, small());
    assert_eq!(engine.newest_timestamp(TABLE).unwrap(), Some(Timestamp(12)), "replayed from the log");
}

#[test]
fn a_merge_leaves_fewer_files_and_the_same_records() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, small());
    for round in 0..9_u64 {
        write(&engine, "overwritten", plain(round, "v"));
        write(&engine, &format!("deleted {round}"), Record::tombstone(Timestamp(round), Timestamp(1)));
        write(&engine, &format!("expired {round}"), Record::expiring(Timestamp(round), "v", Timestamp(1)));
        flush(&engine);
    }
    let expected = everything(&engine);
    assert_eq!(expected.len(), 19);
    assert_eq!(files(&disk, ".sst").len(), 9);
    while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
    assert!(files(&disk, ".sst").len() < 3, "{:?}", files(&disk, ".sst"));
    assert_eq!(engine.counters().sstables, files(&disk, ".sst").len() as u64);
    assert_eq!(everything(&engine), expected);
    drop(engine);
    assert_eq!(everything(&open(&disk.crash(1, Damage::Forgotten), small())), expected);
}

/// Runs `writer`, and meanwhile checks over and over that the version of the key never goes back, and is
/// never gone.
fn while_a_reader_watches(engine: &Engine, writer: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let watching = Barrier::new(2);
    write(engine, "watched", plain(0, "v"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = Timestamp(0);
            watching.wait();
            while !done.load(Ordering::Relaxed) {
                let found = read(engine, "watched").expect("the key is never invisible");
                assert!(found.timestamp >= last, "went back from {last:?} to {:?}", found.timestamp);
                let range = (Bound::Included(&b"watched"[..]), Bound::Unbounded);
                let scanned = &engine.scan(TABLE, range, 1).unwrap()[0];
                assert!(scanned.1.timestamp >= found.timestamp);
                last = found.timestamp;
            }
        });
        watching.wait();
        writer();
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_overwritten_key_is_never_invisible() {
    let engine = open(&SimulatedDisk::default(), Options::default());
    while_a_reader_watches(&engine, || {
        for version in 1..5_000 {
            write(&engine, "watched", plain(version, "v"));
        }
    });
}

#[test]
fn a_key_that_moves_from_memory_to_files_is_never_invisible() {
    let engine = engine();
    while_a_reader_watches(&engine, || {
        for version in 1..300 {
            write(&engine, "watched", plain(version, "v"));
            flush(&engine);
            engine.step(Step::Compact).unwrap();
        }
    });
    assert!(engine.counters().compactions > 10);
}
