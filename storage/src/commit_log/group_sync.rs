//! One sync for all who wait.
//!
//! A blocking writer appends to the log itself and then needs its bytes to be durable. The first who needs it syncs;
//! who comes meanwhile waits for the next turn, which covers all that was appended until it begins. Nobody holds
//! the log's lock during a sync, so appending goes on.
//!
//! ```text
//! turn n      A appends, syncs ────────────────► A, and whoever was covered, go on
//! turn n + 1        B, C, D append, wait ──────► one of them syncs for all
//! ```
//!
//! The waiters of a turn sleep on a condition of their own, so that the end of a sync wakes those whom it covered,
//! all with one call, and of the others only the one who syncs next. The condition is the standard library's, not
//! `parking_lot`'s: that one wakes waiters one after the other, each as the one before lets go of the lock.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::{
    commit_log::{segment::LogPosition, writer::Unsynced},
    error::{Error, Result},
};

/// Who syncs, who waits, and how far the log is durable.
#[derive(Debug)]
pub(crate) struct GroupSync {
    state: Mutex<State>,
    turns: [Condvar; 2],
}

#[derive(Debug)]
struct State {
    /// Everything before is durable.
    durable: LogPosition,
    /// What the sync that is going on will make durable.
    coverage: Option<Coverage>,
    /// Number of the turn that is going on, or of the last.
    turn: usize,
    failure: Option<Error>,
}

#[derive(Debug, Clone, Copy)]
enum Coverage {
    /// Not decided yet: all that was appended so far, and more.
    Open,
    Until(LogPosition),
}

impl GroupSync {
    /// For a log that is durable up to a position.
    pub(crate) fn new(durable: LogPosition) -> Self {
        let state = State { durable, coverage: None, turn: 0, failure: None };
        Self { state: Mutex::new(state), turns: Default::default() }
    }

    /// Waits until everything before `end` is durable, or makes it so: `unsynced` answers what there is to sync,
    /// and nothing when all is durable.
    ///
    /// # Errors
    /// That of the first sync that failed; nobody knows what is durable then.
    pub(crate) fn await_durable(
        &self,
        end: LogPosition,
        unsynced: impl FnOnce() -> Option<Unsynced>,
    ) -> Result<()> {
        let mut state = self.lock();
        loop {
            if state.durable >= end {
                return Ok(());
            }
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            let Some(coverage) = state.coverage else { break };
            let is_covered = match coverage {
                Coverage::Open => true,
                Coverage::Until(covered) => end <= covered,
            };
            let turn = &self.turns[(state.turn + usize::from(!is_covered)) % 2];
            state = turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.coverage = Some(Coverage::Open);
        drop(state);
        self.sync(end, unsynced().as_ref())
    }

    /// Takes note that someone else made the log durable up to a position.
    pub(crate) fn is_durable_until(&self, position: LogPosition) {
        let mut state = self.lock();
        state.durable = state.durable.max(position);
    }

    /// Everything before is durable.
    pub(crate) fn durable(&self) -> LogPosition {
        self.lock().durable
    }

    /// Syncs in our turn, and ends it.
    fn sync(&self, end: LogPosition, unsynced: Option<&Unsynced>) -> Result<()> {
        let outcome = match unsynced {
            Some(unsynced) => {
                self.lock().coverage = Some(Coverage::Until(unsynced.end()));
                unsynced.sync().map(|()| unsynced.end())
            }
            None => Ok(end),
        };
        let mut state = self.lock();
        let turn = state.turn;
        state.coverage = None;
        match &outcome {
            Ok(durable) => {
                state.durable = state.durable.max(*durable);
                self.turns[(turn + 1) % 2].notify_one();
            }
            Err(failure) => {
                state.failure.get_or_insert_with(|| failure.clone());
                self.turns[(turn + 1) % 2].notify_all();
            }
        }
        drop(state);
        self.turns[turn % 2].notify_all();
        outcome.map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
