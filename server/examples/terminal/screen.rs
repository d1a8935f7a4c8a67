//! A screen of characters: drawn whole, written where it differs from the last.

use std::io::{self, Write};

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::style::Print;

/// Columns.
pub const WIDTH: usize = 80;
/// Rows.
pub const HEIGHT: usize = 24;

/// One picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Screen {
    cells: [[char; WIDTH]; HEIGHT],
}

impl Screen {
    /// Nothing but blanks.
    pub fn blank() -> Screen {
        Screen { cells: [[' '; WIDTH]; HEIGHT] }
    }

    /// Puts one character; beyond the edges nothing.
    pub fn put(&mut self, column: i32, row: i32, character: char) {
        let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row)) else { return };
        if let Some(cell) = self.cells.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = if character.is_control() { '?' } else { character };
        }
    }

    /// Writes a text, cut off at the right edge.
    pub fn text(&mut self, column: i32, row: i32, text: &str) {
        for (at, character) in (column..).zip(text.chars().take(WIDTH)) {
            self.put(at, row, character);
        }
    }

    /// Writes to a terminal what differs from the picture that it shows.
    pub fn show(&self, shown: &Screen, to: &mut impl Write) -> io::Result<()> {
        for (row, (new, old)) in self.cells.iter().zip(&shown.cells).enumerate() {
            if new != old {
                queue!(to, MoveTo(0, row as u16), Print(new.iter().collect::<String>()))?;
            }
        }
        to.flush()
    }
}

impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cells.iter().try_for_each(|row| writeln!(f, "{}", row.iter().collect::<String>().trim_end()))
    }
}
