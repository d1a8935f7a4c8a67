//! How figures are printed: tables in Markdown, and ratios against their targets.

use crate::stats::Series;

/// What a ratio should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// Prints a row of a table.
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints a table's head.
pub fn head(cells: &[&str]) {
    row(&cells.iter().map(ToString::to_string).collect::<Vec<_>>());
    println!("|{}", "---|".repeat(cells.len()));
}

/// Prints a figure against its target, by its median.
pub fn verdict(what: &str, figure: &Series, unit: &str, target: Target) {
    let met = if target.met(figure.median()) { "met" } else { "not met" };
    let bound = match target {
        Target::AtLeast(bound) => format!("at least {bound}"),
        Target::AtMost(bound) => format!("at most {bound}"),
    };
    println!("{what}: {}{unit}, target {bound}{unit}: {met}", figure.show(1.0, 2));
}

/// The machine, in one line.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, m)| m.trim().to_owned()));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {}, Linux {}", crate::child::cores(), model.as_deref().unwrap_or("an unknown model"), release.trim())
}
