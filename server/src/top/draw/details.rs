//! One process, one entity, one session.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::of_match::find;
use super::rows::{bytes, number, rate, table, text, title, word};
use super::{Theme, say};
use crate::look::{duration, printable};
use crate::top::app::App;
use crate::top::order;
use crate::top::seen::{Inputs, One, OneEntity, Seat, Seen};

pub(super) fn process(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, which: (&str, u32), theme: Theme) {
    let (role, slot) = which;
    let place = seen.status.processes.iter().position(|process| process.role == role && process.slot == slot);
    let Some((process, work)) = place.and_then(|place| Some((&seen.status.processes[place], seen.processes.get(place)?))) else {
        return say(frame, area, &format!("{role} {slot} has gone"), theme);
    };
    let [about, cost, below] = Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let words = format!("  pid {}  {}  started again {} times", process.pid, process.state, process.restarts);
    let head = vec![Span::styled(format!("{role} {slot}"), theme.head()), Span::raw(words)];
    frame.render_widget(Paragraph::new(Line::from(head)), about);
    let cpu = work.cpu_percent.map_or("-".to_owned(), |cpu| format!("{cpu:.1} %"));
    let beat = process.heartbeat_age_ms.map_or("-".to_owned(), |age| format!("{age} ms ago"));
    let memory = format!("{} in memory, {} its own", bytes(process.rss_bytes), bytes(process.private_bytes));
    let words = format!("CPU {cpu}, {:.1} s in all; {memory}; last sign of life {beat}", process.cpu_s);
    frame.render_widget(Paragraph::new(words), cost);
    let places = order::counters(seen, role, slot, &app.counters);
    const SORTS: [&str; 3] = ["COUNTER", "VALUE", "A SECOND"];
    let columns = [text(SORTS[0], 28), number(SORTS[1], 20), number(SORTS[2], 12)];
    let line = title("counters", places.len(), places.len(), &app.counters, &SORTS, true, theme);
    table(frame, below, line, &columns, (places.len(), &app.counters, true), theme, |row| {
        let counted = &work.counters[places[row]];
        (vec![counted.name.to_owned(), counted.value.to_string(), rate(counted.per_s)], Style::new())
    });
}

pub(super) fn entity(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, of: u64, theme: Theme) {
    let Some((status, _, one)) = find(frame, area, seen, of, theme) else { return };
    let Some(OneEntity { name, owner, alive, tick, fields }) = &one.entity else {
        let why = one.trouble.as_deref().unwrap_or("the entity has not been looked at yet");
        return say(frame, area, why, theme);
    };
    let [about, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let words = format!("  of match {}, owner {}, tick {tick}", printable(&status.name), printable(owner));
    let mut head = vec![Span::styled(format!("entity {name}"), theme.head()), Span::raw(words)];
    if !alive {
        head.push(Span::styled("  it is dead", theme.bad()));
    }
    frame.render_widget(Paragraph::new(Line::from(head)), about);
    let columns = [word("", 1), word("FIELD", 20), text("VALUE", 20), text("BEFORE", 16), number("AT TICK", 9)];
    let line = title("fields", fields.len(), fields.len(), &app.fields, &[], true, theme);
    table(frame, below, line, &columns, (fields.len(), &app.fields, true), theme, |row| {
        let field = &fields[row];
        let (before, at) = field.before.clone().map_or_else(Default::default, |(value, tick)| (value, tick.to_string()));
        let mark = if field.changed { "*" } else { "" };
        let style = if field.changed { theme.odd() } else { Style::new() };
        (vec![mark.to_owned(), field.name.clone(), field.value.clone(), before, at], style)
    });
}

pub(super) fn session(frame: &mut Frame<'_>, area: Rect, _app: &App, seen: &Seen, which: (u64, u64), theme: Theme) {
    let Some((status, _, one)) = find(frame, area, seen, which.0, theme) else { return };
    let Some(seat) = one.sessions.iter().find(|seat| seat.shown.session == which.1) else {
        return say(frame, area, &format!("session {} is not in match {} any more", which.1, status.name), theme);
    };
    let head = format!("  session {} of match {}", seat.shown.session, printable(&status.name));
    let mut lines =
        vec![Line::from(vec![Span::styled(printable(&seat.shown.name), theme.head()), Span::raw(head)]), Line::raw("")];
    for (name, value) in facts(seat, one) {
        let cells = vec![Span::styled(format!("{name:<16}"), theme.aside()), Span::raw(printable(&value))];
        lines.push(Line::from(cells));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn facts(seat: &Seat, one: &One) -> Vec<(String, String)> {
    let shown = &seat.shown;
    let connection = match seat.detached_s {
        Some(seconds) => format!("lost {} ago; it can be resumed", duration(seconds)),
        None => format!("front-end {}", shown.frontend),
    };
    let mut facts: Vec<(&str, String)> = vec![
        ("role", if seat.watches { "watches only" } else { "plays" }.to_owned()),
        ("joined", format!("{} ago, at tick {}", duration(shown.since_s), shown.since_tick)),
        ("connection", connection),
        ("attachment", format!("{}: so many times its client has joined with it", shown.attachment)),
        ("entity", shown.entity.clone().unwrap_or("none".to_owned())),
        ("events behind", format!("{} reliable events not acknowledged", seat.event_lag)),
        ("commands", format!("{} applied last", seat.command)),
    ];
    let owned = one.entities.shown.iter().filter(|dot| dot.owner == shown.session).count();
    if owned > 0 {
        facts.push(("owns", format!("{owned} entities")));
    }
    let mut facts: Vec<(String, String)> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(Inputs { highest, missing, waits, repeated, rejected, last }) = &seat.inputs {
        let mut more = |name: &str, value: String| facts.push((name.to_owned(), value));
        more("inputs", format!("{highest} applied last; {missing} of the 32 before were not"));
        more("next input", if *waits { "has come and waits for the next tick" } else { "has not come yet" }.to_owned());
        if *repeated > 0 {
            more("repeated", format!("the last input, for {repeated} ticks: no new one has come"));
        }
        if *rejected > 0 {
            more("given up", format!("input {rejected}: the game failed on it"));
        }
        last.iter().for_each(|(name, value)| more(&format!("input {name}"), value.clone()));
    }
    facts
}
