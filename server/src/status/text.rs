//! An instance's state as aligned tables.

use super::{MatchStatus, ProcessStatus, Status};

/// All of it.
pub(super) fn status(status: &Status) -> String {
    let Status { instance, uptime_s, listen, processes, sessions, arena, counters, .. } = status;
    let stopping = if status.stopping { ", stopping" } else { "" };
    let mut text = format!("instance {instance}, up {}, listening on {listen}{stopping}\n\n", duration(*uptime_s));
    if processes.iter().all(|process| matches!(process.state, "dead" | "zombie")) {
        text =
            format!("instance {instance} does not run; this is what its last run left, and `ringfort up` may go on with it\n\n");
    }
    text += &table(&PROCESS_HEAD, processes.iter().map(process).collect());
    text += "\n";
    text += &matches(&status.matches);
    text += &format!(
        "\n{sessions} sessions; arena: {} of {} extents, {} reserved, {} pages\n",
        arena.extents_used, arena.extents_total, arena.extents_reserved, arena.pages_used
    );
    let counted: Vec<Vec<String>> = counters
        .iter()
        .filter(|(_, value)| **value > 0)
        .map(|(name, value)| vec![(*name).to_owned(), value.to_string()])
        .collect();
    if !counted.is_empty() {
        text += "\n";
        text += &table(&["COUNTER", "VALUE"], counted);
    }
    text
}

/// The matches alone.
pub(super) fn matches(matches: &[MatchStatus]) -> String {
    if matches.is_empty() {
        return "no matches; `ringfort matches create NAME` makes one\n".to_owned();
    }
    table(&MATCH_HEAD, matches.iter().map(match_row).collect())
}

const PROCESS_HEAD: [&str; 8] = ["PROCESS", "SLOT", "PID", "STATE", "RESTARTS", "RSS MiB", "CPU s", "BEAT ms"];

fn process(process: &ProcessStatus) -> Vec<String> {
    vec![
        process.role.to_owned(),
        process.slot.to_string(),
        process.pid.to_string(),
        process.state.to_owned(),
        process.restarts.to_string(),
        format!("{:.1}", process.rss_bytes as f64 / f64::from(1 << 20)),
        format!("{:.1}", process.cpu_s),
        process.heartbeat_age_ms.map_or("-".to_owned(), |age| age.to_string()),
    ]
}

const MATCH_HEAD: [&str; 11] =
    ["MATCH", "ID", "STATE", "TICK", "HZ", "SIM", "SESSIONS", "ENTITIES", "TICK us p50/p99/max", "LATE us p50/p99/max", "INBOX"];

fn match_row(entry: &MatchStatus) -> Vec<String> {
    let times = |times: &super::Times| format!("{}/{}/{}", times.p50, times.p99, times.max);
    vec![
        entry.name.clone(),
        entry.id.to_string(),
        entry.state.to_owned(),
        entry.tick.to_string(),
        entry.tick_hz.to_string(),
        entry.owner_slot.to_string(),
        format!("{}/{}", entry.sessions, entry.capacity),
        entry.entities.to_string(),
        times(&entry.tick_us),
        times(&entry.tick_late_us),
        format!("{}/{}", entry.inbox.used_bytes, entry.inbox.capacity_bytes),
    ]
}

/// Columns as wide as their widest cell; what begins with a digit is a number and stands to the right.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).chain([head[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let numeric =
        |column: usize| column > 0 && rows.iter().all(|row| !row[column].starts_with(|c: char| c.is_ascii_alphabetic()));
    let right: Vec<bool> = (0..head.len()).map(numeric).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let width = widths[column];
            line += &if right[column] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    for row in &rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "7".to_owned()], vec!["long".to_owned(), "1234".to_owned()]];
        assert_eq!(table(&["NAME", "N"], rows), "NAME     N\na        7\nlong  1234\n");
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(3661), "1 h 1 min");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
