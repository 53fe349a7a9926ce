//! Rot is told from a torn tail: damage to what was durable stops the start and is named, the torn end of the
//! log is cut, and nothing more.
//!
//! Every byte of every file is damaged once. Where groups lie in a segment is known from what was written.

use std::path::{Path, PathBuf};

use helenus_storage::{
    Engine, Error, Options, Record, Step, TableId, TableOptions,
    disk::{Damage, Disk, SimulatedDisk},
};

use crate::rig::{DIRECTORY, TABLE, everything, files, flush, open, plain, queue, small, try_open, write};

const HEADER_BYTES: usize = 48;
/// The first two frames of a segment, which say the same.
const START_BYTES: usize = 44;

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

/// Damage to a byte that was durable is named, or, where the same is written twice, harmless.
fn assert_rot(disk: &SimulatedDisk, path: &Path, offset: usize, records: &[(String, Record)]) {
    match open_flipped(disk, path, offset) {
        Ok(engine) => {
            assert!((HEADER_BYTES..HEADER_BYTES + START_BYTES).contains(&offset), "damage at {offset}");
            assert_eq!(contents(&engine), records, "damage at {offset}");
        }
        Err(error) => {
            assert!(!(HEADER_BYTES..HEADER_BYTES + START_BYTES).contains(&offset), "at {offset}: {error}");
            assert_names(&error, path, offset);
        }
    }
}

#[test]
fn a_damaged_byte_does_not_make_a_segment_look_as_if_it_was_never_used() {
    // Given a segment that holds its start and one group, which nothing else says to be durable
    let disk = SimulatedDisk::default();
    let engine = open(&disk, options());
    let mut number = 0;
    let mut segments = 1;
    while segments < 3 {
        write(&engine, &format!("{number:02}"), plain(number, "acknowledged"));
        segments = files(&disk, ".log").len();
        number += 1;
    }
    let records = contents(&engine);
    drop(engine);
    let disk = disk.crash(1, Damage::Forgotten);
    let path = Path::new(DIRECTORY).join(files(&disk, ".log").pop().unwrap());
    for offset in HEADER_BYTES..HEADER_BYTES + START_BYTES {
        assert_rot(&disk, &path, offset, &records);
    }
}

#[test]
fn a_damaged_byte_of_a_segment_with_a_successor_is_rot() {
    let log = log_of(12);
    assert!(log.segments.len() >= 3);
    let (path, bounds) = &log.segments[1];
    let end = *bounds.last().unwrap();
    for offset in 0..end {
        assert_rot(&log.disk, path, offset, &log.records);
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
        assert_rot(&log.disk, path, offset, &log.records);
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
    let expected = contents(&engine);
    engine.close().unwrap();
    let path = Path::new(DIRECTORY).join(files(&log.disk, ".log").pop().unwrap());
    let end = log.disk.contents(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    const SEAL_BYTES: usize = 8;
    for offset in 0..end - SEAL_BYTES {
        assert_rot(&log.disk, &path, offset, &expected);
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
        assert_rot(&log.disk, &path, offset, &log.records);
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
    assert!(0 < refused && refused < end / 2, "the header and the snapshot: {refused} of {end}");
}

#[test]
fn a_damaged_byte_loses_no_edit_that_was_acknowledged_and_not_the_last_either() {
    // Given a manifest whose last edit is one that nothing else on the disk would miss
    let last: [fn(&Engine); 3] = [
        |engine| engine.drop_table(TABLE).unwrap(),
        |engine| engine.set_table_options(TABLE, TableOptions::tiered(7)).unwrap(),
        |engine| engine.create_table(TableId(9)).unwrap(),
    ];
    for edit in last {
        let (disk, ..) = with_manifest();
        let engine = try_open(&disk, options()).unwrap();
        edit(&engine);
        let state = |engine: &Engine| (engine.tables(), engine.table_options(TABLE).ok());
        let expected = state(&engine);
        drop(engine);
        let path = Path::new(DIRECTORY).join(manifests(&disk).pop().unwrap());
        let mut opened = 0;
        // When any one byte is damaged, then the edit holds, or the damage is named
        for offset in 0..disk.contents(&path).unwrap().len() {
            match open_flipped(&disk, &path, offset) {
                Ok(engine) => assert_eq!(state(&engine), expected, "damage at {offset}"),
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            }
            opened += 1;
        }
        assert!(opened > 1000);
    }
}

#[test]
fn an_edit_that_was_torn_did_not_happen_or_did_and_nothing_else() {
    // Given an edit of which a crash left any first or last part
    let (disk, ..) = with_manifest();
    let engine = try_open(&disk, options()).unwrap();
    let path = Path::new(DIRECTORY).join(manifests(&disk).pop().unwrap());
    let before = disk.contents(&path).unwrap();
    engine.create_table(TableId(9)).unwrap();
    drop(engine);
    let after = disk.contents(&path).unwrap();
    let changed: Vec<usize> = (0..after.len()).filter(|&at| before[at] != after[at]).collect();
    let (first, last) = (changed[0], changed[changed.len() - 1]);
    for torn_at in first..=last + 1 {
        for (kept, rest) in [(&after, &before), (&before, &after)] {
            let image = disk.crash(1, Damage::ProcessOnly);
            image.replace(&path, [&kept[..torn_at], &rest[torn_at..]].concat()).unwrap();
            let tables = try_open(&image, options()).unwrap().tables();
            assert!(tables == [TABLE] || tables == [TABLE, TableId(9)], "torn at {torn_at}: {tables:?}");
        }
    }
}

fn manifests(disk: &SimulatedDisk) -> Vec<String> {
    files(disk, "").into_iter().filter(|name| name.starts_with("manifest-")).collect()
}

#[test]
fn a_torn_group_is_remarked() {
    let log = log_of(14);
    let (path, bounds) = log.segments.last().unwrap();
    let (group, end) = (bounds[bounds.len() - 2], bounds[bounds.len() - 1]);
    let remarks = |engine: &Engine| engine.remarks().to_vec();
    assert_eq!(remarks(&try_open(&log.disk.crash(1, Damage::Forgotten), options()).unwrap()), [""; 0]);
    let torn = remarks(&open_flipped(&log.disk, path, end - 1).unwrap());
    assert_eq!(torn.len(), 1);
    for part in [path.display().to_string(), format!("{} bytes", end - group), format!("offset {group}")] {
        assert!(torn[0].contains(&part), "{torn:?} does not say {part}");
    }
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
