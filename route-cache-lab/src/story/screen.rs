//! Progress on stderr: one line that changes where that is a terminal, plain lines otherwise.

use std::io::{IsTerminal, stderr};

/// The progress line.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal() }
    }

    /// A step begins.
    pub(super) fn step(&self, line: &str) {
        if self.is_terminal {
            self.show(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// How the step is doing; only for somebody who watches.
    pub(super) fn show(&self, line: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
        }
    }

    /// Leaves an empty line where the progress was.
    pub(super) fn clear(&self) {
        self.show("");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
