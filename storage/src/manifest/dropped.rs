//! The ids of tables that were dropped.
//!
//! They are never forgotten, since an id never comes back. Kept as runs of neighbours: ids that are given out one
//! after the other and dropped in any order are a single run in the end, whatever their number, and one among
//! strangers is a run of its own, nine bytes of every manifest.

use std::collections::BTreeMap;

use crate::table_id::TableId;

/// A set of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DroppedIds {
    /// Last by first. Between two runs there is at least one id that is in none.
    runs: BTreeMap<u32, u32>,
}

impl DroppedIds {
    /// Whether the id is one of them.
    pub(crate) fn contains(&self, table: TableId) -> bool {
        self.runs.range(..=table.0).next_back().is_some_and(|(_, &last)| table.0 <= last)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.runs.iter().map(|(&first, &last)| u64::from(last - first) + 1).sum()
    }

    /// The runs, first and last, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = (TableId, TableId)> + '_ {
        self.runs.iter().map(|(&first, &last)| (TableId(first), TableId(last)))
    }

    /// Takes in all ids from `first` to `last`, of which some may be in already.
    pub(super) fn insert(&mut self, TableId(mut first): TableId, TableId(mut last): TableId) {
        loop {
            let before = self.runs.range(..=last.saturating_add(1)).next_back();
            let Some((&from, &to)) = before.filter(|(_, to)| **to >= first.saturating_sub(1)) else { break };
            self.runs.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.runs.insert(first, last);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_were_given_out_in_sequence_are_one_run_whatever_the_order_of_their_drops() {
        let mut dropped = DroppedIds::default();
        for id in (0..1000_u32).map(|number| number * 7 % 1000) {
            dropped.insert(TableId(id), TableId(id));
        }
        assert_eq!(dropped.runs().collect::<Vec<_>>(), [(TableId(0), TableId(999))]);
    }

    #[test]
    fn the_last_id_of_all_has_no_neighbour() {
        let mut dropped = DroppedIds::default();
        dropped.insert(TableId(0), TableId(0));
        dropped.insert(TableId(u32::MAX), TableId(u32::MAX));
        assert_eq!(dropped.count(), 2);
        dropped.insert(TableId(1), TableId(u32::MAX - 1));
        assert_eq!(dropped.runs().collect::<Vec<_>>(), [(TableId(0), TableId(u32::MAX))]);
    }

    proptest! {
        #[test]
        fn runs_are_a_set(inserted in prop::collection::vec((0..40_u32, 0..4_u32), 0..20)) {
            let mut dropped = DroppedIds::default();
            let mut model = BTreeSet::new();
            for (first, more) in inserted {
                dropped.insert(TableId(first), TableId(first + more));
                model.extend(first..=first + more);
            }
            for id in 0..50 {
                prop_assert_eq!(dropped.contains(TableId(id)), model.contains(&id));
            }
            prop_assert_eq!(dropped.count(), model.len() as u64);
            let runs: Vec<_> = dropped.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0), "{:?}", runs);
        }
    }
}
