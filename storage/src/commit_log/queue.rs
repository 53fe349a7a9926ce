//! Mutations on their way to the log, already gathered into the groups they will be written as.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::{
    commit_log::{
        group::Batch,
        ticket::{Outcome, Ticket},
        writer,
    },
    error::{Error, Result},
};

/// Batches that are written, synced and released together. Dropped unresolved, its tickets answer
/// [`Error::Closed`].
#[derive(Debug)]
pub(crate) struct Group {
    batches: Vec<Batch>,
    size_bytes: usize,
    outcome: Arc<Outcome>,
}

impl Group {
    /// In the order of their applies.
    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Tells all tickets.
    pub(crate) fn resolve(self, result: Result<()>) {
        self.outcome.resolve(result);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.outcome.resolve(Err(Error::Closed));
    }
}

/// The bounded queue between [`apply`](crate::Engine::apply) and the commit step.
#[derive(Debug)]
pub(crate) struct CommitQueue {
    state: Mutex<State>,
    /// Most bytes that may wait.
    limit_bytes: usize,
    /// A group is closed when the next mutation would make it larger, so that segments are not left half
    /// empty because the next group does not fit.
    group_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    groups: VecDeque<Group>,
    size_bytes: usize,
    /// Why nothing is accepted any more.
    refusal: Option<Error>,
}

impl CommitQueue {
    /// An empty queue.
    pub(crate) fn new(limit_bytes: usize, group_bytes: usize) -> Self {
        Self { state: Mutex::default(), limit_bytes, group_bytes }
    }

    /// Queues a batch. The flag says that nothing was waiting before.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and what [`CommitQueue::refuse`] was given; nothing was queued.
    pub(crate) fn push(&self, batch: Batch) -> Result<(Ticket, bool)> {
        let size_bytes = writer::batch_bytes(&batch);
        let mut state = self.state.lock();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        // One that is larger than the whole bound is accepted when it is alone.
        let was_empty = state.groups.is_empty();
        if !was_empty && state.size_bytes + size_bytes > self.limit_bytes {
            crate::sometimes!("the commit queue was full");
            return Err(Error::Overloaded { what: "too many bytes wait for the commit log" });
        }
        state.size_bytes += size_bytes;
        match state.groups.back_mut() {
            Some(group) if group.size_bytes + size_bytes <= self.group_bytes => {
                crate::sometimes!("one group had several mutations");
                group.batches.push(batch);
                group.size_bytes += size_bytes;
                Ok((Ticket::new(Arc::clone(&group.outcome), group.batches.len() - 1), was_empty))
            }
            _ => {
                let outcome = Arc::<Outcome>::default();
                let ticket = Ticket::new(Arc::clone(&outcome), 0);
                state.groups.push_back(Group { batches: vec![batch], size_bytes, outcome });
                Ok((ticket, was_empty))
            }
        }
    }

    /// Takes the oldest group.
    pub(crate) fn take(&self) -> Option<Group> {
        let mut state = self.state.lock();
        let group = state.groups.pop_front()?;
        state.size_bytes -= group.size_bytes;
        Some(group)
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().size_bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().groups.is_empty()
    }

    /// Accepts nothing more; what waits stays.
    pub(crate) fn refuse(&self, refusal: Error) {
        self.state.lock().refusal.get_or_insert(refusal);
    }

    /// Accepts nothing more, and tells all who wait.
    pub(crate) fn fail(&self, error: &Error) {
        let groups = {
            let mut state = self.state.lock();
            state.refusal = Some(error.clone());
            state.size_bytes = 0;
            std::mem::take(&mut state.groups)
        };
        for group in groups {
            crate::sometimes!("a waiting group was told of a failure");
            group.resolve(Err(error.clone()));
        }
    }
}
