//! Coverage-guided fuzzing of what reads the bytes of others: `fuzz/`, with cargo-fuzz.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    invoke::{answer, cargo, isolate, run},
    workspace,
};

/// The version that is built.
const CARGO_FUZZ: &str = "0.13.2";

/// Seconds after which an input is a finding for its slowness.
const SLOW: u32 = 10;

/// What reads the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// The data plane: frames.
    Frames,
    /// The agent: netlink messages.
    Netlink,
    /// The agent: requests on the control socket.
    Control,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Netlink => "netlink",
            Self::Control => "control",
        }
    }

    /// What it starts from, beside what earlier runs found.
    fn seeds(self) -> Vec<PathBuf> {
        let root = workspace::root();
        let mut seeds = vec![root.join("fuzz/seeds").join(self.name())];
        if self == Self::Netlink {
            seeds.push(root.join("route-cache-user/src/fib/netlink/tests/fixtures"));
        }
        seeds
    }
}

/// Runs a target for so long, or until it finds something.
pub(crate) fn fuzz(target: Target, minutes: f64) -> Result<()> {
    let program = cargo_fuzz()?;
    let directory = workspace::target().join("fuzz");
    let corpus = directory.join("corpus").join(target.name());
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = Command::new(program);
    isolate(&mut command)
        .current_dir(workspace::root())
        // The sanitizer and the counters of coverage are unstable options of the compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["run", "--fuzz-dir", "fuzz", "--target-dir"])
        .arg(directory)
        .arg(target.name())
        .arg(corpus)
        .args(target.seeds())
        .args(["--", "-print_final_stats=1"])
        .arg(format!("-timeout={SLOW}"))
        .arg(format!("-max_total_time={}", (minutes * 60.0).ceil().max(1.0)));
    run(&mut command)
}

/// Builds it, unless it is there in the right version.
fn cargo_fuzz() -> Result<PathBuf> {
    let program = workspace::tools().join("bin/cargo-fuzz");
    let is_there = answer(Command::new(&program).arg("--version"))
        .is_some_and(|line| line.trim() == format!("cargo-fuzz {CARGO_FUZZ}"));
    if !is_there {
        eprintln!("building cargo-fuzz {CARGO_FUZZ}");
        let mut command = cargo();
        isolate(&mut command)
            .env_remove("CARGO_TARGET_DIR")
            .args(["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--force"])
            .args(["--quiet", "--root"])
            .arg(workspace::tools());
        run(&mut command).context("cannot build cargo-fuzz")?;
    }
    Ok(program)
}
