//! Counting, which writes and reads have in common.

use std::time::Duration;

use crate::{consistency::Consistency, error::RequestError, message::ReplicaError, node_id::HostId};

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
        /// Replicas that had answered by now.
        acknowledged: u32,
    },
    /// The level cannot be met any more.
    OutOfReach {
        /// Whether some replica said nothing: a timeout. Otherwise all missing answers were errors: a failure.
        silent: bool,
    },
}

/// What each candidate has done.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    level: Consistency,
    required: u32,
    candidates: Vec<(HostId, Word)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    None,
    Answered,
    Missing(Missing),
}

impl Tally {
    pub(super) fn new(
        level: Consistency,
        required: u32,
        candidates: impl IntoIterator<Item = HostId>,
    ) -> Result<Self, RequestError> {
        let mut tally = Self { level, required, candidates: Vec::new() };
        for host_id in candidates {
            if tally.word_of(host_id).is_none() {
                tally.candidates.push((host_id, Word::None));
            }
        }
        let alive = count(tally.candidates.len());
        if alive < required {
            helenus_storage::sometimes!("too few replicas were alive");
            return Err(RequestError::Unavailable { level, required, alive });
        }
        Ok(tally)
    }

    /// Notes an answer; false if the replica is no candidate or had its word already.
    pub(super) fn answered(&mut self, host_id: HostId) -> bool {
        self.note(host_id, Word::Answered)
    }

    pub(super) fn missing(&mut self, host_id: HostId, why: Missing) {
        self.note(host_id, Word::Missing(why));
    }

    pub(super) fn all_silent(&mut self) {
        for (_, word) in &mut self.candidates {
            if *word == Word::None {
                *word = Word::Missing(Missing::Silence);
            }
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let acknowledged = self.acknowledged();
        let possible =
            count(self.candidates.iter().filter(|(_, word)| !matches!(word, Word::Missing(_))).count());
        if acknowledged >= self.required {
            Verdict::Reached { acknowledged }
        } else if possible < self.required {
            if self.candidates.iter().any(|(_, word)| *word == Word::None) {
                helenus_storage::sometimes!("a level was out of reach early");
            }
            Verdict::OutOfReach { silent: self.is_any_silent() }
        } else {
            Verdict::Pending
        }
    }

    pub(super) fn acknowledged(&self) -> u32 {
        count(self.candidates.iter().filter(|(_, word)| *word == Word::Answered).count())
    }

    pub(super) fn required(&self) -> u32 {
        self.required
    }

    pub(super) fn error(&self, timeout: Duration) -> RequestError {
        let (level, required, received) = (self.level, self.required, self.acknowledged());
        match self.verdict() {
            Verdict::OutOfReach { silent: false } => {
                RequestError::Failed { level, required, received, failures: self.errors() }
            }
            _ => {
                let (silent, lost) = (self.missing_as(&Missing::Silence), self.missing_as(&Missing::Lost));
                RequestError::Timeout { level, required, received, silent, lost, timeout }
            }
        }
    }

    fn errors(&self) -> Vec<(HostId, ReplicaError)> {
        let error = |(host_id, word): &(HostId, Word)| match word {
            Word::Missing(Missing::Error(error)) => Some((*host_id, error.clone())),
            _ => None,
        };
        self.candidates.iter().filter_map(error).collect()
    }

    fn is_any_silent(&self) -> bool {
        self.missing_as(&Missing::Silence) + self.missing_as(&Missing::Lost) > 0
    }

    fn missing_as(&self, why: &Missing) -> u32 {
        let is_it = |word: &Word| matches!(word, Word::Missing(missing) if missing == why);
        count(self.candidates.iter().filter(|(_, word)| is_it(word)).count())
    }

    fn note(&mut self, host_id: HostId, new: Word) -> bool {
        match self.word_of(host_id) {
            Some(word) if *word == Word::None => {
                *word = new;
                true
            }
            _ => {
                helenus_storage::sometimes!("a replica had its word already");
                false
            }
        }
    }

    fn word_of(&mut self, host_id: HostId) -> Option<&mut Word> {
        self.candidates.iter_mut().find(|(candidate, _)| *candidate == host_id).map(|(_, word)| word)
    }
}

fn count(replicas: usize) -> u32 {
    u32::try_from(replicas).unwrap_or(u32::MAX)
}
