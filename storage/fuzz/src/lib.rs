//! What the fuzz targets share: a small engine's files, and ways to damage them past their checksums.
//!
//! ```text
//! cd storage && cargo +nightly fuzz run table -- -max_total_time=300
//! ```
//!
//! An input is a list of edits of a valid file; each replaces a byte or a short run, and an even first byte asks for
//! checksums that fit again. A first byte of 255 says that the rest is the whole file. Whatever the file holds, an
//! engine opens it or answers an error; it never panics, and never takes more memory than libFuzzer's limit.

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;

use helenus_storage::{
    Engine, Error, Mutation, Options, Record, Step, StepOutcome, TableId, Timestamp,
    disk::{Damage, SimulatedDisk},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const TABLE: TableId = TableId(1);
const FIRST_FRAME: usize = 48;

fn open(disk: &SimulatedDisk) -> Result<Engine, Error> {
    let options =
        Options { segment_bytes: 2 << 10, block_bytes: 128, restart_interval: 2, ..Options::default() };
    Engine::open(Arc::new(disk.clone()), Path::new("/data"), options)
}

/// Opens and reads an engine whose SSTable is anything.
pub fn table(input: &[u8]) {
    static SOUND: LazyLock<(SimulatedDisk, PathBuf, Vec<usize>)> = LazyLock::new(|| {
        let disk = disk();
        let path = file(&disk, ".sst");
        let bytes = disk.contents(&path).expect("it is there");
        let ends = parts(&bytes);
        assert!(
            ends.len() > 5 && ends.last() == Some(&bytes.len()),
            "the layout is not the one of the cover page"
        );
        (disk, path, ends)
    });
    let (disk, path, ends) = &*SOUND;
    try_file(disk, path, input, |bytes| mend_table(bytes, ends));
}

/// Opens an engine whose `commit-` file is anything.
pub fn commit_log(input: &[u8]) {
    static SOUND: LazyLock<Framed> = LazyLock::new(|| Framed::new("commit-", |_| None));
    SOUND.try_with(input);
}

/// Opens an engine whose `manifest-` file is anything.
pub fn manifest(input: &[u8]) {
    static SOUND: LazyLock<Framed> =
        LazyLock::new(|| Framed::new("manifest-", |id| Some(u64::from_le_bytes(*b"HELENMAN") ^ id)));
    SOUND.try_with(input);
}

/// Decodes records and mutations from anything; what decodes encodes to the same bytes.
pub fn record(input: &[u8]) {
    let whole = Bytes::copy_from_slice(input);
    if let Ok(record) = Record::decode(whole.clone()) {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(again.len(), record.encoded_len());
        assert_eq!(again, whole);
    }
    if let Ok(mutation) = Mutation::decode(whole.clone()) {
        let mut again = Vec::new();
        mutation.encode(&mut again);
        assert_eq!(again.len(), mutation.encoded_len());
        assert_eq!(again, whole);
    }
}

/// A file of frames, and what salts its checksums; a segment says that itself.
struct Framed {
    disk: SimulatedDisk,
    path: PathBuf,
    salt: Option<u64>,
}

impl Framed {
    fn new(name: &str, salt: impl Fn(u64) -> Option<u64>) -> Self {
        let disk = disk();
        let path = file(&disk, name);
        let salt = salt(number(&path));
        let sound = disk.contents(&path).expect("it is there");
        let mut mended = sound.clone();
        mend_frames(&mut mended, salt);
        assert!(mended == sound, "the layout is not the one of the cover page");
        Self { disk, path, salt }
    }

    fn try_with(&self, input: &[u8]) {
        try_file(&self.disk, &self.path, input, |bytes| mend_frames(bytes, self.salt));
    }
}

/// A disk with an SSTable, a manifest and a log that is needed, abandoned without closing.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let engine = open(&disk).expect("an empty disk");
    engine.create_table(TABLE).expect("the disk is sound");
    for number in 0..40_u64 {
        let key = format!("key{:02}", number % 24);
        let record = match number % 4 {
            0 => Record::tombstone(Timestamp(number), Timestamp(number)),
            1 => Record::expiring(Timestamp(number), vec![b'e'; 9], Timestamp(number + 1)),
            _ => Record::plain(Timestamp(number), vec![b'v'; number as usize]),
        };
        let ticket = engine.apply(TABLE, Mutation::single(key, record)).expect("there is room");
        engine.step(Step::Commit).expect("the disk is sound");
        ticket.wait().expect("it was committed");
        if number == 24 {
            engine.switch_memtables().expect("it is open");
            engine.step(Step::Flush).expect("the disk is sound");
        }
    }
    drop(engine);
    disk.crash(1, Damage::ProcessOnly)
}

/// The file whose name has this in it, the last one of several.
fn file(disk: &SimulatedDisk, part: &str) -> PathBuf {
    disk.files().into_iter().rfind(|path| path.to_string_lossy().contains(part)).expect("the disk has one")
}

/// Applies an input to a file, opens what comes of it, and uses it.
fn try_file(disk: &SimulatedDisk, path: &Path, input: &[u8], mend: impl Fn(&mut Vec<u8>)) {
    let Some((&kind, edits)) = input.split_first() else { return };
    let mut bytes = if kind == 255 { edits.to_vec() } else { disk.contents(path).expect("it is there") };
    if kind != 255 {
        for edit in edits.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = edit[2];
            }
        }
        if kind % 2 == 0 {
            mend(&mut bytes);
        }
    }
    let image = disk.crash(1, Damage::ProcessOnly);
    image.replace(path, bytes).expect("it is there");
    let _ = use_all(&image);
}

fn use_all(disk: &SimulatedDisk) -> Result<(), Error> {
    let engine = open(disk)?;
    for table in engine.tables() {
        for number in 0..25 {
            let _ = engine.get(table, format!("key{number:02}").as_bytes());
        }
        let _ = engine.scan(table, (Bound::Unbounded, Bound::Unbounded), 1000);
        let _ = engine.scan(table, (Bound::Excluded(b"key03"), Bound::Included(b"key09")), 3);
    }
    engine.switch_memtables()?;
    while engine.step(Step::Flush)? == StepOutcome::Worked {}
    let _ = engine.compact_table(TABLE);
    for _ in 0..10 {
        if engine.step(Step::Compact)? == StepOutcome::Idle {
            break;
        }
    }
    Ok(())
}

/// Gives the header and the frames of a log segment or manifest checksums that fit.
fn mend_frames(bytes: &mut [u8], salt: Option<u64>) {
    if bytes.len() < FIRST_FRAME {
        return;
    }
    let salt = salt.unwrap_or_else(|| u64::from_le_bytes(bytes[40..48].try_into().expect("eight bytes")));
    bytes[12..16].fill(0);
    let header = crc32fast::hash(&bytes[..FIRST_FRAME]).to_le_bytes();
    bytes[12..16].copy_from_slice(&header);
    let mut at = FIRST_FRAME;
    // Zeros are where no frame is yet.
    while bytes.get(at).is_some_and(|&first| first != 0) {
        let Some((head, head_bytes)) = varint(&bytes[at..]) else { return };
        let payload = at + head_bytes + 4;
        let end = payload.saturating_add((head >> 3) as usize);
        if end > bytes.len() {
            return;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&salt.to_le_bytes());
        crc.update(&(at as u64).to_le_bytes());
        crc.update(&bytes[at..payload - 4]);
        crc.update(&bytes[payload..end]);
        bytes[payload - 4..payload].copy_from_slice(&crc.finalize().to_le_bytes());
        at = end;
    }
}

/// The number that the bytes begin with, and how many of them it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, length))
}

/// Gives the parts of an SSTable checksums that fit: those between the ends that the sound file has.
fn mend_table(bytes: &mut [u8], ends: &[usize]) {
    const FOOTER_BYTES: usize = 52;
    let Some(footer) = bytes.len().checked_sub(FOOTER_BYTES) else { return };
    let id = u64::from_le_bytes(bytes[footer..footer + 8].try_into().expect("eight bytes"));
    let mut start = 0;
    let length = bytes.len();
    for &end in ends.iter().filter(|&&end| end <= length) {
        let seed = if start == footer { 0 } else { id.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        let checksum = xxh3_64_with_seed(&bytes[start..end - 8], seed ^ start as u64);
        bytes[end - 8..end].copy_from_slice(&checksum.to_le_bytes());
        start = end;
    }
}

/// Where the parts of a sound SSTable end: a part is what its checksum fits.
fn parts(bytes: &[u8]) -> Vec<usize> {
    let footer = bytes.len() - 52;
    let id = u64::from_le_bytes(bytes[footer..footer + 8].try_into().expect("eight bytes"));
    let (mut ends, mut start) = (Vec::new(), 0);
    for end in 9..=bytes.len() {
        if end - start < 9 {
            continue;
        }
        let seed = if start == footer { 0 } else { id.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        if xxh3_64_with_seed(&bytes[start..end - 8], seed ^ start as u64).to_le_bytes() == bytes[end - 8..end]
        {
            ends.push(end);
            start = end;
        }
    }
    ends
}

/// The number in a file's name.
fn number(path: &Path) -> u64 {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let digits: String = name.rsplit('-').next().unwrap_or("").chars().take(16).collect();
    u64::from_str_radix(&digits, 16).expect("the engine names its files so")
}
