//! Decodes records and mutations from anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| helenus_storage_fuzz::record(input));
