//! Draws what `top` shows. Everything comes from the [`App`]; nothing is read or asked here.

mod details;
mod help;
mod map;
mod of_match;
mod overview;
mod rows;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::app::{App, View};
use crate::look::ills::Severity;
use crate::look::{duration, printable};

/// How things look.
#[derive(Debug, Clone, Copy)]
struct Theme {
    colours: bool,
}

impl Theme {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// What is wrong.
    fn bad(self) -> Style {
        self.colour(Color::LightRed).add_modifier(Modifier::BOLD)
    }

    /// What may become wrong.
    fn odd(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// Something with which so much is wrong.
    fn ill(self, worst: Option<Severity>) -> Style {
        match worst {
            None => Style::new(),
            Some(Severity::Broken) => self.bad(),
            Some(Severity::Degraded | Severity::Notice) => self.odd(),
        }
    }

    /// What is well.
    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// What stands aside.
    fn aside(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Names of columns.
    fn head(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The chosen row.
    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let theme = Theme { colours: app.colours };
    let [head, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(header(app, theme, head.width), head);
    frame.render_widget(bottom(app, theme), keys);
    let body = match &app.trouble {
        Some(why) => {
            let [told, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(body);
            frame.render_widget(Paragraph::new(Line::styled(printable(why), theme.bad())), told);
            body
        }
        None => body,
    };
    if app.help {
        return help::draw(frame, body, theme);
    }
    let Some(seen) = &app.seen else { return };
    match app.view() {
        View::Overview => overview::draw(frame, body, app, seen, theme),
        View::Process(role, slot) => details::process(frame, body, app, seen, (role, slot), theme),
        View::Match(of) => of_match::draw(frame, body, app, seen, of, theme),
        View::Map(of) => map::draw(frame, body, app, seen, of, theme),
        View::Entity(of, ..) => details::entity(frame, body, app, seen, of, theme),
        View::Session(of, session) => details::session(frame, body, app, seen, (of, session), theme),
    }
}

/// Instance, uptime, address, sessions; to the right what looking costs.
fn header(app: &App, theme: Theme, width: u16) -> Paragraph<'static> {
    let mut spans = vec![Span::styled(format!("ringfort {}", printable(&app.instance)), theme.head())];
    if let Some(seen) = &app.seen {
        let status = &seen.status;
        let up = if status.is_dead() { "not running".to_owned() } else { format!("up {}", duration(status.uptime_s)) };
        spans.push(Span::raw(format!("  {up}  {}  {} sessions", status.listen, status.sessions)));
        let cpu = seen.cost.cpu_percent.map(|cpu| format!(" {cpu:.1} %")).unwrap_or_default();
        let cost = format!("top:{cpu} {} us", seen.cost.look_us);
        let used: usize = spans.iter().map(Span::width).sum();
        let gap = usize::from(width).saturating_sub(used + cost.len()).max(2);
        spans.push(Span::styled(format!("{}{cost}", " ".repeat(gap)), theme.aside()));
    }
    Paragraph::new(Line::from(spans))
}

/// The keys that mean something here, or the filter that is being typed.
fn bottom(app: &App, theme: Theme) -> Paragraph<'static> {
    if let Some((text, _)) = &app.typing {
        let hint = if app.which() == Some(super::app::Which::Entities) { "e.g. hp.hp < 20 and has(gun); " } else { "" };
        return Paragraph::new(Line::from(vec![
            Span::styled(format!("/{}", printable(text)), theme.head()),
            Span::styled("_", theme.chosen()),
            Span::styled(format!("   {hint}Enter: keep  Esc: as before"), theme.aside()),
        ]));
    }
    let keys = match app.view() {
        View::Overview => "Enter:in Tab:list s:sort r:reverse /:filter m:map",
        View::Process(..) => "Esc:out s:sort r:reverse /:filter",
        View::Match(_) => "Enter:in Esc:out Tab:part s:sort /:filter m:map",
        View::Map(_) => "Esc:out arrows:move +-:zoom 0:all n:next /:filter",
        View::Entity(..) | View::Session(..) => "Esc:out m:map",
    };
    let pause = if app.paused { Span::styled(" PAUSED", theme.bad()) } else { Span::styled(" space:pause", theme.aside()) };
    let spans = vec![Span::styled(keys, theme.aside()), pause, Span::styled(" ?:help q:quit", theme.aside())];
    Paragraph::new(Line::from(spans))
}

/// Says in the middle of nothing why there is nothing.
fn say(frame: &mut Frame<'_>, area: Rect, text: &str, theme: Theme) {
    frame.render_widget(Paragraph::new(Line::styled(printable(text), theme.odd())), area);
}
