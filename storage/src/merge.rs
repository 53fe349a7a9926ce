//! K-way merge of sorted record streams: one stream, ascending, one record per key.
//!
//! A heap holds the next entry of each source (Knuth, The Art of Computer Programming vol. 3, §5.4.1).
//! Records under equal keys are reconciled, so the order of the sources does not matter.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use bytes::Bytes;

use crate::{error::Result, record::Record};

/// A stream of records with strictly ascending keys.
pub type Source<'a> = Box<dyn Iterator<Item = Result<(Bytes, Record)>> + Send + 'a>;

/// Merges sources, each of which is asked for its first entry at once. An error of any source is passed on and ends the merge, since what that source would have
/// said about the keys that follow is unknown.
pub fn merge(sources: Vec<Source<'_>>) -> Merge<'_> {
    merge_lazily(sources.into_iter().map(|source| (Bytes::new(), source)).collect())
}

/// As [`merge`], with a key for each source that none of its keys is below: it is not asked for an entry before
/// that key's turn, which spares opening those behind the end of a short scan.
pub fn merge_lazily(sources: Vec<(Bytes, Source<'_>)>) -> Merge<'_> {
    let heads = sources.into_iter().map(|(key, source)| Reverse(Head { key, record: None, source }));
    Merge { heads: heads.collect() }
}

/// Iterator of [`merge`].
pub struct Merge<'a> {
    heads: BinaryHeap<Reverse<Head<'a>>>,
}

impl Iterator for Merge<'_> {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = self.advance();
        if outcome.is_err() {
            self.heads.clear();
        }
        outcome.transpose()
    }
}

impl Merge<'_> {
    fn advance(&mut self) -> Result<Option<(Bytes, Record)>> {
        let Some((key, mut record)) = self.take_smallest(None)? else { return Ok(None) };
        while let Some((_, other)) = self.take_smallest(Some(&key))? {
            record = record.reconcile(other);
        }
        Ok(Some((key, record)))
    }

    /// Takes the entry with the smallest key, if that is the one asked for, and lets its source follow up.
    fn take_smallest(&mut self, wanted: Option<&Bytes>) -> Result<Option<(Bytes, Record)>> {
        while let Some(mut smallest) = self.heads.peek_mut() {
            if wanted.is_some_and(|wanted| smallest.0.key != *wanted) {
                break;
            }
            let head = &mut smallest.0;
            let taken = match head.source.next().transpose()? {
                Some((key, record)) => {
                    debug_assert!(head.record.is_none() || head.key < key, "sources are strictly ascending");
                    debug_assert!(head.key <= key, "no key is below what was promised");
                    (std::mem::replace(&mut head.key, key), head.record.replace(record))
                }
                None => {
                    let Reverse(head) = PeekMut::pop(smallest);
                    (head.key, head.record)
                }
            };
            if let (key, Some(record)) = taken {
                return Ok(Some((key, record)));
            }
        }
        Ok(None)
    }
}

/// The next entry of a source, and the rest of it.
struct Head<'a> {
    key: Bytes,
    /// `None` while the source was not asked yet; the key is not above its first one.
    record: Option<Record>,
    source: Source<'a>,
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Head<'_> {}
