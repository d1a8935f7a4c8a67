//! A match: how long its ticks take, how full its ring was, its entities, sessions, events and globals.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};

use super::rows::{Column, bytes, micros, number, short, table, text, title, word};
use super::{Theme, say};
use crate::look::ills::{About, Severity};
use crate::look::{duration, printable};
use crate::status::MatchStatus;
use crate::top::app::{App, Part, Which};
use crate::top::order::{self, ENTITY_SORTS, SESSION_COLUMNS};
use crate::top::seen::{One, Pace, Seat, Seen};

/// From this size on all parts of a match are shown beside each other.
const ALL_PARTS: (u16, u16) = (120, 36);

/// The match, its pace, and what was read of it; says so where it is gone.
pub(super) fn find<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    seen: &'a Seen,
    of: u64,
    theme: Theme,
) -> Option<(&'a MatchStatus, Option<&'a Pace>, &'a One)> {
    let Some(place) = seen.status.matches.iter().position(|status| status.id == of) else {
        say(frame, area, &format!("match {of} has gone"), theme);
        return None;
    };
    let one = match &seen.one {
        Some(Ok(one)) if one.id == of => one,
        Some(Err(why)) => {
            say(frame, area, why, theme);
            return None;
        }
        _ => {
            say(frame, area, "not looked at yet", theme);
            return None;
        }
    };
    Some((&seen.status.matches[place], seen.matches.get(place), one))
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, of: u64, theme: Theme) {
    let [about_at, told_at, charts_at, parts_at] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length((area.height / 4).clamp(3, 12)),
        Constraint::Fill(1),
    ])
    .areas(area);
    if let Some(status) = seen.status.matches.iter().find(|status| status.id == of) {
        frame.render_widget(Paragraph::new(about(status, theme)), about_at);
    }
    let rest = Rect { y: told_at.y, height: area.height.saturating_sub(1), ..area };
    let Some((status, pace, one)) = find(frame, rest, seen, of, theme) else { return };
    let none = Pace::default();
    let pace = pace.unwrap_or(&none);
    let ills = seen.ills_of(About::Match(of)).map(|ill| ill.what.clone());
    let told = ills.chain(one.trouble.clone()).collect::<Vec<_>>().join("; ");
    let told = match told.is_empty() {
        true => Line::styled(printable(&status.label), theme.aside()),
        false => {
            let worst = seen.worst_of(About::Match(of)).unwrap_or(Severity::Broken);
            Line::styled(format!("! {}", printable(&told)), theme.ill(Some(worst)))
        }
    };
    frame.render_widget(Paragraph::new(told), told_at);
    charts(frame, charts_at, status, pace, one, theme);
    if area.width >= ALL_PARTS.0 && area.height >= ALL_PARTS.1 {
        let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).areas(parts_at);
        let [sessions_at, events_at, globals_at] =
            Layout::vertical([Constraint::Fill(2), Constraint::Fill(2), Constraint::Fill(1)]).areas(right);
        for (part, at) in Part::ALL.into_iter().zip([left, sessions_at, events_at, globals_at]) {
            draw_part(frame, at, app, one, part, theme);
        }
    } else {
        let [tabs, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(parts_at);
        let mut spans = vec![Span::raw(" ")];
        for part in Part::ALL {
            let style = if part == app.part { theme.chosen() } else { theme.aside() };
            spans.extend([Span::styled(format!(" {} ", part.name()), style), Span::raw(" ")]);
        }
        frame.render_widget(Paragraph::new(Line::from(spans)), tabs);
        draw_part(frame, below, app, one, app.part, theme);
    }
}

fn about(status: &MatchStatus, theme: Theme) -> Line<'static> {
    let name = printable(&status.name);
    let words = format!(
        "  {}  sim {} epoch {}  tick {} at {} Hz  {}/{} play, {}/{} watch  id {}, {} pages",
        status.state,
        status.owner_slot,
        status.epoch,
        status.tick,
        status.tick_hz,
        status.sessions.saturating_sub(status.spectators),
        status.capacity,
        status.spectators,
        status.spectator_capacity,
        status.id,
        status.pages
    );
    Line::from(vec![Span::styled(name, theme.head()), Span::raw(words)])
}

fn charts(frame: &mut Frame<'_>, area: Rect, status: &MatchStatus, pace: &Pace, one: &One, theme: Theme) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let whole = &status.tick_us;
    let title = format!("ticks p50 {} p99 {} max {}", short(whole.p50), short(whole.p99), micros(whole.max));
    let (range, counts) = histogram(&one.bars, usize::from(left.width.saturating_sub(1)));
    let mut block = Block::new().borders(Borders::RIGHT).title(title);
    if let Some((least, most)) = range {
        block = block.title_bottom(format!("{} .. {}, log", micros(least), micros(most)));
    }
    let chart = Sparkline::default().block(block).data(counts).style(theme.good());
    frame.render_widget(chart, left);
    let inbox = &status.inbox;
    let most = pace.fills.iter().copied().max().unwrap_or(0);
    let title = format!("ring {} of {}, most {}", bytes(inbox.used_bytes), bytes(inbox.capacity_bytes), bytes(most));
    let late = &pace.late;
    let under = format!("late p50 {} p99 {} refused {}", short(late.p50), micros(late.p99), short(inbox.refused));
    let room = usize::from(right.width);
    let newest: Vec<u64> = pace.fills.iter().skip(pace.fills.len().saturating_sub(room)).copied().collect();
    let block = Block::new().title(title).title_bottom(under);
    frame.render_widget(Sparkline::default().block(block).data(newest).max(most.max(1)).style(theme.odd()), right);
}

/// The counts of a histogram in at most so many columns, as heights: half the height is ten times fewer of a hundred. And the range.
fn histogram(bars: &[(u64, u64)], columns: usize) -> (Option<(u64, u64)>, Vec<u64>) {
    let first = bars.iter().position(|(_, n)| *n > 0);
    let last = bars.iter().rposition(|(_, n)| *n > 0);
    let (Some(first), Some(last), true) = (first, last, columns > 0) else { return (None, Vec::new()) };
    let filled = &bars[first..=last];
    let merged = filled.len().div_ceil(columns);
    let sums = filled.chunks(merged).map(|chunk| chunk.iter().fold(0u64, |sum, (_, n)| sum.saturating_add(*n)));
    // As wide as there is room for.
    let repeat = (columns / filled.len().div_ceil(merged)).clamp(1, 4);
    let height = |n: u64| if n == 0 { 0 } else { 8 + ((n as f64).log10() * 64.0) as u64 };
    let least = if first == 0 { 0 } else { bars[first - 1].0 + 1 };
    let heights = sums.flat_map(|n| std::iter::repeat_n(height(n), repeat)).collect();
    (Some((least, bars[last].0)), heights)
}

fn draw_part(frame: &mut Frame<'_>, area: Rect, app: &App, one: &One, part: Part, theme: Theme) {
    let is_here = part == app.part;
    match part {
        Part::Entities => entities(frame, area, app, one, is_here, theme),
        Part::Sessions => sessions(frame, area, app, one, is_here, theme),
        Part::Events => events(frame, area, app, one, is_here, theme),
        Part::Globals => {
            let line = title("globals", one.globals.len(), one.globals.len(), app.list(Which::Fields), &[], is_here, theme);
            let columns = [word("FIELD", 24), text("VALUE", 12)];
            table(frame, area, line, &columns, (one.globals.len(), &app.fields, is_here), theme, |row| {
                let (name, value) = &one.globals[row];
                (vec![name.clone(), value.clone()], Style::new())
            });
        }
    }
}

fn entities(frame: &mut Frame<'_>, area: Rect, app: &App, one: &One, is_here: bool, theme: Theme) {
    let all = &one.entities;
    let mut line = title("entities", all.shown.len(), all.alive, &app.entities, &ENTITY_SORTS, is_here, theme);
    if let Some(why) = &all.trouble {
        line.push_span(Span::styled(format!("  {}", printable(why)), theme.bad()));
    }
    let list = &app.entities;
    let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(line), above);
    let height = usize::from(below.height.saturating_sub(1));
    let first = list.page(height);
    // Names of fields are the game's: each column is as wide as what is on the page.
    let page: Vec<(usize, Vec<String>)> =
        (first..all.shown.len().min(first + height)).map(|place| (place, cells(one, place))).collect();
    let head: Vec<String> = ["ENTITY", "OWNER"].into_iter().map(str::to_owned).chain(all.head.iter().cloned()).collect();
    let width = |column: usize| {
        let cells = page.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0).min(28)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String], style: Style| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{:<width$} ", printable(cell)));
        let text: String = padded.collect();
        Line::styled(format!("{text:<width$}", width = usize::from(below.width)), style)
    };
    let rows = page.iter().map(|(place, cells)| {
        let style = if is_here && *place == list.at { theme.chosen() } else { Style::new() };
        line(cells, style)
    });
    let lines: Vec<Line<'_>> = std::iter::once(line(&head, theme.head())).chain(rows).collect();
    frame.render_widget(Paragraph::new(lines), below);
}

fn cells(one: &One, place: usize) -> Vec<String> {
    let all = &one.entities;
    let dot = &all.shown[place];
    let mut cells = vec![format!("{}.{}", dot.index, dot.generation), owner(one, dot.owner)];
    let decoded = place.checked_sub(all.first).and_then(|row| all.rows.get(row));
    cells.extend(decoded.into_iter().flatten().cloned());
    cells
}

/// Who owns an entity, by name.
pub(super) fn owner(one: &One, owner: u64) -> String {
    if owner == 0 {
        return "-".to_owned();
    }
    let seat = one.sessions.iter().find(|seat| seat.shown.session == owner);
    seat.map_or(owner.to_string(), |seat| seat.shown.name.clone())
}

fn sessions(frame: &mut Frame<'_>, area: Rect, app: &App, one: &One, is_here: bool, theme: Theme) {
    const COLUMNS: [Column; 6] = [
        text(SESSION_COLUMNS[0], 10),
        number(SESSION_COLUMNS[1], 12),
        number(SESSION_COLUMNS[2], 12),
        word(SESSION_COLUMNS[3], 9),
        number(SESSION_COLUMNS[4], 9),
        number(SESSION_COLUMNS[5], 5),
    ];
    let places = order::sessions(one, &app.sessions);
    let line = title("sessions", places.len(), one.sessions.len(), &app.sessions, &SESSION_COLUMNS, is_here, theme);
    table(frame, area, line, &COLUMNS, (places.len(), &app.sessions, is_here), theme, |row| {
        let seat = &one.sessions[places[row]];
        let style = if seat.detached_s.is_some() { theme.odd() } else { Style::new() };
        (session_cells(seat), style)
    });
}

fn session_cells(seat: &Seat) -> Vec<String> {
    let front = match seat.detached_s {
        Some(seconds) => format!("gone {seconds}s"),
        None => format!("{}{}", seat.shown.frontend, if seat.watches { " watches" } else { "" }),
    };
    vec![
        seat.shown.name.clone(),
        seat.shown.session.to_string(),
        duration(seat.shown.since_s),
        front,
        seat.inputs.as_ref().map_or("-".to_owned(), |inputs| inputs.highest.to_string()),
        seat.event_lag.to_string(),
    ]
}

fn events(frame: &mut Frame<'_>, area: Rect, app: &App, one: &One, is_here: bool, theme: Theme) {
    let columns = [number("NUMBER", 7), number("TICK", 8), word("TO", 14), text("EVENT", 20)];
    let places = order::events(one, &app.events);
    let line = title("events", places.len(), one.events.len(), &app.events, &[], is_here, theme);
    table(frame, area, line, &columns, (places.len(), &app.events, is_here), theme, |row| {
        let told = &one.events[places[row]];
        let cells =
            vec![told.number.to_string(), told.tick.to_string(), told.to.clone(), format!("{} {}", told.name, told.fields)];
        (cells, Style::new())
    });
}

#[cfg(test)]
mod tests {
    use super::histogram;

    #[test]
    fn a_histogram_shows_where_the_counts_are_and_a_single_slow_tick() {
        let bars: Vec<(u64, u64)> =
            (0..100).map(|bar| (bar * 10 + 9, u64::from(bar == 20) * 1000 + u64::from(bar == 59))).collect();
        let (range, heights) = histogram(&bars, 20);
        assert_eq!(range, Some((200, 599)));
        assert_eq!(heights.len(), 20);
        assert!(heights[0] > heights[19] && heights[19] > 0 && heights[1..19].iter().all(|height| *height == 0), "{heights:?}");
        assert_eq!(histogram(&bars, 0), (None, vec![]));
        assert_eq!(histogram(&[], 10), (None, vec![]));
    }
}
