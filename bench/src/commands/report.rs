//! `helenus-bench report`.

use std::path::PathBuf;

use clap::Args;
use helenus_bench::report::{Baseline, Levels, html, pretty};

use super::{misused, output};

/// Arguments of `report`.
#[derive(Args)]
#[command(before_help = "Example: helenus-bench report before.json after.json --html both.html")]
pub(crate) struct Arguments {
    /// Results, as --json and --format json write them; the second and later ones are compared with the first
    #[arg(required = true, value_name = "JSON")]
    results: Vec<PathBuf>,

    /// Also write a page with pictures
    #[arg(long, value_name = "FILE", conflicts_with = "levels")]
    html: Option<PathBuf>,

    /// Instead write PREFIX.md and PREFIX.svg: runs side by side by level, as labels `GROUP, PANEL` say, and those with
    /// --halfway over time
    #[arg(long, value_name = "PREFIX")]
    levels: Option<PathBuf>,
}

/// Shows results.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<bool> {
    let runs: Vec<_> =
        arguments.results.iter().map(|path| misused(output::read(path))).collect::<Result<_, _>>()?;
    if let Some(prefix) = &arguments.levels {
        let levels = Levels::new(&runs);
        output::write(&prefix.with_extension("md"), &levels.markdown())?;
        output::write(&prefix.with_extension("svg"), &levels.svg())?;
        return Ok(true);
    }
    for (index, run) in runs.iter().enumerate() {
        let baseline = (index > 0).then(|| Baseline::new(&runs[0], run));
        output::print(&pretty(run, baseline.as_ref()))?;
    }
    if let Some(path) = &arguments.html {
        output::write(path, &html(&runs))?;
    }
    Ok(true)
}
