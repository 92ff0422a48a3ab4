//! What is asked of the source before it is run.

use std::path::Path;

use anyhow::Result;

use crate::{
    bpf::OBJECT,
    invoke::{cargo, run},
    workspace,
};

/// Whether everything is formatted.
pub(crate) fn formatting() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
}

/// Whether the fuzz targets still fit the modules they are made of.
pub(crate) fn fuzz_targets() -> Result<()> {
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    run(clippy.arg(workspace::target().join("fuzz")).args(["--", "--deny", "warnings"]))
}

/// Clippy on everything, the data plane as the host program that its tests are. Its build for BPF denies warnings too.
pub(crate) fn clippy(object: &Path) -> Result<()> {
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--release", "--workspace", "--all-targets"]);
    run(clippy.args(["--", "--deny", "warnings"]).env(OBJECT, object))
}
