//! `--report FILE.html`: one page with plots, which needs nothing but itself.
//!
//! It is well-formed XML, so that programs can read it, too.

mod chart;

use std::fmt::Write;

use serde_json::Value;

use chart::{Axes, Line, bars, lines};

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.4em}h2{font-size:1.15em;margin-top:2em}.plots{display:flex;flex-wrap:wrap;gap:1em}\
table{border-collapse:collapse}td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #8884}\
td:first-child,th:first-child{text-align:left}svg text{fill:currentColor;font-size:12px}svg .title{font-size:14px;font-weight:600}\
svg .axis{stroke:currentColor;stroke-width:1}svg .grid{stroke:currentColor;stroke-opacity:.15}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181a1b}}";

/// The page of a report: of one run, or of several phases.
pub(crate) fn html(report: &Value) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta charset=\"utf-8\"/>");
    let _ = write!(page, "<title>Ringfort load test</title><style>{STYLE}</style></head><body><h1>Ringfort load test</h1>");
    match report["phases"].as_array() {
        Some(phases) => phases.iter().for_each(|phase| section(&mut page, phase)),
        None => section(&mut page, report),
    }
    page.push_str("</body></html>\n");
    page
}

/// One run: what it was, its figures, its plots.
fn section(page: &mut String, report: &Value) {
    let number = |path: &str, digits: usize| match report.pointer(path).and_then(Value::as_f64) {
        Some(number) => format!("{number:.digits$}").trim_end_matches(".0").to_owned(),
        None => "?".to_owned(),
    };
    let name =
        report["phase"].as_str().filter(|name| !name.is_empty()).map_or(String::new(), |name| format!("{}: ", escaped(name)));
    // Writing to a text cannot fail.
    let _ = write!(
        page,
        "<h2>{name}{}, {} clients x {} Hz, {} s</h2>",
        escaped(report["run"]["scenario"].as_str().unwrap_or("run")),
        number("/clients/requested", 0),
        number("/run/rate_hz", 1),
        number("/run/duration_s", 0)
    );
    latencies(page, report);
    page.push_str("<div class=\"plots\">");
    for plot in plots(report) {
        page.push_str(&plot);
    }
    page.push_str("</div>");
}

fn latencies(page: &mut String, report: &Value) {
    page.push_str("<table><tr><th>latency, ms</th><th>count</th><th>p50</th><th>p99</th><th>p99.9</th><th>max</th></tr>");
    for (name, latency) in report["latency_ms"].as_object().into_iter().flatten() {
        let _ = write!(page, "<tr><td>{}</td>", escaped(&name.replace('_', " ")));
        for quantile in ["count", "p50", "p99", "p999", "max"] {
            let digits = if quantile == "count" { 0 } else { 2 };
            let _ = match latency[quantile].as_f64() {
                Some(figure) => write!(page, "<td>{figure:.digits$}</td>"),
                None => write!(page, "<td>-</td>"),
            };
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

/// All plots of a run. What could not be measured has no points.
fn plots(report: &Value) -> Vec<String> {
    let over_time = |title, unit, curves: &[(&str, &str)]| {
        let curves: Vec<Line> = curves.iter().map(|(name, path)| Line { name, points: series(report, path, 1.0) }).collect();
        lines(&Axes { title, x: "seconds", y: unit }, &curves)
    };
    let kb = Line { name: "received", points: series(report, "/bytes", 1e-3) };
    let mib = 1.0 / f64::from(1 << 20);
    let memory = [("shared pages once", "/server/pss_bytes"), ("all resident pages", "/server/rss_bytes")]
        .map(|(name, path)| Line { name, points: series(report, path, mib) });
    let watching = Line { name: "watching", points: series(report, "/watching", 1.0) };
    let clients = Line { name: "in a match", points: series(report, "/live", 1.0) };
    vec![
        over_time("Network latency", "ms", &[("p50", "/network_ms/p50"), ("p99", "/network_ms/p99"), ("max", "/network_ms/max")]),
        over_time(
            "Input to snapshot",
            "ms",
            &[("p50", "/input_to_snapshot_ms/p50"), ("p99", "/input_to_snapshot_ms/p99"), ("max", "/input_to_snapshot_ms/max")],
        ),
        bars(&Axes { title: "Network latency, histogram", x: "ms at most", y: "inputs" }, &histogram(report)),
        over_time(
            "Tick time",
            "us",
            &[
                ("p50", "/server/tick_us/p50"),
                ("p99", "/server/tick_us/p99"),
                ("max", "/server/tick_us/max"),
                ("late, max", "/server/tick_late_us/max"),
            ],
        ),
        over_time(
            "Processor time by process",
            "% of a core",
            &[
                ("front-ends", "/server/cpu_percent/frontend"),
                ("sims", "/server/cpu_percent/sim"),
                ("supervisor", "/server/cpu_percent/supervisor"),
                ("generator", "/generator_cpu_percent"),
            ],
        ),
        lines(&Axes { title: "Snapshots", x: "seconds", y: "KB a second" }, &[kb]),
        over_time(
            "Packets a datagram",
            "packets",
            &[("in", "/server/packets_per_datagram/in"), ("out", "/server/packets_per_datagram/out")],
        ),
        lines(&Axes { title: "Clients", x: "seconds", y: "clients" }, &[clients, watching]),
        lines(&Axes { title: "Memory of the server", x: "seconds", y: "MiB" }, &memory),
    ]
}

/// A figure of each second, where it is known.
fn series(report: &Value, path: &str, scale: f64) -> Vec<(f64, f64)> {
    let seconds = report["series"].as_array().into_iter().flatten();
    seconds.filter_map(|second| Some((second["t"].as_f64()?, second.pointer(path)?.as_f64()? * scale))).collect()
}

fn histogram(report: &Value) -> Vec<(f64, f64)> {
    let buckets = report.pointer("/latency_ms/network/histogram").and_then(Value::as_array).into_iter().flatten();
    buckets.filter_map(|bucket| Some((bucket[0].as_f64()?, bucket[1].as_f64()?))).collect()
}

/// Text as it may stand in the page, in an attribute, too. Characters that XML does not have become a sign that there was one.
fn escaped(text: &str) -> String {
    let is_none = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}');
    let text = text.replace(is_none, "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests;
