//! Random packets through random tables, with and without the cache.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use route_cache_fuzz::Options;

use crate::{
    agent,
    parsers::{self, Target},
    privilege::{as_root, is_root, replace_with},
    workspace,
};

/// Of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long, in minutes.
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    minutes: f64,
    /// Of the first configuration; the next has the next [default: from the clock].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many configurations at most.
    #[arg(long, value_name = "N", default_value_t = u64::MAX)]
    configurations: u64,
    /// Frames of a configuration.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    frames: usize,
    /// Go on after a difference.
    #[arg(long)]
    keep_going: bool,
    /// Run the cases in these files instead.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    replay: Vec<PathBuf>,
    /// Coverage-guided, one of the parsers of what others send.
    #[arg(long, value_enum, value_name = "NAME")]
    #[arg(conflicts_with_all = ["seed", "configurations", "frames", "keep_going", "replay"])]
    target: Option<Target>,
    /// An agent that is built.
    #[arg(long, hide = true)]
    agent: Option<PathBuf>,
}

/// Builds the agent, and runs it against the kernel.
pub(crate) fn fuzz(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(target) = arguments.target {
        return parsers::fuzz(target, arguments.minutes).map(|()| ExitCode::SUCCESS);
    }
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => agent::build()?,
    };
    if !is_root() {
        let mut command = as_root(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).arg("--agent").arg(agent);
        return replace_with(command).map(|never| match never {});
    }
    if !arguments.replay.is_empty() {
        let differences = route_cache_fuzz::replay(&agent, &arguments.replay)?;
        differences.iter().for_each(|difference| println!("{difference}"));
        return Ok(exit(differences.is_empty()));
    }
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
    };
    println!("seed {seed}");
    let options = Options {
        agent,
        seed,
        duration: Duration::from_secs_f64(arguments.minutes * 60.0),
        configurations: arguments.configurations,
        frames: arguments.frames,
        keep_going: arguments.keep_going,
    };
    let report = route_cache_fuzz::run(&options, |line| println!("{line}"))?;
    for (number, found) in report.found.iter().enumerate() {
        let path = workspace::target().join(format!("fuzz-{seed}-{number}.case"));
        fs::write(&path, found).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\n{}; in {}", found.trim_end(), path.display());
    }
    let mut outcomes: Vec<_> = report.outcomes.iter().collect();
    outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    outcomes.iter().for_each(|(name, count)| println!("{count:>10} {name}"));
    println!("{}", report.summary());
    if !report.is_meaningful() {
        bail!("too little was forwarded by XDP for this to mean anything");
    }
    Ok(exit(report.found.is_empty()))
}

fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
