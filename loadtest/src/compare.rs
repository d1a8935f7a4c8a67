//! `compare A.json B.json`: the ratio of every figure of two reports, and which have become worse.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::limits::WORSE_BY;

/// What is compared.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The report of the run before
    before: PathBuf,
    /// The report of the run after
    after: PathBuf,
}

/// Why two reports cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    /// A file that cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is no report.
    #[error("{path} is no report of `run --json`: {source}")]
    Report {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// JSON that tells of no run.
    #[error("{path} is no report of `run --json`: it has neither `clients` nor `phases`")]
    NoRun {
        /// Which.
        path: PathBuf,
    },
    /// Reports of which no figure is in both, as of one run and of several phases.
    #[error("the two reports have no figure in common: compare one run with one run, or phases with phases")]
    NothingInCommon,
}

/// Parts of a report that tell of single moments or of what was asked for.
const LEFT_OUT: [&str; 3] = ["series", "run", "network"];
/// Words in the names of figures that had better be small.
const BETTER_SMALL: [&str; 22] = [
    "latency_ms",
    "cpu_percent",
    "bytes",
    "late",
    "tick_us",
    "packets_per_datagram",
    "failed",
    "disconnected",
    "rejected",
    "resumed",
    "missing",
    "mismatches",
    "age_ms",
    "age_ticks",
    "error_quanta",
    "all_in_s",
    "kb_per_second",
    "unknown",
    "put_off",
    "saturated",
    "abandoned",
    "gap",
];
/// Words in the names of figures that had better be large.
const BETTER_LARGE: [&str; 4] = ["connected", "acknowledged", "per_client_hz", "equal"];

/// Compares and prints; always well, as what is worse is for the reader to judge.
pub(crate) fn run(args: &CompareArgs) -> Result<bool, CompareError> {
    print!("{}", table(&read_run(&args.before)?, &read_run(&args.after)?)?);
    Ok(true)
}

/// The report of a run in a file.
fn read_run(path: &Path) -> Result<Value, CompareError> {
    let report = read(path)?;
    let is_run = report["clients"].is_object() || report["phases"].is_array();
    if is_run { Ok(report) } else { Err(CompareError::NoRun { path: path.into() }) }
}

/// The report in a file.
pub(crate) fn read(path: &Path) -> Result<Value, CompareError> {
    let text = fs::read_to_string(path).map_err(|source| CompareError::Read { path: path.into(), source })?;
    serde_json::from_str(&text).map_err(|source| CompareError::Report { path: path.into(), source })
}

fn table(before: &Value, after: &Value) -> Result<String, CompareError> {
    let (before, after) = (figures(before), figures(after));
    if !before.keys().any(|name| after.contains_key(name)) {
        return Err(CompareError::NothingInCommon);
    }
    let width = before.keys().chain(after.keys()).map(String::len).max().unwrap_or(0);
    let mut text = format!("{:<width$} {:>14} {:>14} {:>8}\n", "", "before", "after", "ratio");
    let mut worse = 0;
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        let shown = |figure: Option<&f64>| figure.map_or("-".to_owned(), |figure| number(*figure));
        let ratio = was.zip(is).and_then(|(was, is)| (*was != 0.0).then(|| is / was));
        let is_worse = was.zip(is).is_some_and(|(was, is)| is_worse(name, *was, *is));
        worse += usize::from(is_worse);
        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let mark = if is_worse { "  worse" } else { "" };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name:<width$} {:>14} {:>14} {ratio:>8}{mark}", shown(was), shown(is));
    }
    let _ = writeln!(text, "{worse} figures are worse by more than {:.0} %", WORSE_BY * 100.0);
    Ok(text)
}

fn number(figure: f64) -> String {
    if figure == figure.trunc() && figure.abs() < 1e15 { format!("{figure:.0}") } else { format!("{figure:.3}") }
}

/// Whether a figure has become worse by more than [`WORSE_BY`]. Of one that has no better direction nothing is said.
fn is_worse(name: &str, was: f64, is: f64) -> bool {
    // Counts of what was measured are no figures of merit, whatever they count.
    if name.ends_with(".count") {
        return false;
    }
    let has = |words: &[&str]| words.iter().any(|word| name.split('.').any(|part| part.contains(word)));
    let disconnected = name.contains("disconnected");
    match (has(&BETTER_LARGE) && !disconnected, has(&BETTER_SMALL)) {
        (true, _) => is < was * (1.0 - WORSE_BY),
        (false, true) => is > was * (1.0 + WORSE_BY) && is > was,
        (false, false) => false,
    }
}

/// All numbers of a report by their paths; of several phases, of each.
fn figures(report: &Value) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    match report["phases"].as_array() {
        Some(phases) => {
            phases.iter().enumerate().for_each(|(at, phase)| of_run(phase, &format!("phases.{at}."), &mut figures));
        }
        None => of_run(report, "", &mut figures),
    }
    figures
}

fn of_run(report: &Value, prefix: &str, into: &mut BTreeMap<String, f64>) {
    let parts = report.as_object().into_iter().flatten().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    parts.for_each(|(name, part)| collect(part, format!("{prefix}{name}"), into));
}

fn collect(value: &Value, path: String, into: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(parts) => parts.iter().for_each(|(name, part)| collect(part, format!("{path}.{name}"), into)),
        // Lists are seconds, ranks, processes and histograms: none of them is the same thing in another run.
        Value::Array(_) | Value::Null | Value::String(_) => {}
        Value::Bool(is) => drop(into.insert(path, f64::from(u8::from(*is)))),
        Value::Number(number) => drop(into.insert(path, number.as_f64().unwrap_or(f64::NAN))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_become_worse_is_marked_and_the_rest_is_not() {
        let before = json!({
            "clients": { "connected": 100, "disconnected": 0 },
            "latency_ms": { "network": { "p99": 10.0, "p50": 5.0, "count": 9 } },
            "snapshots": { "per_client_hz": 10.0 },
            "series": [{ "t": 0 }],
            "run": { "rate_hz": 10 },
        });
        let after = json!({
            "clients": { "connected": 80, "disconnected": 1 },
            "latency_ms": { "network": { "p99": 12.0, "p50": 5.4, "count": 99 } },
            "snapshots": { "per_client_hz": 9.5 },
            "server": { "cpu_percent": { "total": 5.0 } },
        });
        let table = table(&before, &after).expect("there is something in common");
        let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {table}"));
        for worse in ["clients.connected", "clients.disconnected", "latency_ms.network.p99"] {
            assert!(line(worse).ends_with("worse"), "{table}");
        }
        for other in ["latency_ms.network.p50", "latency_ms.network.count", "snapshots.per_client_hz", "server.cpu_percent.total"]
        {
            assert!(!line(other).ends_with("worse"), "{table}");
        }
        assert!(line("latency_ms.network.p99").contains("1.200") && !table.contains("series") && !table.contains("rate_hz"));
        assert!(table.ends_with("3 figures are worse by more than 10 %\n"), "{table}");
    }

    #[test]
    fn phases_are_compared_one_by_one_and_what_has_nothing_in_common_is_not() {
        let phases = |failed: [u64; 2]| json!({ "phases": failed.map(|failed| json!({ "clients": { "failed": failed }, "run": { "seed": 1 } })) });
        let told = table(&phases([0, 0]), &phases([0, 3])).expect("there is something in common");
        let line = |name: &str| told.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {told}"));
        assert!(!line("phases.0.clients.failed").ends_with("worse") && line("phases.1.clients.failed").ends_with("worse"));
        assert!(!told.contains("seed"), "{told}");
        let one = json!({ "clients": { "failed": 0 } });
        assert!(matches!(table(&one, &phases([0, 0])), Err(CompareError::NothingInCommon)));
    }

    #[test]
    fn a_file_that_tells_of_no_run_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("a.json");
        for (text, is_run) in
            [("{}", false), ("[]", false), ("3", false), ("{\"steps\": []}", false), ("{\"clients\": {}}", true)]
        {
            fs::write(&file, text).expect("a file");
            let read = read_run(&file);
            assert!(read.is_ok() == is_run && (is_run || matches!(read, Err(CompareError::NoRun { .. }))), "{text}");
        }
        fs::write(&file, "{").expect("a file");
        assert!(matches!(read_run(&file), Err(CompareError::Report { .. })));
        assert!(matches!(read_run(&directory.path().join("b")), Err(CompareError::Read { .. })));
    }
}
