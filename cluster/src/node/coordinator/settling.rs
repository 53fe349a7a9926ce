//! The writes of a group that wait for their hints before they are told.

use super::{
    group::{Group, Write},
    missed::Missed,
};
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
    need: Need,
    /// How many there are.
    due: usize,
    kept: Vec<Kept>,
}

/// What a write needs of its hints before it can be told.
#[derive(Clone, Copy)]
enum Need {
    /// Its replicas have satisfied it: each of its hints has its outcome, so that nobody who lacks it is forgotten.
    All,
    /// One of them has to satisfy it.
    One,
    /// It has failed.
    Nothing,
}

impl Awaited {
    /// Whether nothing that is still to come changes what is told.
    fn is_settled(&self) -> bool {
        match self.need {
            Need::All => self.kept.len() == self.due,
            Need::One => self.kept.len() == self.due || self.kept.iter().any(|kept| kept.outcome.is_ok()),
            Need::Nothing => true,
        }
    }
}

impl Settling {
    /// A group whose hints for the dead are being kept, and these for the living.
    pub(super) fn new(group: &Group, of_live: &[Missed]) -> Self {
        let dead = group.recipients.dead.len();
        let awaited = |write: &Write| {
            let need = match () {
                () if write.needs_hint() => Need::One,
                () if write.is_met() => Need::All,
                () => Need::Nothing,
            };
            Awaited { need, due: dead, kept: Vec::new() }
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

    /// What came of the hints of a write, once that is enough to tell it.
    pub(super) fn kept(&self, write: usize) -> Option<&[Kept]> {
        let awaited = &self.0[write];
        awaited.is_settled().then_some(awaited.kept.as_slice())
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
    fn settling(writes: &[(Need, usize)]) -> Settling {
        let awaited = |&(need, due): &(Need, usize)| Awaited { need, due, kept: Vec::new() };
        Settling(writes.iter().map(awaited).collect())
    }

    #[test]
    fn a_write_is_settled_by_its_own_hints_whatever_those_of_others_do() {
        let mut settling = settling(&[(Need::One, 2); 3]);

        settling.hear(of(0, KEPT));
        settling.hear(of(1, REFUSED));
        assert_eq!(settling.kept(0).map(<[_]>::len), Some(1), "one hint will do");
        assert!(settling.kept(1).is_none(), "the other one may be kept");
        assert!(settling.kept(2).is_none(), "nothing is known of it");
        assert!(settling.is_open());

        settling.hear(of(1, REFUSED));
        settling.hear(of(2, KEPT));
        assert_eq!(settling.kept(1).map(<[_]>::len), Some(2), "none is kept");
        assert!(!settling.is_open());
    }

    #[test]
    fn a_write_that_is_met_awaits_the_hints_for_all_who_lack_it() {
        let mut settling = settling(&[(Need::All, 2)]);

        settling.hear(of(0, KEPT));
        assert!(settling.is_open());
        assert!(!settling.has_unsaved_marks());

        settling.hear(of(0, REFUSED));
        assert!(!settling.is_open());
        assert!(settling.has_unsaved_marks());
    }

    #[test]
    fn writes_that_have_failed_or_were_applied_by_all_await_nothing() {
        assert!(!settling(&[(Need::Nothing, 2), (Need::All, 0)]).is_open());
    }
}
