//! Mutations on their way to the log, already gathered into the groups they will be written as.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::{
    commit_log::{
        group::Contents,
        ticket::{Outcome, Outrun, Ticket},
    },
    error::{Error, Result},
    record::Mutation,
    table_id::TableId,
};

/// Batches that are written, synced and released together. Dropped unresolved, its tickets answer
/// [`Error::Closed`].
#[derive(Debug, Default)]
pub(crate) struct Group {
    contents: Contents,
    tickets: usize,
    outcome: Arc<Outcome>,
}

impl Group {
    fn push(&mut self, batch: &[(TableId, &Mutation)]) -> Ticket {
        let first = self.contents.count();
        batch.iter().for_each(|(table, mutation)| self.contents.push(*table, mutation));
        self.tickets += 1;
        Ticket::new(Arc::clone(&self.outcome), self.tickets - 1, first..self.contents.count())
    }

    /// What is to be written, in the order of their applies.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Takes what was written.
    pub(crate) fn take_contents(&mut self) -> Contents {
        std::mem::take(&mut self.contents)
    }

    /// Tells all tickets: the places of the mutations that were outrun, and how.
    pub(crate) fn resolve(self, result: Result<Vec<(usize, Outrun)>>) {
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

    /// Queues a batch that will take so many bytes of its group. The flag says that nothing was waiting before.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and what [`CommitQueue::refuse`] was given; nothing was queued.
    pub(crate) fn push(&self, batch: &[(TableId, &Mutation)], size_bytes: usize) -> Result<(Ticket, bool)> {
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
        let ticket = match state.groups.back_mut() {
            Some(group) if group.contents.size_bytes() + size_bytes <= self.group_bytes => {
                crate::sometimes!("one group had several mutations");
                group.push(batch)
            }
            _ => {
                let mut group = Group::default();
                let ticket = group.push(batch);
                state.groups.push_back(group);
                ticket
            }
        };
        Ok((ticket, was_empty))
    }

    /// Takes the oldest group.
    pub(crate) fn take(&self) -> Option<Group> {
        let mut state = self.state.lock();
        let group = state.groups.pop_front()?;
        state.size_bytes -= group.contents.size_bytes();
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
