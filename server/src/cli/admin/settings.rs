//! `helenus admin settings` and `set-log-level`: what can be changed in a running node.

use serde_json::{Value, json};
use ureq::http::Method;

use super::super::{
    endpoint::{self, EndpointArgs},
    output::{self, Format, FormatArgs},
};
use super::{tasks::How, upkeep::PATIENCE};

const PATH: &str = "/admin/v1/settings";

/// The subcommands of `admin settings`.
#[derive(Debug, clap::Subcommand)]
#[command(before_help = "Example: helenus admin settings set storage.compaction_throughput 16MiB")]
pub enum Settings {
    /// List the settings that can be changed in a running node
    #[command(before_help = "Example: helenus admin settings list")]
    List {
        /// Which node.
        #[command(flatten)]
        endpoint: EndpointArgs,
        /// In which form.
        #[command(flatten)]
        output: FormatArgs,
    },
    /// Change one; it is kept over restarts
    #[command(before_help = "Example: helenus admin settings set storage.compaction_throughput 16MiB")]
    Set {
        /// Its name
        #[arg(value_parser = setting_name)]
        name: String,
        /// Its value, as in the file of settings
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Where.
        #[command(flatten)]
        how: How,
    },
    /// Go back to what the file of settings, the environment or the command line says
    #[command(before_help = "Example: helenus admin settings reset storage.compaction_throughput")]
    Reset {
        /// Its name
        #[arg(value_parser = setting_name)]
        name: String,
        /// Where.
        #[command(flatten)]
        how: How,
    },
}

/// `helenus admin set-log-level`.
#[derive(Debug, clap::Args)]
pub struct SetLogLevel {
    /// The level
    #[arg(value_parser = ["error", "warn", "info", "debug", "trace", "off"])]
    level: String,
    /// The part of the program it is for, such as `helenus_cluster::node`; all that have no level of their own without one
    #[arg(long)]
    target: Option<String>,
    #[command(flatten)]
    how: How,
}

fn setting_name(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.');
    if text.contains('.') && text.chars().all(is_fine) {
        Ok(text.to_owned())
    } else {
        Err("write section.key; `admin settings list` shows them".to_owned())
    }
}

impl Settings {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List { endpoint, output } => {
                show(&endpoint::get_json(&endpoint.endpoint, PATH)?, output.format, None)
            }
            Self::Set { name, value, how } => {
                let value = percent_encoded(value);
                change(&Method::PUT, how, name, &format!("{PATH}/{name}?value={value}"))
            }
            Self::Reset { name, how } => change(&Method::DELETE, how, name, &format!("{PATH}/{name}")),
        }
    }
}

impl SetLogLevel {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let target = self.target.as_deref().map(|target| format!("&target={}", percent_encoded(target)));
        let path = format!("/admin/v1/log-level?level={}{}", self.level, target.unwrap_or_default());
        let answer = endpoint::ask(&Method::PUT, &self.how.endpoint.endpoint, &path, PATIENCE)?;
        // With blanks between the directives, where a long one is wrapped.
        let filter = answer["filter"].as_str().unwrap_or_default().replace(',', ", ");
        let said = format!("the log shows {filter}, until the node stops");
        self.how.answer(&answer, &output::wrapped(&said))
    }
}

fn change(method: &Method, how: &How, name: &str, path: &str) -> anyhow::Result<()> {
    let answer = endpoint::ask(method, &how.endpoint.endpoint, path, PATIENCE)?;
    show(&answer, how.output.format, Some(name))
}

/// Shows all settings, or one by its name.
fn show(answer: &Value, format: Format, only: Option<&str>) -> anyhow::Result<()> {
    let settings = answer["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<&Value> =
        settings.iter().filter(|setting| only.is_none_or(|name| setting["name"] == name)).collect();
    if format == Format::Json {
        return Ok(output::answer_json(&json!({ "settings": shown }))?);
    }
    let rows: Vec<_> = shown.into_iter().map(row).collect();
    let header = ["SETTING", "VALUE", "SOURCE", "CONFIGURED"];
    let mut text = output::table_of_names(header, rows.clone(), &[1, 3]);
    // A value that the table has no room for is shown as a whole below.
    let cut: Vec<String> = rows.iter().filter(|row| !text.contains(&row[1])).map(whole).collect();
    cut.iter().for_each(|value| text.push_str(&format!("\n\n{value}")));
    Ok(output::answer(&text)?)
}

fn whole([name, value, ..]: &[String; 4]) -> String {
    output::wrapped(&format!("{name} is {}", value.replace(',', ", ")))
}

fn row(setting: &Value) -> [String; 4] {
    ["name", "value", "source", "configured"].map(|field| match &setting[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// What is not plain, as escapes.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
