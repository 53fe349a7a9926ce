//! The writes of a group that wait for their hints before they are told.

use super::{group::Group, missed::Missed, write::Write};
use crate::{
    counted::{counted, is_or_are},
    node::handoff::NotKept,
    node_id::HostId,
};

/// What came of a hint.
pub(super) struct Kept {
    /// Which of the group.
    pub(super) write: usize,
    /// For whom.
    pub(super) host: HostId,
    pub(super) outcome: Result<(), NotKept>,
}

/// What is known of the hints of each write of a group.
pub(super) struct Settling(Vec<Awaited>);

/// What is known of the hints of one write.
struct Awaited {
    /// Whether it is told only when each of its hints has its outcome: nobody who lacks a write that is acknowledged is
    /// forgotten, whether replicas have satisfied it or a hint has to. One that has failed waits for nothing, nor does one
    /// that goes round once more.
    awaits_all: bool,
    /// How many there are.
    due: usize,
    kept: Vec<Kept>,
}

impl Awaited {
    fn is_settled(&self) -> bool {
        !self.awaits_all || self.kept.len() == self.due
    }
}

impl Settling {
    /// A group whose hints for the dead are being kept, and these for the living.
    pub(super) fn new(group: &Group, of_live: &[Missed]) -> Self {
        let dead = group.recipients.dead.len();
        let awaited = |write: &Write| Awaited {
            awaits_all: write.needs_hint() || (write.is_met() && !write.is_outrun()),
            due: dead,
            kept: Vec::new(),
        };
        let mut writes: Vec<Awaited> = group.writes.iter().map(awaited).collect();
        of_live.iter().for_each(|missed| writes[missed.write].due += 1);
        Self(writes)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.iter().all(Awaited::is_settled)
    }

    pub(super) fn hear(&mut self, kept: Kept) {
        self.0[kept.write].kept.push(kept);
    }

    /// Whether there are marks in the place of hints that nobody has waited for.
    pub(super) fn has_unsaved_marks(&self) -> bool {
        self.kept_so_far().any(|kept| kept.outcome == Err(NotKept::TooMany))
    }

    /// What came of the hints of a write, if that is enough to tell it: all of them, or one that satisfies it.
    pub(super) fn kept(&self, write: usize) -> Option<&[Kept]> {
        let awaited = &self.0[write];
        let is_enough = awaited.is_settled() || awaited.kept.iter().any(|kept| kept.outcome.is_ok());
        is_enough.then_some(awaited.kept.as_slice())
    }

    /// In the words of a trace.
    pub(super) fn tell(&self) -> String {
        let hints = self.kept_so_far().filter(|kept| kept.outcome.is_ok()).count();
        let told = format!("{} {} on disk", counted(hints, "hint"), is_or_are(hints));
        if self.is_open() { format!("{told}, others not in time") } else { told }
    }

    fn kept_so_far(&self) -> impl Iterator<Item = &Kept> {
        self.0.iter().flat_map(|awaited| &awaited.kept)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const KEPT: Result<(), NotKept> = Ok(());
    const REFUSED: Result<(), NotKept> = Err(NotKept::TooMany);

    fn of(write: usize, outcome: Result<(), NotKept>) -> Kept {
        Kept { write, host: HostId(Uuid::from_u128(1)), outcome }
    }

    /// Writes with so many hints each.
    fn settling(due: &[usize]) -> Settling {
        let awaited = |&due: &usize| Awaited { awaits_all: true, due, kept: Vec::new() };
        Settling(due.iter().map(awaited).collect())
    }

    #[test]
    fn a_write_is_told_by_its_own_hints_whatever_those_of_others_do() {
        let mut settling = settling(&[2, 2, 2]);

        settling.hear(of(0, KEPT));
        settling.hear(of(1, REFUSED));
        assert_eq!(settling.kept(0).map(<[_]>::len), Some(1), "if there is no more time, one hint will do");
        assert!(settling.kept(1).is_none(), "the other one may be kept");
        assert!(settling.kept(2).is_none(), "nothing is known of it");

        settling.hear(of(1, REFUSED));
        settling.hear(of(2, KEPT));
        assert_eq!(settling.kept(1).map(<[_]>::len), Some(2), "none is kept");
    }

    #[test]
    fn the_hints_for_all_who_lack_a_write_are_awaited() {
        let mut settling = settling(&[2]);

        settling.hear(of(0, KEPT));
        assert!(settling.is_open());
        assert!(!settling.has_unsaved_marks());

        settling.hear(of(0, REFUSED));
        assert!(!settling.is_open());
        assert!(settling.has_unsaved_marks());
    }

    #[test]
    fn writes_that_have_failed_or_were_applied_by_all_await_nothing() {
        let mut settling = settling(&[2, 0]);
        settling.0[0].awaits_all = false;

        assert!(!settling.is_open());
    }
}
