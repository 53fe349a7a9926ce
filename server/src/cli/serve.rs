//! `helenus serve`: one node in the foreground.

/// `helenus serve`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus serve --config config/node.toml --set http.listen=127.0.0.1:8080")]
pub struct Serve {
    #[command(flatten)]
    settings: super::SettingsArgs,
    /// Write the bound addresses to this file, as JSON, once requests are taken
    #[arg(long, value_name = "PATH")]
    ready_file: Option<std::path::PathBuf>,
    /// Leave the session, and with it the terminal, of whoever started the process
    #[arg(long, hide = true)]
    new_session: bool,
}

impl Serve {
    /// Runs the node until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start, or its storage fails.
    pub fn run(self) -> anyhow::Result<()> {
        if self.new_session {
            rustix::process::setsid()?;
        }
        let effective = self.settings.load()?;
        let _ = (effective, self.ready_file);
        anyhow::bail!("not assembled")
    }
}
