//! `helenus admin tasks`, and the watching of a task by the command that began it.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Method;

use super::{
    super::{
        endpoint::{self, EndpointArgs, Unreachable},
        output::{self, Format, FormatArgs},
    },
    upkeep::verified,
};

const PATH: &str = "/admin/v1/tasks";
/// How long the node waits for the end of a task before it says how far it is.
const GLANCE_MS: u64 = 250;
/// Characters of a task's name that leave room for its progress in a line.
const LONGEST_NAME: usize = 36;
/// How long it may take to answer then.
const PATIENCE: Duration = Duration::from_secs(30);

/// The subcommands of `admin tasks`.
#[derive(Debug, clap::Subcommand)]
#[command(before_help = "Example: helenus admin compact users --detach && helenus admin tasks list")]
pub enum Tasks {
    /// List the tasks that are under way, and the last ones that have ended
    #[command(before_help = "Example: helenus admin tasks list")]
    List {
        /// Which node.
        #[command(flatten)]
        endpoint: EndpointArgs,
        /// In which form.
        #[command(flatten)]
        output: FormatArgs,
    },
    /// Wait for the end of a task, with a progress bar on a terminal
    #[command(before_help = "Example: helenus admin tasks watch 3")]
    Watch(Named),
    /// End a task early
    #[command(before_help = "Example: helenus admin tasks cancel 3")]
    Cancel(Named),
}

/// A task and where it is.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Its id, as `admin tasks list` shows it
    id: u64,
    #[command(flatten)]
    how: How,
}

/// How a command goes about a task.
#[derive(Debug, clap::Args)]
pub struct How {
    #[command(flatten)]
    pub(super) endpoint: EndpointArgs,
    #[command(flatten)]
    pub(super) output: FormatArgs,
}

/// How a command begins one.
#[derive(Debug, clap::Args)]
pub struct Begin {
    /// Print the id of the task and return; `admin tasks watch ID` waits for it
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    pub(super) how: How,
}

/// A task, as the node tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Task {
    id: u64,
    kind: String,
    subject: Option<String>,
    state: String,
    started_us: u64,
    elapsed_seconds: f64,
    done_bytes: u64,
    total_bytes: u64,
    remaining_seconds: Option<f64>,
    pub(super) result: Option<Value>,
    problem: Option<Value>,
}

impl Tasks {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List { endpoint, output } => {
                let reply = endpoint::get_json(&endpoint.endpoint, PATH)?;
                if output.format == Format::Json {
                    return Ok(output::answer_json(&reply)?);
                }
                let tasks: Vec<Task> = serde_json::from_value(reply["tasks"].clone())?;
                if tasks.is_empty() {
                    return Ok(output::answer("no tasks")?);
                }
                let rows = tasks.iter().map(row).collect();
                let header = ["ID", "TASK", "OF", "STATE", "PROGRESS", "STARTED", "TIME"];
                Ok(output::answer(&output::table_of_names(header, rows, &[2]))?)
            }
            Self::Watch(Named { id, how }) => {
                let task = endpoint::get_json(&how.endpoint.endpoint, &format!("{PATH}/{id}"))?;
                let said = |task: &Task| match task.kind.as_str() {
                    "scrub" => verified(task),
                    _ => Ok(format!("{}: {}", task.name(), task.state)),
                };
                how.tell(&watched(&how.endpoint, task)?, said)
            }
            Self::Cancel(Named { id, how }) => {
                let path = format!("{PATH}/{id}");
                let task = endpoint::ask(&Method::DELETE, &how.endpoint.endpoint, &path, PATIENCE)?;
                let named: Task = serde_json::from_value(task.clone())?;
                how.answer(&task, &format!("{} will end", named.name()))
            }
        }
    }
}

impl Begin {
    /// Begins the task at a path of the node, and waits for its end unless told otherwise. `said` is what people are
    /// told when it is done.
    pub(super) fn run(&self, path: &str, said: impl Fn(&Task) -> String) -> anyhow::Result<()> {
        self.run_checked(path, |task| Ok(said(task)))
    }

    /// As [`Begin::run`], where what is done may still be bad news.
    pub(super) fn run_checked(
        &self,
        path: &str,
        said: impl Fn(&Task) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let endpoint = &self.how.endpoint;
        let separator = if path.contains('?') { '&' } else { '?' };
        let wait_ms = if self.detach { 0 } else { GLANCE_MS };
        let path = format!("{path}{separator}wait_ms={wait_ms}");
        let begun = endpoint::ask(&Method::POST, &endpoint.endpoint, &path, PATIENCE)?;
        if !self.detach {
            return self.how.tell(&watched(endpoint, begun)?, said);
        }
        self.how.answer(&begun, &format!("task {}", begun["id"]))
    }
}

impl How {
    /// Shows what the node answered: to people in one line.
    pub(super) fn answer(&self, reply: &Value, said: &str) -> anyhow::Result<()> {
        match self.output.format {
            Format::Json => Ok(output::answer_json(reply)?),
            Format::Table => Ok(output::answer(said)?),
        }
    }

    /// Shows a task that has ended. One that has failed is an error.
    fn tell(&self, answer: &Value, said: impl Fn(&Task) -> anyhow::Result<String>) -> anyhow::Result<()> {
        let task: Task = serde_json::from_value(answer.clone())?;
        let is_json = self.output.format == Format::Json;
        if is_json {
            output::answer_json(answer)?;
        }
        match task.state.as_str() {
            "done" => {
                let text = said(&task)?;
                if is_json { Ok(()) } else { Ok(output::answer(&text)?) }
            }
            "cancelled" => {
                let found = (task.kind == "scrub").then(|| verified(&task).err()).flatten();
                let found = found.map(|damage| format!(", and what it had read is not sound: {damage}"));
                anyhow::bail!("{} was cancelled{}", task.name(), found.unwrap_or_default())
            }
            _ => {
                let problem = task.problem.clone().unwrap_or_default();
                anyhow::bail!(
                    "{} failed: {}",
                    task.name(),
                    problem["detail"].as_str().unwrap_or("no reason given")
                )
            }
        }
    }
}

/// Waits for the end of a task. The node goes on with it if nobody does.
fn watched(endpoint: &EndpointArgs, begun: Value) -> anyhow::Result<Value> {
    let mut answer = begun;
    let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(style());
    loop {
        let task: Task = serde_json::from_value(answer.clone())?;
        if !matches!(task.state.as_str(), "running" | "queued") {
            bar.finish_and_clear();
            return Ok(answer);
        }
        bar.set_prefix(output::shortened(&task.name(), LONGEST_NAME));
        let left = task.remaining_seconds.map(|left| format!("{left:.0} s left"));
        bar.set_message(if task.state == "queued" { task.state.clone() } else { left.unwrap_or_default() });
        bar.set_length(task.total_bytes);
        bar.set_position(task.done_bytes);
        let path = format!("{PATH}/{}?wait_ms={GLANCE_MS}", task.id);
        answer = endpoint::ask(&Method::GET, &endpoint.endpoint, &path, PATIENCE).map_err(|error| {
            let Some(Unreachable(why)) = error.downcast_ref() else { return error };
            anyhow::anyhow!(
                "what became of {} is unknown: its node has stopped, or is stopping ({why})",
                task.name()
            )
        })?;
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix} [{wide_bar}] {bytes} of {total_bytes} {msg}";
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Task {
    fn name(&self) -> String {
        let of = self.subject.as_ref().map(|subject| format!(" of {subject}")).unwrap_or_default();
        format!("task {}, {}{of}", self.id, self.kind)
    }
}

/// What it came to. A scrub that has found damage was done, and is not all right.
fn state(task: &Task) -> String {
    match task.result.as_ref().and_then(|result| result["damages"].as_u64()) {
        Some(1..) => format!("{}, DAMAGE", task.state),
        _ => task.state.clone(),
    }
}

fn row(task: &Task) -> [String; 7] {
    let progress = match task.total_bytes {
        // There was nothing to do.
        0 if task.state == "done" => "100%".to_owned(),
        0 => "-".to_owned(),
        total => format!("{:.0}%", task.done_bytes as f64 / total as f64 * 100.0),
    };
    let started = UNIX_EPOCH + Duration::from_micros(task.started_us);
    [
        task.id.to_string(),
        task.kind.clone(),
        task.subject.clone().unwrap_or_else(|| "all tables".to_owned()),
        state(task),
        progress,
        humantime::format_rfc3339_seconds(started).to_string(),
        format!("{:.1} s", task.elapsed_seconds),
    ]
}
