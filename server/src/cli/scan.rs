//! `helenus scan`: the keys of a table, page after page.

use std::{
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    time::Duration,
};

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use helenus_cluster::consistency::Consistency;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Request;

use super::{
    client,
    endpoint::{self, EndpointArgs},
    output::{self, Format, FormatArgs},
};

/// Most items of a page.
const PAGE_ITEMS: u64 = 1000;

/// How long to wait for a page without a deadline of our own: the node's is 10 s unless it is set otherwise.
const PATIENCE: Duration = Duration::from_secs(15);

/// What an answer may take on its way, besides the deadline of the request.
const TRAVEL: Duration = Duration::from_secs(1);

/// Characters of a value that a table shows.
const SHOWN_CHARACTERS: usize = 60;

/// `helenus scan`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus scan default --all --keys-only")]
pub struct Scan {
    /// Name of the table
    #[arg(value_parser = client::table_name)]
    table: String,
    /// Most keys that are shown
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Show all keys
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Begin with this key; on a murmur3 cluster with its place in token order
    #[arg(long, value_name = "KEY")]
    start: Option<OsString>,
    /// Only keys that begin so; needs a byte-ordered cluster
    #[arg(long, value_name = "BYTES")]
    prefix: Option<OsString>,
    /// Only keys below this one; needs a byte-ordered cluster
    #[arg(long, value_name = "KEY")]
    end: Option<OsString>,
    /// Leave out the values
    #[arg(long)]
    keys_only: bool,
    /// Go on where an earlier scan of the table ended, with the same bounds
    #[arg(long, value_name = "TOKEN")]
    page: Option<String>,
    /// As for get [default: the table's level]
    #[arg(long)]
    consistency: Option<Consistency>,
    /// Deadline of each page, 1ms to 30s [default: the node's]
    #[arg(long, value_parser = client::deadline)]
    timeout: Option<Duration>,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    output: FormatArgs,
}

/// A page as the node answers it.
#[derive(Deserialize)]
struct Page {
    /// As they are: their members are the node's to choose.
    items: Vec<Value>,
    next: Option<String>,
}

/// What a table shows of an item.
#[derive(Deserialize)]
struct Item {
    key: Option<String>,
    key_base64: Option<String>,
    value_base64: Option<String>,
    timestamp: u64,
}

impl Scan {
    /// Reads page after page, and writes each as it comes.
    ///
    /// # Errors
    /// When a page cannot be read; what came before is written.
    pub fn run(self) -> anyhow::Result<()> {
        let mut left = if self.all { u64::MAX } else { self.limit };
        let mut next = self.page.clone();
        let mut listing = Listing::begin(self.output.format)?;
        loop {
            let page = self.page(left.min(PAGE_ITEMS), next.as_deref())?;
            left = left.saturating_sub(page.items.len() as u64);
            listing.add(&page.items)?;
            next = page.next;
            if left == 0 || next.is_none() {
                return listing.end(next.as_deref());
            }
        }
    }

    fn page(&self, limit: u64, page: Option<&str>) -> anyhow::Result<Page> {
        let endpoint = &self.endpoint.endpoint;
        let mut url = format!("{endpoint}/v1/kv/{}?limit={limit}", self.table);
        let bounds = [("start", &self.start), ("prefix", &self.prefix), ("end", &self.end)];
        for (name, bound) in bounds {
            if let Some(bound) = bound {
                write!(url, "&{name}=")?;
                for byte in bound.as_bytes() {
                    write!(url, "%{byte:02X}")?;
                }
            }
        }
        if self.keys_only {
            url.push_str("&keys_only=1");
        }
        if let Some(level) = self.consistency {
            write!(url, "&consistency={level}")?;
        }
        if let Some(timeout) = self.timeout {
            write!(url, "&timeout_ms={}", timeout.as_millis())?;
        }
        if let Some(page) = page {
            url.push_str("&page=");
            url.extend(page.bytes().map(|byte| format!("%{byte:02X}")));
        }
        let agent = endpoint::agent(self.timeout.map_or(PATIENCE, |timeout| timeout + TRAVEL));
        let mut response = endpoint::send(&agent, endpoint, Request::get(url).body(())?)?;
        if response.status() != 200 {
            return Err(endpoint::refusal(&mut response));
        }
        let bytes = endpoint::read(&mut response)?;
        serde_json::from_slice(&bytes).context("the node did not answer with a page")
    }
}

/// Pages as they are written: a table, or one JSON document `{"items": […], "next": …}`.
struct Listing {
    format: Format,
    is_empty: bool,
}

impl Listing {
    fn begin(format: Format) -> anyhow::Result<Self> {
        if format == Format::Json {
            output::answer("{\"items\": [")?;
        }
        Ok(Self { format, is_empty: true })
    }

    fn add(&mut self, items: &[Value]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.format == Format::Json {
            for item in items {
                let comma = if self.is_empty { " " } else { "," };
                writeln!(out, "{comma} {item}")?;
                self.is_empty = false;
            }
            return Ok(out.flush()?);
        }
        let rows: Vec<_> = items.iter().map(row).collect::<Result<_, _>>()?;
        let table = output::table(["KEY", "TIMESTAMP", "VALUE"], &rows);
        // The heading stands above the first page only.
        let mut lines = table.lines().skip(usize::from(!self.is_empty));
        lines.try_for_each(|line| writeln!(out, "{line}"))?;
        self.is_empty = false;
        Ok(out.flush()?)
    }

    fn end(self, next: Option<&str>) -> anyhow::Result<()> {
        match self.format {
            Format::Json => {
                output::answer(&format!("], \"next\": {}}}", serde_json::to_string(&next)?))?;
            }
            Format::Table => {
                if let Some(next) = next {
                    output::note(&format!("there may be more: --page {next}, or --all"));
                }
            }
        }
        Ok(())
    }
}

fn row(item: &Value) -> anyhow::Result<[String; 3]> {
    let item = Item::deserialize(item).context("the node answered an item without a key")?;
    let decoded = |text: String| STANDARD.decode(text).context("the node answered bytes that are no base64");
    let key = match (item.key, item.key_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, bytes) => decoded(bytes.unwrap_or_default())?,
    };
    let value = item.value_base64.map(decoded).transpose()?;
    Ok([
        shown(&key, usize::MAX),
        item.timestamp.to_string(),
        value.map_or_else(String::new, |value| shown(&value, SHOWN_CHARACTERS)),
    ])
}

/// Text as it is, but for what would move the cursor; other bytes escaped. What is too long ends with dots.
fn shown(bytes: &[u8], most: usize) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().flat_map(printable).take(most.saturating_add(1)).collect(),
        Err(_) => bytes[..bytes.len().min(most.saturating_add(1))].escape_ascii().to_string(),
    };
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn printable(character: char) -> impl Iterator<Item = char> {
    let escape = character.is_control().then(|| character.escape_default());
    let plain = escape.is_none().then_some(character);
    escape.into_iter().flatten().chain(plain)
}
