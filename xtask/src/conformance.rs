//! Whether the router forwards with the cache as it does without, frame by frame; here, or on another kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    agent,
    invoke::{answer, cargo, run},
    privilege::{self, as_root},
    setup, workspace,
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
    setup::virtual_machine()?;
    let package = kernel_package(series)?;
    let shared = results()?;
    let mut command = as_root(workspace::root().join("xtask/vm/run.sh"));
    command.arg(package).arg(work()).arg(&shared).arg(program).arg("--agent").arg(agent);
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

/// Where kernels are kept.
fn work() -> PathBuf {
    workspace::target().join("vm")
}

/// Debian's package of a kernel of this series, downloaded and not installed.
fn kernel_package(series: &str) -> Result<PathBuf> {
    let meta = match series {
        // The kernel of Debian 12, whose package does not say so in its name.
        "6.1" => "linux-image-cloud-amd64".to_owned(),
        _ => format!("linux-image-{series}-cloud-amd64"),
    };
    let told = answer(Command::new("apt-cache").args(["depends", &meta]));
    let package = told
        .as_deref()
        .and_then(|told| told.lines().find_map(|line| line.trim().strip_prefix("Depends: ")))
        .with_context(|| format!("apt knows no package {meta}: try `apt-get update`"))?;
    if !package.starts_with(&format!("linux-image-{series}.")) {
        bail!("{meta} stands for {package} here, which is not of the series {series}");
    }
    let work = work();
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let of_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    };
    let find = || Some(work.read_dir().ok()?.filter_map(|e| Some(e.ok()?.path())).find(of_package));
    if let Some(path) = find().flatten() {
        return Ok(path);
    }
    run(Command::new("apt-get").args(["-q", "download", package]).current_dir(&work))?;
    find().flatten().with_context(|| format!("apt-get download left no {package} here"))
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
