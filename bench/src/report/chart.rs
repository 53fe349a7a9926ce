//! Charts: lines and bars as SVG that stretches to any width, labels as text beside it that does not.

use std::fmt::Write;

/// Edge of the drawing's own coordinates.
const SIDE: f64 = 1_000.0;

/// A scale from data to the drawing.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0, with about five round ticks.
    pub(super) fn linear(high: f64, label: impl Fn(f64) -> String) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let raw = high / 4.0;
        let magnitude = 10_f64.powf(raw.log10().floor());
        let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
        let step =
            factors.map(|factor| factor * magnitude).into_iter().find(|&step| step >= raw).unwrap_or(raw);
        let ticks = (0..=4).map(|tick| step * f64::from(tick)).filter(|&tick| tick <= high * 1.000_1);
        Self {
            low: 0.0,
            high,
            is_logarithmic: false,
            ticks: ticks.map(|tick| (tick, short(&label(tick)))).collect(),
        }
    }

    /// Logarithmic, with ticks at powers of ten, and between them where there are few.
    pub(super) fn logarithmic(low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let low = low.max(1.0);
        let high = high.max(low * 2.0);
        let is_narrow = high / low < 50.0;
        let first = low.log10().floor() as i32;
        let factors: &[f64] = if is_narrow { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks = (first..=high.log10().ceil() as i32)
            .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)))
            .filter(|tick| (low..=high).contains(tick));
        let ticks = ticks.map(|tick| (tick, short(&label(tick)))).collect();
        Self { low, high, is_logarithmic: true, ticks }
    }

    /// Where labels stand.
    pub(super) fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// From 0 to [`SIDE`].
    fn place(&self, value: f64) -> f64 {
        self.share(value) * SIDE
    }

    /// From 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// A label without zeros behind the point.
fn short(label: &str) -> String {
    let (number, unit) = label.split_once(' ').unwrap_or((label, ""));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}").trim_end().to_owned()
}

/// Something drawn in one colour.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// For the legend.
    pub(super) name: String,
    /// Number of the colour.
    pub(super) colour: usize,
    /// How its points are drawn.
    pub(super) form: Form,
    /// Points in the order of x; a value that is no number breaks a line.
    pub(super) points: Vec<(f64, f64)>,
}

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A line.
    Line,
    /// A line and what is below it.
    Area,
    /// Bars: each from the point before to the point, as high as the point.
    Bars,
}

/// A chart with its legend; texts are escaped already.
pub(super) fn chart(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut html = format!("<figure><figcaption>{title}<span class=legend>");
    for Series { name, colour, .. } in series {
        let _ = write!(html, "<span><i class=b{colour}></i>{name}</span>");
    }
    html.push_str("</span></figcaption><div class=plot>");
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=none role=img aria-label=\"{title}\"><g class=grid>"
    );
    for (tick, _) in &y.ticks {
        let at = SIDE - y.place(*tick);
        let _ = write!(html, "<path d=\"M0 {at:.1}H{SIDE}\"/>");
    }
    html.push_str("</g>");
    for series in series {
        draw(&mut html, x, y, series);
    }
    html.push_str("</svg>");
    for (tick, label) in &y.ticks {
        let _ = write!(
            html,
            "<span class=y style=\"bottom:{:.2}%\">{label}</span>",
            y.place(*tick) / SIDE * 100.0
        );
    }
    for (tick, label) in &x.ticks {
        let _ =
            write!(html, "<span class=x style=\"left:{:.2}%\">{label}</span>", x.place(*tick) / SIDE * 100.0);
    }
    html.push_str("</div></figure>");
    html
}

fn draw(html: &mut String, x: &Axis, y: &Axis, series: &Series) {
    let colour = series.colour;
    let place = |&(at, value): &(f64, f64)| (x.place(at), SIDE - y.place(value));
    if series.form == Form::Bars {
        let _ = write!(html, "<g class=f{colour}>");
        for pair in series.points.windows(2) {
            let ((left, _), (right, top)) = (place(&pair[0]), place(&pair[1]));
            let (width, height) = ((right - left).max(0.5), SIDE - top);
            if height > 0.0 {
                let _ = write!(html, "<rect x={left:.1} y={top:.1} width={width:.1} height={height:.1} />");
            }
        }
        html.push_str("</g>");
        return;
    }
    for run in series.points.split(|(_, value)| !value.is_finite()).filter(|run| !run.is_empty()) {
        let mut path = String::new();
        for (index, point) in run.iter().enumerate() {
            let (across, down) = place(point);
            let _ = write!(path, "{}{across:.1} {down:.1}", if index == 0 { 'M' } else { 'L' });
        }
        // One second between two without any would be invisible.
        if let [only] = run {
            let _ = write!(path, "L{:.1} {:.1}", place(only).0 + 2.0, place(only).1);
        }
        if series.form == Form::Area {
            let (first, last) = (place(&run[0]).0, place(&run[run.len() - 1]).0);
            let _ = write!(
                html,
                "<path class=\"f{colour} faint\" d=\"{path}L{last:.1} {SIDE}L{first:.1} {SIDE}Z\"/>"
            );
        }
        let _ = write!(html, "<path class=s{colour} d=\"{path}\"/>");
    }
}
