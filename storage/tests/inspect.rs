//! Whoever looks at files sees what is in them, is told of every flipped byte with its place, and goes on behind it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use helenus_storage::{
    Engine, Error, Mutation, Options, Record, ScrubReport, Step, StepOutcome, TableId, TableOptions,
    Timestamp,
    disk::{Disk, SimulatedDisk},
    inspect::{InspectedManifest, InspectedSegment, SegmentEnd, TableInspection},
};

const DATA: &str = "/data";
const TABLE: TableId = TableId(1);

/// A disk with an engine whose table has one SSTable of several blocks, and the path of that.
fn stored() -> (SimulatedDisk, Engine, PathBuf) {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        segment_bytes: 16 << 10,
        block_bytes: 128,
        table: TableOptions::tiered(4),
        ..Options::default()
    };
    let engine = Engine::open(Arc::new(disk.clone()), Path::new(DATA), options).unwrap();
    engine.create_table(TABLE).unwrap();
    for number in 0..40_u64 {
        let record = match number % 4 {
            0 => Record::tombstone(Timestamp(number + 1), Timestamp(number + 1)),
            _ => Record::plain(Timestamp(number + 1), format!("value {number}").into_bytes()),
        };
        let key = format!("key {number:02}").into_bytes();
        let ticket = engine.apply(TABLE, Mutation::single(key, record)).unwrap();
        engine.step(Step::Commit).unwrap();
        ticket.wait().unwrap();
    }
    engine.switch_memtables().unwrap();
    while engine.step(Step::Flush).unwrap() == StepOutcome::Worked {}
    let table = disk.files().into_iter().find(|path| path.extension().is_some_and(|e| e == "sst"));
    (disk, engine, table.unwrap())
}

fn keys(table: &TableInspection) -> (Vec<Vec<u8>>, Vec<Error>) {
    let (mut keys, mut damages) = (Vec::new(), Vec::new());
    for block in table.blocks() {
        match block.records {
            Ok(records) => keys.extend(records.into_iter().map(|(key, _)| key.to_vec())),
            Err(damage) => damages.push(damage),
        }
    }
    (keys, damages)
}

#[test]
fn what_is_shown_of_a_table_is_what_was_written() {
    let (disk, engine, path) = stored();

    let table = TableInspection::open(&disk, &path).unwrap();
    let manifest = InspectedManifest::read(&disk, Path::new(DATA)).unwrap();

    let (keys, damages) = keys(&table);
    assert_eq!(keys, (0..40).map(|n| format!("key {n:02}").into_bytes()).collect::<Vec<_>>());
    assert!(damages.is_empty() && table.blocks().count() > 3);
    assert_eq!((table.stats().plain, table.stats().tombstones), (30, 10));
    let of_table = manifest.tables.iter().find(|found| found.id == TABLE).unwrap();
    assert_eq!(of_table.files, [table.file().clone()]);
    drop(engine);
}

#[test]
fn every_flipped_byte_of_a_table_is_found_and_the_other_blocks_are_still_shown() {
    let (disk, _engine, path) = stored();
    let sound = disk.contents(&path).unwrap();
    let all = keys(&TableInspection::open(&disk, &path).unwrap()).0;
    let mut shown_in_part = 0;
    for offset in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[offset] ^= 0xff;
        disk.replace(&path, bytes).unwrap();
        match TableInspection::open(&disk, &path) {
            Err(Error::Corrupt { path: named, offset: at, .. }) => {
                assert_eq!(named, path);
                assert!(at <= offset as u64, "byte {offset}, and the damage is said to be at {at}");
            }
            Err(other) => panic!("byte {offset}: {other}"),
            Ok(table) => {
                let (shown, damages) = keys(&table);
                assert_eq!(damages.len(), 1, "byte {offset}");
                assert!(
                    matches!(&damages[0], Error::Corrupt { path: named, offset: at, .. }
                    if *named == path && *at <= offset as u64),
                    "byte {offset}: {:?}",
                    damages[0]
                );
                assert!(shown.iter().all(|key| all.contains(key)), "byte {offset}");
                shown_in_part += usize::from(!shown.is_empty() && shown.len() < all.len());
            }
        }
    }
    assert!(shown_in_part > 100, "{shown_in_part}");
}

#[test]
fn a_table_cut_short_anywhere_is_damaged() {
    let (disk, _engine, path) = stored();
    let sound = disk.contents(&path).unwrap();
    for length in (0..sound.len()).rev() {
        disk.truncate(&path, length).unwrap();
        let opened = TableInspection::open(&disk, &path);
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{length} bytes: {opened:?}");
    }
}

#[test]
fn a_flipped_byte_of_a_manifest_is_found_or_lies_in_what_was_never_written() {
    let (disk, engine, _) = stored();
    engine.close().unwrap();
    let mut manifests = disk.files().into_iter().filter(|path| path.to_string_lossy().contains("manifest-"));
    let path = manifests.next_back().unwrap();
    let sound = disk.contents(&path).unwrap();
    let read = || InspectedManifest::read(&disk, Path::new(DATA));
    let before = format!("{:?}", read().unwrap());
    let (mut found, mut harmless) = (0, 0);
    for offset in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[offset] ^= 0xff;
        disk.replace(&path, bytes).unwrap();
        match read() {
            Err(Error::Corrupt { path: named, .. }) => {
                assert_eq!(named, path);
                found += 1;
            }
            Err(other) => panic!("byte {offset}: {other}"),
            // What follows the last edit, and is none, is named; it changes nothing.
            Ok(manifest)
                if format!("{:?}", InspectedManifest { torn_at: None, ..manifest.clone() }) == before =>
            {
                harmless += 1;
            }
            Ok(_) => panic!("byte {offset} made something else of it"),
        }
    }
    assert!(found > 50 && harmless > 100, "{found} found, {harmless} harmless");
}

#[test]
fn a_scrub_reads_everything_names_damage_and_can_be_ended() {
    let (disk, engine, path) = stored();
    let sound = engine.scrub(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!((sound.tables, sound.damages, sound.cancelled), (1, 0, false));
    assert!(sound.bytes > 300);

    disk.flip_bit(&path, 100, 3).unwrap();
    let mut seen = Vec::new();
    let damaged = engine
        .scrub(|report: &ScrubReport| {
            seen.push(report.bytes);
            ControlFlow::Continue(())
        })
        .unwrap();
    let ended = engine.scrub(|_| ControlFlow::Break(())).unwrap();

    assert_eq!((damaged.damages, damaged.tables, damaged.bytes), (1, 1, sound.bytes));
    assert!(matches!(&damaged.first_damages[0], Error::Corrupt { path: named, offset, .. }
        if *named == path && *offset <= 100));
    assert!(seen.len() > 3 && seen.is_sorted(), "progress is told after each block");
    assert!(ended.cancelled && ended.bytes < sound.bytes);
}

#[test]
fn a_file_that_is_gone_is_told_from_one_that_is_damaged() {
    let (disk, _engine, path) = stored();
    disk.remove(&path).unwrap();
    let opened = TableInspection::open(&disk, &path);
    assert!(
        matches!(&opened, Err(Error::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound),
        "{opened:?}"
    );
    let named = TableInspection::open(&disk, Path::new("/data/lock"));
    assert!(matches!(named, Err(Error::Foreign { .. })), "{named:?}");
}

type Keys = Vec<Vec<u8>>;

/// Segments of the log in its order, and the keys of their mutations.
fn log(disk: &SimulatedDisk) -> Vec<(Result<InspectedSegment, Error>, Keys)> {
    let paths = disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
    let read = |path: PathBuf| {
        let mut keys = Vec::new();
        let segment = InspectedSegment::read(disk, &path, |_, batch| {
            keys.extend(batch.iter().map(|(_, mutation)| mutation.key.to_vec()));
            Ok(())
        });
        (segment, keys)
    };
    paths.map(read).collect()
}

fn logged(disk: &SimulatedDisk, mutations: u64) -> Engine {
    let options = Options { segment_bytes: 2 << 10, spare_segments: 0, ..Options::default() };
    let engine = Engine::open(Arc::new(disk.clone()), Path::new(DATA), options).unwrap();
    engine.create_table(TABLE).unwrap();
    for number in 0..mutations {
        let record = Record::plain(Timestamp(number + 1), vec![b'v'; 120]);
        engine
            .apply_and_wait(TABLE, Mutation::single(format!("key {number:03}").into_bytes(), record))
            .unwrap();
    }
    engine
}

#[test]
fn what_is_shown_of_the_log_is_what_was_logged_and_how_each_segment_ends() {
    let disk = SimulatedDisk::new(1);
    let engine = logged(&disk, 60);
    let open = log(&disk);
    engine.close().unwrap();
    let closed = log(&disk);

    for (shown, last) in [(&open, SegmentEnd::Open), (&closed, SegmentEnd::Sealed)] {
        let keys: Vec<_> = shown.iter().flat_map(|(_, keys)| keys.clone()).collect();
        assert_eq!(keys, (0..60).map(|n| format!("key {n:03}").into_bytes()).collect::<Vec<_>>());
        let segments: Vec<_> = shown.iter().map(|(segment, _)| segment.as_ref().unwrap()).collect();
        assert!(segments.len() > 3 && segments.iter().all(|segment| segment.damages.is_empty()));
        let mutations: u64 =
            segments.iter().flat_map(|s| s.tables.values()).map(|share| share.mutations).sum();
        assert_eq!(mutations, 60);
        for pair in segments.windows(2) {
            assert_eq!(pair[0].ends, SegmentEnd::Continued);
            assert_eq!(pair[1].predecessor_ends.map(|(end, _)| end), Some(pair[0].end));
            assert_eq!((pair[1].id, pair[0].durable), (pair[0].id + 1, pair[0].end));
        }
        assert_eq!(segments.last().unwrap().ends, last);
    }
}

#[test]
fn every_flipped_byte_of_the_log_is_found_or_at_its_unsynced_end_and_the_rest_is_still_shown() {
    let disk = SimulatedDisk::new(1);
    drop(logged(&disk, 30));
    let all: Vec<Vec<u8>> = log(&disk).into_iter().flat_map(|(_, keys)| keys).collect();
    let (mut found, mut shown_in_part) = (0, 0);
    for path in disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")) {
        let sound = disk.contents(&path).unwrap();
        let durable = log(&disk).into_iter().find_map(|(segment, _)| segment.ok().filter(|s| s.path == path));
        let durable = durable.unwrap().durable as usize;
        for offset in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[offset] ^= 0xff;
            disk.replace(&path, damaged).unwrap();
            let mut keys = Vec::new();
            let (mut is_found, mut is_cut) = (false, false);
            for (segment, of_it) in log(&disk) {
                keys.extend(of_it);
                match segment {
                    Ok(segment) => {
                        is_found |= !segment.damages.is_empty();
                        is_cut |= segment.ends == SegmentEnd::Torn;
                    }
                    Err(Error::Corrupt { path: named, .. }) => {
                        assert_eq!(named, path);
                        is_found = true;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            // Never a key that was not logged, and none out of order.
            let mut rest = all.iter();
            assert!(keys.iter().all(|key| rest.any(|logged| logged == key)), "byte {offset}: {keys:?}");
            let is_told = is_found || (offset >= durable && (is_cut || keys == all));
            assert!(is_told, "byte {offset} of {} went unnoticed", path.display());
            found += usize::from(is_found);
            shown_in_part += usize::from(is_found && !keys.is_empty() && keys.len() < all.len());
        }
        disk.replace(&path, sound).unwrap();
    }
    assert!(found > 1000 && shown_in_part > 1000, "found {found}, shown in part {shown_in_part}");
}
