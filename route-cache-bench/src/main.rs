//! Measures the agent's own program, as it is loaded and attached, beside its floor and its peers.
//!
//! Everything runs in namespaces of its own. Live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`) go through the generator, the
//! contender, a redirect and a veth pair into a sink, all on one CPU; contenders take turns, and ratios are of what was
//! measured in the same round.

mod bounds;
mod contender;
mod docs;
mod frame;
mod machine;
mod measure;
mod plot;
mod random;
mod report;
mod router;
mod routes;
mod scenario;
mod start;
mod statistics;
mod targets;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::{
    measure::{Effort, Routers},
    report::Report,
    router::{Plan, Router},
    routes::{Family, RouteSet},
    scenario::Scenario,
};

/// Measures Route Cache in namespaces of its own.
#[derive(Parser)]
#[command(name = "cargo xtask bench", version)]
struct Arguments {
    /// The binary of the agent.
    #[arg(long)]
    agent: PathBuf,
    /// The BPF object with the programs of the bench.
    #[arg(long)]
    object: PathBuf,
    /// The small set of scenarios, in less than two minutes.
    #[arg(long)]
    quick: bool,
    /// Only the scenarios whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Rounds; each contender runs once in each [default: 11, quick: 9].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Milliseconds that a contender runs in a round [default: 40, quick: 20].
    #[arg(long, value_name = "MS")]
    slot: Option<u64>,
    /// Seed of destinations and made routes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the results into the files of this directory: performance.md, and those of bench/.
    #[arg(long, value_name = "DIRECTORY")]
    write_docs: Option<PathBuf>,
    /// Fail if a packet costs more, in relation to the floor, than this file allows.
    #[arg(long, value_name = "PATH")]
    check: Option<PathBuf>,
    /// Write the results as JSON to this file.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match perform(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(arguments: &Arguments) -> Result<ExitCode> {
    let (all, rounds, slot_ms) =
        if arguments.quick { (scenario::QUICK, 9, 20) } else { (scenario::ALL, 11, 40) };
    let effort = Effort {
        rounds: arguments.rounds.unwrap_or(rounds),
        slot_ms: arguments.slot.unwrap_or(slot_ms),
        seed: arguments.seed,
    };
    let only = arguments.only.as_deref().unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let (scenarios, too_many): (Vec<Scenario>, Vec<Scenario>) = all
        .iter()
        .filter(|scenario| scenario.name.contains(only))
        .partition(|scenario| scenario.cpus <= cpus);
    for scenario in too_many {
        eprintln!("bench: left out, because there are {cpus} CPUs: {}", scenario.title());
    }
    ensure!(!scenarios.is_empty(), "no scenario that can be run has \"{only}\" in its name");
    let mut report = Report::new(effort)?;
    for group in scenarios.chunk_by(|a, b| a.routes == b.routes) {
        measure_group(arguments, group, effort, &mut report)?;
    }
    println!("{}", report.summary());
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("bench: wrote {}", path.display());
    }
    if let Some(directory) = &arguments.write_docs {
        docs::write(directory, &report)?;
    }
    if let Some(file) = &arguments.check {
        println!("{}", bounds::check(file, &report.results)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures scenarios that have their routes in common.
fn measure_group(
    arguments: &Arguments,
    group: &[Scenario],
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let set: RouteSet = group[0].routes;
    eprintln!("bench: building two routers with {}", set.name());
    let routes = set.routes(effort.seed)?;
    let build = |label, cached| {
        let (agent, object) = (&arguments.agent, &arguments.object);
        Router::new(&Plan { label, agent, object, family: set.family(), routes: &routes, cached })
    };
    let mut routers =
        Routers { cached: build("cached", true)?, uncached: build("uncached", false)? };
    if set == RouteSet::Full(Family::V4) {
        println!(
            "{}",
            report.add_starts([&routers.cached, &routers.uncached].map(|r| r.start.clone()))
        );
    }
    for scenario in group {
        eprintln!("bench: {}", scenario.title());
        let (all, order) = scenario.lists(&routes, effort.seed);
        let measured = measure::scenario(&mut routers, scenario, &all, &order, effort)?;
        println!("{}", report.add(*scenario, measured));
    }
    Ok(())
}
