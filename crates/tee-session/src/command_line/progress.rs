//! Progress display of a command on the terminal.

use std::io::{self, IsTerminal, Write};

/// Escape sequence that moves the cursor to the beginning of the line and erases the line.
const CLEAR: &str = "\r\u{1b}[2K";

/// A line on standard error that shows the current step of a command. Dropping the value erases the
/// line. If standard error is not a terminal, nothing is printed.
pub(super) struct Progress(bool);

impl Progress {
    pub(super) fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    /// Replaces the text of the progress line by `step`.
    pub(super) fn show(&self, step: &str) {
        self.write(&format!("{CLEAR}{step} ..."));
    }

    fn write(&self, text: &str) {
        if self.0 {
            let mut err = io::stderr().lock();
            let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.write(CLEAR);
    }
}
