//! The BPF object.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{invoke::run, setup, workspace};

/// By this variable the agent's build finds the object, and a packager hands in a finished one.
pub(crate) const OBJECT: &str = "ROUTE_CACHE_BPF_OBJECT";

/// The first LLVM that makes such loads. What others make is right as well, and slower.
const KNOWS_MISALIGNED: u32 = 22;

/// What is done about warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    /// Nothing, see [`build`].
    Ignored,
    /// They are errors.
    Denied,
}

/// The finished object that was handed in, if one was. No BPF toolchain is needed then.
pub(crate) fn handed_in() -> Option<PathBuf> {
    env::var_os(OBJECT).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The object that was handed in, or a fresh one.
pub(crate) fn object(warnings: Warnings) -> Result<PathBuf> {
    let Some(path) = handed_in() else {
        return build("route-cache-ebpf", "route-cache.o", warnings);
    };
    // Cargo starts builds in the crate's directory, not in the one that the developer is in.
    let path = path
        .canonicalize()
        .with_context(|| format!("{OBJECT} names {}, which cannot be read", path.display()))?;
    eprintln!("using the BPF object that {OBJECT} names: {}", path.display());
    Ok(path)
}

/// The object with the programs that the product is measured with.
pub(crate) fn bench_object() -> Result<PathBuf> {
    build("route-cache-bench-ebpf", "route-cache-bench.o", Warnings::Ignored)
}

fn build(package: &str, file: &str, warnings: Warnings) -> Result<PathBuf> {
    let toolchain = setup::toolchain()?;
    if warnings == Warnings::Denied {
        let mut check = cargo(&toolchain, "check", package, "bpf-check", &[]);
        run(check.arg("-Zwarnings").env("CARGO_BUILD_WARNINGS", "deny"))
            .context("the BPF object does not build without warnings")?;
    }
    // Each word of a packet or a map's element in one load, whatever its address: on these architectures the kernel's
    // verifier allows it there (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS), though not on the stack. The compiler warns of
    // the feature's name in every build, and can only be silenced as a whole; what it has to say of the source is asked
    // for above, and by clippy.
    let is_allowed = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let misaligned: &[_] = if is_allowed && toolchain.compiler.llvm >= KNOWS_MISALIGNED {
        &["-Ctarget-feature=+allows-misaligned-mem-access", "-Awarnings"]
    } else {
        &[]
    };
    let mut build = cargo(&toolchain, "build", package, "bpf", misaligned);
    run(&mut build).context("cannot build the BPF object")?;

    let directory = workspace::target().join("bpf");
    let built = directory.join(setup::TARGET).join("release").join(package);
    let object = directory.join(file);
    copy_if_different(&built, &object)?;
    Ok(object)
}

/// Cargo at work on a package for BPF, in a directory of its own below `target`.
fn cargo(
    toolchain: &setup::Toolchain,
    verb: &str,
    package: &str,
    directory: &str,
    more: &[&str],
) -> Command {
    let cfg = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    let linker = format!("-Clinker={}", toolchain.linker.program.display());
    // v3: registers of 32 bits, and comparisons of them (Linux 5.1).
    let flags = [&[&*cfg, "-Clink-arg=--btf", "-Ctarget-cpu=v3", &linker], more].concat();
    let mut cargo = toolchain.compiler.cargo(verb);
    cargo
        .args(["--quiet", "--package", package, "--target-dir"])
        .arg(workspace::target().join(directory))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("LD_LIBRARY_PATH", &toolchain.linker.library_path)
        // The linker optimizes the program as a whole; what is incremental only costs it.
        // As a profile and not as a flag, so that the profile of a single package can differ (see Cargo.toml).
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo
}

/// Cargo rebuilds the agent when the object's time of change is new, so that stays if nothing has changed.
fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if !bytes.starts_with(b"\x7fELF") {
        bail!("{} is not an ELF object: was it linked by bpf-linker?", from.display());
    }
    if fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
