//! Opens and reads an engine whose SSTable is anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| helenus_storage_fuzz::table(input));
