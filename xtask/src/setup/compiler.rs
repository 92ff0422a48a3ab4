//! A Rust compiler with `core` for the BPF target: Debian's, which ships it compiled, or a rustup nightly that builds it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{apt, say};
use crate::invoke::{answer, cargo, find, isolate, run};

/// The Debian packages.
const DEBIAN: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// The nightly that is installed where Debian's packages are not to be had: the last known one whose LLVM, 22, the
/// linker knows.
const NIGHTLY: &str = "nightly-2026-05-20";

/// What the compiler is told to build for: BPF in the byte order of this machine.
pub(crate) const TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// A compiler that can make BPF.
pub(crate) struct Compiler {
    kind: Kind,
    release: String,
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
    /// Root of its installation.
    pub(crate) sysroot: PathBuf,
}

enum Kind {
    /// A compiler with a compiled `core` for BPF.
    Debian(PathBuf),
    /// A rustup toolchain of this name with the source of `core`.
    Nightly(String),
}

/// Finds a compiler, or installs one where that needs no answer from anybody.
pub(super) fn ready() -> Result<Compiler> {
    if let Some(compiler) = detect() {
        return Ok(compiler);
    }
    if apt::available() {
        match apt::install(&DEBIAN) {
            Ok(()) => {}
            Err(error) if find("rustup").is_some() => say(&format!("{error:#}; trying rustup")),
            Err(error) => return Err(error),
        }
    }
    if detect().is_none() && find("rustup").is_some() {
        say(&format!("installing {NIGHTLY} with rust-src (rustup)"));
        let install = ["toolchain", "install", NIGHTLY, "--profile", "minimal"];
        let mut rustup = Command::new("rustup");
        if let Err(error) = run(rustup.args(install).args(["--component", "rust-src"])) {
            say(&format!("{error:#}"));
        }
    }
    detect().with_context(|| {
        format!(
            "there is no Rust compiler for BPF here\ntype this (on Debian): {}\nor this: rustup toolchain install {NIGHTLY} \
             --profile minimal --component rust-src\nor set ROUTE_CACHE_BPF_OBJECT to a finished BPF object",
            apt::command_line(&DEBIAN)
        )
    })
}

fn detect() -> Option<Compiler> {
    debian().or_else(|| [NIGHTLY, "nightly"].into_iter().find_map(nightly))
}

fn debian() -> Option<Compiler> {
    let path = Path::new("/usr/bin/rustc");
    let compiler = describe(Kind::Debian(path.to_owned()), || Command::new(path))?;
    compiler.sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir().then_some(compiler)
}

fn nightly(name: &str) -> Option<Compiler> {
    // Only what is installed: `rustup run` by itself would install what is not.
    answer(Command::new("rustup").args(["toolchain", "list"]))?.lines().find(|line| {
        line.starts_with(&format!("{name}-")) || line.split(' ').next() == Some(name)
    })?;
    let rustc = || {
        let mut command = Command::new("rustup");
        command.args(["run", name, "rustc"]);
        command
    };
    let compiler = describe(Kind::Nightly(name.to_owned()), rustc)?;
    compiler.sysroot.join("lib/rustlib/src/rust/library/core").is_dir().then_some(compiler)
}

fn describe(kind: Kind, rustc: impl Fn() -> Command) -> Option<Compiler> {
    let sysroot = answer(rustc().args(["--print", "sysroot"]))?;
    let version = answer(rustc().arg("-vV"))?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name));
    Some(Compiler {
        kind,
        release: field("release: ")?.to_owned(),
        llvm: field("LLVM version: ")?.split('.').next()?.parse().ok()?,
        sysroot: PathBuf::from(sysroot.trim()),
    })
}

impl Compiler {
    /// A cargo that does this ("build", "check") with this compiler for the BPF target.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = match &self.kind {
            Kind::Debian(rustc) => {
                let mut command = cargo();
                // BPF targets and some of aya's features are unstable.
                isolate(&mut command).env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command.arg(verb);
                command
            }
            Kind::Nightly(name) => {
                let mut command = Command::new("rustup");
                isolate(&mut command).current_dir(crate::workspace::root());
                command.args(["run", name, "cargo", verb, "-Zbuild-std=core"]);
                command
            }
        };
        command.args(["--release", "--target", TARGET]);
        command
    }

    /// The LLVM library that this compiler itself uses.
    pub(crate) fn llvm_library(&self) -> Result<PathBuf> {
        let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let own = format!("/usr/lib/llvm-{}/lib", self.llvm);
        let places = [self.sysroot.join("lib"), multiarch.into(), own.into()];
        let candidates = places.iter().filter_map(|place| place.read_dir().ok()).flatten();
        for path in candidates.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let names_llvm =
                [format!("libLLVM.so.{}", self.llvm), format!("libLLVM-{}", self.llvm)];
            // rustup's toolchains have a text file of such a name beside the library.
            let is_library = path.metadata().is_ok_and(|metadata| metadata.len() > 1 << 20);
            if is_library && names_llvm.iter().any(|prefix| name.starts_with(prefix)) {
                return Ok(path);
            }
        }
        bail!(
            "cannot find the library of LLVM {} that {self} uses, below {}",
            self.llvm,
            places.map(|place| place.display().to_string()).join(", ")
        )
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (release, llvm) = (&self.release, self.llvm);
        match &self.kind {
            Kind::Debian(path) => {
                write!(f, "rustc {release} at {}, LLVM {llvm}, compiled core", path.display())
            }
            Kind::Nightly(name) => {
                write!(f, "rustc {release} of rustup's {name}, LLVM {llvm}, builds core")
            }
        }
    }
}
