//! `helenus completions` and `helenus man`: the command line, written down for shells and for readers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{Cli, endpoint, output};
use crate::telemetry::VERSION;

/// `helenus completions`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus completions bash > helenus.bash && source helenus.bash")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// `helenus man`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example: helenus man /usr/local/share/man/man1")]
pub struct Pages {
    /// Where the pages are written, one a command; made if it is not there
    directory: PathBuf,
}

impl Completions {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "helenus", &mut script);
        Ok(output::answer_as_it_is(&String::from_utf8_lossy(&script))?)
    }
}

impl Pages {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let written = write(&self.directory, &command, "helenus")?;
        Ok(output::answer(&format!(
            "wrote {} to {}",
            output::counted(written, "page"),
            self.directory.display()
        ))?)
    }
}

/// Writes the page of a command and of those below it; how many.
fn write(directory: &Path, command: &clap::Command, name: &str) -> anyhow::Result<usize> {
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command, name)?).with_context(|| format!("cannot write {}", path.display()))?;
    let mut written = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        written += write(directory, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(written)
}

/// The page of a command, which says what its help says where nothing is set in the environment.
fn page(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let mut command = command.clone().display_name(name.to_owned()).mut_args(|argument| {
        if argument.get_id() == "endpoint" { argument.default_value(endpoint::FIRST_LOCAL) } else { argument }
    });
    let usage = command.render_usage().to_string();
    let example = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    // What it would make of the arguments leaves out that options have values.
    let command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let mut page = Vec::new();
    Man::new(command).title(name).source(format!("helenus {VERSION}")).render(&mut page)?;
    let mut examples = Roff::new();
    examples.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in example.trim_start_matches("Example: ").lines() {
        examples.text([roman(line.trim())]);
    }
    examples.control("fi", []).to_writer(&mut page)?;
    Ok(page)
}
