//! Writes that replicas have missed: hints for them, and another try where it was this node itself.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::join_all,
    stream::{self, BoxStream},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Coordinator,
    group::{Group, Write},
    put::Outcome,
    trace::Trace,
};
use crate::{
    counted::counted, error::RequestError, handoff::Hint, message::ReplicaError, node::handoff::NotKept,
    node_id::HostId, time::Timestamp,
};

/// How long a hint at level `any` may take beyond the deadline: only then is it known that no replica has answered.
const LAST_RESORT: Duration = Duration::from_secs(1);
/// Before this node's own replica is tried again, which had no room; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Hints of one group that are written at once: those of most groups, so that they share one wait for the commit log, and a
/// quarter of what may be in flight.
const HINTS_AT_ONCE: usize = 1024;

/// A write that a replica has missed.
pub(super) struct Missed {
    /// Which of its group.
    pub(super) write: usize,
    /// By whom.
    pub(super) host: HostId,
    pub(super) hint: Hint,
}

/// What came of a hint.
pub(super) struct Kept {
    write: usize,
    host: HostId,
    outcome: Result<(), NotKept>,
}

/// What comes of some hints, as it comes.
pub(super) type Keeping = BoxStream<'static, Kept>;

/// The writes of a group that wait for their hints.
struct Settling(Vec<Awaited>);

/// What is known of the hints of one write.
struct Awaited {
    needs_hint: bool,
    /// How many there are.
    due: usize,
    kept: Vec<Kept>,
}

impl Awaited {
    /// Whether nothing that is still to come changes the outcome.
    fn is_settled(&self) -> bool {
        self.kept.len() == self.due || self.kept.iter().any(|kept| kept.outcome.is_ok())
    }
}

impl Settling {
    fn new(group: &Group, unheard: &[Missed]) -> Self {
        let dead = group.recipients.dead.len();
        let awaited = |write: &Write| Awaited { needs_hint: write.needs_hint(), due: dead, kept: Vec::new() };
        let mut writes: Vec<Awaited> = group.writes.iter().map(awaited).collect();
        unheard.iter().for_each(|missed| writes[missed.write].due += 1);
        Self(writes)
    }

    fn is_open(&self) -> bool {
        self.0.iter().any(|awaited| awaited.needs_hint && !awaited.is_settled())
    }

    fn hear(&mut self, kept: Kept) {
        self.0[kept.write].kept.push(kept);
    }

    /// What came of the hints of a write, once that says whether one satisfies it.
    fn kept(&self, write: usize) -> Option<&[Kept]> {
        let awaited = &self.0[write];
        awaited.is_settled().then_some(awaited.kept.as_slice())
    }
}

impl Coordinator {
    /// Keeps writes for the replicas that missed them, whether somebody waits for it or not. What cannot be kept leaves a mark
    /// that they have to be repaired.
    pub(super) fn keep_hints(&self, missed: Vec<Missed>) -> Keeping {
        if missed.is_empty() {
            return stream::empty().boxed();
        }
        let hints = Arc::clone(&self.hints);
        let keep = move |Missed { write, host, hint }| {
            let hints = Arc::clone(&hints);
            async move { Kept { write, host, outcome: hints.keep(host, &hint).await } }
        };
        // Bounded by the hints that are due.
        let (sender, kept) = mpsc::unbounded_channel();
        let keeping = stream::iter(missed).map(keep).buffer_unordered(HINTS_AT_ONCE);
        let keeping = keeping.for_each(move |kept| {
            // Whether somebody waits for it or not.
            let _: Result<(), _> = sender.send(kept);
            std::future::ready(())
        });
        self.tasks.spawn_on(keeping, &self.runtime);
        stream::unfold(kept, |mut kept| async move { Some((kept.recv().await?, kept)) }).boxed()
    }

    /// What to tell the client of each write of a group. Where no replica has acknowledged one at level `any`, a hint that
    /// is durable will do. Those for replicas that were down are being `kept`; those that were not heard get theirs now,
    /// when the deadline may have passed.
    pub(super) async fn outcomes(
        &self,
        group: &mut Group,
        made_at: Timestamp,
        kept: Keeping,
        trace: &Trace,
    ) -> Vec<Outcome> {
        if !group.writes.iter().any(Write::needs_hint) {
            return group.outcomes(|_, _| None);
        }
        let unheard = group.missed_by_live(made_at, Write::needs_hint);
        let mut settling = Settling::new(group, &unheard);
        let mut kept = stream::select(kept, self.keep_hints(unheard));
        let deadline = group.recipients.deadline.max(Instant::now() + LAST_RESORT);
        while settling.is_open() {
            match timeout_at(deadline, kept.next()).await {
                Ok(Some(kept)) => settling.hear(kept),
                // Only a runtime that is being torn down drops their task.
                Ok(None) => break,
                Err(_) => {
                    helenus_storage::sometimes!("a hint at level any took too long");
                    break;
                }
            }
        }
        // What came with the last one.
        while let Some(Some(kept)) = kept.next().now_or_never() {
            settling.hear(kept);
        }
        let timeout = group.recipients.timeout;
        group.outcomes(|number, write| {
            let settle = || self.settle_for_a_hint(write, timeout, settling.kept(number), trace);
            write.needs_hint().then(settle)
        })
    }

    /// Whether a hint satisfies a write; `kept` is what came of its hints, if that is known.
    fn settle_for_a_hint(
        &self,
        Write { level, quorum, .. }: &Write,
        timeout: Duration,
        kept: Option<&[Kept]>,
        trace: &Trace,
    ) -> Result<(), RequestError> {
        let (level, required, shortages) = (*level, quorum.required(), Vec::new());
        let Some(kept) = kept else {
            let mut quorum = quorum.clone();
            quorum.on_deadline();
            return Err(if quorum.was_sent() {
                quorum.error(timeout)
            } else {
                let (received, silent, lost) = (0, 0, 0);
                RequestError::Timeout { level, required, received, silent, lost, timeout, shortages }
            });
        };
        let hints = kept.iter().filter(|kept| kept.outcome.is_ok()).count();
        if hints > 0 {
            helenus_storage::sometimes!("a write at level any was satisfied by a hint");
            trace.note(|| format!("kept as a hint for {}", counted(hints, "replica")));
            return Ok(());
        }
        let doubt = kept.iter().find_map(|kept| match &kept.outcome {
            Err(NotKept::Doubtful(error)) => Some(error.clone()),
            _ => None,
        });
        Err(match doubt {
            _ if quorum.was_sent() => quorum.error(timeout),
            // The hint may be in the log, and delivered after a restart.
            Some(error) => {
                helenus_storage::sometimes!("nobody knows whether a hint is kept");
                let failures = vec![(self.host_id(), error)];
                RequestError::Failed { level, required, received: 0, failures, shortages }
            }
            None => {
                let down = kept.iter().map(|kept| kept.host).collect();
                RequestError::Unavailable { level, required, alive: 0, shortages, down }
            }
        })
    }

    /// Tries this node's own replica again, which had no room for writes that others hold.
    pub(super) async fn try_all_again_here(&self, missed: Vec<Missed>, deadline: Instant) {
        join_all(missed.iter().map(|missed| self.try_again_here(&missed.hint, deadline))).await;
    }

    /// Room may come soon; if not, there is a hint.
    async fn try_again_here(&self, hint: &Hint, deadline: Instant) {
        let mut pause = FIRST_PAUSE;
        while Instant::now() + pause < deadline {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = sleep(pause) => pause *= 2,
            }
            match timeout_at(deadline, self.replica.apply_hint(hint.table, hint.mutation.clone())).await {
                Ok(Ok(())) => {
                    helenus_storage::sometimes!("the own replica had room the second time");
                    return;
                }
                Ok(Err(ReplicaError::Overloaded(_) | ReplicaError::StorageFull(_))) => {}
                _ => break,
            }
        }
        // What cannot be kept leaves a mark.
        let _: Result<(), _> = self.hints.keep(self.host_id(), hint).await;
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
        let awaited = |due: &usize| Awaited { needs_hint: true, due: *due, kept: Vec::new() };
        Settling(due.iter().map(awaited).collect())
    }

    #[test]
    fn a_write_is_settled_by_its_own_hints_whatever_those_of_others_do() {
        let mut settling = settling(&[2, 2, 2]);

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
    fn writes_that_need_no_hint_are_not_waited_for() {
        let mut settling = settling(&[1, 0]);
        assert!(settling.is_open());

        settling.0[0].needs_hint = false;

        assert!(!settling.is_open());
    }
}
