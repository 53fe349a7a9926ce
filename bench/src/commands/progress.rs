//! What is seen and logged while a load runs.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context;
use helenus_bench::{
    load::{Plan, Progress},
    report::HdrLogs,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::status::Status;

/// Shows progress and writes logs.
pub(super) struct Observer {
    status: Option<Status>,
    logs: Option<HdrLogs>,
    log_error: Option<io::Error>,
    bar: Option<ProgressBar>,
    operations: Option<u64>,
}

impl Observer {
    /// With YCSB's status lines so often; without them, a bar if standard error is a terminal.
    pub(super) fn new(status: Option<Duration>, logs: Option<HdrLogs>, name: &str) -> Self {
        let bar = (status.is_none() && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {msg} {eta}");
            let bar = ProgressBar::new(1);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.to_owned());
            bar
        });
        Self { status: status.map(Status::new), logs, log_error: None, bar, operations: None }
    }

    /// The plan is about to be carried out.
    pub(super) fn begin(&mut self, plan: &Plan) {
        self.operations = plan.operations;
        if let Some(status) = &mut self.status {
            status.tell(None);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(plan.operations.or(plan.duration.map(|duration| duration.as_secs())).unwrap_or(1));
        }
    }

    /// A second has passed.
    pub(super) fn observe(&mut self, progress: &Progress<'_>) {
        let done = progress.total.succeeded + progress.total.failed;
        if let Some(logs) = &mut self.logs
            && let Err(error) = logs.add(progress)
        {
            self.log_error.get_or_insert(error);
        }
        if let Some(status) = &mut self.status {
            status.observe(progress, self.operations.map(|operations| operations.saturating_sub(done)));
        }
        if let Some(bar) = &self.bar {
            let rate = (progress.interval.succeeded + progress.interval.failed) as f64 / progress.interval_s;
            bar.set_message(format!("{rate:.0} op/s, {} failed", progress.total.failed));
            bar.set_position(if self.operations.is_some() { done } else { progress.elapsed.as_secs() });
        }
    }

    /// All is over.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if let Some(mut status) = self.status {
            status.tell(None);
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        if let Some(error) = self.log_error {
            return Err(error).context("HdrHistogram logs");
        }
        self.logs.map_or(Ok(()), HdrLogs::finish).context("HdrHistogram logs")
    }
}
