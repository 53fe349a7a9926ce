//! Promise: storage keys are in byte order what (token, key) are in theirs, and none is a prefix of another.

use bytes::{BufMut, Bytes, BytesMut};
use helenus_cluster::partitioning::{
    StorageKeyError, StorageKeyParts, Token, split_storage_key, storage_key, token_of,
};
use proptest::prelude::*;

#[test]
fn a_storage_key_is_laid_out_as_documented() {
    let key = storage_key(Token(-2), b"a\0b");
    assert_eq!(key.as_ref(), [0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, b'a', 0, 0xFF, b'b', 0, 1]);
    assert_eq!(storage_key(Token::MIN, b"").as_ref(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_key_without_zeros_is_a_slice_of_the_storage_key() {
    let stored = storage_key(Token(5), b"path/to/file");
    let parts = split_storage_key(&stored).unwrap();
    assert_eq!(parts.key.as_ptr(), stored[8..].as_ptr());
}

#[test]
fn bytes_that_are_no_storage_key_are_refused() {
    let split = |bytes: &'static [u8]| split_storage_key(&Bytes::from_static(bytes));
    assert_eq!(split(b""), Err(StorageKeyError::Truncated));
    assert_eq!(split(b"1234567"), Err(StorageKeyError::Truncated));
    assert_eq!(split(b"12345678"), Err(StorageKeyError::Truncated));
    assert_eq!(split(b"12345678key"), Err(StorageKeyError::Truncated));
    assert_eq!(split(b"12345678key\0"), Err(StorageKeyError::Truncated));
    assert_eq!(split(b"12345678k\x00\xFFy"), Err(StorageKeyError::Truncated));
    assert_eq!(split(b"12345678key\0\x02"), Err(StorageKeyError::Escape { at: 12 }));
    assert_eq!(token_of(b"1234567"), None);
}

/// Keys in which zeros, escapes and terminators are likely.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop_oneof![Just(0u8), Just(1), Just(2), Just(0xFE), Just(0xFF), any::<u8>()];
    prop::collection::vec(likely, 0..8)
}

proptest! {
    #[test]
    fn byte_order_is_the_order_of_token_and_key(a in (-2i64..2, keys()), b in (-2i64..2, keys())) {
        let stored = |(token, key): &(i64, Vec<u8>)| storage_key(Token(*token), key);
        prop_assert_eq!(stored(&a).cmp(&stored(&b)), a.cmp(&b));
    }

    #[test]
    fn no_storage_key_is_a_prefix_of_another(a in keys(), b in keys()) {
        let (stored_a, stored_b) = (storage_key(Token(0), &a), storage_key(Token(0), &b));
        prop_assert_eq!(stored_b.starts_with(&stored_a), a == b);
    }

    #[test]
    fn a_storage_key_and_its_suffix_come_apart_as_they_were(token: i64, key in keys(), suffix in keys()) {
        let mut stored = BytesMut::from(storage_key(Token(token), &key).as_ref());
        stored.put_slice(&suffix);
        let stored = stored.freeze();

        let parts = StorageKeyParts { token: Token(token), key: key.into(), suffix: suffix.into() };
        prop_assert_eq!(split_storage_key(&stored), Ok(parts));
        prop_assert_eq!(token_of(&stored), Some(Token(token)));
    }

    #[test]
    fn what_splits_is_what_would_be_stored(bytes in keys()) {
        let mut stored = BytesMut::from(&[7u8; 8][..]);
        stored.put_slice(&bytes);
        if let Ok(parts) = split_storage_key(&stored.clone().freeze()) {
            let mut again = BytesMut::from(storage_key(parts.token, &parts.key).as_ref());
            again.put_slice(&parts.suffix);
            prop_assert_eq!(again, stored);
        }
    }
}
