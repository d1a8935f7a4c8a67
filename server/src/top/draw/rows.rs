//! Tables of which one row is chosen, bars, and numbers that fit their place.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::Theme;
use crate::top::list::List;

/// A column of a table.
pub(super) struct Column {
    name: &'static str,
    width: Constraint,
    alignment: Alignment,
}

/// A column of text, as wide as this at least.
pub(super) const fn text(name: &'static str, least: u16) -> Column {
    Column { name, width: Constraint::Min(least), alignment: Alignment::Left }
}

/// A column of text of a fixed width.
pub(super) const fn word(name: &'static str, width: u16) -> Column {
    Column { name, width: Constraint::Length(width), alignment: Alignment::Left }
}

/// A column of numbers.
pub(super) const fn number(name: &'static str, width: u16) -> Column {
    Column { name, width: Constraint::Length(width), alignment: Alignment::Right }
}

/// A line above a table: what it is, how many rows, how they are sorted and filtered.
pub(super) fn title(
    what: &str,
    shown: usize,
    of: usize,
    list: &List,
    sorts: &[&str],
    is_here: bool,
    theme: Theme,
) -> Line<'static> {
    let count = if shown == of { format!("{of}") } else { format!("{shown} of {of}") };
    let mut line = format!("{} {what} ({count})", if is_here { '>' } else { ' ' });
    if let Some(sort) = sorts.get(list.sort) {
        line += &format!("  sorted by {sort} {}", if list.descending { "falling" } else { "rising" });
    }
    if !list.filter.is_empty() {
        line += &format!("  filter \"{}\"", crate::look::printable(&list.filter));
    }
    Line::styled(line, if is_here { theme.head() } else { theme.aside() })
}

/// Draws the page of a table that the chosen row is on. Only that page's cells are made.
pub(super) fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    title: Line<'static>,
    columns: &[Column],
    rows: (usize, &List, bool),
    theme: Theme,
    cells: impl Fn(usize) -> (Vec<String>, Style),
) {
    let (count, list, is_here) = rows;
    let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(title), above);
    let height = usize::from(below.height.saturating_sub(1));
    let first = list.page(height);
    let line = |place: usize| {
        let (cells, style) = cells(place);
        let style = if is_here && place == list.at { style.patch(theme.chosen()) } else { style };
        let cells = cells.into_iter().zip(columns).map(|(text, column)| cell(text, column));
        Row::new(cells.collect::<Vec<_>>()).style(style)
    };
    let page: Vec<Row<'_>> = (first..count.min(first + height)).map(line).collect();
    let head = columns.iter().map(|column| cell(column.name.to_owned(), column));
    let widths = columns.iter().map(|column| column.width);
    let table = Table::new(page, widths).column_spacing(1).header(Row::new(head.collect::<Vec<_>>()).style(theme.head()));
    frame.render_widget(table, below);
}

fn cell(text: String, column: &Column) -> Cell<'static> {
    Cell::from(Text::from(crate::look::printable(&text)).alignment(column.alignment))
}

/// A bar of so many cells.
pub(super) fn bar(percent: u64, cells: usize) -> String {
    let full = (percent.min(100) as usize * cells).div_ceil(100);
    format!("{}{}", "#".repeat(full), ".".repeat(cells - full))
}

/// A number in at most five letters.
pub(super) fn short(number: u64) -> String {
    match number {
        0..=99_999 => number.to_string(),
        100_000..=9_999_999 => format!("{}k", number / 1_000),
        10_000_000..=9_999_999_999 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", (number / 1_000_000_000).min(9_999)),
    }
}

/// Bytes in at most eight letters.
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..=9_999 => format!("{number} B"),
        10_000..=9_999_999 => format!("{} KiB", number >> 10),
        _ => format!("{} MiB", number >> 20),
    }
}

/// Microseconds in at most seven letters.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..=9_999 => format!("{us} us"),
        10_000..=9_999_999 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// A rate.
pub(super) fn rate(per_s: Option<f64>) -> String {
    match per_s {
        None => "-".to_owned(),
        Some(rate) if rate < 99.95 => format!("{rate:.1}"),
        Some(rate) => short(rate.round() as u64),
    }
}
