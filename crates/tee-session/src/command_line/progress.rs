//! What is being waited for, on a terminal.

use std::io::{self, IsTerminal, Write};

/// Back to the beginning of the line, and away with what stands there.
const CLEAR: &str = "\r\u{1b}[2K";

/// A line on the terminal that is gone when this is; nothing where standard error is no terminal.
pub(super) struct Progress(bool);

impl Progress {
    pub(super) fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    /// Shows what is being waited for now.
    pub(super) fn show(&self, doing: &str) {
        self.write(&format!("{CLEAR}{doing} ..."));
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
