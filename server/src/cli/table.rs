//! `helenus table`: the schema.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use clap::{Args, Subcommand};
use helenus_cluster::{consistency::Consistency, table::SpeculativeRetry};
use serde_json::{Map, Value, json};
use ureq::http::{Method, Request};

use super::{
    Usage,
    client::table_name,
    endpoint::{self, EndpointArgs},
    output::{self, Format, FormatArgs, counted, is_or_are},
};

/// A node waits so long for the others.
const AGREEMENT: Duration = Duration::from_secs(10);
/// What an answer may take besides.
const TRAVEL: Duration = Duration::from_secs(2);

/// Member of an answer that is not part of the definition.
const WARNINGS: &str = "warnings";

mod promise;

/// What is done to tables.
#[derive(Debug, Subcommand)]
#[command(before_help = "Example: helenus table create users --factor 3 --ttl 1h")]
pub enum Command {
    /// Create a table
    #[command(before_help = "Example: helenus table create sessions --ttl 30m --read-consistency one")]
    Create(Create),
    /// List all tables
    #[command(before_help = "Example: helenus table list")]
    List(List),
    /// Show a table, and what its defaults promise
    #[command(before_help = "Example: helenus table describe default")]
    Describe(Named),
    /// Change a table; what is not named stays as it is
    #[command(before_help = "Example: helenus table alter sessions --ttl 1h")]
    Alter(Alter),
    /// Drop a table with everything in it
    #[command(before_help = "Example: helenus table drop sessions --yes")]
    Drop(Drop),
}

/// `helenus table create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    table: Named,
    /// Replicas of each key, wherever nodes stand [default: that of the table `default`]
    #[arg(long, conflicts_with = "datacenter_factors")]
    factor: Option<u32>,
    /// Replicas of each key by datacenter, named as in `admin status`: dc1=3,dc2=2
    #[arg(long, value_delimiter = ',', value_parser = datacenter_factor, value_name = "DATACENTER=FACTOR")]
    datacenter_factors: Vec<(String, u32)>,
    #[command(flatten)]
    options: Options,
}

/// `helenus table alter`.
#[derive(Debug, Args)]
pub struct Alter {
    #[command(flatten)]
    table: Named,
    #[command(flatten)]
    options: Options,
}

/// `helenus table drop`.
#[derive(Debug, Args)]
pub struct Drop {
    #[command(flatten)]
    table: Named,
    /// Yes, drop it
    #[arg(long)]
    yes: bool,
}

/// `helenus table list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    output: FormatArgs,
}

/// What names a table.
#[derive(Debug, Args)]
pub struct Named {
    /// Name of the table
    #[arg(value_parser = table_name)]
    table: String,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    output: FormatArgs,
}

/// What can be chosen at any time.
#[derive(Debug, Args)]
struct Options {
    /// Level of reads that name none; with W + R > N they see the last acknowledged write
    #[arg(long)]
    read_consistency: Option<Consistency>,
    /// Level of writes that name none; with W > N/2 any two of them meet in a replica
    #[arg(long)]
    write_consistency: Option<Consistency>,
    /// Time until a value expires that was given no other: 30m, 1h; 0s for never
    #[arg(long, value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Time until a deletion may be forgotten; hints need more than twice the drift of clocks that is allowed
    #[arg(long, value_parser = humantime::parse_duration)]
    tombstone_grace: Option<Duration>,
    /// When a read asks one replica more than it needs: after a percentile of recent reads (p99) or a time (50ms), none or
    /// always
    #[arg(long, value_name = "WHEN")]
    speculative_retry: Option<SpeculativeRetry>,
    /// How SSTables are merged: unified (by density, with --scaling) or time-window (for values that expire)
    #[arg(long, value_parser = ["unified", "time-window"])]
    compaction: Option<String>,
    /// Fanout of each level of unified compaction: T4, or T4,T4,L10
    #[arg(long, value_name = "PARAMETERS")]
    scaling: Option<String>,
    /// Length of a window of time-window compaction: 1h, 1d
    #[arg(long, value_parser = humantime::parse_duration)]
    window: Option<Duration>,
}

fn datacenter_factor(text: &str) -> Result<(String, u32), String> {
    let parts = text.split_once('=').and_then(|(name, factor)| Some((name.to_owned(), factor.parse().ok()?)));
    parts.ok_or_else(|| "write datacenter=factor".to_owned())
}

impl Command {
    /// Talks to the node.
    ///
    /// # Errors
    /// When it refuses, or cannot be reached.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Describe(command) => command.describe(),
            Self::Alter(command) => command.run(),
            Self::Drop(command) => command.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        if self.table.find()?.is_some() {
            anyhow::bail!(
                "there is a table `{}` already; `helenus table alter` changes it",
                self.table.table
            );
        }
        let mut body = Map::new();
        if let Some(factor) = self.factor {
            body.insert("replication".to_owned(), json!({ "class": "simple", "factor": factor }));
        }
        if !self.datacenter_factors.is_empty() {
            let factors: BTreeMap<_, _> = self.datacenter_factors.iter().cloned().collect();
            let mut replication = Map::new();
            replication.insert("class".to_owned(), "network_topology".into());
            replication.extend(factors.into_iter().map(|(name, factor)| (name, factor.into())));
            body.insert("replication".to_owned(), replication.into());
        }
        self.options.add_to(&mut body)?;
        self.table.change(&Method::PUT, Some(&body), "created")
    }
}

impl Alter {
    fn run(self) -> anyhow::Result<()> {
        let mut changes = Map::new();
        self.options.add_to(&mut changes)?;
        if changes.is_empty() {
            return Err(Usage("name what is to be changed, such as --ttl 1h".to_owned()).into());
        }
        let mut body = self.table.get()?;
        for said in ["name", "id", WARNINGS] {
            body.remove(said);
        }
        body.extend(changes);
        self.table.change(&Method::PUT, Some(&body), "altered")
    }
}

impl Drop {
    fn run(self) -> anyhow::Result<()> {
        if !self.yes {
            let what = &self.table.table;
            return Err(Usage(format!("dropping `{what}` deletes everything in it; add --yes")).into());
        }
        self.table.change(&Method::DELETE, None, "dropped")
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let reply = endpoint::get_json(&self.endpoint.endpoint, "/v1/tables")?;
        if self.output.format == Format::Json {
            return Ok(output::answer_json(&reply)?);
        }
        let rows: Vec<_> = reply["tables"].as_array().into_iter().flatten().map(row).collect();
        output::answer(&output::table_of_names(
            ["NAME", "REPLICATION", "READ", "WRITE", "TTL", "GRACE"],
            rows,
            &[0],
        ))?;
        Ok(())
    }
}

impl Named {
    fn path(&self) -> String {
        format!("/v1/tables/{}", self.table)
    }

    /// The table, if there is one.
    fn find(&self) -> anyhow::Result<Option<Map<String, Value>>> {
        let reply = endpoint::get_json(&self.endpoint.endpoint, "/v1/tables")?;
        let tables = reply["tables"].as_array().context("the node did not answer with tables")?;
        Ok(tables
            .iter()
            .find(|table| table["name"] == self.table.as_str())
            .and_then(Value::as_object)
            .cloned())
    }

    fn get(&self) -> anyhow::Result<Map<String, Value>> {
        match endpoint::get_json(&self.endpoint.endpoint, &self.path())? {
            Value::Object(table) => Ok(table),
            _ => anyhow::bail!("the node did not answer with a table"),
        }
    }

    fn describe(&self) -> anyhow::Result<()> {
        let mut table = self.get()?;
        if self.output.format == Format::Json {
            return Ok(output::answer_json(&Value::Object(table))?);
        }
        let warnings = warnings(table.remove(WARNINGS).as_ref());
        let width = table.keys().map(String::len).max().unwrap_or_default();
        let mut text = String::new();
        for (name, value) in &table {
            text.push_str(&format!("{name:width$}  {}\n", in_lines(&plain(value), width + 2)));
        }
        text.push_str(&format!("\n{}\n", promise::of(&table)));
        warnings.iter().for_each(|warning| text.push_str(&format!("\n{warning}\n")));
        Ok(output::answer(&text)?)
    }

    fn change(&self, method: &Method, body: Option<&Map<String, Value>>, done: &str) -> anyhow::Result<()> {
        let endpoint = &self.endpoint.endpoint;
        let url = format!("{endpoint}{}?timeout_ms={}", self.path(), AGREEMENT.as_millis());
        let agent = endpoint::agent(AGREEMENT + TRAVEL);
        let request = Request::builder().method(method).uri(url);
        let mut response = match body {
            Some(body) => {
                let body = serde_json::to_vec(body).expect("a JSON value can be written");
                let request = request.header("Content-Type", "application/json");
                endpoint::send(&agent, endpoint, request.body(body)?)?
            }
            None => endpoint::send(&agent, endpoint, request.body(())?)?,
        };
        if !response.status().is_success() {
            return Err(endpoint::refusal(&mut response));
        }
        let reply: Value = serde_json::from_slice(&endpoint::read(&mut response)?)
            .context("the node did not answer with JSON")?;
        if self.output.format == Format::Json {
            return Ok(output::answer_json(&reply)?);
        }
        output::answer(&format!("{done} table {}", self.table))?;
        if *method == Method::PUT {
            warnings(reply.get(WARNINGS)).iter().for_each(|warning| output::note(warning));
        }
        if reply["agreed"] == false {
            output::note("note: not every live node knows of it yet; they will hear of it from the others");
        }
        if let Some(down @ 1..) = reply["down"].as_u64() {
            let (members, be) = (counted(down, "member"), is_or_are(down));
            output::note(&format!("note: {members} {be} down and will hear of it when back"));
        }
        Ok(())
    }
}

impl Options {
    fn add_to(&self, body: &mut Map<String, Value>) -> anyhow::Result<()> {
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        if let Some(level) = self.read_consistency {
            set("default_read_consistency", level.to_string().into());
        }
        if let Some(level) = self.write_consistency {
            set("default_write_consistency", level.to_string().into());
        }
        if let Some(retry) = self.speculative_retry {
            set("speculative_retry", retry.to_string().into());
        }
        if let Some(ttl) = self.ttl {
            set("default_ttl", seconds("--ttl", ttl)?.into());
        }
        if let Some(grace) = self.tombstone_grace {
            set("tombstone_grace", seconds("--tombstone-grace", grace)?.into());
        }
        let is_windowed = self.compaction.as_deref() == Some("time-window") || self.window.is_some();
        match (is_windowed, self.compaction.as_deref(), &self.scaling) {
            (true, Some("unified"), _) | (true, _, Some(_)) => {
                let detail = "--scaling is for unified compaction, --window for time-window compaction";
                return Err(Usage(detail.to_owned()).into());
            }
            (true, _, None) => {
                let mut compaction = json!({ "class": "time_window" });
                if let Some(window) = self.window {
                    compaction["window"] = seconds("--window", window)?.into();
                }
                set("compaction", compaction);
            }
            (false, None, None) => {}
            (false, _, scaling) => {
                let mut compaction = json!({ "class": "unified" });
                if let Some(scaling) = scaling {
                    compaction["scaling_parameters"] = scaling.as_str().into();
                }
                set("compaction", compaction);
            }
        }
        Ok(())
    }
}

/// What the node says of a table that will not do what people expect.
fn warnings(said: Option<&Value>) -> Vec<String> {
    let said = said.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    said.map(|text| format!("warning: {text}")).collect()
}

fn seconds(option: &str, duration: Duration) -> anyhow::Result<u64> {
    if duration.subsec_nanos() == 0 {
        Ok(duration.as_secs())
    } else {
        Err(Usage(format!("{option} takes whole seconds")).into())
    }
}

fn row(table: &Value) -> [String; 6] {
    let duration = |value: &Value| match value.as_u64() {
        Some(0) => "never".to_owned(),
        Some(seconds) => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
        None => String::new(),
    };
    [
        plain(&table["name"]),
        plain(&table["replication"]),
        plain(&table["default_read_consistency"]),
        plain(&table["default_write_consistency"]),
        duration(&table["default_ttl"]),
        duration(&table["tombstone_grace"]),
    ]
}

/// A value that begins in this column and goes on in the next line, below, where 80 columns end.
fn in_lines(value: &str, indent: usize) -> String {
    let (mut text, mut column) = (String::new(), indent);
    for word in value.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > output::WIDTH {
            text.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if column > indent {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text
}

/// A value for people: an object as its class and the rest.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let class = fields.get("class").map(plain).unwrap_or_default();
            let rest = fields.iter().filter(|(name, _)| *name != "class");
            rest.fold(class, |text, (name, value)| format!("{text} {name}={}", plain(value)))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_goes_on_below_where_it_began() {
        let value = "unified scaling_parameters=T4 target_size=268435456 min_size=1048576 base_shards=4";
        let text = format!("compaction                 {}", in_lines(value, 27));
        assert!(text.lines().all(|line| line.chars().count() <= output::WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with(&" ".repeat(27))), "{text}");
        assert_eq!(text.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), value);
    }
}
