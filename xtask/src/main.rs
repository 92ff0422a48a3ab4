//! What cargo cannot do: the BPF toolchain, the BPF object, running as root, all rings of tests, measuring.

mod agent;
mod bench;
mod bpf;
mod conformance;
mod fuzz;
mod invoke;
mod lints;
mod parsers;
mod privilege;
mod run;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, runs and tests Route Cache.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make everything ready that building and testing needs, and say what was done.
    Setup,
    /// Build the agent with the BPF object in it: target/release/route-cache.
    Build,
    /// Build, then run the agent as root with ARGS; with no interface among them, run the lab.
    Run(run::Arguments),
    /// Formatting, lints and every ring of tests, as root where needed.
    Test(test::Arguments),
    /// Measure the agent beside its floor and its peers, as root, in namespaces of its own.
    Bench(bench::Arguments),
    /// Send the same frames through a router with and without the cache, and compare.
    Conformance(conformance::Arguments),
    /// Random packets through random tables, with and without the cache; what comes out has to be the same. With
    /// `--target`, random bytes to what reads the bytes of others.
    Fuzz(fuzz::Arguments),
    /// The lab alone, as root, with an agent that is built.
    #[command(hide = true)]
    Lab(run::LabTask),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::everything().map(|()| ExitCode::SUCCESS),
        Task::Build => {
            let agent = agent::build()?;
            eprintln!("built {}", agent.display());
            Ok(ExitCode::SUCCESS)
        }
        Task::Run(arguments) => run::run(arguments),
        Task::Test(arguments) => test::test(&arguments),
        Task::Bench(arguments) => bench::bench(&arguments),
        Task::Conformance(arguments) => conformance::perform(&arguments),
        Task::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Task::Lab(lab) => run::lab(&lab),
    }
}
