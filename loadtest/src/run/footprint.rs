//! The memory of the server's processes over a run, so that one command tells whether it grows.

use std::fmt;
use std::time::Instant;

use serde_json::{Value, json};

use crate::limits::{MEMORY_EVERY, MEMORY_LOOKS_MAX};
use crate::memory::{self, Memory};

/// Looks of the page for a person.
const SHOWN: usize = 8;

/// What was seen, in order.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    looks: Vec<(Instant, Memory)>,
}

impl Footprint {
    /// Looks at these processes if it is time to; the others read their memory.
    pub(super) fn look(&mut self, now: Instant, pids: &[u32], readers: &[u32]) -> Option<Memory> {
        let is_time = self.looks.last().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= MEMORY_EVERY);
        (is_time && self.looks.len() < MEMORY_LOOKS_MAX).then(|| self.look_now(now, pids, readers))
    }

    /// Looks at these processes. One that has ended meanwhile has none.
    pub(super) fn look_now(&mut self, now: Instant, pids: &[u32], readers: &[u32]) -> Memory {
        let sum = memory::of_all(pids, readers);
        self.looks.push((now, sum));
        sum
    }

    /// All looks from the second before a moment on, and by how much the last quarter of them is above the second quarter.
    ///
    /// The first quarter does not count, as buffers come to their size in it.
    pub(super) fn json(&self, from: Instant) -> Value {
        let since = |at: Instant| at.saturating_duration_since(from).as_secs_f64();
        let looks: Vec<_> = self.looks.iter().filter(|(at, _)| *at >= from).collect();
        let bytes: Vec<f64> = looks.iter().map(|(_, memory)| memory.pss_bytes as f64).collect();
        json!({
            "seconds": looks.iter().map(|(at, memory)| {
                json!({ "t": since(*at), "rss_bytes": memory.rss_bytes, "pss_bytes": memory.pss_bytes })
            }).collect::<Vec<_>>(),
            "pss_growth_percent": growth_percent(&bytes),
        })
    }
}

/// By how many percent the last quarter is above the second one, on average; nothing of fewer than four.
fn growth_percent(values: &[f64]) -> Option<f64> {
    let quarter = values.len() / 4;
    if quarter == 0 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (early, late) = (mean(&values[quarter..2 * quarter]), mean(&values[values.len() - quarter..]));
    Some(100.0 * (late / early - 1.0))
}

/// A line of the page for a person, of the figures under `server.memory`.
pub(super) fn write(f: &mut fmt::Formatter<'_>, memory: &Value) -> fmt::Result {
    let looks = memory["seconds"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(growth) = memory["pss_growth_percent"].as_f64() else { return Ok(()) };
    write!(f, "  memory, MiB (PSS)  ")?;
    let shown = looks.len().min(SHOWN);
    for number in 0..shown {
        let look = &looks[number * (looks.len() - 1) / (shown - 1).max(1)];
        let figure = |name: &str| look[name].as_f64().unwrap_or(f64::NAN);
        let comma = if number == 0 { "" } else { ", " };
        write!(f, "{comma}{:.1} at {:.0} s", figure("pss_bytes") / f64::from(1 << 20), figure("t"))?;
    }
    writeln!(f, "; the last quarter {growth:+.2} % on the second")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn growth_is_told_without_the_time_in_which_buffers_fill() {
        assert_eq!(growth_percent(&[10.0, 100.0, 100.0, 100.0]), Some(0.0));
        let grows = growth_percent(&[1.0, 1.0, 100.0, 100.0, 105.0, 105.0, 110.0, 110.0]).expect("enough looks");
        assert!((grows - 10.0).abs() < 1e-9, "{grows}");
        assert_eq!(growth_percent(&[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn memory_is_looked_at_now_and_then_and_told_from_the_measured_time_on() {
        let (start, own) = (Instant::now(), [std::process::id()]);
        let mut footprint = Footprint::default();
        assert!(footprint.look(start, &own, &[]).is_some_and(|memory| memory.pss_bytes > 0));
        assert!(footprint.look(start + MEMORY_EVERY / 2, &own, &[]).is_none());
        assert!(footprint.look(start + MEMORY_EVERY, &[u32::MAX], &[u32::MAX]).is_some_and(|memory| memory == Memory::default()));
        let told = footprint.json(start + Duration::from_secs(1));
        assert_eq!((told["seconds"].as_array().map(Vec::len), &told["pss_growth_percent"]), (Some(1), &Value::Null));
    }

    #[test]
    fn the_line_for_a_person_has_the_first_look_and_the_last() {
        struct Line(Value);
        impl fmt::Display for Line {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(f, &self.0)
            }
        }
        let look = |t: u32| json!({ "t": t, "pss_bytes": (100 + t) << 20 });
        let line = Line(json!({ "seconds": (0..21).map(look).collect::<Vec<_>>(), "pss_growth_percent": 8.5 })).to_string();
        assert!(
            line.contains("100.0 at 0 s, 102.0 at 2 s,") && line.contains("120.0 at 20 s; the last quarter +8.50 %"),
            "{line}"
        );
        assert_eq!(Line(json!({})).to_string(), "");
    }
}
