//! A match from above: every entity that has a position.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use ratatui::widgets::canvas::{Canvas, Points};

use super::of_match::{find, owner};
use super::{Theme, say};
use crate::look::printable;
use crate::top::app::App;
use crate::top::seen::{Dot, Seen};

/// Entities that are drawn as a letter of their own; all others are dots.
const LETTERS_MAX: usize = 500;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, seen: &Seen, of: u64, theme: Theme) {
    let Some((status, _, one)) = find(frame, area, seen, of, theme) else { return };
    let all = &one.entities;
    if all.dots.is_empty() {
        let why = one.trouble.clone().unwrap_or_else(|| format!("no entity of match {} has a position", status.name));
        return say(frame, area, &why, theme);
    }
    let [about, plane, legend] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let [x, y] = app.map.bounds(&all.dots, plane.width, plane.height);
    let head = format!("  tick {}  {:.1} x {:.1} m around {:.1},{:.1}", status.tick, x[1] - x[0], y[1] - y[0], mid(x), mid(y));
    let mut words = vec![Span::styled(printable(&status.name), theme.head()), Span::raw(head)];
    if !app.entities.filter.is_empty() {
        let lit = all.shown.len();
        words.push(Span::raw(format!("  {lit} of {} meet \"{}\"", all.alive, printable(&app.entities.filter))));
    }
    if let Some(why) = &all.trouble {
        words.push(Span::styled(format!("  {}", printable(why)), theme.bad()));
    }
    frame.render_widget(Paragraph::new(Line::from(words)), about);
    let within = |dot: &&Dot| dot.at.is_some_and(|at| inside(at[0], x) && inside(at[1], y));
    let filtered = !app.entities.filter.is_empty() && all.trouble.is_none();
    let chosen = all.shown.get(app.entities.at);
    let plain: Vec<(f64, f64)> = all.dots.iter().filter(within).filter_map(place).collect();
    let is_letter = |dot: &&Dot| if filtered { dot.lit } else { dot.owner != 0 };
    let letters: Vec<&Dot> = all.dots.iter().filter(within).filter(is_letter).take(LETTERS_MAX).collect();
    let colour = |colour: Color| if theme.colours { colour } else { Color::Reset };
    let canvas = Canvas::default().marker(Marker::Braille).x_bounds(x).y_bounds(y).paint(|canvas| {
        canvas.draw(&Points { coords: &plain, color: colour(Color::Gray) });
        canvas.layer();
        for dot in &letters {
            let Some((x, y)) = place(dot) else { continue };
            let (letter, style) = if filtered { ("o", theme.odd()) } else { ("@", theme.good()) };
            canvas.print(x, y, Line::styled(letter, style));
        }
        if let Some((x, y)) = chosen.filter(|dot| within(dot)).and_then(place) {
            canvas.print(x, y, Line::styled("X", theme.chosen()));
        }
    });
    frame.render_widget(canvas, plane);
    let marks = if filtered { "o: meets the filter" } else { "@: owned by a session" };
    let chosen = chosen.map_or_else(String::new, |dot| {
        let at = dot.at.map_or("nowhere".to_owned(), |at| format!("{:.2},{:.2}", at[0], at[1]));
        format!("  X: {}.{} of {} at {at}", dot.index, dot.generation, printable(&owner(one, dot.owner)))
    });
    frame.render_widget(
        Paragraph::new(Line::styled(format!("dots: {} entities  {marks}{chosen}", plain.len()), theme.aside())),
        legend,
    );
}

fn place(dot: &Dot) -> Option<(f64, f64)> {
    dot.at.map(|at| (at[0].into(), at[1].into()))
}

fn inside(value: f32, bounds: [f64; 2]) -> bool {
    (bounds[0]..=bounds[1]).contains(&f64::from(value))
}

fn mid(bounds: [f64; 2]) -> f64 {
    (bounds[0] + bounds[1]) / 2.0
}
