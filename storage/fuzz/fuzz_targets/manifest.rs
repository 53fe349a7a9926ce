//! Opens an engine whose `manifest-` file is anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| helenus_storage_fuzz::manifest(input));
