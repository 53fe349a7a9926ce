//! One page out of the pages of several replicas.
//!
//! A replica reads a range up to a bound, so its page may end before the range does, and each replica's elsewhere:
//!
//! ```text
//!   n1   a  b  c  d ┊ (more)         a page that ends at d says nothing of what is behind d
//!   n2   a     c  d  f  g ▐           the range ends here
//!   n3      b  c ┊ (more)            the smallest such end: c
//!        └───────┘
//!        reconciled: a, b, c; the next page begins behind c
//! ```
//!
//! That f is on n2 alone may mean that n1 and n3 lack it, or that they would have sent it next, or a deletion of it. So
//! keys are reconciled up to the smallest end of a page that was cut short, and no further (Apache Cassandra calls the
//! trap *short reads*, CASSANDRA-2734). Each replica sends one key at least if it has one, so a page always gets somewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use helenus_storage::{Mutation, Record};

use super::AsOf;
use crate::{
    node_id::HostId,
    partitioning::{KeyRange, split_storage_key},
};

/// What ends a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageLimits {
    /// Most records that live.
    pub items: u32,
    /// Most bytes of storage keys and values; one record is taken in any case.
    pub bytes: u32,
    /// Most records that are gone: deleted, or expired at the read's clock.
    pub tombstones: u32,
}

/// What a replica holds of a range, from its beginning on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaPage {
    /// Storage keys and newest versions, tombstones included, ascending.
    pub records: Vec<(Bytes, Record)>,
    /// Whether it is all of the range; otherwise the last record is where the page was cut.
    pub is_whole: bool,
}

impl ReplicaPage {
    /// Whether it can be a page of this range: in order, of storage keys, and one that gets somewhere.
    pub fn is_of(&self, range: &KeyRange) -> bool {
        self.records.is_sorted_by(|(a, _), (b, _)| a < b)
            && self.records.first().is_none_or(|(first, _)| range.contains(first))
            && self.records.last().is_none_or(|(last, _)| range.contains(last))
            && self.records.iter().all(|(key, _)| split_storage_key(key).is_ok())
            && (self.is_whole || !self.records.is_empty())
    }

    /// The last key that it tells everything up to; `None`: all of the range.
    fn horizon(&self) -> Option<&Bytes> {
        let last = self.records.last().map(|(key, _)| key);
        last.filter(|_| !self.is_whole)
    }
}

/// What the replicas hold together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// The newest versions of what lives at the read's clock, ascending.
    pub live: Vec<(Bytes, Record)>,
    /// Bytes of their storage keys and values.
    pub bytes: usize,
    /// Keys that are gone.
    pub tombstones: usize,
    /// The last key that was looked at, if the range may go on behind it.
    pub cut: Option<Bytes>,
    /// What some replica lacked: the newest version of each such key.
    pub differing: Vec<Mutation>,
    /// Of these, what each replica lacks.
    pub stale: BTreeMap<HostId, Vec<Mutation>>,
}

/// Reconciles pages of one range, up to where all of them go and the limits allow.
pub(super) fn reconcile(pages: &[(HostId, ReplicaPage)], as_of: &AsOf, limits: &PageLimits) -> Reconciled {
    let horizon = pages.iter().filter_map(|(_, page)| page.horizon()).min();
    let mut merged = Reconciled::default();
    let mut places = vec![0; pages.len()];
    let mut last = None;
    let head = |places: &[usize], at: usize| pages[at].1.records.get(places[at]);
    loop {
        let heads = (0..pages.len()).filter_map(|at| head(&places, at));
        let Some(key) = heads.map(|(key, _)| key).min() else { break };
        if horizon.is_some_and(|horizon| key > horizon) || merged.is_full(limits) {
            merged.cut = last;
            return merged;
        }
        let mut held: Vec<Option<&Record>> = Vec::with_capacity(pages.len());
        for (at, place) in places.iter_mut().enumerate() {
            let record = pages[at].1.records.get(*place).filter(|(other, _)| other == key);
            *place += usize::from(record.is_some());
            held.push(record.map(|(_, record)| record));
        }
        let newest = held.iter().copied().flatten().cloned().reduce(Record::reconcile);
        let Some(newest) = newest else { break };
        let seen = as_of.see(Some(&newest));
        let live = seen.as_ref().filter(|seen| seen.value().is_some());
        if let Some(live) = live {
            let bytes = bytes_of(key, live);
            if merged.bytes.saturating_add(bytes) > limits.bytes as usize && last.is_some() {
                merged.cut = last;
                return merged;
            }
            merged.bytes += bytes;
            merged.live.push((key.clone(), live.clone()));
        } else {
            merged.tombstones += 1;
        }
        // What counts as nothing is not spread.
        if seen.is_some() {
            merged.note_stale(pages, key, &held, &newest, as_of);
        }
        last = Some(key.clone());
    }
    merged.cut = last.filter(|_| horizon.is_some());
    merged
}

impl Reconciled {
    /// Leaves what so many items and bytes have room for: what was read beside others may be more. Nothing may be left.
    pub fn shorten(&mut self, items: usize, bytes: usize) {
        let mut left = bytes;
        let fits = |(key, record): &&(Bytes, Record)| {
            let rest = left.checked_sub(bytes_of(key, record));
            left = rest.unwrap_or_default();
            rest.is_some()
        };
        let kept = self.live.iter().take(items).take_while(fits).count();
        if kept < self.live.len() {
            self.live.truncate(kept);
            self.bytes = self.live.iter().map(|(key, record)| bytes_of(key, record)).sum();
            self.cut = self.live.last().map(|(key, _)| key.clone());
        }
    }

    fn is_full(&self, limits: &PageLimits) -> bool {
        self.live.len() >= limits.items as usize || self.tombstones >= limits.tombstones as usize
    }

    fn note_stale(
        &mut self,
        pages: &[(HostId, ReplicaPage)],
        key: &Bytes,
        held: &[Option<&Record>],
        newest: &Record,
        as_of: &AsOf,
    ) {
        let seen = as_of.see(Some(newest));
        let lacks = |held: Option<&Record>| held != Some(newest) && as_of.see(held) != seen;
        let mutation = || Mutation::single(key.clone(), newest.clone());
        for ((host_id, _), held) in pages.iter().zip(held) {
            if lacks(*held) {
                self.stale.entry(*host_id).or_default().push(mutation());
            }
        }
        if held.iter().any(|held| lacks(*held)) {
            self.differing.push(mutation());
        }
    }
}

fn bytes_of(key: &Bytes, record: &Record) -> usize {
    key.len() + record.value().map_or(0, Bytes::len)
}
