//! `helenus-bench report`.

use std::path::PathBuf;

use clap::Args;
use helenus_bench::report::{Baseline, html, pretty};

use super::output;

/// Arguments of `report`.
#[derive(Args)]
#[command(before_help = "Example: helenus-bench report before.json after.json --html both.html")]
pub(crate) struct Arguments {
    /// Results, as --json and --format json write them; the second and later ones are compared with the first
    #[arg(required = true, value_name = "JSON")]
    results: Vec<PathBuf>,

    /// Also write a page with pictures
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Shows results.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<bool> {
    let runs: Vec<_> = arguments.results.iter().map(|path| output::read(path)).collect::<Result<_, _>>()?;
    for (index, run) in runs.iter().enumerate() {
        let baseline = (index > 0).then(|| Baseline::new(&runs[0], run));
        output::print(&pretty(run, baseline.as_ref()))?;
    }
    if let Some(path) = &arguments.html {
        output::write(path, &html(&runs))?;
    }
    Ok(true)
}
