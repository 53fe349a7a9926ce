//! `helenus completions` and `helenus man`: the command line, written down for shells and for readers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, output};

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
        let mut command = Cli::command();
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
    let mut page = Vec::new();
    let titled = command.clone().display_name(name.to_owned());
    Man::new(titled).title(name).render(&mut page)?;
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    let mut written = 1;
    for below in below {
        written += write(directory, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(written)
}
