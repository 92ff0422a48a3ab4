//! What is asked of the source before it is run.

use std::path::Path;

use anyhow::Result;

use crate::{
    bpf::OBJECT,
    invoke::{cargo, run},
};

/// Whether everything is formatted.
pub(crate) fn formatting() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))
}

/// Clippy on everything, the data plane as the host program that its tests are. Its build for BPF denies warnings too.
pub(crate) fn clippy(object: &Path) -> Result<()> {
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--release", "--workspace", "--all-targets"]);
    run(clippy.args(["--", "--deny", "warnings"]).env(OBJECT, object))
}
