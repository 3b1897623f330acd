//! What people see: aligned tables, with colours on a terminal that wants them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

pub(super) const PLAIN: Style = Style::new();
pub(super) const NAME: Style = Style::new().bold();
pub(super) const DIMMED: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// A wider column moves what is behind it, in its line alone.
const WIDEST: usize = 44;

/// Standard output. Colours are left out where it is no terminal, and with `NO_COLOR`.
pub(super) fn stdout() -> anstream::AutoStream<io::StdoutLock<'static>> {
    anstream::AutoStream::auto(io::stdout().lock())
}

/// Standard error, in the same way.
pub(super) fn stderr() -> anstream::AutoStream<io::StderrLock<'static>> {
    anstream::AutoStream::auto(io::stderr().lock())
}

/// For programs.
pub(super) fn print_json(value: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{value:#}")
}

/// Lines whose columns are aligned.
#[derive(Default)]
pub(super) struct Table(Vec<Vec<(Style, String)>>);

impl Table {
    /// Adds a line.
    pub(super) fn line<const N: usize>(&mut self, cells: [(Style, &str); N]) {
        let cells = cells.map(|(style, text)| (style, printable(text)));
        self.0.push(cells.into());
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
            // The last column of a line has nothing to be aligned.
            let is_last = column + 1 == line.len();
            Some(line.get(column).filter(|_| !is_last)?.1.chars().count())
        });
        widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    }
}

/// What comes from others must not speak to the terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
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
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let mut table = Table::default();
        table.line([(NAME, "a"), (PLAIN, "grün"), (DIMMED, "x")]);
        table.line([(NAME, "long"), (PLAIN, "b"), (DIMMED, "y")]);
        assert_eq!(written(&table), "a     grün  x\nlong  b     y\n");
    }

    #[test]
    fn what_is_very_wide_moves_its_own_line_alone() {
        let mut table = Table::default();
        let wide = "w".repeat(WIDEST + 1);
        table.line([(PLAIN, &wide), (PLAIN, "x")]);
        table.line([(PLAIN, "a"), (PLAIN, "y")]);
        assert_eq!(written(&table), format!("{wide}  x\na  y\n"));
    }

    #[test]
    fn nothing_speaks_to_the_terminal() {
        let mut table = Table::default();
        table.line([(PLAIN, "\u{1b}[2Jx\ny")]);
        assert_eq!(written(&table), "\u{fffd}[2Jx\u{fffd}y\n");
    }
}
