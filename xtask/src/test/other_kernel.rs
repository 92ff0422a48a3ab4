//! The tests in namespaces on other kernels, in virtual machines.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use route_cache_lab::wait::PATIENCE_FACTOR;
use serde_json::Value;

use super::{follow, summary::Summary, told_of_all};
use crate::{
    bpf::{self, OBJECT, Warnings},
    invoke::{cargo, line},
    vm, workspace,
};

/// How many times longer everything may take in a machine that is emulated.
const PATIENCE: u32 = 10;

/// How long a machine may take for all of it.
const MOST: Duration = Duration::from_hours(2);

/// Builds the tests in namespaces, and runs them on each kernel.
pub(super) fn suites(kernels: &[String], filter: &[String], summary: &mut Summary) -> Result<()> {
    let program = build()?;
    let shared = workspace::target().join("vm-tests");
    fs::create_dir_all(&shared).with_context(|| format!("cannot create {}", shared.display()))?;
    for series in kernels {
        let mut command = vm::command(series, &shared, MOST)?;
        command.arg("env").arg(format!("{PATIENCE_FACTOR}={PATIENCE}")).arg(&program);
        // One at a time: two emulated processors are as slow as one.
        command.args(["--test-threads", "1", "--color", "never"]).args(told_of_all(filter));
        summary.begin(format!("namespaces on Linux {series}"));
        follow(command, summary)?;
    }
    Ok(())
}

/// Builds the test program, and gives its path.
fn build() -> Result<PathBuf> {
    let object = bpf::object(Warnings::Ignored)?;
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--package", "route-cache-user", "--test", "namespaces"]);
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]).env(OBJECT, object);
    let output = cargo.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(&cargo), output.status);
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let is_it = |message: &Value| message["target"]["name"] == "namespaces";
    told.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(is_it)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not say where it put the tests in namespaces")
}
