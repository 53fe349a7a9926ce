//! Many runs of one experiment side by side, by consistency level: a table in Markdown, and a picture for a README.
//!
//! A run's label says where it belongs: `A, data smaller than the cache` is bar group `A` of the panel `data smaller than
//! the cache`. Runs in which something was done to the cluster (`--halfway`) are drawn over time instead.
//!
//! Reading order: [`Levels`] (who belongs where), `table`, `picture`.

mod picture;
mod table;

use crate::measurement::RunResult;

/// Runs by panel, group and level, each in the order in which they first appear.
#[derive(Debug)]
pub struct Levels<'a> {
    levels: Vec<&'a str>,
    panels: Vec<Panel<'a>>,
    disturbed: Vec<&'a RunResult>,
}

#[derive(Debug)]
struct Panel<'a> {
    title: &'a str,
    groups: Vec<Group<'a>>,
}

#[derive(Debug)]
struct Group<'a> {
    name: &'a str,
    runs: Vec<&'a RunResult>,
}

impl Group<'_> {
    fn at(&self, level: &str) -> Option<&RunResult> {
        self.runs.iter().copied().find(|run| level_of(run) == level)
    }
}

fn level_of(run: &RunResult) -> &str {
    run.settings.consistency.as_deref().unwrap_or("the table's")
}

impl<'a> Levels<'a> {
    /// Sorts runs; of two with one label and level the first counts.
    #[must_use]
    pub fn new(runs: &'a [RunResult]) -> Self {
        let mut sorted = Self { levels: Vec::new(), panels: Vec::new(), disturbed: Vec::new() };
        for run in runs {
            if !sorted.levels.contains(&level_of(run)) {
                sorted.levels.push(level_of(run));
            }
            if run.events.is_empty() {
                sorted.add(run);
            } else {
                sorted.disturbed.push(run);
            }
        }
        sorted
    }

    fn add(&mut self, run: &'a RunResult) {
        let label = run.settings.label.as_deref().unwrap_or(&run.settings.phase);
        let (name, title) = label.split_once(", ").unwrap_or((label, ""));
        let at = self.panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
            self.panels.push(Panel { title, groups: Vec::new() });
            self.panels.len() - 1
        });
        let groups = &mut self.panels[at].groups;
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { name, runs: vec![run] }),
        }
    }

    fn runs(&self) -> impl Iterator<Item = &'a RunResult> {
        let groups = self.panels.iter().flat_map(|panel| &panel.groups);
        groups.flat_map(|group| group.runs.iter().copied()).chain(self.disturbed.iter().copied())
    }
}
