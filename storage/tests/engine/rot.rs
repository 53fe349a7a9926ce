//! Rot is told from a torn tail: damage to what was durable stops the start and is named, the torn end of the
//! log is cut, and nothing more.
//!
//! Every byte of every file is damaged once. Where groups lie in a segment is known from what was written.

use std::path::{Path, PathBuf};

use helenus_storage::{
    Engine, Error, Options, Record, Step,
    disk::{Damage, Disk, SimulatedDisk},
};

use crate::rig::{DIRECTORY, everything, files, flush, open, plain, queue, small, try_open, write};

const HEADER_BYTES: usize = 48;
/// The first frame of a segment.
const START_BYTES: usize = 22;

/// A disk with a log of several segments, abandoned without closing.
struct Log {
    disk: SimulatedDisk,
    records: Vec<(String, Record)>,
    /// Path of each segment and the offsets at which its groups start, with the end of the last.
    segments: Vec<(PathBuf, Vec<usize>)>,
}

fn options() -> Options {
    Options { segment_bytes: 384, ..small() }
}

fn log_of(groups: u64) -> Log {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    let (mut records, mut segments) = (Vec::new(), Vec::<(PathBuf, Vec<usize>)>::new());
    for n in 0..groups {
        let before = engine.counters().commit_log_written_bytes;
        let tickets: Vec<_> = (0..3)
            .map(|row| {
                let (key, record) = (format!("{n:02}/{row}"), plain(n, &format!("value {row}")));
                records.push((key.clone(), record.clone()));
                queue(&engine, &key, record)
            })
            .collect();
        engine.step(Step::Commit).unwrap();
        tickets.into_iter().for_each(|ticket| ticket.wait().unwrap());
        let size = (engine.counters().commit_log_written_bytes - before) as usize;
        let newest = Path::new(DIRECTORY).join(files(&disk, ".log").pop().unwrap());
        match segments.last_mut() {
            Some((path, bounds)) if *path == newest => bounds.push(bounds.last().unwrap() + size),
            _ => segments.push((newest, vec![HEADER_BYTES, HEADER_BYTES + size])),
        }
    }
    drop(engine);
    Log { disk: disk.crash(1, Damage::Forgotten), records, segments }
}

fn contents(engine: &Engine) -> Vec<(String, Record)> {
    let records = everything(engine).into_iter();
    records.map(|(key, record)| (String::from_utf8(key.to_vec()).unwrap(), record)).collect()
}

/// Opens a copy of the disk with one flipped bit in a byte.
fn open_flipped(disk: &SimulatedDisk, path: &Path, offset: usize) -> Result<Engine, Error> {
    let image = disk.crash(1, Damage::Forgotten);
    image.flip_bit(path, offset, (offset % 8) as u8).unwrap();
    try_open(&image, options())
}

fn assert_names(error: &Error, expected: &Path, not_after: usize) {
    let Error::Corrupt { path, offset, .. } = error else { panic!("{error}") };
    assert_eq!(path, expected);
    assert!(*offset <= not_after as u64, "{error} is not the damage at {not_after}");
}

#[test]
fn a_damaged_byte_of_a_segment_with_a_successor_is_rot() {
    let log = log_of(12);
    assert!(log.segments.len() >= 3);
    let (path, bounds) = &log.segments[1];
    let end = *bounds.last().unwrap();
    for offset in 0..end {
        let error = open_flipped(&log.disk, path, offset).expect_err("rot is noticed");
        assert_names(&error, path, offset);
    }
    // Behind the end there is nothing that could rot.
    for offset in end..log.disk.contents(path).unwrap().len() {
        assert_eq!(contents(&open_flipped(&log.disk, path, offset).unwrap()), log.records);
    }
}

#[test]
fn a_damaged_byte_of_the_last_segment_is_rot_but_in_the_last_group_a_torn_tail() {
    let log = log_of(14);
    let (path, bounds) = log.segments.last().unwrap();
    assert!(bounds.len() >= 3, "the last segment has a group that is known to be durable");
    let (last_group, end) = (bounds[bounds.len() - 2], bounds[bounds.len() - 1]);
    for offset in 0..last_group {
        let error = open_flipped(&log.disk, path, offset).expect_err("rot is noticed");
        assert_names(&error, path, offset);
    }
    for offset in last_group..end {
        let found = contents(&open_flipped(&log.disk, path, offset).unwrap());
        assert_eq!(found, log.records[..log.records.len() - 3], "all but the group");
    }
    for offset in end..log.disk.contents(path).unwrap().len() {
        assert_eq!(contents(&open_flipped(&log.disk, path, offset).unwrap()), log.records);
    }
}

#[test]
fn a_torn_tail_is_cut_and_nothing_more() {
    let log = log_of(14);
    let (path, bounds) = log.segments.last().unwrap();
    let (last_group, end) = (bounds[bounds.len() - 2], bounds[bounds.len() - 1]);
    let whole = log.disk.contents(path).unwrap();
    for torn_at in last_group..end {
        let mut torn = whole.clone();
        torn[torn_at..].fill(0xA5);
        let image = log.disk.crash(1, Damage::Forgotten);
        image.replace(path, torn).unwrap();
        let engine = try_open(&image, options()).unwrap();
        let found = contents(&engine);
        assert_eq!(found, log.records[..log.records.len() - 3]);
        // And what is written from here on is not cut, however often it is opened.
        write(&engine, "zz", plain(1, "after"));
        drop(engine);
        for seed in 0..2 {
            image.restart(seed, Damage::Forgotten);
            let engine = try_open(&image, options()).unwrap();
            assert_eq!(contents(&engine).len(), found.len() + 1);
        }
    }
}

#[test]
fn a_closed_engine_has_no_doubtful_end() {
    let log = log_of(14);
    let engine = try_open(&log.disk, options()).unwrap();
    write(&engine, "last", plain(1, "acknowledged"));
    engine.close().unwrap();
    let path = Path::new(DIRECTORY).join(files(&log.disk, ".log").pop().unwrap());
    let end = log.disk.contents(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    const SEAL_BYTES: usize = 8;
    for offset in 0..end - SEAL_BYTES {
        let error = open_flipped(&log.disk, &path, offset).expect_err("rot is noticed");
        assert_names(&error, &path, offset);
    }
}

#[test]
fn what_recovery_carried_into_a_new_segment_can_rot() {
    // Given a log whose last group went over into a new segment, in which nothing was written since
    let log = log_of(14);
    drop(try_open(&log.disk, options()).unwrap());
    let path = Path::new(DIRECTORY).join(files(&log.disk, ".log").pop().unwrap());
    assert!(log.segments.iter().all(|(old, _)| *old != path));
    let end = log.disk.contents(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    // Then it has no doubtful end: all of it was durable before it had a name
    for offset in 0..end {
        let error = open_flipped(&log.disk, &path, offset).expect_err("rot is noticed");
        assert_names(&error, &path, offset);
    }
}

#[test]
fn in_periodic_mode_only_what_was_synced_can_rot() {
    let options = Options { sync_mode: helenus_storage::SyncMode::Periodic, ..small() };
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options.clone());
    let mut ends = vec![0];
    for n in 0..8 {
        write(&engine, &n.to_string(), plain(n, "v"));
        ends.push(engine.counters().commit_log_written_bytes as usize);
        if n == 3 {
            engine.step(Step::Sync).unwrap();
        }
    }
    drop(engine);
    let path = Path::new(DIRECTORY).join(files(&disk, ".log").pop().unwrap());
    for number in 0..8 {
        let image = disk.crash(1, Damage::ProcessOnly);
        let middle = HEADER_BYTES + START_BYTES + (ends[number] + ends[number + 1]) / 2;
        image.flip_bit(&path, middle, 3).unwrap();
        match try_open(&image, options.clone()) {
            Ok(engine) => {
                assert!(number >= 4, "group {number} was durable");
                assert_eq!(everything(&engine).len(), number);
            }
            Err(error) => {
                assert!(number < 4, "group {number} was not durable: {error}");
                assert_names(&error, &path, middle);
            }
        }
    }
}

/// A disk whose manifest has a few edits behind its snapshot.
fn with_manifest() -> (SimulatedDisk, PathBuf, Vec<(String, Record)>) {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    for n in 0..4 {
        write(&engine, &n.to_string(), plain(n, "v"));
        flush(&engine);
    }
    write(&engine, "5", plain(5, "in the log"));
    let records = contents(&engine);
    drop(engine);
    let name = disk.files().into_iter().find(|path| path.to_str().unwrap().contains("manifest-")).unwrap();
    (disk.crash(1, Damage::Forgotten), name, records)
}

#[test]
fn a_damaged_byte_of_the_manifest_never_loses_anything_silently() {
    let (disk, path, records) = with_manifest();
    let bytes = disk.contents(&path).unwrap();
    // Behind it there are the zeros of edits to come.
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    let mut refused = 0;
    for offset in 0..bytes.len() {
        match open_flipped(&disk, &path, offset) {
            Ok(engine) => assert_eq!(contents(&engine), records, "damage at {offset}"),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > end * 3 / 4, "all but the last edit: {refused} of {end}");
}

#[test]
fn a_manifest_cut_short_never_loses_anything_silently() {
    let (disk, path, records) = with_manifest();
    for length in 0..disk.contents(&path).unwrap().len() {
        let image = disk.crash(1, Damage::Forgotten);
        image.truncate(&path, length).unwrap();
        match try_open(&image, options()) {
            Ok(engine) => assert_eq!(contents(&engine), records, "cut to {length}"),
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
        }
    }
}

#[test]
fn a_missing_or_short_file_is_named() {
    let (disk, ..) = with_manifest();
    // A log of more than one segment, to lose the first, a middle one, and the newest
    let engine = try_open(&disk, options()).unwrap();
    for n in 0..60 {
        write(&engine, &format!("more {n}"), plain(n, "v"));
    }
    drop(engine);
    let mut named = 0;
    for path in disk.files() {
        if path.ends_with("lock") {
            continue;
        }
        let is_manifest = path.to_str().unwrap().contains("manifest-");
        let image = disk.crash(1, Damage::Forgotten);
        image.remove(&path).unwrap();
        image.sync_dir(Path::new(DIRECTORY)).unwrap();
        let error = try_open(&image, options()).expect_err("a file is missing");
        let Error::Corrupt { path: found, .. } = error else { panic!("{error}") };
        // Without a manifest it is another file that gives it away.
        assert!(found == path || is_manifest, "{} for {}", found.display(), path.display());
        named += 1;
        let length = disk.contents(&path).unwrap().len();
        let image = disk.crash(1, Damage::Forgotten);
        image.truncate(&path, length - 1).unwrap();
        match try_open(&image, options()) {
            Ok(_) => assert!(is_manifest, "{} is short", path.display()),
            // Without its last edit the manifest asks for files that are gone.
            Err(error) if is_manifest => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            Err(error) => assert_names(&error, &path, length),
        }
    }
    assert!(named >= 8, "{named}");
}

#[test]
fn a_log_without_a_manifest_is_named() {
    let disk = SimulatedDisk::default();
    try_open(&disk, options()).unwrap().close().unwrap();
    let manifest =
        disk.files().into_iter().find(|path| path.to_str().unwrap().contains("manifest-")).unwrap();
    disk.remove(&manifest).unwrap();
    let refusal = try_open(&disk, options());
    assert!(matches!(refusal, Err(Error::Corrupt { .. })), "{refusal:?}");
}
