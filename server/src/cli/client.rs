//! `helenus get|put|delete`: a client for shells, safe for binary keys and values.
//!
//! Keys travel as base64url, since URL libraries collapse segments such as `.` and `..`.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    time::Duration,
};

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use helenus_cluster::{consistency::Consistency, table::is_table_name};
use ureq::{
    Body,
    http::{Method, Request, Response},
};

use super::{
    Usage,
    endpoint::{self, EndpointArgs},
    output::{self, Format, FormatArgs},
};

/// No value is longer, whatever a node may be set to.
const MAX_VALUE_BYTES: u64 = 16 << 20;

/// Longest time to live: 20 years of 365 days.
const MAX_TTL_SECONDS: u64 = 20 * 365 * 24 * 60 * 60;

/// Longest key.
const MAX_KEY_BYTES: usize = 4096;

/// A longer value asks first, so that a refusal does not have to find its way past the bytes.
const ASK_FIRST_BYTES: usize = 256 << 10;

/// What an answer may take on its way, besides the deadline of the request.
const TRAVEL: Duration = Duration::from_secs(1);

/// How long to wait without a deadline of our own: the node's is 5 s for reads unless it is set otherwise, and 2 s for
/// writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The node's deadline begins when it has the value, so a large one has time to get there without one of our own.
const MIN_BYTES_PER_SECOND: u32 = 1 << 20;

/// `helenus get`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus get default greeting --consistency quorum > greeting.txt")]
pub struct Get {
    #[command(flatten)]
    target: Target,
}

/// `helenus put`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus put default photo.jpg < photo.jpg")]
pub struct Put {
    #[command(flatten)]
    target: Target,
    /// The value; without it, standard input is the value
    #[arg(long, allow_hyphen_values = true)]
    value: Option<OsString>,
    /// Time until the value expires, in whole seconds, up to 20 years: 60, 90s, 2h
    #[arg(long, value_parser = seconds)]
    ttl: Option<u64>,
    #[command(flatten)]
    write: WriteArgs,
}

/// `helenus delete`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus delete default greeting")]
pub struct Delete {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    write: WriteArgs,
}

/// What every command of the client takes.
#[derive(Debug, clap::Args)]
struct Target {
    /// Name of the table
    #[arg(value_parser = table_name)]
    table: String,
    /// The key, any bytes
    #[arg(value_parser = clap::builder::ValueParser::os_string())]
    key: OsString,
    /// any, one, two, three, quorum, all, local_one, local_quorum, each_quorum, or a number of replicas: with W + R > N a
    /// read sees the last acknowledged write, with W > N/2 two writes meet in a replica [default: the table's level]
    #[arg(long)]
    consistency: Option<Consistency>,
    /// Deadline of the request, 1ms to 30s; the command gives up a second later, without it after 10 s
    /// [default: the node's]
    #[arg(long, value_parser = deadline)]
    timeout: Option<Duration>,
    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// What writes take besides.
#[derive(Debug, clap::Args)]
struct WriteArgs {
    /// Timestamp of the write, microseconds since 1970 [default: the node's clock]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    timestamp: Option<u64>,
    #[command(flatten)]
    output: FormatArgs,
}

pub(super) fn table_name(text: &str) -> Result<String, String> {
    if is_table_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a table's name is a lower-case letter and up to 47 letters, digits and underscores".to_owned())
    }
}

/// A key as it goes into a URL with `key_encoding=base64url`.
pub(super) fn in_url(key: &OsStr) -> Result<String, Usage> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(URL_SAFE_NO_PAD.encode(key.as_bytes())),
        length => Err(Usage(format!("a key has 1 to {MAX_KEY_BYTES} bytes, not {length}"))),
    }
}

pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    let duration =
        humantime::parse_duration(text).map_err(|_| "write a duration, such as 500ms".to_owned())?;
    if (Duration::from_millis(1)..=Duration::from_secs(30)).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be between 1ms and 30s".to_owned())
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => match humantime::parse_duration(text) {
            Ok(duration) if duration.subsec_nanos() == 0 => duration.as_secs(),
            _ => return Err("write whole seconds, such as 60, 90s or 2h".to_owned()),
        },
    };
    if (1..=MAX_TTL_SECONDS).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("must be between a second and 20 years of 365 days ({MAX_TTL_SECONDS} s)"))
    }
}

impl Get {
    /// Reads the value and writes it to standard output, byte for byte.
    ///
    /// # Errors
    /// When there is no value, or no answer at the level.
    pub fn run(self) -> anyhow::Result<()> {
        let mut response = self.target.request(&Method::GET, &[], None)?;
        if response.status() == 404 {
            let deleted = response.headers().get("Helenus-Deleted").is_some();
            let problem = endpoint::problem(&mut response);
            return Err(match problem.name() {
                "not-found" if deleted => anyhow::anyhow!("not found: the key was deleted"),
                "not-found" => anyhow::anyhow!("not found"),
                _ => endpoint::describe(response.status(), &problem),
            });
        }
        if response.status() != 200 {
            return Err(endpoint::refusal(&mut response));
        }
        // As a whole: the reader of our output may take longer than the node has time.
        let value = endpoint::read(&mut response)?;
        let mut out = io::stdout().lock();
        out.write_all(&value)?;
        Ok(out.flush()?)
    }
}

impl Put {
    /// Writes the value.
    ///
    /// # Errors
    /// When the level was not met; the message says what is known of the outcome.
    pub fn run(self) -> anyhow::Result<()> {
        let value = match &self.value {
            Some(value) => value.as_bytes().to_vec(),
            None => read_value(io::stdin().lock())?,
        };
        let mut parameters = self.write.parameters();
        parameters.extend(self.ttl.map(|ttl| format!("ttl={ttl}")));
        let response = self.target.request(&Method::PUT, &parameters, Some(value))?;
        self.write.answer(response)
    }
}

fn read_value(input: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    input.take(MAX_VALUE_BYTES + 1).read_to_end(&mut value).context("cannot read standard input")?;
    if value.len() as u64 > MAX_VALUE_BYTES {
        anyhow::bail!("standard input is longer than the largest value, {MAX_VALUE_BYTES} bytes");
    }
    Ok(value)
}

impl Delete {
    /// Deletes the key.
    ///
    /// # Errors
    /// As [`Put::run`].
    pub fn run(self) -> anyhow::Result<()> {
        let response = self.target.request(&Method::DELETE, &self.write.parameters(), None)?;
        self.write.answer(response)
    }
}

impl Target {
    fn request(
        &self,
        method: &Method,
        parameters: &[String],
        value: Option<Vec<u8>>,
    ) -> anyhow::Result<Response<Body>> {
        let key = in_url(&self.key)?;
        let endpoint = &self.endpoint.endpoint;
        let mut url = format!("{endpoint}/v1/kv/{}/{}?key_encoding=base64url", self.table, key);
        let consistency = self.consistency.map(|level| format!("consistency={level}"));
        let timeout = self.timeout.map(|timeout| format!("timeout_ms={}", timeout.as_millis()));
        for parameter in consistency.iter().chain(&timeout).chain(parameters) {
            url.push('&');
            url.push_str(parameter);
        }
        let agent = endpoint::agent(self.patience(value.as_deref().unwrap_or_default()));
        let mut request = Request::builder().method(method).uri(url);
        match value {
            Some(value) => {
                if value.len() > ASK_FIRST_BYTES {
                    request = request.header("Expect", "100-continue");
                }
                endpoint::send(&agent, endpoint, request.body(value)?)
            }
            None => endpoint::send(&agent, endpoint, request.body(())?),
        }
    }
}

impl Target {
    /// How long the request may take from beginning to end.
    fn patience(&self, value: &[u8]) -> Duration {
        let on_the_way = Duration::from_secs(value.len() as u64) / MIN_BYTES_PER_SECOND;
        self.timeout.map_or(PATIENCE + on_the_way, |timeout| timeout + TRAVEL)
    }
}

impl WriteArgs {
    fn parameters(&self) -> Vec<String> {
        self.timestamp.iter().map(|timestamp| format!("timestamp={timestamp}")).collect()
    }

    /// Says how the write was met.
    fn answer(&self, mut response: Response<Body>) -> anyhow::Result<()> {
        if !response.status().is_success() {
            return Err(endpoint::refusal(&mut response));
        }
        let bytes = endpoint::read(&mut response)?;
        let reply: serde_json::Value =
            serde_json::from_slice(&bytes).context("the node did not answer with JSON")?;
        match self.output.format {
            Format::Json => output::answer_json(&reply)?,
            Format::Table => {
                let row = ["timestamp", "required", "acknowledged"].map(|field| reply[field].to_string());
                output::answer(&output::table(["TIMESTAMP", "REQUIRED", "ACKNOWLEDGED"], &[row]))?;
            }
        }
        Ok(())
    }
}
