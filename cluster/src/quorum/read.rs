//! When a read is answered, and with what.

use std::{collections::BTreeMap, time::Duration};

use helenus_storage::Record;

use super::{
    block_for::BlockFor,
    digest::{AsOf, Digest},
    repair::RepairQuorum,
    tally::{Missing, Replica, Tally, Verdict},
};
use crate::{error::RequestError, node_id::HostId};

/// Whom to ask for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The replica.
    pub host_id: HostId,
    /// What it is to answer with.
    pub wants: Wants,
}

/// What a replica is to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Its newest version.
    Record,
    /// The digest of it.
    Digest,
}

/// What a replica has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The newest version that it holds, as it is stored.
    Record(Option<Record>),
    /// The digest of it.
    Digest(Digest),
}

/// The answers of one read.
///
/// Versions are reconciled as they are stored, and only the winner is judged by the read's clock. The other way
/// round, of two versions with one timestamp that expire at different times, the earlier would beat the later by
/// expiring first: a replica that holds both would answer the value, two replicas that hold one each a deletion.
#[derive(Debug, Clone)]
pub struct ReadQuorum {
    tally: Tally,
    as_of: AsOf,
    /// The first of those who are asked for a record, as long as it may come.
    source: Option<HostId>,
    /// Once answers have differed, digests are of no use any more.
    is_differing: bool,
    answers: Vec<Held>,
}

/// What a replica holds, as far as it has said.
#[derive(Debug, Clone)]
struct Held {
    host_id: HostId,
    digest: Digest,
    record: Option<Option<Record>>,
}

impl ReadQuorum {
    /// A read of which nothing is sent yet, by the natural `replicas`, in the order in which they are to be asked.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if too few are alive: then nothing must be sent.
    pub fn new<'a>(
        block_for: BlockFor,
        as_of: AsOf,
        replicas: impl IntoIterator<Item = Replica<'a>>,
    ) -> Result<Self, RequestError> {
        let tally = Tally::new(block_for, replicas)?;
        Ok(Self { tally, as_of, source: None, is_differing: false, answers: Vec::new() })
    }

    /// Whom to ask now so that the level can be met: at the beginning, and in the place of each who fails.
    pub fn ask(&mut self) -> Vec<Ask> {
        let asked = self.tally.ask_enough();
        asked.into_iter().map(|host_id| self.asked(host_id)).collect()
    }

    /// Somebody beyond the need, because an answer is late; `None` if there is nobody left whose answer would count. The
    /// late one may be the only record, so another is asked for unless one is there.
    pub fn ask_another(&mut self) -> Option<Ask> {
        let host_id = self.tally.ask_another()?;
        let has_record = self.answers.iter().any(|held| held.record.is_some());
        let wants = if has_record && !self.is_differing { Wants::Digest } else { Wants::Record };
        Some(Ask { host_id, wants })
    }

    /// Whether there is somebody left for [`ReadQuorum::ask_another`].
    pub fn has_another(&self) -> bool {
        self.tally.has_another()
    }

    /// Asks these live replicas too, as far as nobody has asked them, because the session of the client needs more than the
    /// level. Each for the record: it is asked for what the others may lack.
    pub fn widen(&mut self, hosts: impl IntoIterator<Item = HostId>) -> Vec<Ask> {
        let asked = hosts.into_iter().filter(|host_id| self.tally.ask_beyond(*host_id));
        asked.map(|host_id| Ask { host_id, wants: Wants::Record }).collect()
    }

    /// Whether a replica's answer is among those of which [`ReadQuorum::newest`] is the newest.
    pub fn has_heard(&self, host_id: HostId) -> bool {
        self.answers.iter().any(|held| held.host_id == host_id)
    }

    /// Those who were asked and have not answered.
    pub fn awaited(&self) -> Vec<HostId> {
        self.tally.awaited()
    }

    /// Each digest that is asked for stands beside a record that is, so a level cannot be met by digests alone.
    fn asked(&mut self, host_id: HostId) -> Ask {
        let is_source = *self.source.get_or_insert(host_id) == host_id;
        let wants = if is_source || self.is_differing { Wants::Record } else { Wants::Digest };
        Ask { host_id, wants }
    }

    /// A replica has answered.
    pub fn on_answer(&mut self, host_id: HostId, answer: Answer) {
        if self.tally.answered(host_id) {
            self.answers.push(match answer {
                Answer::Digest(digest) => Held { host_id, digest, record: None },
                Answer::Record(record) => {
                    Held { host_id, digest: Digest::of(record.as_ref(), &self.as_of), record: Some(record) }
                }
            });
        }
    }

    /// A replica's answer will not come.
    pub fn on_failure(&mut self, host_id: HostId, why: Missing) {
        self.tally.missing(host_id, why);
        self.source = self.source.filter(|source| *source != host_id);
    }

    /// Time is up: whoever has said nothing counts as silent.
    pub fn on_deadline(&mut self) {
        self.tally.all_silent();
    }

    /// Where the read stands. Once reached, it may still be that answers [differ](Self::differing).
    pub fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    /// Those who have answered with a digest that no record explains: they are to be asked again, for the record, and
    /// count again when they have answered. Whoever has nothing may know of a tombstone past its grace, which still
    /// beats what another one has not forgotten. Empty if all is known.
    pub fn differing(&mut self) -> Vec<Ask> {
        let explained: Vec<Digest> =
            self.answers.iter().filter(|held| held.record.is_some()).map(|held| held.digest).collect();
        if self.answers.iter().all(|held| explained.first() == Some(&held.digest)) {
            return Vec::new();
        }
        let is_known = |held: &Held| {
            held.record.is_some() || explained.contains(&held.digest) && held.digest != Digest::NOTHING
        };
        let unknown: Vec<HostId> =
            self.answers.iter().filter(|held| !is_known(held)).map(|held| held.host_id).collect();
        self.is_differing = true;
        self.answers.retain(|held| !unknown.contains(&held.host_id));
        unknown.iter().for_each(|host_id| self.tally.ask_again(*host_id));
        unknown.into_iter().map(|host_id| Ask { host_id, wants: Wants::Record }).collect()
    }

    /// The newest version of all answers, as it is stored; `None` if no replica holds any.
    fn newest_stored(&self) -> Option<Record> {
        let records = self.answers.iter().filter_map(|held| held.record.clone().flatten());
        records.reduce(Record::reconcile)
    }

    /// The newest version of all answers as of the read's clock, whether it counts or not.
    pub fn newest_or_forgotten(&self) -> Option<Record> {
        self.newest_stored().map(|record| record.as_of(self.as_of.now))
    }

    /// The newest version of all answers as of the read's clock: an expired one without its value. `None` if
    /// no replica holds any that counts. The result of the read once nothing differs any more.
    pub fn newest(&self) -> Option<Record> {
        self.as_of.see(self.newest_stored().as_ref())
    }

    /// What is to be written to whom, so that the result holds; `None` if all who answered hold it. What counts as
    /// nothing is not spread.
    pub fn repair(&self) -> Option<RepairQuorum<Record>> {
        let newest = self.newest_stored()?;
        self.as_of.see(Some(&newest))?;
        let digest = Digest::of(Some(&newest), &self.as_of);
        let stale = self.answers.iter().filter(|held| held.digest != digest);
        let stale: BTreeMap<_, _> = stale.map(|held| (held.host_id, newest.clone())).collect();
        (!stale.is_empty()).then(|| RepairQuorum::new(self.tally.clone(), stale, newest))
    }

    /// A replica has been written the result.
    pub fn on_repaired(&mut self, host_id: HostId) {
        let Some(newest) = self.newest_stored() else { return };
        let digest = Digest::of(Some(&newest), &self.as_of);
        if let Some(held) = self.answers.iter_mut().find(|held| held.host_id == host_id) {
            *held = Held { host_id, digest, record: Some(Some(newest)) };
        }
    }

    /// Replicas that it requires.
    pub fn required(&self) -> u32 {
        self.tally.required()
    }

    /// Replicas that have answered.
    pub fn acknowledged(&self) -> u32 {
        self.tally.answers()
    }

    /// What to tell the client of a read that was sent and is not [`Verdict::Reached`].
    pub fn error(&self, timeout: Duration) -> RequestError {
        self.tally.error(timeout)
    }
}
