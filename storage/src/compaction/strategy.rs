//! Which SSTables to merge: size-tiered.
//!
//! Tables are put into buckets: one joins a bucket when its size is between half and one and a half times the
//! average of the tables in it. A bucket that is full enough is merged, the one of the smallest tables first:
//! that takes away most tables for the fewest bytes. Source: Cassandra's `SizeTieredCompactionStrategy`
//! (`bucket_low` 0.5, `bucket_high` 1.5), without its hotness.

use crate::sstable::{FileId, TableFile};

/// An SSTable that could be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    id: FileId,
    size_bytes: u64,
}

impl Candidate {
    /// A live table.
    pub(crate) fn of(file: &TableFile) -> Self {
        Self { id: file.id, size_bytes: file.length_bytes }
    }
}

/// The tables to merge, if a bucket has `min_tables` (at least two); at most `max_tables`, the smallest.
pub(crate) fn pick(candidates: &[Candidate], min_tables: usize, max_tables: usize) -> Option<Vec<FileId>> {
    let min_tables = min_tables.max(2);
    let full = buckets(candidates).into_iter().find(|bucket| bucket.len() >= min_tables)?;
    Some(full.into_iter().take(max_tables.max(2)).map(|candidate| candidate.id).collect())
}

/// Buckets of ascending size, and in each the tables likewise.
fn buckets(candidates: &[Candidate]) -> Vec<Vec<&Candidate>> {
    let mut ascending: Vec<_> = candidates.iter().collect();
    ascending.sort_by_key(|candidate| (candidate.size_bytes, candidate.id));
    let mut buckets: Vec<Vec<&Candidate>> = Vec::new();
    for candidate in ascending {
        match buckets.last_mut() {
            // In ascending order nothing is below half of the average.
            Some(bucket) if u128::from(candidate.size_bytes) <= average(bucket) * 3 / 2 => {
                bucket.push(candidate);
            }
            _ => buckets.push(vec![candidate]),
        }
    }
    buckets
}

fn average(bucket: &[&Candidate]) -> u128 {
    let total: u128 = bucket.iter().map(|candidate| u128::from(candidate.size_bytes)).sum();
    total / bucket.len().max(1) as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(sizes: &[u64], min: usize, max: usize) -> Option<Vec<u64>> {
        let table = |(id, &size_bytes)| Candidate { id: FileId(id as u64), size_bytes };
        let candidates: Vec<_> = sizes.iter().enumerate().map(table).collect();
        pick(&candidates, min, max).map(|ids| ids.iter().map(|id| sizes[id.0 as usize]).collect())
    }

    #[test]
    fn too_few_tables_of_similar_size_are_left_alone() {
        assert_eq!(picked(&[], 4, 32), None);
        assert_eq!(picked(&[100, 101, 102], 4, 32), None);
        assert_eq!(picked(&[100, 1_000, 10_000, 100_000], 4, 32), None);
    }

    #[test]
    fn tables_of_similar_size_are_merged_and_others_are_not() {
        assert_eq!(picked(&[9_000, 100, 110, 4_000, 120, 90], 4, 32), Some(vec![90, 100, 110, 120]));
    }

    #[test]
    fn the_smallest_bucket_that_is_full_enough_goes_first() {
        let sizes = [5_000, 5_001, 5_002, 5_003, 5_004, 70, 71, 72, 73, 1];
        assert_eq!(picked(&sizes, 4, 32), Some(vec![70, 71, 72, 73]));
    }

    #[test]
    fn a_merge_takes_no_more_than_it_may_and_never_a_single_table() {
        assert_eq!(picked(&[10; 40], 4, 32).unwrap().len(), 32);
        assert_eq!(picked(&[10], 0, 0), None);
        assert_eq!(picked(&[10, 10], 0, 0).unwrap().len(), 2);
        assert_eq!(picked(&[u64::MAX, u64::MAX, u64::MAX - 1], 2, 9).unwrap().len(), 3);
    }
}
