//! bpf-linker, built for this workspace alone. It uses the LLVM library of the compiler.

use std::{
    fmt, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{compiler::Compiler, say};
use crate::{
    invoke::{answer, cargo, isolate, run},
    workspace::tools,
};

const VERSION: &str = "0.10.1";

/// The versions of LLVM that bpf-linker of this version can be built for.
const LLVM: [u32; 3] = [20, 21, 22];

/// A linker that fits the compiler.
pub(crate) struct Linker {
    /// The program.
    pub(crate) program: PathBuf,
    /// A directory with nothing but the compiler's LLVM library in it.
    ///
    /// bpf-linker takes the first file called `libLLVM…` below `LD_LIBRARY_PATH` and then `PATH`, whatever its version.
    pub(crate) library_path: PathBuf,
}

/// Builds the linker, unless it is there in the right version.
pub(super) fn ready(compiler: &Compiler) -> Result<Linker> {
    if !LLVM.contains(&compiler.llvm) {
        bail!("bpf-linker {VERSION} knows LLVM {LLVM:?}, and {compiler} is none of these");
    }
    let program = tools().join("bin/bpf-linker");
    if !is_installed(&program, compiler.llvm) {
        install(compiler.llvm)?;
    }
    let library_path = tools().join("llvm");
    link_library(&library_path, &compiler.llvm_library()?)?;
    Ok(Linker { program, library_path })
}

fn feature(llvm: u32) -> String {
    format!("rust-llvm-{llvm}")
}

/// Whether it is there, runs, and was built in this version for this LLVM, by cargo's own record.
fn is_installed(program: &Path, llvm: u32) -> bool {
    let record = fs::read_to_string(tools().join(".crates2.json")).unwrap_or_default();
    record.contains(&format!("\"bpf-linker {VERSION} "))
        && record.contains(&format!("\"{}\"", feature(llvm)))
        && answer(Command::new(program).arg("--version"))
            .is_some_and(|line| line.trim() == format!("bpf-linker {VERSION}"))
}

fn install(llvm: u32) -> Result<()> {
    say(&format!("building bpf-linker {VERSION} for LLVM {llvm}; this takes a minute or two"));
    let mut command = cargo();
    isolate(&mut command)
        // Built where cargo likes, not among the artefacts of the workspace.
        .env_remove("CARGO_TARGET_DIR")
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--quiet"])
        .args(["--no-default-features", "--features"])
        .arg(format!("llvm-{llvm},{}", feature(llvm)))
        .arg("--root")
        .arg(tools());
    run(&mut command).context("cannot build the BPF linker")
}

fn link_library(directory: &Path, library: &Path) -> Result<()> {
    let link = directory.join("libLLVM.so");
    if fs::read_link(&link).is_ok_and(|target| target == library) {
        return Ok(());
    }
    let make = || {
        fs::create_dir_all(directory)?;
        if link.is_symlink() {
            fs::remove_file(&link)?;
        }
        symlink(library, &link)
    };
    make().with_context(|| format!("cannot link {} to {}", link.display(), library.display()))
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker {VERSION} at {}", self.program.display())
    }
}
