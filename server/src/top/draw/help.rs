//! What the keys do.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Theme;

const KEYS: [(&str, &str); 17] = [
    ("Enter", "opens what is chosen: a process, match, entity, session"),
    ("Esc, Backspace", "goes back; in the overview takes the filter away"),
    ("arrows, j k", "choose; PageUp, PageDown, Home, End too"),
    ("Tab", "the next list: processes or matches, or a match's parts"),
    ("s or >, <", "sorts by the next column, by the one before"),
    ("r", "reverses the order"),
    ("/", "filters: by what rows contain, entities by a condition,"),
    ("", "as in hp.hp < 20 and has(gun); on the map these are marked"),
    ("m", "the map of the match, and back"),
    ("on the map", "arrows or h j k l move, + and - zoom, 0 shows all,"),
    ("", "n and N choose the next entity and the one before"),
    ("space", "stands still, and goes on"),
    ("Ctrl-L", "looks again right now"),
    ("Ctrl-Z", "gives the terminal back until `fg`"),
    ("q, Ctrl-C", "ends"),
    ("p50 p99 max", "microseconds of a tick, LATE how late it began (p99), in"),
    ("", "the last 10 to 20 looks; in a match since it began"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    let mut lines =
        vec![Line::styled("Nothing is asked of the instance: all this is read from its shared memory.", theme.aside())];
    lines.push(Line::raw(""));
    for (key, does) in KEYS {
        lines.push(Line::from(vec![Span::styled(format!("{key:<15} "), theme.head()), Span::raw(does)]));
    }
    lines.push(Line::raw(""));
    lines.push(Line::styled("any key goes back", theme.aside()));
    frame.render_widget(Paragraph::new(lines), area);
}
