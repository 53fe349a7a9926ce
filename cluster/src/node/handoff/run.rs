//! One run of hints: which of its numbers were given out, are durable, were dealt with.

use helenus_storage::TableId;

use crate::time::Timestamp;

/// Hints of one target, in a tree of their own.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) tree: TableId,
    pub(super) opened_at: Timestamp,
    /// Whether it takes hints; only the newest run of a target does.
    pub(super) is_open: bool,
    /// Number of the last hint that was dealt with.
    cursor: u64,
    /// Number of the last hint that is durable, and with it all before it.
    durable: u64,
    /// Number of the newest hint; the first has number 1.
    newest: u64,
    /// Hints that are on their way into the tree.
    in_flight: usize,
    /// How often the hint behind the cursor was refused, though its target took hints.
    refusals: u32,
    /// Whether an earlier process began it.
    is_reloaded: bool,
}

impl Run {
    /// A run that begins.
    pub(super) fn open(tree: TableId, opened_at: Timestamp) -> Self {
        Self {
            tree,
            opened_at,
            is_open: true,
            cursor: 0,
            durable: 0,
            newest: 0,
            in_flight: 0,
            refusals: 0,
            is_reloaded: false,
        }
    }

    /// A run that an earlier process began.
    pub(super) fn reloaded(tree: TableId, opened_at: Timestamp, cursor: u64, newest: u64) -> Self {
        let run = Self::open(tree, opened_at);
        Self { is_open: false, cursor, durable: newest, newest, is_reloaded: true, ..run }
    }

    /// The number of the next hint; its record is to be queued before that of any later one.
    pub(super) fn next_number(&self) -> u64 {
        self.newest + 1
    }

    /// The hint of that number is queued.
    pub(super) fn begin(&mut self) -> u64 {
        self.newest += 1;
        self.in_flight += 1;
        self.newest
    }

    /// A hint is durable, or certainly or perhaps not.
    pub(super) fn end(&mut self, number: u64, is_durable: bool) {
        self.in_flight -= 1;
        if is_durable {
            self.durable = self.durable.max(number);
        }
    }

    /// The numbers that can be delivered: those after the first, up to the second. They can while later ones are on their
    /// way: hints are durable in the order of their numbers.
    pub(super) fn waiting(&self) -> Option<(u64, u64)> {
        (self.cursor < self.durable).then_some((self.cursor, self.durable))
    }

    /// Hints that wait, or are on their way.
    pub(super) fn pending(&self) -> u64 {
        let last = if self.in_flight == 0 { self.durable } else { self.newest };
        last.saturating_sub(self.cursor)
    }

    /// Whether all its hints were dealt with. Of one that failed nobody counts on the rest.
    pub(super) fn is_done(&self) -> bool {
        self.in_flight == 0 && self.cursor >= self.durable
    }

    /// Number of the last hint that was dealt with.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// All hints up to this number were dealt with, so many since the last time. Answers how many numbers of a reloaded run
    /// turned out to have no hint.
    pub(super) fn advance(&mut self, number: u64, hints: usize) -> u64 {
        let Some(numbers) = number.checked_sub(self.cursor).filter(|numbers| *numbers > 0) else { return 0 };
        self.cursor = number;
        self.refusals = 0;
        if self.is_reloaded { numbers.saturating_sub(hints as u64) } else { 0 }
    }

    /// The hint behind the cursor was refused; how often by now.
    pub(super) fn refused(&mut self) -> u32 {
        self.refusals += 1;
        self.refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: TableId = TableId(9);

    #[test]
    fn what_is_durable_can_be_delivered_while_more_is_on_its_way() {
        let mut run = Run::open(TREE, Timestamp(0));
        assert!(run.is_done());
        let numbers = [run.begin(), run.begin(), run.begin()];
        assert_eq!((numbers, run.waiting(), run.pending()), ([1, 2, 3], None, 3));

        run.end(1, true);
        run.end(2, true);
        assert_eq!(run.waiting(), Some((0, 2)));
        run.advance(2, 2);

        assert!(!run.is_done(), "the third is on its way");
        run.end(3, true);
        assert_eq!(run.waiting(), Some((2, 3)));
        run.advance(3, 1);
        assert!(run.is_done());
    }

    #[test]
    fn numbers_without_a_hint_are_told_of_a_reloaded_run_which_counted_them() {
        let mut run = Run::reloaded(TREE, Timestamp(0), 3, 9);
        assert_eq!((run.pending(), run.advance(6, 2), run.pending()), (6, 1, 3));
        assert_eq!((run.advance(6, 0), run.advance(9, 3)), (0, 0));
        let mut run = Run::open(TREE, Timestamp(0));
        let [failed, kept] = [run.begin(), run.begin()];
        run.end(failed, false);
        run.end(kept, true);
        assert_eq!(run.advance(kept, 1), 0);
    }

    #[test]
    fn a_hint_that_failed_holds_nothing_up() {
        let mut run = Run::open(TREE, Timestamp(0));
        run.begin();
        run.end(1, false);
        assert!(run.is_done());

        run.begin();
        run.end(2, true);
        assert_eq!(run.waiting(), Some((0, 2)), "it may be in the tree all the same");
    }

    #[test]
    fn refusals_count_for_the_hint_behind_the_cursor() {
        let mut run = Run::reloaded(TREE, Timestamp(0), 3, 9);
        assert_eq!((run.refused(), run.refused()), (1, 2));
        run.advance(3, 0);
        assert_eq!(run.refused(), 3, "it was not dealt with");
        run.advance(4, 1);
        assert_eq!(run.refused(), 1);
    }
}
