//! Decodes records and mutations from anything; what decodes encodes to the same bytes.
#![no_main]

use bytes::Bytes;
use helenus_storage::{Mutation, Record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
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
});
