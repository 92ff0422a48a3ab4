//! A short run of `cargo xtask fuzz`, and what longer ones have found. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use route_cache_fuzz::{Options, Report, replay, run};

const BINARY: &str = env!("CARGO_BIN_EXE_route-cache");

/// Configurations of each run.
const CONFIGURATIONS: u64 = 5;

fn fuzz(seed: u64) -> Report {
    eprintln!("fuzz: seed {seed}");
    let options = Options {
        agent: PathBuf::from(BINARY),
        seed,
        duration: Duration::from_secs(60),
        configurations: CONFIGURATIONS,
        frames: 1000,
        keep_going: false,
    };
    let report = run(&options, |line| eprintln!("fuzz: {line}")).unwrap();
    eprintln!("fuzz: {}", report.summary());
    report
}

#[track_caller]
fn finds_nothing(seed: u64) {
    let report = fuzz(seed);
    assert!(report.found.is_empty(), "{}", report.found.join("\n"));
    assert!(report.is_meaningful(), "{:?}", report.outcomes);
}

#[test]
fn random_packets_come_out_as_without_the_cache() {
    finds_nothing(1);
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = files.collect();
    cases.sort();
    assert!(!cases.is_empty());
    let differences = replay(Path::new(BINARY), &cases).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
