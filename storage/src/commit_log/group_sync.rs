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
//! all with one call, and of the others only the one who syncs next. If that one finds nothing left to do, because the
//! log was made durable some other way meanwhile, it wakes another in its place. The condition is the standard
//! library's, not `parking_lot`'s: that one wakes waiters one after the other, each as the one before lets go of the
//! lock.

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
    /// How many sleep on each condition.
    asleep: [usize; 2],
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
        let state = State { durable, coverage: None, turn: 0, asleep: [0; 2], failure: None };
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
                if state.coverage.is_none() {
                    self.wake_next(&state);
                }
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
            let turn = (state.turn + usize::from(!is_covered)) % 2;
            state.asleep[turn] += 1;
            state = self.turns[turn].wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep[turn] -= 1;
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
                self.wake_next(&state);
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

    /// Wakes one of those who wait for the next turn: it syncs for them.
    fn wake_next(&self, state: &State) {
        let next = (state.turn + 1) % 2;
        if state.asleep[next] > 0 {
            self.turns[next].notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::commit_log::segment::SegmentId;

    #[test]
    fn whoever_is_woken_to_sync_and_need_not_wakes_another() {
        // Given a sync that is going on, and two who wait for the next
        let at = |offset| LogPosition { segment: SegmentId(1), offset };
        let group_sync = Arc::new(GroupSync::new(at(0)));
        {
            let mut state = group_sync.lock();
            (state.turn, state.coverage) = (1, Some(Coverage::Until(at(10))));
        }
        let (done, is_done) = mpsc::channel();
        for (number, end) in [(1, 20), (2, 30)] {
            let (group_sync, done) = (Arc::clone(&group_sync), done.clone());
            let waiting = Arc::clone(&group_sync);
            thread::spawn(move || {
                group_sync.await_durable(at(end), || None).unwrap();
                let _ = done.send(end);
            });
            while waiting.lock().asleep[0] < number {
                thread::yield_now();
            }
        }
        // When the first of them is served some other way before it is woken
        group_sync.is_durable_until(at(20));
        group_sync.sync(at(10), None).unwrap();
        // Then the second does not sleep for ever
        let mut served: Vec<u64> =
            (0..2).map(|_| is_done.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
        served.sort_unstable();
        assert_eq!(served, [20, 30]);
    }
}
