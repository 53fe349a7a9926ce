//! Writes that replicas have missed: hints for them, and another try where it was this node itself.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Coordinator,
    group::{Group, Write},
    put::Outcome,
    trace::Trace,
};
use crate::{
    counted::{counted, is_or_are},
    error::RequestError,
    handoff::Hint,
    message::ReplicaError,
    node::handoff::NotKept,
    node_id::HostId,
    time::Timestamp,
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
#[derive(Debug, Clone)]
pub(super) struct Kept {
    write: usize,
    host: HostId,
    outcome: Result<(), NotKept>,
}

/// Hints on their way to the disk, if there are any.
pub(super) type Keeping = Option<BoxFuture<'static, Vec<Kept>>>;

impl Coordinator {
    /// Keeps writes for the replicas that missed them, whether somebody waits for it or not; ready when it is known what
    /// came of each hint. What cannot be kept leaves a mark that they have to be repaired.
    pub(super) fn keep_hints(&self, missed: Vec<Missed>) -> Keeping {
        if missed.is_empty() {
            return None;
        }
        let hints = Arc::clone(&self.hints);
        let keep = move |Missed { write, host, hint }| {
            let hints = Arc::clone(&hints);
            async move { Kept { write, host, outcome: hints.keep(host, &hint).await } }
        };
        let mut keeping = stream::iter(missed).map(keep).buffered(HINTS_AT_ONCE).collect().boxed();
        // Begun now and not when the task has its turn: so the hints mostly share the sync of the own replica's write.
        if let Some(kept) = (&mut keeping).now_or_never() {
            return Some(async { kept }.boxed());
        }
        let task = self.tasks.spawn_on(keeping, &self.runtime);
        // Only a runtime that is being torn down drops the task.
        Some(task.map(Result::unwrap_or_default).boxed())
    }

    /// What to tell the client of each write of a group, once the hints are durable for all that are known to have missed
    /// it: those `of_dead` replicas, which are being kept, and those of replicas that have failed, which are begun now. If
    /// that takes until the deadline, a level that is met is met all the same. Where no replica has acknowledged a write
    /// at level `any`, a hint that is durable will do, for which some time is left when the deadline has passed.
    pub(super) async fn outcomes(
        &self,
        group: &mut Group,
        made_at: Timestamp,
        of_dead: Keeping,
        trace: &Trace,
    ) -> Vec<Outcome> {
        let of_live = self.keep_hints(group.missed_before_reply(made_at, self.host_id()));
        let needs_hint = group.writes.iter().any(Write::needs_hint);
        let hints: Vec<_> = of_dead.into_iter().chain(of_live).collect();
        if !needs_hint && (hints.is_empty() || !group.writes.iter().any(Write::is_met)) {
            return group.outcomes(|_, _| None);
        }
        let mut deadline = group.recipients.deadline;
        if needs_hint {
            deadline = deadline.max(Instant::now() + LAST_RESORT);
        }
        let kept = timeout_at(deadline, self.kept_or_marked(hints)).await.ok();
        if kept.is_none() {
            helenus_storage::sometimes!("hints took too long");
        }
        trace.note(|| tell(kept.as_deref()));
        let timeout = group.recipients.timeout;
        group.outcomes(|number, write| {
            let of_write =
                |kept: &Vec<Kept>| kept.iter().filter(|kept| kept.write == number).cloned().collect();
            write.needs_hint().then(|| self.settle_for_a_hint(write, timeout, kept.as_ref().map(of_write)))
        })
    }

    /// What came of hints, once they are durable, or the marks in their place.
    async fn kept_or_marked(&self, hints: Vec<BoxFuture<'static, Vec<Kept>>>) -> Vec<Kept> {
        let kept = join_all(hints).await.concat();
        if kept.iter().any(|kept| kept.outcome == Err(NotKept::TooMany)) {
            // Nobody has waited for their marks. If storage fails, that is said once a second, when it is tried again.
            let _: Result<(), _> = self.hints.save_marks().await;
        }
        kept
    }

    /// Whether a hint satisfies a write; `kept` is what came of its hints, if that is known.
    fn settle_for_a_hint(
        &self,
        Write { level, quorum, .. }: &Write,
        timeout: Duration,
        kept: Option<Vec<Kept>>,
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
                let down = kept.into_iter().map(|kept| kept.host).collect();
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

/// What came of the hints of a group, in the words of a trace.
fn tell(kept: Option<&[Kept]>) -> String {
    let Some(kept) = kept else { return "its hints are not on disk in time".to_owned() };
    let hints = kept.iter().filter(|kept| kept.outcome.is_ok()).count();
    format!("{} {} on disk", counted(hints, "hint"), is_or_are(hints))
}
