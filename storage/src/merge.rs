//! K-way merge of sorted sources: one stream, ascending, one record per key.
//!
//! Each source stands at an entry, and a list holds them in the order of the keys they stand at (Knuth, The Art of
//! Computer Programming vol. 3, §5.4.1; a list, since few are merged at a time). The one that was stepped finds its new
//! place by one comparison while it goes on alone, else by binary search. Keys are compared where they lie: only
//! what comes out is copied. Records under equal keys are reconciled, so the order of the sources does not matter.

use bytes::Bytes;

use crate::{error::Result, record::Record};

/// A stream of records with strictly ascending keys, to step through. It stands before its first record.
pub trait Source {
    /// Steps to the next record; false behind the last one.
    ///
    /// # Errors
    /// Whatever keeps the record from being read. It is not asked again.
    fn advance(&mut self) -> Result<bool>;

    /// The key of the record at which it stands.
    fn key(&self) -> &[u8];

    /// The record at which it stands.
    ///
    /// # Errors
    /// As [`Source::advance`].
    fn record(&self) -> Result<Record>;
}

/// Merges sources. An error of any source is passed on and ends the merge, since what that source would have said about
/// the keys that follow is unknown.
pub fn merge<S: Source>(sources: impl IntoIterator<Item = S>) -> Merge<S> {
    merge_lazily(sources.into_iter().map(|source| (Bytes::new(), source)))
}

/// As [`merge`], with a key for each source that none of its keys is below: it is not asked for an entry before
/// that key's turn, which spares opening those behind the end of a short scan.
pub fn merge_lazily<S: Source>(sources: impl IntoIterator<Item = (Bytes, S)>) -> Merge<S> {
    let heads: Vec<_> =
        sources.into_iter().map(|(floor, source)| Head { floor: Some(floor), source }).collect();
    let mut order: Vec<_> = (0..heads.len()).collect();
    order.sort_by(|&a, &b| heads[b].key().cmp(heads[a].key()));
    Merge { heads, order, taken: 0 }
}

/// Iterator of [`merge`].
#[derive(Debug)]
pub struct Merge<S> {
    heads: Vec<Head<S>>,
    /// The heads that are not at their end, the one with the smallest key last.
    order: Vec<usize>,
    /// How many of the last ones hold what came out already. They are stepped when more is asked for: what follows may be
    /// far, and on the disk.
    taken: usize,
}

impl<S: Source> Iterator for Merge<S> {
    type Item = Result<(Bytes, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = self.advance();
        if outcome.is_err() {
            self.order.clear();
            self.taken = 0;
        }
        outcome.transpose()
    }
}

impl<S: Source> Merge<S> {
    fn advance(&mut self) -> Result<Option<(Bytes, Record)>> {
        for _ in 0..std::mem::take(&mut self.taken) {
            // It lands before those that were taken with it, whose key is the smallest.
            self.step(self.order.len() - 1)?;
        }
        let (key, mut record) = loop {
            let Some(&smallest) = self.order.last() else { return Ok(None) };
            let head = &self.heads[smallest];
            if head.floor.is_none() {
                break (Bytes::copy_from_slice(head.source.key()), head.source.record()?);
            }
            self.step(self.order.len() - 1)?;
        };
        self.taken = 1;
        while let Some(at) = self.order.len().checked_sub(self.taken + 1) {
            let head = &self.heads[self.order[at]];
            if head.key() != key {
                break;
            }
            if head.floor.is_some() {
                self.step(at)?;
            } else {
                record = record.reconcile(head.source.record()?);
                self.taken += 1;
            }
        }
        Ok(Some((key, record)))
    }

    /// Steps the source at a place of the order, and moves it to where it belongs now.
    fn step(&mut self, at: usize) -> Result<()> {
        let head = &mut self.heads[self.order[at]];
        head.floor = None;
        if !head.source.advance()? {
            self.order.remove(at);
            return Ok(());
        }
        let key = self.heads[self.order[at]].key();
        let is_below = |other: &usize| self.heads[*other].key() > key;
        if self.order[..at].last().is_some_and(|next| !is_below(next)) {
            let place = self.order[..at].partition_point(is_below);
            self.order[place..=at].rotate_right(1);
        }
        Ok(())
    }
}

/// A source, and where it stands.
#[derive(Debug)]
struct Head<S> {
    /// Set while the source was not asked yet: none of its keys is below.
    floor: Option<Bytes>,
    source: S,
}

impl<S: Source> Head<S> {
    fn key(&self) -> &[u8] {
        match &self.floor {
            Some(floor) => floor,
            None => self.source.key(),
        }
    }
}
