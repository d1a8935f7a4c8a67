//! OpenMetrics text 1.0: families with their samples, in order, and the end.

use std::fmt::Write;

use super::families::{Family, Kind};
use crate::look::printable;

/// A value as it is written: whole numbers stay whole.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Whole(n) => write!(f, "{n}"),
            Value::Real(n) => write!(f, "{n}"),
        }
    }
}

/// Text under construction.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, family: &Family) {
        let Family { name, kind, unit, help } = family;
        let _ = writeln!(self.text, "# TYPE {name} {}", kind.name());
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {}", escaped(help));
    }

    /// A sample of the family.
    pub fn sample(&mut self, family: &Family, labels: &[(&str, &str)], value: Value) {
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Histogram => "_bucket",
            Kind::Gauge => "",
        };
        let _ = write!(self.text, "{}{suffix}{{", family.name);
        for (i, (label, value)) in labels.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(self.text, "{comma}{label}=\"{}\"", escaped(&printable(value)));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    /// All of it.
    pub fn end(mut self) -> String {
        self.text += "# EOF\n";
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
