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

/// Merges sources. An error of any source is passed on and ends the merge, since what that source would have
/// said about the keys that follow is unknown.
pub fn merge(sources: Vec<Source<'_>>) -> Merge<'_> {
    Merge { waiting: sources, heads: BinaryHeap::new() }
}

/// Iterator of [`merge`].
pub struct Merge<'a> {
    /// Sources that have not been asked for an entry yet: all before the first `next`, none after it.
    waiting: Vec<Source<'a>>,
    heads: BinaryHeap<Reverse<Head<'a>>>,
}

impl Iterator for Merge<'_> {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = self.advance();
        if outcome.is_err() {
            self.waiting.clear();
            self.heads.clear();
        }
        outcome.transpose()
    }
}

impl<'a> Merge<'a> {
    fn advance(&mut self) -> Result<Option<(Bytes, Record)>> {
        while let Some(source) = self.waiting.pop() {
            if let Some(head) = Head::first(source)? {
                self.heads.push(Reverse(head));
            }
        }
        let Some((key, mut record)) = self.take_smallest()? else { return Ok(None) };
        while self.heads.peek().is_some_and(|Reverse(head)| head.key == key) {
            if let Some((_, other)) = self.take_smallest()? {
                record = record.reconcile(other);
            }
        }
        Ok(Some((key, record)))
    }

    /// Takes the entry with the smallest key and lets its source follow up.
    fn take_smallest(&mut self) -> Result<Option<(Bytes, Record)>> {
        let Some(mut smallest) = self.heads.peek_mut() else { return Ok(None) };
        let head = &mut smallest.0;
        let taken = match head.source.next().transpose()? {
            Some((key, record)) => {
                debug_assert!(head.key < key, "sources are strictly ascending");
                (std::mem::replace(&mut head.key, key), std::mem::replace(&mut head.record, record))
            }
            None => {
                let Reverse(head) = PeekMut::pop(smallest);
                (head.key, head.record)
            }
        };
        Ok(Some(taken))
    }
}

/// The next entry of a source, and the rest of it.
struct Head<'a> {
    key: Bytes,
    record: Record,
    source: Source<'a>,
}

impl<'a> Head<'a> {
    fn first(mut source: Source<'a>) -> Result<Option<Self>> {
        let first = source.next().transpose()?;
        Ok(first.map(|(key, record)| Self { key, record, source }))
    }
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
