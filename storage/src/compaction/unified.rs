//! Which SSTables to merge: the unified strategy.
//!
//! *Source:* CEP-26, "Unified Compaction Strategy", and the strategy's page in the documentation of Apache Cassandra
//! 5.0; the idea that one parameter leads from tiered to levelled: Idreos et al., "Design Continuums and the Path
//! Toward Self-Designing Key-Value Stores", CIDR 2019.
//!
//! The density of a table is its size over the share of the key space that it covers: what its size would be if it
//! covered everything. A level holds densities up to a fanout times those of the level below it. Within a level,
//! tables that overlap are a bucket; one in which a key may be in as many tables as the level's trigger is merged.
//! A merge of f tables is f times as dense, so it belongs to the next level, however many parts it is split into.
//!
//! Two departures. There are levels below that of a flush, so that small flushes are merged among themselves and
//! not, each time, with what the size of others gave the lowest level. And small tables count as covering everything,
//! and as overlapping each other: else a table whose keys only ascend would consist of ever more of them.

use super::candidate::{Candidate, crowd, overlapping};
use crate::{sstable::FileId, table_options::Unified};

/// Growth of SSTables with the density of their level: shards grow with the two thirds that are left.
const GROWTH: f64 = 1.0 / 3.0;
/// Levels up and down.
const MOST_LEVELS: i32 = 64;

/// A bucket that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// What to merge. The first of them are worth merging without the others: those that one key may be in, or small ones;
    /// each kind smallest first.
    pub(crate) tables: Vec<FileId>,
    /// How many tables one key may be in.
    pub(crate) overlap: usize,
    level: i32,
}

/// All buckets that are due, the most urgent first: where a read may have to look into most tables.
pub(crate) fn due(candidates: &[Candidate], options: &Unified, flush_bytes: u64) -> Vec<Due> {
    let levels = Levels { options, flush_bytes };
    let mut due = Vec::new();
    for members in by_level(candidates, options, flush_bytes).chunk_by(|(a, _), (b, _)| a == b) {
        let level = members[0].0;
        let tables: Vec<&Candidate> = members.iter().map(|(_, table)| *table).collect();
        for mut bucket in overlapping(&tables, |table| levels.is_small(table)) {
            let within = || tables.iter().copied().filter(|table| bucket.contains(&table.id));
            let small = within().filter(|table| levels.is_small(table)).count();
            let crowd = crowd(within());
            let overlap = crowd.len().max(small);
            if crowd.len() >= small {
                // Else some that do not overlap could be merged, into what they were, again and again.
                bucket.sort_by_key(|id| crowd.iter().all(|table| table.id != *id));
            }
            if overlap >= options.scaling.trigger(level) {
                due.push(Due { tables: bucket, overlap, level });
            }
        }
    }
    due.sort_by_key(|due| (std::cmp::Reverse(due.overlap), due.level));
    due
}

/// The tables with their levels, which ascend.
pub(crate) fn by_level<'a>(
    candidates: &'a [Candidate],
    options: &Unified,
    flush_bytes: u64,
) -> Vec<(i32, &'a Candidate)> {
    let levels = Levels { options, flush_bytes };
    let mut by_level: Vec<_> =
        candidates.iter().map(|table| (levels.of(levels.density(table)), table)).collect();
    by_level.sort_by_key(|(level, table)| (*level, table.id));
    by_level
}

/// How many parts of equal share of the key space the output of a merge is cut into: a power of two.
pub(crate) fn shards(options: &Unified, density: f64) -> u64 {
    let base = u64::from(options.base_shards.clamp(1, 1 << 16)).next_power_of_two();
    let min_bytes = options.min_bytes.max(1) as f64;
    let target_bytes = options.target_bytes.max(1) as f64;
    if density < min_bytes * base as f64 {
        // As many as leave each large enough.
        let most = (density / min_bytes).max(1.0) as u64;
        return 1 << most.ilog2();
    }
    let over = density / (target_bytes * base as f64);
    let doublings = (over.log2() * (1.0 - GROWTH)).round().clamp(0.0, 32.0);
    base << doublings as u32
}

/// Density of a merge of these.
pub(crate) fn merged_density<'a>(
    inputs: impl Iterator<Item = &'a Candidate> + Clone,
    options: &Unified,
) -> f64 {
    let levels = Levels { options, flush_bytes: 1 };
    let size: f64 = inputs.clone().map(|table| table.size_bytes as f64).sum();
    let share = inputs.map(|table| levels.share(table)).fold(0.0, f64::max);
    size / share
}

/// Where tables belong.
struct Levels<'a> {
    options: &'a Unified,
    flush_bytes: u64,
}

impl Levels<'_> {
    fn is_small(&self, table: &Candidate) -> bool {
        table.size_bytes < self.options.min_bytes
    }

    fn share(&self, table: &Candidate) -> f64 {
        if self.is_small(table) { 1.0 } else { table.share() }
    }

    fn density(&self, table: &Candidate) -> f64 {
        table.size_bytes as f64 / self.share(table)
    }

    fn of(&self, density: f64) -> i32 {
        let scaling = &self.options.scaling;
        let fanout = f64::from(scaling.fanout(0));
        // Room for flushes that are smaller than others, and for what a merge of them drops.
        let mut bound = self.flush_bytes.max(1) as f64 * (1.0 - 0.9 / fanout);
        let mut level = 0;
        while density < bound && level > -MOST_LEVELS {
            level -= 1;
            bound /= fanout;
        }
        if level < 0 {
            return level;
        }
        bound *= fanout;
        while density >= bound && level < MOST_LEVELS {
            level += 1;
            bound *= f64::from(scaling.fanout(level));
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Timestamp;

    const MIB: u64 = 1 << 20;
    const FLUSH: u64 = 32 * MIB;

    fn options(scaling: &str) -> Unified {
        Unified { scaling: scaling.parse().unwrap(), ..Unified::default() }
    }

    /// Tables of a size, each over a part of the key space in 64ths, both ends inclusive.
    fn tables(sizes_and_spans: &[(u64, u64, u64)]) -> Vec<Candidate> {
        let table = |(number, &(size_bytes, from, to)): (usize, &(u64, u64, u64))| {
            let span = (from << 58, (to << 58) + ((1 << 58) - 1));
            Candidate::at(number as u64, size_bytes, span, Timestamp(0))
        };
        sizes_and_spans.iter().enumerate().map(table).collect()
    }

    fn whole(sizes: &[u64]) -> Vec<Candidate> {
        tables(&sizes.iter().map(|&size| (size, 0, 63)).collect::<Vec<_>>())
    }

    fn picked(candidates: &[Candidate], scaling: &str) -> Vec<Vec<u64>> {
        let ids = |due: Due| due.tables.into_iter().map(|id| id.0).collect();
        due(candidates, &options(scaling), FLUSH).into_iter().map(ids).collect()
    }

    #[test]
    fn a_tiered_level_is_merged_at_its_fanout_and_not_before() {
        assert_eq!(picked(&whole(&[FLUSH; 3]), "T4"), [[0; 0]; 0]);
        assert_eq!(picked(&whole(&[FLUSH; 4]), "T4"), [[0, 1, 2, 3]]);
        assert_eq!(picked(&whole(&[FLUSH; 7]), "T8"), [[0; 0]; 0]);
    }

    #[test]
    fn a_levelled_level_is_merged_at_two() {
        assert_eq!(picked(&whole(&[FLUSH]), "L10"), [[0; 0]; 0]);
        assert_eq!(picked(&whole(&[FLUSH, 5 * FLUSH]), "L10"), [[0, 1]]);
        assert_eq!(picked(&whole(&[FLUSH, 10 * FLUSH]), "L10"), [[0; 0]; 0], "that is the next level");
    }

    #[test]
    fn each_level_obeys_its_own_parameter() {
        // Level 0 is tiered: three flushes stay; level 1 is levelled: two merges of four meet.
        let sizes = [FLUSH, FLUSH, FLUSH, 4 * FLUSH, 4 * FLUSH];
        assert_eq!(picked(&whole(&sizes), "T4, L10"), [[3, 4]]);
        assert_eq!(picked(&whole(&sizes), "T4, T4"), [[0; 0]; 0]);
    }

    #[test]
    fn what_was_merged_belongs_to_the_next_level_even_if_a_little_was_dropped() {
        let merged = 4 * FLUSH * 8 / 10;
        assert_eq!(picked(&whole(&[merged, FLUSH, FLUSH, FLUSH]), "T4"), [[0; 0]; 0]);
    }

    #[test]
    fn small_flushes_are_merged_among_themselves() {
        let small = FLUSH / 300;
        assert_eq!(picked(&whole(&[3 * FLUSH, small, small, FLUSH, small, small]), "T4"), [[1, 2, 4, 5]]);
    }

    #[test]
    fn density_counts_and_not_size() {
        // Four quarters of one merge are as dense as the whole, and no two of them overlap.
        let quarters: Vec<_> = (0..4).map(|n| (4 * FLUSH, 16 * n, 16 * n + 15)).collect();
        assert_eq!(picked(&tables(&quarters), "T4"), [[0; 0]; 0]);
        let mut with_whole = quarters.clone();
        with_whole.extend([(16 * FLUSH, 0, 63); 3]);
        assert_eq!(picked(&tables(&with_whole), "T4"), [[0, 4, 5, 6, 1, 2, 3]], "one key may be in four");
    }

    #[test]
    fn buckets_that_do_not_overlap_are_due_each_for_itself() {
        let left = (4 * FLUSH, 0, 15);
        let right = (4 * FLUSH, 40, 55);
        let candidates = tables(&[left, right, left, right, left, right, left, right, right]);
        assert_eq!(
            picked(&candidates, "T4"),
            [vec![1, 3, 5, 7, 8], vec![0, 2, 4, 6]],
            "the fuller one first"
        );
    }

    #[test]
    fn small_tables_whose_keys_only_ascend_are_merged_all_the_same() {
        let ascending: Vec<_> = (0..4).map(|n| (FLUSH, n, n)).collect();
        assert_eq!(picked(&tables(&ascending), "T4"), [[0, 1, 2, 3]]);
        let large: Vec<_> = (0..4).map(|n| (4 * FLUSH, n, n)).collect();
        assert_eq!(picked(&tables(&large), "T4"), [[0; 0]; 0]);
    }

    #[test]
    fn those_that_overlap_come_before_smaller_ones_that_do_not() {
        let parts = (0..10).map(|n| (100 * MIB, 6 * n, 6 * n + 5));
        let overlapping: Vec<_> = parts.chain([(101 * MIB, 12, 17), (1080 * MIB, 0, 63)]).collect();
        let picked = picked(&tables(&overlapping), "N");
        assert_eq!(picked[0][..3], [2, 10, 11], "{picked:?}");
    }

    #[test]
    fn tables_that_follow_one_another_in_one_place_of_the_key_space_do_not_overlap() {
        let table = |id: u64, keys: [&'static str; 2]| Candidate {
            keys: keys.map(Into::into).into(),
            ..Candidate::at(id, 100 * MIB, (7, 7), Timestamp(0))
        };
        let apart = [table(0, ["user1", "user3"]), table(1, ["user4", "user6"])];
        assert_eq!(picked(&apart, "N"), [[0; 0]; 0]);
        assert_eq!(picked(&[table(0, ["user1", "user4"]), apart[1].clone()], "N"), [[0, 1]]);
    }

    #[test]
    fn the_parts_of_a_merge_are_never_due_again_by_themselves() {
        // All but the last part of a merge are large, and none overlaps another.
        for scaling in ["N", "L10", "T4"] {
            for last in [1, FLUSH, 99 * MIB] {
                let parts = tables(&[(100 * MIB, 0, 15), (120 * MIB, 16, 31), (last, 32, 63)]);
                assert_eq!(picked(&parts, scaling), [[0; 0]; 0], "{scaling} {last}");
            }
        }
    }

    #[test]
    fn output_is_split_into_a_power_of_two_of_shards_near_the_target() {
        let options = Unified { base_shards: 3, ..options("T4") };
        let at = |mib: u64| shards(&options, (mib * MIB) as f64);
        assert_eq!([at(0), at(50), at(199), at(200), at(399)], [1, 1, 1, 2, 2]);
        assert_eq!([at(400), at(4 << 10), at(10 << 10)], [4, 4, 8]);
        assert_eq!(at(4 << 20), 4 << 7, "ten doublings of density are seven of shards");
        assert_eq!(shards(&options, f64::MAX), 4 << 32);
        assert_eq!(shards(&Unified { base_shards: 0, target_bytes: 0, min_bytes: 0, ..options }, 0.0), 1);
    }

    #[test]
    fn nothing_is_picked_of_nothing_and_extremes_do_not_matter() {
        assert_eq!(picked(&[], "T4"), [[0; 0]; 0]);
        assert_eq!(picked(&whole(&[0, 0, 0, 0]), "T4"), [[0, 1, 2, 3]]);
        assert_eq!(picked(&whole(&[u64::MAX; 2]), "L10"), [[0, 1]]);
        assert_eq!(due(&whole(&[1; 4]), &options("T4"), 0).len(), 1);
    }
}
