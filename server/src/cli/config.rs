//! `helenus config`: whether settings are right, and where each comes from.

use serde_json::json;

use super::{
    SettingsArgs,
    output::{self, Format, FormatArgs},
};
use crate::config::{Effective, Origin};

/// The subcommands of `config`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say everything that is wrong with the settings, with line and caret
    #[command(before_help = "Example: helenus config check --config config/node.toml")]
    Check {
        /// Which settings.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Show every setting that a node would use, and where it comes from
    #[command(before_help = "Example: HELENUS_LOG__FORMAT=json helenus config show")]
    Show {
        /// Which settings.
        #[command(flatten)]
        settings: SettingsArgs,
        /// In which form.
        #[command(flatten)]
        output: FormatArgs,
    },
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// The [`crate::config::Report`] of what is wrong.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check { settings } => {
                let effective = settings.load()?;
                let set = effective.settings().filter(|(_, _, origin)| *origin != Origin::Default).count();
                let all = effective.settings().count();
                output::answer(&format!(
                    "ok: {set} of {all} settings are set, the others have their defaults"
                ))?;
            }
            Self::Show { settings, output } => show(&settings.load()?, output.format)?,
        }
        Ok(())
    }
}

fn show(effective: &Effective, format: Format) -> std::io::Result<()> {
    match format {
        Format::Table => {
            let rows: Vec<[String; 3]> = effective
                .settings()
                .map(|(name, value, origin)| [name, value.to_string(), origin.to_string()])
                .collect();
            output::answer(&output::table(["SETTING", "VALUE", "ORIGIN"], &rows))
        }
        Format::Json => {
            let settings: serde_json::Map<String, serde_json::Value> = effective
                .settings()
                .map(|(name, value, origin)| (name, json!({"value": value, "origin": origin.to_string()})))
                .collect();
            output::answer_json(&serde_json::Value::Object(settings))
        }
    }
}
