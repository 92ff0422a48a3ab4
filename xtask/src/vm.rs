//! Other kernels, in virtual machines on this machine's own files: vm/run.sh.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    invoke::{answer, run},
    privilege::as_root,
    setup, workspace,
};

/// Runs what is added to it on Debian's kernel of a series, for so long at most, and ends as that does. What is written to
/// `shared` stays.
pub(crate) fn command(series: &str, shared: &Path, most: Duration) -> Result<Command> {
    setup::virtual_machine()?;
    let package = kernel_package(series)?;
    let mut command = as_root("env");
    command.arg(format!("VM_SECONDS={}", most.as_secs()));
    command.arg(workspace::root().join("xtask/vm/run.sh")).arg(package).arg(work()).arg(shared);
    Ok(command)
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
