//! What has to hold.

use std::fmt;

/// Checks, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Check>);

#[derive(Debug)]
struct Check {
    holds: bool,
    what: String,
}

impl Checks {
    /// Notes whether something holds; `what` says it with the numbers.
    pub(super) fn note(&mut self, holds: bool, what: String) {
        self.0.push(Check { holds, what });
    }

    /// Whether everything holds.
    pub(super) fn all_hold(&self) -> bool {
        self.0.iter().all(|check| check.holds)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those from number `first` on, a line each.
    pub(super) fn lines(&self, first: usize) -> String {
        self.0.iter().skip(first).map(|check| format!("{check}\n")).collect()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6}  {}", if self.holds { "ok" } else { "FAILED" }, self.what)
    }
}
