//! Opens and reads an engine whose SSTable is anything.
#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use helenus_storage::disk::SimulatedDisk;
use helenus_storage_fuzz::{disk, file, mend_table, parts, try_file};

static SOUND: LazyLock<(SimulatedDisk, PathBuf, Vec<usize>)> = LazyLock::new(|| {
    let disk = disk();
    let path = file(&disk, ".sst");
    let bytes = disk.contents(&path).expect("it is there");
    let ends = parts(&bytes);
    assert!(ends.len() > 5 && ends.last() == Some(&bytes.len()), "the layout is not the one of the cover page");
    (disk, path, ends)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (disk, path, ends) = &*SOUND;
    try_file(disk, path, input, |bytes| mend_table(bytes, ends));
});
