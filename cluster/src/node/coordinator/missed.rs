//! Writes that replicas have missed: hints for them, and another try where it was this node itself.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::join_all,
    stream::{self, BoxStream},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Coordinator,
    group::Group,
    outrun::Ended,
    settling::{Kept, Settling},
    trace::Trace,
    write::Write,
};
use crate::{
    error::RequestError, handoff::Hint, message::ReplicaError, node::handoff::NotKept, node_id::HostId,
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

/// What comes of some hints, as it comes.
pub(super) type Keeping = BoxStream<'static, Kept>;

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
        let mut keeping = keeping.boxed();
        // Begun now and not when the task has its turn: so the hints mostly share the sync of the own replica's writes.
        if (&mut keeping).now_or_never().is_none() {
            self.tasks.spawn_on(keeping, &self.runtime);
        }
        stream::unfold(kept, |mut kept| async move { Some((kept.recv().await?, kept)) }).boxed()
    }

    /// How each write of a group has ended, once the hints are durable for all that are known to have missed
    /// it, or the marks in their place: hints for the dead, which are being `kept`, and for replicas that have failed, which
    /// are begun now. If that takes until the deadline, a level that is met is met all the same. Where no replica has
    /// acknowledged a write at level `any`, one hint that is durable will do then, for which some time is left when the
    /// deadline has passed.
    pub(super) async fn ends(
        &self,
        group: &mut Group,
        made_at: Timestamp,
        kept: Keeping,
        trace: &Trace,
    ) -> Vec<Ended> {
        let of_live = group.missed_before_reply(made_at, self.host_id());
        let mut settling = Settling::new(group, &of_live);
        let mut kept = stream::select(kept, self.keep_hints(of_live));
        if settling.is_open() {
            let deadline = group.deadline;
            let needs_hint = group.writes.iter().any(Write::needs_hint);
            let last_resort = needs_hint.then(|| Instant::now() + LAST_RESORT);
            let deadline = last_resort.map_or(deadline, |last_resort| deadline.max(last_resort));
            if timeout_at(deadline, self.settle(&mut settling, &mut kept)).await.is_err() {
                helenus_storage::sometimes!("hints took too long");
            }
            // What came with the last one.
            while let Some(Some(kept)) = kept.next().now_or_never() {
                settling.hear(kept);
            }
            trace.note(|| settling.tell());
        }
        let timeout = group.recipients.timeout;
        group.ends(|number, write| {
            write.needs_hint().then(|| self.settle_for_a_hint(write, timeout, settling.kept(number)))
        })
    }

    /// Until the outcome of each write is known, and whoever gets no hint is marked.
    async fn settle(&self, settling: &mut Settling, kept: &mut (impl Stream<Item = Kept> + Unpin)) {
        while settling.is_open() {
            // Only a runtime that is being torn down drops their task.
            let Some(kept) = kept.next().await else { break };
            settling.hear(kept);
        }
        if settling.has_unsaved_marks() {
            // Nobody has waited for them. If storage fails, that is said once a second, when it is tried again.
            let _: Result<(), _> = self.hints.save_marks().await;
        }
    }

    /// Whether a hint satisfies a write; `kept` is what came of its hints, if that is known.
    fn settle_for_a_hint(
        &self,
        Write { level, quorum, .. }: &Write,
        timeout: Duration,
        kept: Option<&[Kept]>,
    ) -> Result<(), RequestError> {
        let (level, required, shortages) = (*level, quorum.required(), Vec::new());
        let Some(kept) = kept else {
            let mut quorum = quorum.clone();
            quorum.on_deadline();
            return Err(quorum.error(timeout));
        };
        if kept.iter().any(|kept| kept.outcome.is_ok()) {
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
