//! `helenus admin hints|pause-handoff|resume-handoff|truncate-hints`: what one node keeps for others.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use serde::Deserialize;
use ureq::http::Method;
use uuid::Uuid;

use super::{
    super::{endpoint, output},
    tasks::How,
    upkeep::PATIENCE,
};

const PATH: &str = "/admin/v1/hints";

/// `helenus admin truncate-hints`.
#[derive(Debug, clap::Args)]
pub struct Truncate {
    /// Host id of the member whose hints are dropped; those of all members without one
    host_id: Option<Uuid>,
    /// Forget the marks that hints were given up instead: the member was repaired, by reading every key at level all
    #[arg(long)]
    marks: bool,
    #[command(flatten)]
    how: How,
}

/// The answer of the node, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    is_paused: bool,
    targets: Vec<Target>,
    marks: Vec<Mark>,
}

#[derive(Debug, Deserialize)]
struct Target {
    host_id: String,
    hints: u64,
    bytes: u64,
    oldest_run_us: u64,
}

#[derive(Debug, Deserialize)]
struct Mark {
    target: String,
    table: Option<u32>,
    since_us: u64,
    until_us: u64,
    hints: u64,
}

impl Truncate {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let query = self.host_id.map(|host_id| format!("?target={host_id}")).unwrap_or_default();
        let path = if self.marks { "/marks" } else { "" };
        let path = format!("{PATH}{path}{query}");
        let reply = endpoint::ask(&Method::DELETE, &self.how.endpoint.endpoint, &path, PATIENCE)?;
        let number = |field: &str| reply[field].as_u64().unwrap_or_default();
        let said = match self.marks {
            true => format!("forgot {}", output::counted(number("forgotten"), "repair mark")),
            false => format!("dropped {}", output::counted(number("dropped"), "hint")),
        };
        self.how.answer(&reply, &said)
    }
}

/// Stops the delivery of hints, or lets it go on.
pub(super) fn pause(how: &How, is_paused: bool) -> anyhow::Result<()> {
    let verb = if is_paused { "pause" } else { "resume" };
    let reply = endpoint::post(&how.endpoint.endpoint, &format!("{PATH}/{verb}"))?;
    let said = if is_paused { "the delivery of hints is paused" } else { "hints are delivered" };
    how.answer(&reply, said)
}

pub(super) fn render(status: &Status) -> String {
    let mut text = String::new();
    if status.targets.is_empty() {
        text.push_str("no hints\n");
    } else {
        let rows: Vec<_> = status.targets.iter().map(row).collect();
        text += &output::table(["Host ID", "Hints", "Size", "Since"], &rows);
        text.push('\n');
    }
    for mark in &status.marks {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "Note: {} has to be repaired:\n  it lacks {} of {},\n  made from {} to {}",
            mark.target,
            output::counted(mark.hints, "write"),
            mark.table.map_or_else(|| "some tables".to_owned(), |table| format!("table id {table}")),
            at(mark.since_us),
            at(mark.until_us),
        );
    }
    if status.is_paused {
        text.push_str("Note: delivery is paused\n");
    }
    text
}

fn row(target: &Target) -> [String; 4] {
    [
        target.host_id.clone(),
        target.hints.to_string(),
        bytesize::ByteSize(target.bytes).to_string(),
        at(target.oldest_run_us),
    ]
}

/// The last moment that has a name.
const END: u64 = 253_402_300_799_000_000;

fn at(us: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(us.min(END))).to_string()
}
