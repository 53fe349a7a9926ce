//! Opens an engine whose `manifest-` file is anything.
#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use helenus_storage::disk::SimulatedDisk;
use helenus_storage_fuzz::{disk, file, mend_frames, number, try_file};

static SOUND: LazyLock<(SimulatedDisk, PathBuf)> = LazyLock::new(|| {
    let disk = disk();
    let path = file(&disk, "manifest-");
    (disk, path)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (disk, path) = &*SOUND;
    let salt = u64::from_le_bytes(*b"HELENMAN") ^ number(path);
    try_file(disk, path, input, |bytes| mend_frames(bytes, salt));
});
