//! Blocks stay in memory within a bound, what is read often stays longest, and nothing in memory makes up for what
//! has rotted on the disk.

use std::{ops::Bound, path::PathBuf};

use helenus_storage::{
    AccessMode, Compression, Engine, Error, Options, Step, StepOutcome, TableOptions, TryGet,
    disk::{Fault, Repeat, SimulatedDisk},
};

use crate::rig::{DIRECTORY, TABLE, everything, files, flush, open, plain, read, small, write};

const MODES: [AccessMode; 2] = [AccessMode::Mmap, AccessMode::Standard];

fn key(number: usize) -> String {
    format!("key {number:05}")
}

fn is_cold(engine: &Engine, number: usize) -> bool {
    engine.try_get(TABLE, key(number).as_bytes()).unwrap() == TryGet::Cold
}

/// An engine whose records are in one SSTable, opened again: nothing is cached.
fn settled(disk: &SimulatedDisk, count: usize, options: &Options) -> Engine {
    let engine = open(disk, options.clone());
    for number in 0..count {
        write(&engine, &key(number), plain(1, &format!("{number:0100}")));
    }
    flush(&engine);
    while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
    engine.close().unwrap();
    open(disk, options.clone())
}

#[test]
fn what_was_read_once_is_answered_without_the_disk_in_either_access_mode() {
    for access_mode in MODES {
        let disk = SimulatedDisk::default();
        let engine = settled(&disk, 100, &Options { access_mode, ..small() });
        assert!(is_cold(&engine, 7), "{access_mode:?}: told apart");
        let record = read(&engine, &key(7));
        assert!(record.is_some());
        // From now on the disk delivers nothing.
        disk.fail_at(0, Fault::Read, Repeat::Forever);
        assert_eq!(engine.try_get(TABLE, key(7).as_bytes()).unwrap(), TryGet::Ready(record.clone()));
        assert_eq!(read(&engine, &key(7)), record);
        let counters = engine.counters();
        assert!(counters.block_cache_hits >= 2 && counters.block_cache_bytes > 0, "{counters:?}");
        assert!(counters.index_bytes > 0 && counters.filter_bytes >= 45, "{counters:?}");
    }
}

#[test]
fn what_a_merge_has_written_is_cached_like_everything_else() {
    for access_mode in MODES {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, Options { access_mode, ..small() });
        for round in 1..=2 {
            for number in 0..100 {
                write(&engine, &key(number), plain(round, &format!("{number:0100}")));
            }
            flush(&engine);
        }
        engine.compact_table(TABLE).unwrap();
        assert!(is_cold(&engine, 7), "{access_mode:?}: nobody has read it yet");
        read(&engine, &key(7));
        assert!(!is_cold(&engine, 7), "{access_mode:?}");
        assert!(engine.counters().block_cache_bytes > 0);
    }
}

#[test]
fn a_disk_that_fails_is_an_error_of_the_read_where_access_is_standard() {
    let disk = SimulatedDisk::default();
    let engine = settled(&disk, 100, &Options { access_mode: AccessMode::Standard, ..small() });
    disk.fail_at(0, Fault::Read, Repeat::Once);
    assert!(matches!(engine.get(TABLE, key(7).as_bytes()), Err(Error::Io { .. })));
    assert!(read(&engine, &key(7)).is_some(), "the next one works");
}

#[test]
fn without_a_cache_every_read_is_cold_and_right() {
    let engine = settled(&SimulatedDisk::default(), 100, &Options { block_cache_bytes: 0, ..small() });
    for _ in 0..2 {
        assert!(is_cold(&engine, 7));
        assert!(read(&engine, &key(7)).is_some());
    }
    assert_eq!(engine.counters().block_cache_bytes, 0);
}

#[test]
fn the_cache_stays_within_its_bound() {
    // 400 blocks and more, of which an eighth has room.
    for block_cache_bytes in [32 << 10, 64 << 10] {
        let options = Options { block_cache_bytes, compression: Compression::None, ..small() };
        let engine = settled(&SimulatedDisk::default(), 2000, &options);
        for round in 0..3 {
            for number in 0..2000 {
                assert!(read(&engine, &key(number * 7 % 2000)).is_some());
                let bytes = engine.counters().block_cache_bytes;
                assert!(bytes <= block_cache_bytes as u64, "{bytes} in round {round}");
            }
        }
        assert!(engine.counters().block_cache_bytes > block_cache_bytes as u64 / 2, "and it is used");
    }
}

#[test]
fn a_scan_of_everything_does_not_push_out_what_is_read_often_and_a_merge_does_not_touch_it() {
    let options = Options { block_cache_bytes: 128 << 10, compression: Compression::None, ..small() };
    let engine = settled(&SimulatedDisk::default(), 4000, &options);
    let hot = || (0..4000).step_by(400);
    for _ in 0..20 {
        hot().for_each(|number| assert!(read(&engine, &key(number)).is_some()));
    }
    assert_eq!(everything(&engine).len(), 4000);
    let kept = hot().filter(|number| !is_cold(&engine, *number)).count();
    assert!(kept >= 9, "{kept} of 10");
    // A merge reads every block of its inputs.
    let misses = || {
        let counters = engine.counters();
        (counters.block_cache_hits, counters.block_cache_misses)
    };
    for round in 0..3 {
        write(&engine, "z", plain(round, "v"));
        flush(&engine);
    }
    let before = misses();
    while engine.step(Step::Compact).unwrap() == StepOutcome::Worked {}
    assert!(engine.counters().compactions > 0);
    assert_eq!(misses(), before);
}

#[test]
fn a_value_that_would_fill_half_of_the_cache_is_read_and_not_kept() {
    // It would have room, in the place of many others.
    let options = Options { block_cache_bytes: 64 << 10, segment_bytes: 64 << 10, ..small() };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options);
    let value = "v".repeat(20_000);
    write(&engine, "large", plain(1, &value));
    flush(&engine);
    for _ in 0..2 {
        assert_eq!(read(&engine, "large"), Some(plain(1, &value)));
        assert_eq!(engine.try_get(TABLE, b"large").unwrap(), TryGet::Cold);
    }
}

#[test]
fn rot_in_a_block_is_found_in_either_access_mode_by_get_and_by_scan() {
    for access_mode in MODES {
        for compression in [Compression::None, Compression::Lz4] {
            let options = Options { access_mode, compression, ..small() };
            let disk = SimulatedDisk::default();
            settled(&disk, 100, &options).close().unwrap();
            let [name] = &files(&disk, ".sst")[..] else { panic!("one table") };
            let path = PathBuf::from(DIRECTORY).join(name);
            // The first block holds the first key.
            disk.flip_bit(&path, 40, 3).unwrap();
            let engine = open(&disk, options);
            for _ in 0..2 {
                let found = engine.get(TABLE, key(0).as_bytes());
                assert!(matches!(found, Err(Error::Corrupt { offset: 0, .. })), "{access_mode:?}: {found:?}");
                let found = engine.scan(TABLE, (Bound::Unbounded, Bound::Unbounded), 9);
                assert!(matches!(found, Err(Error::Corrupt { offset: 0, .. })), "{access_mode:?}: {found:?}");
                let several = engine.multi_get(TABLE, &[key(99).as_bytes(), key(0).as_bytes()]);
                assert!(matches!(several, Err(Error::Corrupt { offset: 0, .. })), "{access_mode:?}");
            }
            assert!(read(&engine, &key(99)).is_some(), "other blocks are well");
        }
    }
}

#[test]
fn several_keys_of_one_block_are_one_look_at_it() {
    let engine = settled(&SimulatedDisk::default(), 100, &Options { block_bytes: 64 << 10, ..small() });
    let keys: Vec<String> = (0..100).rev().chain([5, 5]).map(key).collect();
    let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let found = engine.multi_get(TABLE, &keys).unwrap();
    assert!(found.iter().all(Option::is_some));
    let counters = engine.counters();
    assert_eq!((counters.block_cache_hits, counters.block_cache_misses), (0, 1));
}

#[test]
fn a_short_scan_opens_no_table_that_it_does_not_reach() {
    let disk = SimulatedDisk::default();
    let options = Options { access_mode: AccessMode::Standard, table: TableOptions::tiered(99), ..small() };
    let engine = open(&disk, options);
    for table in ["a", "b", "c", "d"] {
        for number in 0..5 {
            write(&engine, &format!("{table}{number}"), plain(1, "v"));
        }
        flush(&engine);
    }
    let reads_of = |from: &str, limit| {
        let before = disk.reads();
        let range = (Bound::Included(from.as_bytes()), Bound::Unbounded);
        assert_eq!(engine.scan(TABLE, range, limit).unwrap().len(), limit);
        disk.reads() - before
    };
    assert_eq!(reads_of("b", 3), 1, "one block of the second table");
    assert_eq!(reads_of("c", 6), 2, "two blocks of the two last tables");
    assert_eq!(reads_of("b", 3), 0, "cached");
}
