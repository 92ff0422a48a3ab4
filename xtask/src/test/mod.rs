//! Formatting, lints, and every ring of tests: pure code, the loaded program on frames, namespaces.

mod other_kernel;
mod summary;

use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use route_cache_lab::{namespace, wait_until};

use crate::{
    bpf::{self, OBJECT, Warnings},
    conformance,
    invoke::{cargo, line},
    lints, privilege, setup,
};
use summary::Summary;

/// Of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run the tests in namespaces, and nothing else, on Debian's kernel of this series (6.1, 6.12) in a virtual machine;
    /// repeatable.
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<String>,
    /// For the test programs: a filter by name, --nocapture, and so on.
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<String>,
}

/// Runs everything, and says at the end how it went.
pub(crate) fn test(arguments: &Arguments) -> Result<ExitCode> {
    privilege::require()?;
    setup::tests()?;
    if !arguments.kernel.is_empty() {
        let mut summary = Summary::default();
        other_kernel::suites(&arguments.kernel, &arguments.rest, &mut summary)?;
        println!("\n{summary}");
        return Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if privilege::is_root() {
        for name in namespace::reap_stale()? {
            eprintln!("deleted the namespace {name}, which a killed run had left");
        }
    }
    let mut summary = Summary::default();
    summary.check("formatting", lints::formatting().as_ref().map(drop));
    let object = bpf::object(Warnings::Denied);
    summary.check("BPF object without warnings", object.as_ref().map(drop));
    // With warnings it can still be tested.
    if let Ok(object) = object.or_else(|_| bpf::object(Warnings::Ignored)) {
        summary.check("lints", lints::clippy(&object).as_ref().map(drop));
        summary.check("fuzz targets", lints::fuzz_targets().as_ref().map(drop));
        suites(&object, &arguments.rest, &mut summary)?;
        // A filter names tests, of which this is none.
        if arguments.rest.is_empty() {
            summary.check("conformance", conformance::short().as_ref().map(drop));
        }
        summary.check("nothing left behind", nothing_left_behind().as_ref().map(drop));
    }
    println!("\n{summary}");
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the test programs, and counts.
fn suites(object: &Path, filter: &[String], summary: &mut Summary) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]);
    // Two at a time: tests in namespaces measure time limits, and more would starve each other on a small machine.
    cargo.args(["--", "--test-threads", "2"]).args(told_of_all(filter));
    cargo.env(OBJECT, object).env("CARGO_TERM_COLOR", "never");
    if !privilege::is_root() {
        cargo.env(runner_variable(), "sudo -E");
    }
    follow(cargo, summary)
}

/// The arguments of a test program by which it prints, at the end, what tests said that went well: why they were skipped.
fn told_of_all(filter: &[String]) -> Vec<&str> {
    let shown = filter.iter().map(String::as_str);
    let all = "--show-output";
    shown.chain((!filter.iter().any(|word| word == all)).then_some(all)).collect()
}

/// Runs test programs to their end with their output shown as it comes.
fn follow(mut command: Command, summary: &mut Summary) -> Result<()> {
    // One pipe for both streams: cargo names the suite on one, the suite its result on the other.
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let what = line(&command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{what}`"))?;
    // It holds the writing ends, without which the reading below ends with the tests.
    drop(command);
    let mut out = io::stdout().lock();
    for text in BufReader::new(reader).split(b'\n') {
        let text = text?;
        if summary.read(&String::from_utf8_lossy(&text)) {
            out.write_all(&text)?;
            out.write_all(b"\n")?;
        }
    }
    summary.ended(child.wait()?.success());
    Ok(())
}

/// `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER` and the like.
fn runner_variable() -> String {
    let target = format!("{}-unknown-linux-{}", std::env::consts::ARCH, ENVIRONMENT);
    format!("CARGO_TARGET_{}_RUNNER", target.replace('-', "_").to_uppercase())
}

const ENVIRONMENT: &str = if cfg!(target_env = "musl") { "musl" } else { "gnu" };

/// Namespaces whose makers have ended should be gone; those of tests that somebody else runs now are not ours to judge.
fn nothing_left_behind() -> Result<()> {
    let mut left = Vec::new();
    let none_left = wait_until("the namespaces of the tests to go", Duration::from_secs(5), || {
        left = namespace::stale().unwrap_or_default();
        left.is_empty()
    });
    if none_left.is_err() {
        bail!("the tests left these network namespaces behind: {}", left.join(", "));
    }
    Ok(())
}
