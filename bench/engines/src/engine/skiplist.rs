//! A bare skip list: what memory allows.

use bytes::Bytes;
use crossbeam_skiplist::SkipMap;

/// Keys to values.
#[derive(Default)]
pub struct Skiplist(SkipMap<Bytes, Bytes>);

impl super::Engine for Skiplist {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }

    fn delete(&self, key: &[u8]) {
        self.0.remove(key);
    }

    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> bool {
        self.0.get(key).map(|entry| see(entry.value())).is_some()
    }

    fn scan(&self, from: &[u8], count: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> usize {
        use std::ops::Bound::{Included, Unbounded};
        let entries = self.0.range::<[u8], _>((Included(from), Unbounded)).take(count);
        entries.map(|entry| see(entry.key(), entry.value())).count()
    }

    fn settle(&self) {}

    fn close(self: Box<Self>) {}
}
