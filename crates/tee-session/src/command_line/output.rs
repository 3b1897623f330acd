//! Output of the commands: aligned tables with colours for people, and JSON for programs.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

pub(super) const PLAIN: Style = Style::new();
pub(super) const NAME: Style = Style::new().bold();
pub(super) const DIMMED: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Maximum width of an aligned table column, in characters. A longer cell shifts the rest of its
/// line to the right.
const MAX_ALIGNED_WIDTH: usize = 44;

/// Returns standard output. Colours are omitted if standard output is not a terminal, or if the
/// environment variable `NO_COLOR` is set.
pub(super) fn stdout() -> anstream::AutoStream<io::StdoutLock<'static>> {
    anstream::AutoStream::auto(io::stdout().lock())
}

/// Returns standard error. Colours are omitted if standard error is not a terminal, or if the
/// environment variable `NO_COLOR` is set.
pub(super) fn stderr() -> anstream::AutoStream<io::StderrLock<'static>> {
    anstream::AutoStream::auto(io::stderr().lock())
}

/// Prints a line on standard error, in addition to the output. Ignores errors, because the command
/// has succeeded even if no one reads the line.
pub(super) fn print_note(note: impl Display) {
    let _ = writeln!(stderr(), "{note}");
}

/// Prints a JSON value on standard output, indented.
pub(super) fn print_json(value: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{value:#}")
}

/// Returns `count` with the noun in singular or plural, for example `1 cookie` or `2 cookies` for
/// the noun `cookie`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// A text table with aligned columns.
#[derive(Default)]
pub(super) struct Table(Vec<Vec<(Style, String)>>);

impl Table {
    /// Adds a line with a fixed number of cells.
    pub(super) fn line<const N: usize>(&mut self, cells: [(Style, &str); N]) {
        self.push(cells);
    }

    /// Adds a line of cells. Replaces the control characters in the texts of the cells.
    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = (Style, impl AsRef<str>)>) {
        let cells = cells.into_iter();
        let cells = cells.map(|(style, text)| (style, printable(text.as_ref())));
        self.0.push(cells.collect());
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.0 {
            for (column, (style, text)) in line.iter().enumerate() {
                write!(out, "{style}{text}{style:#}")?;
                if column + 1 < line.len() {
                    let gap = self.width(column).saturating_sub(text.chars().count()) + 2;
                    write!(out, "{:gap$}", "")?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn width(&self, column: usize) -> usize {
        let widths = self.0.iter().filter_map(|line| {
            // The last cell of a line is not padded, because no cell follows it.
            let is_last = column + 1 == line.len();
            Some(line.get(column).filter(|_| !is_last)?.1.chars().count())
        });
        widths
            .filter(|width| *width <= MAX_ALIGNED_WIDTH)
            .max()
            .unwrap_or(0)
    }
}

/// Replaces each control character by U+FFFD, so that text from other sources, such as the label of
/// a session, cannot send control sequences to the terminal. Also replaces the characters that
/// change the direction of writing (Unicode Bidi_Control), which could make a line read
/// differently.
pub(super) fn printable(text: &str) -> String {
    let is_bidi_control = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| match c {
        c if c.is_control() || is_bidi_control(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn table_columns_are_aligned_without_trailing_spaces() {
        let mut table = Table::default();
        table.line([(NAME, "a"), (PLAIN, "grün"), (DIMMED, "x")]);
        table.line([(NAME, "long"), (PLAIN, "b"), (DIMMED, "y")]);
        assert_eq!(written(&table), "a     grün  x\nlong  b     y\n");
    }

    #[test]
    fn table_cell_wider_than_the_maximum_shifts_only_cells_of_the_same_line() {
        let mut table = Table::default();
        let wide = "w".repeat(MAX_ALIGNED_WIDTH + 1);
        table.line([(PLAIN, &wide), (PLAIN, "x")]);
        table.line([(PLAIN, "a"), (PLAIN, "y")]);
        assert_eq!(written(&table), format!("{wide}  x\na  y\n"));
    }

    #[test]
    fn control_and_bidirectional_characters_in_table_cells_are_replaced() {
        let mut table = Table::default();
        table.line([(PLAIN, "\u{1b}[2Jx\ny\u{202e}z")]);
        assert_eq!(written(&table), "\u{fffd}[2Jx\u{fffd}y\u{fffd}z\n");
    }
}
