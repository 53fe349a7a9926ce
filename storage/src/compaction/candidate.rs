//! What strategies know of an SSTable.

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
    /// Where its smallest and its largest key lie in the key space.
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
            span: (space.position(&stats.first_key), space.position(&stats.last_key)),
            max_timestamp: stats.max_timestamp,
        }
    }

    /// Share of the key space that it covers, in (0, 1].
    pub(crate) fn share(&self) -> f64 {
        ((self.span.1.saturating_sub(self.span.0)) as f64 + 1.0) / 2f64.powi(64)
    }
}

/// The most tables that one key may be in.
pub(crate) fn most_overlapping<'a>(tables: impl IntoIterator<Item = &'a Candidate>) -> usize {
    let mut edges: Vec<_> =
        tables.into_iter().flat_map(|table| [(table.span.0, false), (table.span.1, true)]).collect();
    // At one place, beginnings come before ends: both bounds are inclusive.
    edges.sort_unstable();
    let (mut open, mut most) = (0_usize, 0);
    for (_, is_end) in edges {
        if is_end {
            open -= 1;
        } else {
            open += 1;
            most = most.max(open);
        }
    }
    most
}

/// Tables that overlap, directly or by others, together; each group ordered by size, then id.
pub(crate) fn overlapping(tables: &[&Candidate], also: impl Fn(&Candidate) -> bool) -> Vec<Vec<FileId>> {
    let mut by_span = tables.to_vec();
    by_span.sort_unstable_by_key(|table| (table.span, table.id));
    let mut groups: Vec<(u64, Vec<&Candidate>)> = Vec::new();
    for table in by_span {
        match groups.last_mut() {
            Some((end, group)) if table.span.0 <= *end => {
                *end = table.span.1.max(*end);
                group.push(table);
            }
            _ => groups.push((table.span.1, vec![table])),
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
