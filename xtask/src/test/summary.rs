//! Adding up what the suites report.

use std::fmt;

use anyhow::Error;

/// How all suites went.
#[derive(Debug, Default)]
pub(super) struct Summary {
    suites: Vec<Suite>,
    /// The suite whose result is awaited.
    current: Option<String>,
    /// What its tests print now.
    section: Section,
    /// The test whose output is being read.
    test: Option<String>,
    /// Tests that found something missing here and ended early: which, and what.
    skips: Vec<String>,
    /// How many of them the current suite has.
    skips_of_current: u64,
}

/// Where in the output of a suite a line stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// One line a test; or what tests print, where it is not held back.
    #[default]
    Running,
    /// What tests printed that went well.
    Successes,
    /// And that failed.
    Failures,
}

#[derive(Debug)]
struct Suite {
    name: String,
    counts: Counts,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Summary {
    /// Takes in something that either holds or does not.
    pub(super) fn check(&mut self, name: &str, result: Result<(), &Error>) {
        let counts = match result {
            Ok(()) => Counts { passed: 1, ..Counts::default() },
            Err(error) => {
                eprintln!("error: {error:#}");
                Counts { failed: 1, ..Counts::default() }
            }
        };
        self.suites.push(Suite { name: name.to_owned(), counts });
    }

    /// The result of a suite is awaited that cargo does not name.
    pub(super) fn begin(&mut self, name: String) {
        self.give_up_current();
        (self.section, self.test, self.skips_of_current) = (Section::Running, None, 0);
        self.current = Some(name);
    }

    /// Takes in a line of what `cargo test` prints. Says whether it is to be shown: what tests print that go well is not.
    #[must_use]
    pub(super) fn read(&mut self, line: &str) -> bool {
        if let Some(name) = suite_name(line) {
            self.begin(name);
        } else if let Some(mut counts) = Counts::parse(line) {
            let name = self.current.take().unwrap_or_else(|| "tests".to_owned());
            let skipped = std::mem::take(&mut self.skips_of_current).min(counts.passed);
            counts.passed -= skipped;
            counts.skipped += skipped;
            self.suites.push(Suite { name, counts });
            self.section = Section::Running;
        } else if line == "successes:" {
            self.section = Section::Successes;
        } else if line == "failures:" {
            self.section = Section::Failures;
        } else if let Some(test) = output_of(line) {
            self.test = Some(test.to_owned());
        } else if let Some(reason) = line.strip_prefix("skipped: ")
            && self.section != Section::Failures
        {
            let test = self.test.as_deref().filter(|_| self.section == Section::Successes);
            self.skips.push(format!("{}: {reason}", test.unwrap_or("a test")));
            self.skips_of_current += 1;
        }
        self.section != Section::Successes
    }

    /// Takes in the end of `cargo test`.
    pub(super) fn ended(&mut self, success: bool) {
        self.give_up_current();
        if !success && self.total().failed == 0 {
            let counts = Counts { failed: 1, ..Counts::default() };
            self.suites.push(Suite { name: "building the tests".to_owned(), counts });
        }
    }

    /// Whether nothing failed.
    pub(super) fn is_good(&self) -> bool {
        self.total().failed == 0
    }

    /// A suite that ends without a result was killed or has aborted.
    fn give_up_current(&mut self) {
        if let Some(name) = self.current.take() {
            let counts = Counts { failed: 1, ..Counts::default() };
            self.suites.push(Suite { name: format!("{name}: ended without a result"), counts });
        }
    }

    fn total(&self) -> Counts {
        self.suites.iter().fold(Counts::default(), |sum, suite| Counts {
            passed: sum.passed + suite.counts.passed,
            failed: sum.failed + suite.counts.failed,
            skipped: sum.skipped + suite.counts.skipped,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for suite in self.suites.iter().filter(|suite| suite.counts != Counts::default()) {
            let verdict = if suite.counts.failed == 0 { "ok    " } else { "FAILED" };
            writeln!(f, "{verdict} {}: {}", suite.name, suite.counts)?;
        }
        for skip in &self.skips {
            writeln!(f, "skipped {skip}")?;
        }
        write!(f, "{}", self.total())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Counts {
    /// Reads `test result: ok. 16 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    fn parse(line: &str) -> Option<Self> {
        let (_, parts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |name: &str| {
            parts.split("; ").find_map(|part| part.strip_suffix(name)?.trim_end().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("ignored")?,
        })
    }
}

/// Reads `---- vlan::row_34 stdout ----`.
fn output_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Reads `     Running tests/lab.rs (target/release/deps/lab-6250af7bc0b61d2b)` and `   Doc-tests route_cache_lab`.
fn suite_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("documentation of {name}"));
    }
    let (source, program) = line.strip_prefix("Running ")?.strip_suffix(')')?.split_once(" (")?;
    let (_, program) = program.rsplit_once("/deps/")?;
    let (name, _hash) = program.rsplit_once('-')?;
    Some(match source.strip_prefix("unittests ") {
        Some(_) => format!("{name}, unit tests"),
        None => format!("{name}, {source}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            let _shown = summary.read(line);
        }
        summary
    }

    #[test]
    fn adds_up_suites() {
        let mut summary = read(&[
            "     Running unittests src/lib.rs (target/release/deps/route_cache_lab-21b2e42170471e53)",
            "test frame::of_a_name ... ok",
            "test result: ok. 16 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "     Running tests/lab.rs (target/release/deps/lab-6250af7bc0b61d2b)",
            "test result: FAILED. 9 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 4.41s",
        ]);
        summary.ended(false);
        assert!(!summary.is_good());
        assert_eq!(
            summary.to_string(),
            "ok     route_cache_lab, unit tests: 16 passed, 0 failed, 1 skipped\n\
             FAILED lab, tests/lab.rs: 9 passed, 2 failed, 0 skipped\n\
             25 passed, 2 failed, 1 skipped"
        );
    }

    #[test]
    fn a_test_that_says_it_is_skipped_has_not_passed() {
        let mut summary = Summary::default();
        let lines = [
            ("     Running tests/main.rs (/t/release/deps/namespaces-62)", true),
            ("test vlan::row_34 ... ok", true),
            ("successes:", false),
            ("", false),
            ("---- vlan::row_34 stdout ----", false),
            ("skipped: no VLAN devices here: Error: Unknown device type.", false),
            ("---- life::of_another stdout ----", false),
            ("not skipped: it ran", false),
            ("successes:", false),
            ("    vlan::row_34", false),
            ("failures:", true),
            ("---- life::of_one stdout ----", true),
            ("skipped: but it failed", true),
            (
                "test result: FAILED. 5 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
                true,
            ),
        ];
        for (line, is_shown) in lines {
            assert_eq!(summary.read(line), is_shown, "{line}");
        }
        summary.begin("namespaces on Linux 6.12".to_owned());
        let _shown = summary.read("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured");
        summary.ended(false);
        assert_eq!(
            summary.to_string(),
            "FAILED namespaces, tests/main.rs: 4 passed, 1 failed, 2 skipped\n\
             ok     namespaces on Linux 6.12: 2 passed, 0 failed, 0 skipped\n\
             skipped vlan::row_34: no VLAN devices here: Error: Unknown device type.\n\
             6 passed, 1 failed, 2 skipped"
        );
    }

    #[test]
    fn a_suite_without_a_result_has_failed() {
        let mut summary =
            read(&["     Running tests/lab.rs (/t/release/deps/lab-62)", "Segmentation fault"]);
        summary.ended(false);
        assert_eq!(summary.total(), Counts { failed: 1, ..Counts::default() });
    }

    #[test]
    fn a_failed_build_has_failed() {
        let mut summary = read(&["error[E0425]: cannot find value `x` in this scope"]);
        summary.ended(false);
        assert!(summary.to_string().ends_with("\n0 passed, 1 failed, 0 skipped"), "{summary}");
    }

    #[test]
    fn checks_are_counted() {
        let mut summary = Summary::default();
        summary.check("formatting", Ok(()));
        summary.ended(true);
        assert_eq!(
            summary.to_string(),
            "ok     formatting: 1 passed, 0 failed, 0 skipped\n1 passed, 0 failed, 0 skipped"
        );
    }
}
