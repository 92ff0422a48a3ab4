//! Measuring the agent beside its floor and its peers.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};

use crate::{
    agent, bpf,
    invoke::{cargo, line, run},
    privilege::{self, as_root},
    setup, workspace,
};

/// Of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A small set of scenarios, in less than two minutes and without the full table.
    #[arg(long)]
    quick: bool,
    /// Fail if a packet costs more, in relation to the floor, than docs/bench/bounds.json allows.
    #[arg(long, requires = "quick")]
    check: bool,
    /// Write the results into docs/performance.md and docs/bench.
    #[arg(long, conflicts_with = "quick")]
    write_docs: bool,
    /// For the bench: --only TEXT, --rounds N, --slot MS, --seed N, --json PATH.
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<String>,
}

/// Builds everything, then measures as root.
pub(crate) fn bench(arguments: &Arguments) -> Result<ExitCode> {
    privilege::require()?;
    setup::bench(!arguments.quick)?;
    let agent = agent::build()?;
    let object = bpf::bench_object()?;
    run(cargo().args(["build", "--release", "--package", "route-cache-bench"]))
        .context("cannot build the bench")?;
    let docs = workspace::root().join("docs");
    let mut command = as_root(workspace::target().join("release/route-cache-bench"));
    command.arg("--agent").arg(agent).arg("--object").arg(object);
    command.args(arguments.quick.then_some("--quick"));
    if arguments.check {
        command.arg("--check").arg(docs.join("bench/bounds.json"));
    }
    if arguments.write_docs {
        command.arg("--write-docs").arg::<PathBuf>(docs);
    }
    command.args(&arguments.rest);
    let status = command.status().with_context(|| format!("cannot start `{}`", line(&command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
