//! Text for terminals: tables that fit, durations, and nothing in a game's or a player's text that moves the cursor.

use std::borrow::Cow;

/// What text is printed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paper {
    /// Columns of the terminal; `None` when the output is no terminal, and lines are as long as they are.
    pub columns: Option<usize>,
    /// Whether colours may be used: on a terminal, unless `NO_COLOR` is set.
    pub colours: bool,
}

impl Paper {
    /// The standard output.
    pub fn stdout() -> Self {
        let stdout = std::io::stdout();
        let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|size| size.ws_col > 0);
        let is_terminal = std::io::IsTerminal::is_terminal(&stdout);
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { columns: size.filter(|_| is_terminal).map(|size| usize::from(size.ws_col)), colours }
    }
}

/// Whether a terminal does something else with a character than show it: control characters, those from U+0080 on among them, and what turns the
/// order of the text around it (Unicode's property Bidi_Control).
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control()
}

/// A game's or a player's text must not move the cursor of whoever reads it, nor turn what stands beside it.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

/// Text that is about to be printed: what steers a terminal is written as JSON does where that leaves it as it is by itself, from U+007F on. Colours
/// and ends of lines stay.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_left = |c: char| c >= '\u{7f}' && steers(c);
    if !text.contains(is_left) {
        return text.into();
    }
    let mut harmless = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_left(c) => harmless += &format!("\\u{:04x}", u32::from(c)),
            c => harmless.push(c),
        }
    }
    harmless.into()
}

/// Columns as wide as their widest cell; what begins with a digit is a number and stands to the right. Where the terminal is too narrow, the widest
/// column is cut, again and again, and a cut cell ends in `…`.
pub fn table(paper: &Paper, head: &[&str], rows: Vec<Vec<String>>) -> String {
    let cells = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let mut widths: Vec<usize> = (0..head.len()).map(|c| cells(c).chain([head[c].chars().count()]).max().unwrap_or(0)).collect();
    while let Some(over) =
        paper.columns.and_then(|max| (widths.iter().sum::<usize>() + 2 * (head.len() - 1)).checked_sub(max + 1))
    {
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width).filter(|width| **width > CELL_CHARS_MIN) else { break };
        *widest = widest.saturating_sub(over + 1).max(CELL_CHARS_MIN).max(*widest * 2 / 3);
    }
    let numeric =
        |column: usize| column > 0 && rows.iter().all(|row| !row[column].starts_with(|c: char| c.is_ascii_alphabetic()));
    let right: Vec<bool> = (0..head.len()).map(numeric).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let cell = fitted(cell, widths[column]);
            // Not by a format's width, which ends at 65,535: changes of many long texts are longer.
            let gap = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            line += &if right[column] { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
        }
        line.truncate(line.trim_end().len());
        line
    };
    let mut text = line(&mut head.iter().copied());
    if paper.colours {
        text = format!("\x1b[1m{text}\x1b[0m");
    }
    text.push('\n');
    for row in &rows {
        text += &line(&mut row.iter().map(String::as_str));
        text.push('\n');
    }
    text
}

/// Narrowest column that a table that does not fit its terminal is cut to.
const CELL_CHARS_MIN: usize = 6;

fn fitted(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.chars().count() <= width {
        return cell.into();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    (kept + "…").into()
}

/// Seconds in words of two units.
pub fn duration(seconds: u64) -> String {
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
        assert_eq!(table(&Paper::default(), &["NAME", "N"], rows), "NAME     N\na        7\nlong  1234\n");
    }

    #[test]
    fn a_cell_may_be_longer_than_a_format_is_wide() {
        let rows = vec![vec!["a".to_owned(), "x".repeat(100_000)], vec!["b".to_owned(), "y".to_owned()]];
        assert_eq!(table(&Paper::default(), &["NAME", "TEXT"], rows).lines().map(str::len).max(), Some(100_006));
    }

    #[test]
    fn a_table_is_cut_to_the_terminal_at_its_widest_column() {
        let rows = vec![vec!["a".to_owned(), "x".repeat(40), "7".to_owned()]];
        let narrow = table(&Paper { columns: Some(20), colours: false }, &["NAME", "TEXT", "N"], rows);
        assert_eq!(narrow, format!("NAME  TEXT         N\na     {}…  7\n", "x".repeat(10)));
    }

    #[test]
    fn nothing_that_steers_a_terminal_reaches_it() {
        let hostile = "a\u{1b}[2J\u{7f}\u{9b}2J\u{85}b\u{202e}c\u{2066}d\u{200f}\u{61c}é\n";
        assert_eq!(printable(hostile), "a?[2J??2J?b?c?d??é?");
        let json = serde_json::to_string(hostile).unwrap();
        let shown = harmless(&json);
        assert!(shown.chars().all(|c| !steers(c)), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile, "it is the same text");
        assert_eq!(harmless("\x1b[1mNAME\x1b[0m é\n"), "\x1b[1mNAME\x1b[0m é\n");
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(3661), "1 h 1 min");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
