//! Counting, which writes and reads have in common.

use std::time::Duration;

use super::block_for::{BlockFor, Part};
use crate::{
    consistency::Consistency,
    error::{RequestError, Shortage},
    message::ReplicaError,
    node_id::HostId,
};

/// A replica of a key as the coordinator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica<'a> {
    /// The member.
    pub host_id: HostId,
    /// Where it stands.
    pub datacenter: &'a str,
    /// Whether it is alive.
    pub is_alive: bool,
}

/// Why a replica's answer is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nothing came in time. The replica may have done it.
    Silence,
    /// The connection was lost, or could not be made. The replica may have done it.
    Lost,
    /// It said that it could not.
    Error(ReplicaError),
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More answers are needed, and may still come.
    Pending,
    /// The level is met.
    Reached {
        /// Replicas whose answers count and had come by now.
        acknowledged: u32,
    },
    /// The level cannot be met any more.
    OutOfReach {
        /// Whether some replica said nothing: a timeout. Otherwise all missing answers were errors: a failure.
        silent: bool,
    },
}

/// What each candidate has done: the live replicas of which the level counts the answers, and those that were asked beyond
/// the level.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    block_for: BlockFor,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Clone)]
struct Candidate {
    host_id: HostId,
    /// Place of the part of the level that it counts for; none, if it was asked beyond the level.
    part: Option<usize>,
    word: Word,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Unasked,
    Asked,
    Answered,
    Missing(Missing),
}

impl Tally {
    /// Nobody is asked yet.
    pub(super) fn new<'a>(
        block_for: BlockFor,
        replicas: impl IntoIterator<Item = Replica<'a>>,
    ) -> Result<Self, RequestError> {
        let mut tally = Self { block_for, candidates: Vec::new() };
        let mut down = Vec::new();
        for Replica { host_id, datacenter, is_alive } in replicas {
            let Some(part) = tally.block_for.parts.iter().position(|part| part.counts(datacenter)) else {
                continue;
            };
            if !is_alive {
                down.push(host_id);
            } else if tally.find(host_id).is_none() {
                tally.candidates.push(Candidate { host_id, part: Some(part), word: Word::Unasked });
            }
        }
        let shortages = tally.shortages(|word| *word == Word::Unasked);
        // A hint will do where no replica does.
        if shortages.is_empty() || tally.block_for.level == Consistency::Any {
            return Ok(tally);
        }
        helenus_storage::sometimes!("too few replicas were alive");
        Err(RequestError::Unavailable {
            level: tally.block_for.level,
            required: tally.required(),
            alive: tally.counted(|word| *word == Word::Unasked),
            shortages: told(shortages),
            down,
        })
    }

    /// Asks everybody.
    pub(super) fn ask_all(&mut self) {
        self.candidates.iter_mut().for_each(|candidate| candidate.word = Word::Asked);
    }

    /// Asks as few more as can meet the level, in the order of the candidates.
    pub(super) fn ask_enough(&mut self) -> Vec<HostId> {
        let mut asked = Vec::new();
        for (place, part) in self.block_for.parts.iter().enumerate() {
            let of_part = |candidate: &&mut Candidate| candidate.part == Some(place);
            let hopes = self.candidates.iter_mut().filter(of_part);
            let hopes = hopes.filter(|one| matches!(one.word, Word::Asked | Word::Answered)).count();
            let wanted = (part.required as usize).saturating_sub(hopes);
            let unasked = self.candidates.iter_mut().filter(of_part).filter(|one| one.word == Word::Unasked);
            for candidate in unasked.take(wanted) {
                candidate.word = Word::Asked;
                asked.push(candidate.host_id);
            }
        }
        asked
    }

    /// Asks one more than can meet the level, if there is one whose answer would count.
    pub(super) fn ask_another(&mut self) -> Option<HostId> {
        let spare = self.spare()?;
        self.candidates[spare].word = Word::Asked;
        Some(self.candidates[spare].host_id)
    }

    pub(super) fn has_another(&self) -> bool {
        self.spare().is_some()
    }

    /// The first whom nobody has asked, of those whose answers the level still needs.
    fn spare(&self) -> Option<usize> {
        let is_needed = |one: &Candidate| one.part.is_some_and(|part| !self.is_met(part));
        self.candidates.iter().position(|one| one.word == Word::Unasked && is_needed(one))
    }

    /// Asks a live replica whether or not the level counts it; false if it was asked before.
    pub(super) fn ask_beyond(&mut self, host_id: HostId) -> bool {
        match self.find(host_id) {
            Some(candidate) if candidate.word != Word::Unasked => return false,
            Some(candidate) => candidate.word = Word::Asked,
            None => self.candidates.push(Candidate { host_id, part: None, word: Word::Asked }),
        }
        true
    }

    pub(super) fn awaited(&self) -> Vec<HostId> {
        let awaited = self.candidates.iter().filter(|candidate| candidate.word == Word::Asked);
        awaited.map(|candidate| candidate.host_id).collect()
    }

    /// Asks somebody who has answered once more: until then the answer counts no longer.
    pub(super) fn ask_again(&mut self, host_id: HostId) {
        if let Some(candidate) = self.find(host_id)
            && candidate.word == Word::Answered
        {
            candidate.word = Word::Asked;
        }
    }

    /// Takes back what was asked and not answered: it was another question.
    pub(super) fn forget_asked(&mut self) {
        for candidate in &mut self.candidates {
            if candidate.word == Word::Asked {
                candidate.word = Word::Unasked;
            }
        }
    }

    /// Notes an answer; false if it counts for nothing, or the replica had its word already.
    pub(super) fn answered(&mut self, host_id: HostId) -> bool {
        self.note(host_id, Word::Answered)
    }

    pub(super) fn missing(&mut self, host_id: HostId, why: Missing) {
        self.note(host_id, Word::Missing(why));
    }

    /// Time is up: whoever was asked is silent, and nobody else will be asked.
    pub(super) fn all_silent(&mut self) {
        self.candidates.retain(|candidate| candidate.word != Word::Unasked);
        for candidate in &mut self.candidates {
            if candidate.word == Word::Asked {
                candidate.word = Word::Missing(Missing::Silence);
            }
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let parts = 0..self.block_for.parts.len();
        if parts.clone().all(|part| self.is_met(part)) {
            return Verdict::Reached { acknowledged: self.answers() };
        }
        let is_possible = |word: &Word| !matches!(word, Word::Missing(_));
        if self.shortages(is_possible).is_empty() {
            return Verdict::Pending;
        }
        if self.candidates.iter().any(|candidate| candidate.word == Word::Asked) {
            helenus_storage::sometimes!("a level was out of reach early");
        }
        Verdict::OutOfReach { silent: self.is_any_silent() }
    }

    pub(super) fn has_candidates(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Candidates that have answered.
    pub(super) fn answers(&self) -> u32 {
        self.counted(|word| *word == Word::Answered)
    }

    /// Those of which the level counts the answers.
    fn counted_ones(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.part.is_some())
    }

    pub(super) fn required(&self) -> u32 {
        self.block_for.required()
    }

    pub(super) fn error(&self, timeout: Duration) -> RequestError {
        let level = self.block_for.level;
        let is_answered = |word: &Word| *word == Word::Answered;
        let (required, received) = (self.required(), self.counted(is_answered));
        let shortages = told(self.shortages(is_answered));
        match self.verdict() {
            // Where nobody could be asked, at level `any`, nobody has said no either.
            Verdict::OutOfReach { silent: false } if self.has_candidates() => {
                RequestError::Failed { level, required, received, failures: self.errors(), shortages }
            }
            _ => {
                let (silent, lost) = (self.missing_as(&Missing::Silence), self.missing_as(&Missing::Lost));
                RequestError::Timeout { level, required, received, silent, lost, timeout, shortages }
            }
        }
    }

    /// Candidates of a part of whom this is true.
    fn of_part(&self, part: usize, is_it: impl Fn(&Word) -> bool) -> u32 {
        let of_part = self.candidates.iter().filter(|candidate| candidate.part == Some(part));
        count(of_part.filter(|candidate| is_it(&candidate.word)).count())
    }

    fn is_met(&self, part: usize) -> bool {
        self.of_part(part, |word| *word == Word::Answered) >= self.block_for.parts[part].required
    }

    /// The parts of the level that have too few such candidates, and how many they have.
    fn shortages(&self, is_it: impl Fn(&Word) -> bool) -> Vec<(&Part, u32)> {
        let parts = self.block_for.parts.iter().enumerate();
        let had = parts.map(|(place, part)| (part, self.of_part(place, &is_it)));
        had.filter(|(part, had)| *had < part.required).collect()
    }

    /// Such candidates of which the level counts the answers. Of a level that looks at datacenters they may be as many as it
    /// requires in all: what one has beyond its need does not make up for another one, see [`Tally::shortages`].
    fn counted(&self, is_it: impl Fn(&Word) -> bool) -> u32 {
        count(self.counted_ones().filter(|candidate| is_it(&candidate.word)).count())
    }

    fn errors(&self) -> Vec<(HostId, ReplicaError)> {
        let error = |candidate: &Candidate| match &candidate.word {
            Word::Missing(Missing::Error(error)) => Some((candidate.host_id, error.clone())),
            _ => None,
        };
        self.counted_ones().filter_map(error).collect()
    }

    fn is_any_silent(&self) -> bool {
        self.missing_as(&Missing::Silence) + self.missing_as(&Missing::Lost) > 0
    }

    fn missing_as(&self, why: &Missing) -> u32 {
        let is_it =
            |candidate: &&Candidate| matches!(&candidate.word, Word::Missing(missing) if missing == why);
        count(self.counted_ones().filter(is_it).count())
    }

    fn note(&mut self, host_id: HostId, new: Word) -> bool {
        match self.find(host_id) {
            Some(candidate) if matches!(candidate.word, Word::Unasked | Word::Asked) => {
                candidate.word = new;
                true
            }
            Some(_) => {
                helenus_storage::sometimes!("a replica had its word already");
                false
            }
            None => false,
        }
    }

    fn find(&mut self, host_id: HostId) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.host_id == host_id)
    }
}

fn told(shortages: Vec<(&Part, u32)>) -> Vec<Shortage> {
    let told = |(part, had): (&Part, u32)| {
        let Part { datacenter, required } = part.clone();
        Some(Shortage { datacenter: datacenter?, required, had })
    };
    shortages.into_iter().filter_map(told).collect()
}

fn count(replicas: usize) -> u32 {
    u32::try_from(replicas).unwrap_or(u32::MAX)
}
