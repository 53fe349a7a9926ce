//! The picture: bars of throughput in a panel each, and lines over time.

use std::fmt::Write;

use super::{Levels, Panel, level_of};
use crate::{
    measurement::RunResult,
    report::{chart::Axis, html::escape, units::rate},
};

const WIDTH: f64 = 960.0;
/// Of a panel, with its title and labels.
const PANEL: f64 = 250.0;
/// Room for labels left of a drawing, and right of it.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
/// Of a drawing itself, and where it begins in its panel.
const HEIGHT: f64 = 170.0;
const TOP: f64 = 44.0;
/// Room for the legend.
const HEAD: f64 = 34.0;
/// There are as many colours.
const COLOURS: usize = 4;

impl Levels<'_> {
    /// One SVG that needs nothing else, readable on light and on dark ground.
    #[must_use]
    pub fn svg(&self) -> String {
        let panels = self.panels.len() + usize::from(!self.disturbed.is_empty());
        let height = HEAD + PANEL * panels as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-label=\"Throughput by workload and consistency level\"><style>{}</style>\
             <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"10\"/>",
            include_str!("picture.css")
        );
        for (number, level) in self.levels.iter().enumerate() {
            let x = LEFT + 110.0 * number as f64;
            let _ = write!(
                svg,
                "<rect class=\"f{}\" x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" rx=\"3\"/>\
                 <text x=\"{}\" y=\"24\">{}</text>",
                number % COLOURS,
                x + 18.0,
                escape(&level.to_uppercase())
            );
        }
        let rates = self.panels.iter().flat_map(|panel| &panel.groups).flat_map(|group| &group.runs);
        let highest = rates.map(|run| run.throughput()).fold(0.0, f64::max);
        for (number, panel) in self.panels.iter().enumerate() {
            self.bars(panel, HEAD + PANEL * number as f64, highest, &mut svg);
        }
        self.lines(HEAD + PANEL * self.panels.len() as f64, &mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn bars(&self, panel: &Panel<'_>, top: f64, highest: f64, svg: &mut String) {
        let y = Axis::linear(highest * 1.05, rate);
        let title = if panel.title.is_empty() { String::new() } else { format!(", {}", panel.title) };
        frame(svg, &format!("Throughput, op/s{title}"), top, &y);
        let slot = (WIDTH - LEFT - RIGHT) / panel.groups.len().max(1) as f64;
        let width = slot * 0.72 / self.levels.len().max(1) as f64;
        for (at, group) in panel.groups.iter().enumerate() {
            let left = LEFT + slot * (at as f64 + 0.14);
            for (number, level) in self.levels.iter().enumerate() {
                let Some(run) = group.at(level) else { continue };
                let height = HEIGHT * y.share(run.throughput());
                let _ = write!(
                    svg,
                    "<rect class=\"f{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\">\
                     <title>{} {}: {} op/s</title></rect>",
                    number % COLOURS,
                    left + width * number as f64,
                    top + TOP + HEIGHT - height,
                    width - 2.0,
                    escape(group.name),
                    escape(&level.to_uppercase()),
                    rate(run.throughput())
                );
            }
            let middle = LEFT + slot * (at as f64 + 0.5);
            label(svg, middle, top + TOP + HEIGHT + 20.0, "middle", group.name);
        }
    }

    /// Successes over time, one line for each level.
    fn lines(&self, top: f64, svg: &mut String) {
        let Some(first) = self.disturbed.first() else { return };
        let highest = self
            .disturbed
            .iter()
            .flat_map(|run| points(run))
            .fold(0.0, |high: f64, (_, rate)| high.max(rate));
        let longest = self.disturbed.iter().map(|run| run.seconds).fold(1.0, f64::max);
        let (x, y) = (Axis::linear(longest, |s| format!("{s} s")), Axis::linear(highest * 1.05, rate));
        let label_of = first.settings.label.as_deref().unwrap_or(&first.settings.phase);
        frame(svg, &format!("Successes per second over time, {label_of}"), top, &y);
        let across = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * x.share(seconds);
        for (tick, text) in x.ticks() {
            label(svg, across(*tick), top + TOP + HEIGHT + 20.0, "middle", text);
        }
        for run in &self.disturbed {
            let number = self.levels.iter().position(|level| *level == level_of(run)).unwrap_or(0);
            let mut path = String::new();
            for (index, (at, rate)) in points(run).into_iter().enumerate() {
                let down = top + TOP + HEIGHT * (1.0 - y.share(rate));
                let _ = write!(path, "{}{:.1} {down:.1}", if index == 0 { 'M' } else { 'L' }, across(at));
            }
            let _ = write!(svg, "<path class=\"s{}\" d=\"{path}\"/>", number % COLOURS);
        }
        for event in &first.events {
            let at = across(event.at_s);
            let _ = write!(
                svg,
                "<path class=\"mark\" d=\"M{at:.1} {:.1}v{:.1}\"/>",
                top + TOP - 4.0,
                HEIGHT + 4.0
            );
            label(svg, at + 6.0, top + TOP + 6.0, "start", &event.command);
        }
    }
}

/// Title, grid and labels of the left edge.
fn frame(svg: &mut String, title: &str, top: f64, y: &Axis) {
    let _ =
        write!(svg, "<text class=\"title\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>", top + 26.0, escape(title));
    for (tick, text) in y.ticks() {
        let down = top + TOP + HEIGHT * (1.0 - y.share(*tick));
        let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {down:.1}H{:.1}\"/>", WIDTH - RIGHT);
        label(svg, LEFT - 8.0, down + 4.0, "end", text);
    }
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escape(text);
    let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// The middle of each whole interval, and its successes per second.
fn points(run: &RunResult) -> Vec<(f64, f64)> {
    let whole = run.intervals.iter().filter(|row| row.start_s + row.length_s <= run.seconds + 0.01);
    whole.map(|row| (row.start_s + row.length_s / 2.0, row.succeeded as f64 / row.length_s)).collect()
}
