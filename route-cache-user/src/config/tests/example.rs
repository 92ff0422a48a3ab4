//! `deploy/config.toml`.

use super::super::{file::parse, table::Setting};
use super::{Machine, Path};

const EXAMPLE: &str = include_str!("../../../../deploy/config.toml");

/// A `#` before a setting, but not before prose.
fn settings() -> Vec<&'static str> {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    lines.filter(|line| !line.is_empty() && !line.starts_with([' ', '#'])).collect()
}

#[test]
fn as_it_stands_it_changes_nothing() {
    let content = parse(EXAMPLE.as_bytes(), Path::new("FILE"));
    assert!(content.layer.is_empty() && content.problems.0.is_empty());
}

#[test]
fn every_line_uncommented_is_valid_and_is_the_default() {
    let defaults = Machine::new("").load().unwrap();
    for line in settings() {
        let content = parse(line.as_bytes(), Path::new("FILE"));
        assert_eq!(content.problems.to_string(), "", "{line}");
        let (setting, given) = content.layer.first_key_value().unwrap();
        assert_eq!(given.value, defaults.given(*setting).value, "{line}");
    }
    let all = Machine::new(&settings().join("\n")).load().unwrap();
    for setting in Setting::all() {
        assert_eq!(all.value(setting), defaults.value(setting), "{setting}");
    }
}

#[test]
fn it_has_every_setting_once_and_says_which_need_a_restart() {
    let named = |line: &&str| line.split(' ').next().unwrap_or_default().to_owned();
    let mut names: Vec<_> = settings().iter().map(named).collect();
    names.sort();
    let mut all: Vec<_> = Setting::all().map(|setting| setting.to_string()).collect();
    all.sort();
    assert_eq!(names, all);
    for paragraph in EXAMPLE.split("\n\n") {
        let line = paragraph.lines().last().unwrap_or_default();
        let name = line.strip_prefix('#').map(|line| named(&line)).unwrap_or_default();
        if let Some(setting) = Setting::by_name(&name) {
            let says = paragraph.contains("Restart.");
            assert_eq!(says, !setting.spec().at_run_time, "{setting}");
        }
    }
}
