//! The instance at a glance: arena, what is wrong, processes, matches.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::rows::{Column, bar, bytes, number, rate, short, table, text, title, word};
use super::{Theme, say};
use crate::look::ills::{About, Finding};
use crate::look::printable;
use crate::status::{MatchStatus, ProcessStatus};
use crate::top::app::App;
use crate::top::order::{self, MATCH_COLUMNS, PROCESS_COLUMNS};
use crate::top::seen::{Pace, Seen, Work};

const WIDE: u16 = 120;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, theme: Theme) {
    let told_lines = seen.ills.len().clamp(1, usize::from(area.height / 6).max(1)) as u16;
    let processes = order::processes(seen, &app.processes);
    let most = (area.height.saturating_sub(told_lines + 1) / 2).max(3);
    let processes_height = (processes.len() as u16).saturating_add(2).min(most);
    let [arena_at, told_at, processes_at, matches_at] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(told_lines),
        Constraint::Length(processes_height),
        Constraint::Fill(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(arena(seen, area.width)), arena_at);
    draw_ills(frame, told_at, &seen.ills, theme);
    draw_processes(frame, processes_at, app, seen, &processes, theme);
    draw_matches(frame, matches_at, app, seen, theme);
}

fn arena(seen: &Seen, width: u16) -> String {
    let arena = &seen.status.arena;
    let (used, total) = (arena.extents_used as u64, arena.extents_total as u64);
    let full = arena.percent();
    let cells = if width >= WIDE { 50 } else { 16 };
    let pages = bytes(arena.pages_used * 4096);
    format!("arena [{}] {full} %: {used} of {total} extents, {} reserved, {pages}", bar(full, cells), arena.extents_reserved)
}

fn draw_ills(frame: &mut Frame<'_>, area: Rect, ills: &[Finding], theme: Theme) {
    if ills.is_empty() {
        return frame.render_widget(Paragraph::new(Line::styled("all is well", theme.good())), area);
    }
    // How many there are beside those that fit stands before the last of these, whose end may be cut off.
    let room = usize::from(area.height);
    let more = ills.len().saturating_sub(room);
    let line = |(place, ill): (usize, &Finding)| {
        let more = if more > 0 && place + 1 == room { format!("(and {more} more) ") } else { String::new() };
        Line::styled(format!("! {more}{}", printable(&ill.what)), theme.ill(Some(ill.severity)))
    };
    let lines: Vec<Line<'_>> = ills.iter().enumerate().take(room).map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_processes(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, places: &[usize], theme: Theme) {
    const COLUMNS: [Column; 8] = [
        word(PROCESS_COLUMNS[0], 18),
        number(PROCESS_COLUMNS[1], 8),
        word(PROCESS_COLUMNS[2], 8),
        number(PROCESS_COLUMNS[3], 6),
        number(PROCESS_COLUMNS[4], 5),
        number(PROCESS_COLUMNS[5], 7),
        number(PROCESS_COLUMNS[6], 7),
        text("A SECOND", 8),
    ];
    let of = seen.status.processes.len();
    let title = title("processes", places.len(), of, &app.processes, &PROCESS_COLUMNS, app.in_processes, theme);
    let none = Work::default();
    table(frame, area, title, &COLUMNS, (places.len(), &app.processes, app.in_processes), theme, |row| {
        let process = &seen.status.processes[places[row]];
        let work = seen.processes.get(places[row]).unwrap_or(&none);
        (process_cells(process, work), theme.ill(seen.worst_of(About::Process(process.role, process.slot))))
    });
}

fn process_cells(process: &ProcessStatus, work: &Work) -> Vec<String> {
    vec![
        process.name(),
        process.pid.to_string(),
        process.state.to_owned(),
        process.restarts.to_string(),
        work.cpu_percent.map_or("-".to_owned(), |cpu| format!("{cpu:.1}")),
        (process.rss_bytes >> 20).to_string(),
        process.heartbeat_age_ms.map_or("-".to_owned(), short),
        doing(process.role, work),
    ]
}

/// What a process does in a second, by its most telling counters.
fn doing(role: &str, work: &Work) -> String {
    let rates: &[(&str, &str)] = match role {
        "frontend" => &[("in", "fe_inputs"), ("out", "fe_snapshots"), ("joins", "fe_joins")],
        "sim" => &[("ticks", "sim_ticks"), ("late", "sim_ticks_late")],
        "hook" => &[("sent", "hook_sent"), ("answered", "hook_answered")],
        _ => &[],
    };
    let known = rates.iter().filter_map(|(word, name)| Some(format!("{word} {}", rate(Some(work.rate(name)?)))));
    known.collect::<Vec<_>>().join(" ")
}

fn draw_matches(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, theme: Theme) {
    const NARROW: [Column; 11] = [
        text(MATCH_COLUMNS[0], 8),
        word(MATCH_COLUMNS[1], 7),
        number(MATCH_COLUMNS[2], 8),
        number(MATCH_COLUMNS[3], 3),
        number(MATCH_COLUMNS[4], 5),
        number(MATCH_COLUMNS[5], 5),
        number(MATCH_COLUMNS[6], 6),
        number(MATCH_COLUMNS[7], 5),
        word(MATCH_COLUMNS[8], 8),
        number(MATCH_COLUMNS[9], 5),
        number(MATCH_COLUMNS[10], 8),
    ];
    const BROAD: [Column; 15] = [
        text(MATCH_COLUMNS[0], 12),
        word(MATCH_COLUMNS[1], 16),
        number(MATCH_COLUMNS[2], 10),
        number(MATCH_COLUMNS[3], 4),
        number(MATCH_COLUMNS[4], 7),
        number(MATCH_COLUMNS[5], 7),
        number(MATCH_COLUMNS[6], 7),
        number(MATCH_COLUMNS[7], 7),
        word(MATCH_COLUMNS[8], 26),
        number(MATCH_COLUMNS[9], 6),
        number(MATCH_COLUMNS[10], 8),
        number("WATCH", 6),
        number("SIM", 4),
        number("PAGES", 7),
        text("LABEL", 12),
    ];
    let places = order::matches(seen, &app.matches);
    let of = seen.status.matches.len();
    if of == 0 {
        return say(frame, area, "no matches; `ringfort matches create NAME` makes one", theme);
    }
    let title = title("matches", places.len(), of, &app.matches, &MATCH_COLUMNS, !app.in_processes, theme);
    let is_broad = area.width >= WIDE;
    let columns: &[Column] = if is_broad { &BROAD } else { &NARROW };
    let none = Pace::default();
    table(frame, area, title, columns, (places.len(), &app.matches, !app.in_processes), theme, |row| {
        let of = &seen.status.matches[places[row]];
        let pace = seen.matches.get(places[row]).unwrap_or(&none);
        (match_cells(of, pace, is_broad), theme.ill(seen.worst_of(About::Match(of.id))))
    });
}

fn match_cells(of: &MatchStatus, pace: &Pace, is_broad: bool) -> Vec<String> {
    let full = of.inbox.percent();
    let ring = match is_broad {
        true => format!("{} {full} % {}", bar(full, 10), bytes(of.inbox.used_bytes)),
        false => bar(full, 8),
    };
    let mut cells = vec![of.name.clone(), of.state.to_owned(), of.tick.to_string(), of.tick_hz.to_string()];
    cells.extend([pace.took.p50, pace.took.p99, pace.took.max, pace.late.p99].map(short));
    cells.extend([ring, of.sessions.to_string(), of.entities.to_string()]);
    if is_broad {
        if let Some(why) = of.paused {
            cells[1] = format!("paused ({why})");
        }
        cells.extend([of.spectators, of.owner_slot, of.pages].map(|n| n.to_string()));
        cells.push(of.label.clone());
    }
    cells
}
