//! One request to many replicas at once, and their answers as they come.
//!
//! ```text
//!                    ┌─> this node's replica ──┐
//!   plan ──> calls ──┼─> peer ─────────────────┼──> next(): an answer, or that the time is over
//!                    └─> peer ─────────────────┘
//! ```
//!
//! A call does nothing before it is first polled, so each is polled as it is added: all replicas are asked before the
//! first answer is looked at, however soon it comes.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{StreamExt, future::BoxFuture, poll, stream::FuturesUnordered};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    message::{ReplicaError, Response},
    node::transport::CallError,
    node_id::HostId,
    quorum::Missing,
};

/// What one replica made of a request.
#[derive(Debug)]
pub(super) struct Answer<A> {
    pub(super) from: HostId,
    pub(super) result: Result<A, Missing>,
}

/// What ends a wait for answers.
#[derive(Debug)]
pub(super) enum Next<A> {
    /// An answer.
    Answer(Answer<A>),
    /// The moment has come that was asked for.
    Late,
    /// There is nobody left to wait for, the deadline has passed or the node stops.
    Over,
}

/// The calls of one request that have no answer yet.
pub(super) struct FanOut<A> {
    /// Answers that were there at once.
    early: VecDeque<Answer<A>>,
    calls: FuturesUnordered<Call<A>>,
    deadline: Pin<Box<Sleep>>,
    stop: CancellationToken,
}

impl<A: Send + 'static> FanOut<A> {
    pub(super) fn until(deadline: Instant, stop: CancellationToken) -> Self {
        Self {
            early: VecDeque::new(),
            calls: FuturesUnordered::new(),
            deadline: Box::pin(sleep_until(deadline)),
            stop,
        }
    }

    /// Begins a call.
    pub(super) async fn add(&mut self, from: HostId, call: BoxFuture<'static, Result<A, Missing>>) {
        let mut call = Call { from, call };
        match poll!(&mut call) {
            Poll::Ready(answer) => self.early.push_back(answer),
            Poll::Pending => self.calls.push(call),
        }
    }

    /// Whether nobody is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.early.is_empty() && self.calls.is_empty()
    }

    /// The next answer, unless a moment comes first.
    pub(super) async fn next_before(&mut self, moment: Option<Instant>) -> Next<A> {
        let Some(moment) = moment else { return self.next().await.map_or(Next::Over, Next::Answer) };
        tokio::select! {
            biased;
            next = self.next() => next.map_or(Next::Over, Next::Answer),
            () = sleep_until(moment) => Next::Late,
        }
    }

    /// The next answer; `None` when there is none left to wait for, the deadline has passed or the node stops.
    pub(super) async fn next(&mut self) -> Option<Answer<A>> {
        if let Some(answer) = self.early.pop_front() {
            return Some(answer);
        }
        // An answer that is there when the deadline passes still counts.
        tokio::select! {
            biased;
            answer = self.calls.next() => answer,
            () = &mut self.deadline => None,
            () = self.stop.cancelled() => None,
        }
    }
}

/// A call under way to one replica.
struct Call<A> {
    from: HostId,
    call: BoxFuture<'static, Result<A, Missing>>,
}

impl<A> Future for Call<A> {
    type Output = Answer<A>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer<A>> {
        let result = ready!(self.call.as_mut().poll(context));
        Poll::Ready(Answer { from: self.from, result })
    }
}

/// What a call without an answer means for the request.
///
/// Silence leaves open whether the replica did it; only an answer, or the certainty that nothing was sent
/// because of a bound of our own, is an error.
pub(super) fn missing_call(error: &CallError) -> Missing {
    match error {
        CallError::Overloaded => Missing::Error(ReplicaError::Overloaded(
            "too much is queued for it at the coordinator".to_owned(),
        )),
        CallError::TimedOut | CallError::Malformed { .. } => Missing::Silence,
        CallError::Unreachable { .. }
        | CallError::Lost { .. }
        | CallError::Refused(_)
        | CallError::WrongHost { .. } => Missing::Lost,
    }
}

/// What an answer means that is not the one asked for.
pub(super) fn missing_answer(response: Response) -> Missing {
    match response {
        Response::Failed(error) => missing_error(error),
        // An answer to another question tells nothing about this one.
        _ => Missing::Silence,
    }
}

/// What an error means that a replica answers.
pub(super) fn missing_error(error: ReplicaError) -> Missing {
    match error {
        // The replica saw our deadline pass before we did: that is lateness, not a refusal.
        ReplicaError::Expired => Missing::Silence,
        error => Missing::Error(error),
    }
}

/// A missing answer in the words of a trace.
pub(super) fn describe(missing: &Missing) -> String {
    match missing {
        Missing::Silence => "gave no answer".to_owned(),
        Missing::Lost => "could not be reached, or its connection was lost".to_owned(),
        Missing::Error(error) => format!("answered with an error: {error}"),
    }
}
