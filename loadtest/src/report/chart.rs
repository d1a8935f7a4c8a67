//! Plots as inline SVG: lines over time, and bars.

use std::fmt::Write;

use super::escaped;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
/// Room around the plot for title, numbers and legend.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 45.0;
/// Numbers along an axis, about.
const TICKS: f64 = 5.0;
/// Bars below which every one has its number.
const BARS_NAMED: usize = 10;
/// Told apart by people who see red and green alike, on white and on black.
const COLOURS: [&str; 4] = ["#3b7dd8", "#e08214", "#1b9e77", "#b35fc4"];

/// What a plot shows, and of what.
pub(super) struct Axes<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
}

/// A line with its name.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// From numbers to places in the picture.
struct Scale {
    x: (f64, f64),
    y_max: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.y_max * (HEIGHT - TOP - BOTTOM)
    }
}

/// A plot of lines over time. Where nothing was measured for more than a second, a line is interrupted.
pub(super) fn lines(axes: &Axes<'_>, lines: &[Line<'_>]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let from = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let to = all().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
    let x = if from < to { (from, to) } else { (0.0, 1.0) };
    let scale = Scale { x, y_max: round_up(all().map(|point| point.1).fold(0.0, f64::max)) };
    let mut svg = frame(axes, &scale);
    for value in steps(scale.x.0, scale.x.1) {
        let _ = write!(
            svg,
            "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            scale.x(value),
            HEIGHT - BOTTOM + 16.0,
            label(value)
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mut path = String::new();
        let mut last = None;
        for &(x, y) in &line.points {
            let follows = last.is_some_and(|last| x - last < 1.5);
            let _ = write!(path, "{}{:.1} {:.1}", if follows { "L" } else { "M" }, scale.x(x), scale.y(y));
            last = Some(x);
        }
        let name = escaped(line.name);
        let _ = write!(
            svg,
            "<path class=\"line\" data-name=\"{name}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" d=\"{path}\"/>"
        );
        let x = LEFT + at as f64 * 115.0;
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"30\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"39\">{name}</text>",
            x + 14.0
        );
    }
    svg + "</svg>"
}

/// A plot of bars, each with the number that it stands for.
pub(super) fn bars(axes: &Axes<'_>, bars: &[(f64, f64)]) -> String {
    let scale = Scale { x: (0.0, bars.len().max(1) as f64), y_max: round_up(bars.iter().map(|bar| bar.1).fold(0.0, f64::max)) };
    let mut svg = frame(axes, &scale);
    let every = bars.len().div_ceil(BARS_NAMED).max(1);
    for (at, (value, count)) in bars.iter().enumerate() {
        let (left, right, top) = (scale.x(at as f64 + 0.05), scale.x(at as f64 + 0.95), scale.y(*count));
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            right - left,
            scale.y(0.0) - top,
            COLOURS[0]
        );
        if at.is_multiple_of(every) {
            let _ = write!(
                svg,
                "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                (left + right) / 2.0,
                HEIGHT - BOTTOM + 16.0,
                label(*value)
            );
        }
    }
    svg + "</svg>"
}

/// Title, axes, and the numbers on the left.
fn frame(axes: &Axes<'_>, scale: &Scale) -> String {
    let (title, x, y) = (escaped(axes.title), escaped(axes.x), escaped(axes.y));
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <title>{title}</title><text class=\"title\" x=\"{LEFT}\" y=\"18\">{title}</text>\
         <text class=\"unit\" x=\"{right}\" y=\"18\" text-anchor=\"end\">{y}</text>\
         <text class=\"unit\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{x}</text>",
        HEIGHT - 8.0
    );
    for value in steps(0.0, scale.y_max) {
        let at = scale.y(value);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let _ = write!(
            svg,
            "<text class=\"y\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            label(value)
        );
    }
    let _ = write!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
    let _ = write!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
    svg
}

/// The distance between the numbers along an axis: 1, 2 or 5 of a power of ten.
fn step(span: f64) -> f64 {
    let rough = (span / TICKS).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power)
}

/// The numbers along an axis.
fn steps(from: f64, to: f64) -> Vec<f64> {
    let step = step(to - from);
    let first = (from / step).ceil() as i64;
    (first..).map(|at| at as f64 * step).take_while(|value| *value <= to + step * 1e-6).collect()
}

/// The number at the end of an axis that has room for `value`.
fn round_up(value: f64) -> f64 {
    let value = if value > 0.0 { value } else { 1.0 };
    let step = step(value);
    (value / step).ceil() * step
}

fn label(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        size if size >= 1e4 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers_that_cover_the_values() {
        assert_eq!(steps(0.0, round_up(7.3)), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(steps(-3.0, 10.0), [0.0, 5.0, 10.0]);
        assert_eq!(round_up(0.0), 1.0);
        assert_eq!([0.25, 12_500.0, 2e6, -5.0].map(label), ["0.25", "12.5k", "2M", "-5"]);
    }

    #[test]
    fn a_line_is_interrupted_where_nothing_was_measured() {
        let axes = Axes { title: "t", x: "s", y: "ms" };
        let line = Line { name: "a<b", points: vec![(0.0, 1.0), (1.0, 2.0), (5.0, 1.0)] };
        let svg = lines(&axes, &[line]);
        let path = svg.split(" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1));
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"));
    }
}
