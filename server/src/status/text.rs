//! An instance's state as aligned tables.

use super::{MatchShown, MatchStatus, ProcessStatus, SessionShown, Status};
use crate::look::{Paper, duration, printable, table};

/// All of it.
pub(super) fn status(status: &Status, paper: &Paper) -> String {
    let Status { instance, uptime_s, listen, processes, sessions, arena, counters, .. } = status;
    let stopping = match (status.stopping, status.draining) {
        (true, _) => ", stopping",
        (_, true) => ", stopping when the players have gone",
        _ => "",
    };
    let mut text = format!("instance {instance}, up {}, listening on {listen}{stopping}\n\n", duration(*uptime_s));
    if status.orphaned {
        text = format!(
            "instance {instance}, listening on {listen}: supervisor gone; workers go on; `ringfort up` adopts them, `ringfort down` \
             stops them\n\n"
        );
    }
    if status.is_dead() {
        text =
            format!("instance {instance} does not run; this is what its last run left, and `ringfort up` may go on with it\n\n");
    }
    text += &table(paper, &PROCESS_HEAD, processes.iter().map(process).collect());
    for (slot, words) in processes.iter().filter_map(|process| Some((process.slot, process.sheds.as_ref()?))) {
        text += &format!("front-end {slot} sheds: {words}\n");
    }
    text += "\n";
    text += &matches(&status.matches, paper);
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
        text += &table(paper, &["COUNTER", "VALUE"], counted);
    }
    text
}

/// The matches alone.
pub(super) fn matches(matches: &[MatchStatus], paper: &Paper) -> String {
    if matches.is_empty() {
        return "no matches; `ringfort matches create NAME` makes one\n".to_owned();
    }
    table(paper, &MATCH_HEAD, matches.iter().map(match_row).collect())
}

const PROCESS_HEAD: [&str; 8] = ["PROCESS", "SLOT", "PID", "STATE", "RESTARTS", "RSS MiB", "CPU s", "BEAT ms"];

fn process(process: &ProcessStatus) -> Vec<String> {
    vec![
        process.role.to_owned(),
        if process.role == "standby-frontend" { "-".to_owned() } else { process.slot.to_string() },
        process.pid.to_string(),
        process.state.to_owned(),
        process.restarts.to_string(),
        format!("{:.1}", process.rss_bytes as f64 / f64::from(1 << 20)),
        format!("{:.1}", process.cpu_s),
        process.heartbeat_age_ms.map_or("-".to_owned(), |age| age.to_string()),
    ]
}

const MATCH_HEAD: [&str; 13] = [
    "MATCH",
    "ID",
    "STATE",
    "TICK",
    "HZ",
    "SIM",
    "PLAYERS",
    "WATCHING",
    "ENTITIES",
    "TICK us p50/p99/max",
    "LATE us p50/p99/max",
    "INBOX",
    "LABEL",
];

fn match_row(entry: &MatchStatus) -> Vec<String> {
    let times = |times: &super::Times| format!("{}/{}/{}", times.p50, times.p99, times.max);
    vec![
        entry.name.clone(),
        entry.id.to_string(),
        match_state(entry),
        entry.tick.to_string(),
        entry.tick_hz.to_string(),
        entry.owner_slot.to_string(),
        format!("{}/{}", entry.sessions.saturating_sub(entry.spectators), entry.capacity),
        format!("{}/{}", entry.spectators, entry.spectator_capacity),
        entry.entities.to_string(),
        times(&entry.tick_us),
        times(&entry.tick_late_us),
        format!("{}/{}", entry.inbox.used_bytes, entry.inbox.capacity_bytes),
        printable(&entry.label),
    ]
}

fn match_state(entry: &MatchStatus) -> String {
    let marks = [(entry.alone, ", alone"), (entry.locked, ", locked"), (entry.private, ", private")];
    let paused = entry.paused.map(|why| format!(" ({why})")).unwrap_or_default();
    marks.iter().filter(|(is_so, _)| *is_so).fold(format!("{}{paused}", entry.state), |state, (_, mark)| state + mark)
}

/// All of one match.
pub(super) fn shown(shown: &MatchShown, paper: &Paper) -> String {
    let MatchShown { status, code, idle_minutes, empty_s, options, players, watchers } = shown;
    let mut text = matches(std::slice::from_ref(status), paper);
    text += "\n";
    let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={}", printable(value))).collect();
    let idle = match idle_minutes {
        0 => "never".to_owned(),
        minutes => format!("after {minutes} min without anybody"),
    };
    let mut facts = vec![
        ("code", code.clone().unwrap_or_default()),
        ("options", options.join(" ")),
        ("ends itself", idle),
        ("empty for", empty_s.map(duration).unwrap_or_default()),
        ("memory", format!("{} pages of 4 KiB, {} extents reserved", status.pages, status.extents_reserved)),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts.iter().for_each(|(what, value)| text += &format!("{what:<12} {value}\n"));
    for (head, sessions) in [("PLAYER", players), ("SPECTATOR", watchers)] {
        if !sessions.is_empty() {
            text += "\n";
            text += &table(
                paper,
                &[head, "SESSION", "SINCE", "TICK", "FRONTEND", "JOINS", "ENTITY"],
                sessions.iter().map(session).collect(),
            );
        }
    }
    text
}

fn session(session: &SessionShown) -> Vec<String> {
    vec![
        printable(&session.name),
        session.session.to_string(),
        duration(session.since_s),
        session.since_tick.to_string(),
        session.frontend.to_string(),
        session.attachment.to_string(),
        session.entity.clone().unwrap_or("-".to_owned()),
    ]
}
