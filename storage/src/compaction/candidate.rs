//! What strategies know of an SSTable.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    compaction::KeySpace,
    record::Timestamp,
    sstable::{FileId, Stats, TableFile, TableReader},
};

/// An SSTable that could be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The file.
    pub(crate) id: FileId,
    /// Its length.
    pub(crate) size_bytes: u64,
    /// Its smallest and its largest key: which tables overlap is a matter of keys. Many of them may lie in one place.
    pub(crate) keys: (Bytes, Bytes),
    /// Where they lie in the key space.
    pub(crate) span: (u64, u64),
    /// Its newest write timestamp.
    pub(crate) max_timestamp: Timestamp,
}

impl Candidate {
    /// A live table.
    pub(crate) fn of(reader: &TableReader, space: KeySpace) -> Self {
        Self::new(reader.file(), reader.stats(), space)
    }

    /// A table of which this is known.
    pub(crate) fn new(file: &TableFile, stats: &Stats, space: KeySpace) -> Self {
        Self {
            id: file.id,
            size_bytes: file.length_bytes,
            keys: (stats.first_key.clone(), stats.last_key.clone()),
            span: (space.position(&stats.first_key), space.position(&stats.last_key)),
            max_timestamp: stats.max_timestamp,
        }
    }

    /// One that has its keys at these places of the whole key space.
    #[cfg(test)]
    pub(crate) fn at(id: u64, size_bytes: u64, span: (u64, u64), max_timestamp: Timestamp) -> Self {
        let key = |place: u64| Bytes::copy_from_slice(&place.to_be_bytes());
        Self { id: FileId(id), size_bytes, keys: (key(span.0), key(span.1)), span, max_timestamp }
    }

    /// Share of the key space that it covers, in (0, 1].
    pub(crate) fn share(&self) -> f64 {
        ((self.span.1.saturating_sub(self.span.0)) as f64 + 1.0) / 2f64.powi(64)
    }
}

/// The most tables that one key may be in.
pub(crate) fn most_overlapping<'a>(tables: impl IntoIterator<Item = &'a Candidate>) -> usize {
    crowd(tables).len()
}

/// The tables that a key may be in, of all keys the one that may be in most; ordered by size, then id.
pub(crate) fn crowd<'a>(tables: impl IntoIterator<Item = &'a Candidate>) -> Vec<&'a Candidate> {
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.sort_unstable_by(|a, b| a.keys.cmp(&b.keys));
    let (mut open, mut crowded, mut most) = (BTreeSet::new(), None, 0);
    for table in &tables {
        let (first, last) = &table.keys;
        // Both bounds are inclusive.
        while open.first().is_some_and(|(end, _)| *end < first) {
            open.pop_first();
        }
        open.insert((last, table.id));
        if open.len() > most {
            (crowded, most) = (Some(first), open.len());
        }
    }
    let is_crowded =
        |table: &&Candidate| crowded.is_some_and(|key| table.keys.0 <= *key && *key <= table.keys.1);
    let mut crowd: Vec<_> = tables.iter().copied().filter(is_crowded).collect();
    crowd.sort_unstable_by_key(|table| (table.size_bytes, table.id));
    crowd
}

/// Tables that overlap, directly or by others, together; each group ordered by size, then id.
pub(crate) fn overlapping(tables: &[&Candidate], also: impl Fn(&Candidate) -> bool) -> Vec<Vec<FileId>> {
    let mut ascending = tables.to_vec();
    ascending.sort_unstable_by(|a, b| (&a.keys, a.id).cmp(&(&b.keys, b.id)));
    let mut groups: Vec<(&Bytes, Vec<&Candidate>)> = Vec::new();
    for table in ascending {
        let (first, last) = &table.keys;
        match groups.last_mut() {
            Some((end, group)) if first <= *end => {
                *end = last.max(*end);
                group.push(table);
            }
            _ => groups.push((last, vec![table])),
        }
    }
    let (joined, mut apart): (Vec<_>, Vec<_>) =
        groups.into_iter().map(|(_, group)| group).partition(|group| group.iter().any(|table| also(table)));
    if !joined.is_empty() {
        apart.push(joined.concat());
    }
    let in_order = |mut group: Vec<&Candidate>| {
        group.sort_unstable_by_key(|table| (table.size_bytes, table.id));
        group.into_iter().map(|table| table.id).collect()
    };
    apart.into_iter().map(in_order).collect()
}
