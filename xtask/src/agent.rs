//! The agent, with the BPF object in it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{
    bpf::{self, OBJECT, Warnings},
    invoke::{cargo, run},
    workspace,
};

/// Builds `target/release/route-cache`.
pub(crate) fn build() -> Result<PathBuf> {
    let object = bpf::object(Warnings::Ignored)?;
    let mut build = cargo();
    build.args(["build", "--release", "--package", "route-cache-user"]).env(OBJECT, object);
    run(&mut build).context("cannot build the agent")?;
    Ok(workspace::target().join("release/route-cache"))
}
