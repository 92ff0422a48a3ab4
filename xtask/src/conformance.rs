//! Whether the router forwards with the cache as it does without, frame by frame; here, or on another kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    agent,
    invoke::{answer, cargo, run},
    privilege::{self, as_root},
    setup, vm, workspace,
};

/// Of `cargo xtask conformance`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Boot Debian's kernel of this series (6.1, 6.12) in a virtual machine instead of using the running one; repeatable.
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<String>,
    /// Make docs/conformance.md of these results and of those that earlier calls left below target/conformance.
    #[arg(long)]
    document: bool,
    /// For the program: --row ROW, --name TEXT, --quiet, and so on.
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<String>,
}

/// In software a kernel takes its time.
const LINGER_IN_VM: [&str; 2] = ["--linger", "100"];
const MOST_IN_VM: Duration = Duration::from_mins(30);

/// Builds what it takes and runs the cases on each kernel.
pub(crate) fn perform(arguments: &Arguments) -> Result<ExitCode> {
    privilege::require()?;
    setup::tests()?;
    let agent = agent::build()?;
    let program = build()?;
    let mut good = true;
    if arguments.kernel.is_empty() {
        good &= here(&program, &agent, &arguments.rest)?;
    }
    for series in &arguments.kernel {
        good &= on(series, &program, &agent, &arguments.rest)?;
    }
    if arguments.document {
        document(&program)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All cases on the running kernel with every tier of the cache, and with each of them off, telling only what is wrong.
pub(crate) fn short() -> Result<()> {
    let (program, agent) = (build()?, agent::build()?);
    let mut good = true;
    // The last one's results are those that a document is made of.
    for tiers in ["routes", "clones", "index", "all"] {
        good &= here(&program, &agent, &["--quiet", "--tiers", tiers].map(str::to_owned))?;
    }
    if good {
        return Ok(());
    }
    bail!("the router does not forward with the cache as it does without: see above")
}

fn build() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--package", "route-cache-conformance"]);
    run(&mut cargo).context("cannot build the program that compares")?;
    Ok(workspace::target().join("release/conformance"))
}

fn here(program: &Path, agent: &Path, rest: &[String]) -> Result<bool> {
    let mut command = as_root(program);
    command.arg("--agent").arg(agent).arg("--json").arg(results()?.join("here.json")).args(rest);
    Ok(command.status().context("cannot start the program that compares")?.success())
}

fn on(series: &str, program: &Path, agent: &Path, rest: &[String]) -> Result<bool> {
    let shared = results()?;
    let mut command = vm::command(series, &shared, MOST_IN_VM)?;
    command.arg(program).arg("--agent").arg(agent);
    command.arg("--json").arg(shared.join(format!("{series}.json"))).args(LINGER_IN_VM).args(rest);
    Ok(command.status().context("cannot start xtask/vm/run.sh")?.success())
}

/// Where results are left.
fn results() -> Result<PathBuf> {
    let directory = workspace::target().join("conformance");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

fn document(program: &Path) -> Result<()> {
    let directory = results()?;
    let entries = directory.read_dir()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let text = answer(Command::new(program).arg("--document").args(&files))
        .context("cannot make a document of the results")?;
    let path = workspace::root().join("docs/conformance.md");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
