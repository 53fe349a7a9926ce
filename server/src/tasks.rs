//! Long operations of one node: each has an id by which it can be listed, watched and cancelled, whoever began it.
//!
//! Tasks live in memory. Of those that have ended the last [`KEPT`] are remembered; ids begin anew with each start of the
//! node.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use helenus_cluster::{
    node::{AdmittedUpkeep, Meter, Upkeep, UpkeepError, UpkeepOutcome},
    time::Timestamp,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{http::Coordinate, telemetry::millis};

/// Ended tasks that are remembered.
const KEPT: usize = 64;

/// The tasks of a node.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    last_id: u64,
    /// By id, ascending.
    tasks: VecDeque<Arc<Task>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: u64,
    /// What is done.
    pub(crate) kind: &'static str,
    /// The table, or snapshot, that it is done to; all tables without one.
    pub(crate) subject: Option<String>,
    pub(crate) started: Timestamp,
    began: Instant,
    meter: Arc<Meter>,
    end: watch::Receiver<Option<End>>,
}

/// How a task has ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) outcome: Result<UpkeepOutcome, UpkeepError>,
    pub(crate) elapsed: Duration,
}

/// Why a task is not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCancelled {
    /// It has ended.
    Ended,
    /// It cannot be undone half way.
    Impossible,
}

impl Tasks {
    /// Begins one, now that it is `started`.
    pub(crate) fn begin(
        &self,
        node: Arc<dyn Coordinate>,
        work: AdmittedUpkeep,
        started: Timestamp,
    ) -> Arc<Task> {
        let (kind, subject) = described(work.task());
        let (tell, end) = watch::channel(None);
        let (meter, began) = (Arc::<Meter>::default(), Instant::now());
        let (task, id, of) = {
            let mut listed = self.0.lock();
            listed.last_id += 1;
            let (id, of) = (listed.last_id, subject.clone());
            let task = Arc::new(Task { id, kind, subject, started, began, meter: Arc::clone(&meter), end });
            listed.tasks.push_back(Arc::clone(&task));
            listed.forget();
            (task, id, of)
        };
        tokio::spawn(async move {
            let outcome = node.upkeep(work, &meter).await;
            let end = End { outcome, elapsed: began.elapsed() };
            log(id, kind, of.as_deref(), &end);
            tell.send_replace(Some(end));
        });
        task
    }

    /// One by its id.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Task>> {
        self.0.lock().tasks.iter().find(|task| task.id == id).map(Arc::clone)
    }

    /// All that are known, the oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<Task>> {
        self.0.lock().tasks.iter().map(Arc::clone).collect()
    }
}

impl Listed {
    /// The node bounds how many are under way.
    fn forget(&mut self) {
        while self.tasks.iter().filter(|task| task.end().is_some()).count() > KEPT {
            let oldest = self.tasks.iter().position(|task| task.end().is_some());
            oldest.and_then(|place| self.tasks.remove(place));
        }
    }
}

impl Task {
    /// How it has ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        let end = self.end.borrow().clone();
        let is_torn_down = || self.end.has_changed().is_err();
        end.or_else(|| {
            is_torn_down().then(|| End {
                outcome: Err(UpkeepError::Stopped("the node stops".to_owned())),
                elapsed: self.began.elapsed(),
            })
        })
    }

    /// Waits for its end, so long at most.
    pub(crate) async fn wait(&self, patience: Duration) -> Option<End> {
        let mut end = self.end.clone();
        // Whatever came of the wait, `end` says what is known.
        let _ = tokio::time::timeout(patience, end.wait_for(Option::is_some)).await;
        self.end()
    }

    /// Asks it to end early; it ends a little later.
    pub(crate) fn cancel(&self) -> Result<(), NotCancelled> {
        if self.end().is_some() {
            return Err(NotCancelled::Ended);
        }
        if !matches!(self.kind, "flush" | "compact" | "scrub") {
            return Err(NotCancelled::Impossible);
        }
        self.meter.cancel();
        Ok(())
    }

    /// Bytes that are done, and bytes that there are, both zero as long as nobody knows; and the seconds that are left at
    /// the speed of the last seconds.
    pub(crate) fn progress(&self) -> (u64, u64, Option<f64>) {
        let (done, total) = self.meter.progress();
        let remaining = self.meter.remaining_seconds().filter(|_| self.end().is_none());
        (done, total, remaining)
    }

    /// Whether it waits for others.
    pub(crate) fn is_queued(&self) -> bool {
        self.end().is_none() && self.meter.waits()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.end().map_or_else(|| self.began.elapsed(), |end| end.elapsed)
    }
}

/// Tells the log how a task has ended, and each damaged place that a scrub has found.
fn log(id: u64, task: &str, of: Option<&str>, End { outcome, elapsed }: &End) {
    let (of, elapsed_ms) = (of.unwrap_or("all tables"), millis(*elapsed));
    if let Ok(UpkeepOutcome::Scrubbed(report)) = outcome {
        for damage in &report.first_damages {
            tracing::error!(id, task, %damage, "a scrub has found damage");
        }
        if report.damages > 0 {
            tracing::error!(id, task, damages = report.damages, "a scrub has found damaged places");
        }
    }
    match outcome {
        Ok(UpkeepOutcome::Scrubbed(report)) if report.cancelled => {
            tracing::info!(id, task, of, elapsed_ms, "a task was cancelled");
        }
        Ok(_) => tracing::info!(id, task, of, elapsed_ms, "a task is done"),
        Err(UpkeepError::Cancelled) => tracing::info!(id, task, of, elapsed_ms, "a task was cancelled"),
        Err(UpkeepError::Draining) => {
            tracing::info!(id, task, of, elapsed_ms, "a task was cut short: the node drains or stops");
        }
        Err(error) => tracing::warn!(id, task, of, %error, elapsed_ms, "a task has failed"),
    }
}

fn described(work: &Upkeep) -> (&'static str, Option<String>) {
    match work {
        Upkeep::Flush { table } => ("flush", table.clone()),
        Upkeep::Compact { table } => ("compact", table.clone()),
        Upkeep::Scrub { .. } => ("scrub", None),
        Upkeep::Drain => ("drain", None),
        Upkeep::MakeSnapshot { name } => ("snapshot", Some(name.clone())),
        Upkeep::ListSnapshots => ("list-snapshots", None),
        Upkeep::ClearSnapshot { name } => ("clear-snapshot", Some(name.clone())),
    }
}
