//! How far a run has come: in a virtual machine it takes its time, and the table comes last.

use std::time::{Duration, Instant};

use crate::case::Case;

/// Time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// When a line was last told, and whether any is.
pub struct Progress {
    last: Instant,
    is_quiet: bool,
}

impl Progress {
    /// Nothing is told for a while.
    pub fn begin(is_quiet: bool) -> Self {
        Self { last: Instant::now(), is_quiet }
    }

    /// Tells which case comes next, if nothing was told for long.
    pub fn tell(&mut self, number: usize, count: usize, case: &Case, how: &str) {
        if let Some(line) = self.line(Instant::now(), number, count, case, how) {
            eprintln!("{line}");
        }
    }

    fn line(
        &mut self,
        now: Instant,
        number: usize,
        count: usize,
        case: &Case,
        how: &str,
    ) -> Option<String> {
        if self.is_quiet || now.duration_since(self.last) < EVERY {
            return None;
        }
        self.last = now;
        Some(format!("{number} of {count} {how}: row {}, {}", case.row, case.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_every_ten_seconds_at_most() {
        let mut progress = Progress::begin(false);
        let case = crate::cases::all()[0];
        let began = progress.last;
        let mut line =
            |seconds| progress.line(began + Duration::from_secs(seconds), 7, 9, case, "alone");
        assert_eq!(line(9), None);
        assert_eq!(line(10), Some(format!("7 of 9 alone: row {}, {}", case.row, case.name)));
        assert_eq!(line(19), None);
        assert!(line(20).is_some());
    }
}
