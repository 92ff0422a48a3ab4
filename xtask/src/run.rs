//! Running the agent, or the lab if no interface is named.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser;

use crate::{
    agent,
    privilege::{as_root, is_root, replace_with},
    setup,
};

/// Words that show that the agent is meant and not the lab: an interface, or a subcommand.
const MEANS_AGENT: [&str; 10] =
    ["--interface", "-i", "help", "status", "show", "get", "--help", "-h", "--version", "-V"];

/// How long traffic runs in the lab, unless it is told.
const SECONDS: u64 = 15;

/// Exit code of a call that cannot be understood.
const USAGE: u8 = 2;

/// Of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lab: LabOptions,
    /// For the agent, if an interface or a subcommand is among them; otherwise the lab's, as above.
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<String>,
}

/// Of the lab.
#[derive(clap::Args, Clone)]
struct LabOptions {
    /// Lab: about how long traffic runs in all [default: 15].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Lab: leave it up until Ctrl-C and print how to enter it.
    #[arg(long)]
    keep: bool,
}

/// Of the hidden task that runs the lab alone.
#[derive(clap::Args)]
pub(crate) struct LabTask {
    #[command(flatten)]
    options: LabOptions,
    /// The binary of the agent.
    #[arg(long)]
    agent: PathBuf,
}

/// The lab's options where they stand behind `--`.
#[derive(Parser)]
#[command(
    name = "cargo xtask run --",
    bin_name = "cargo xtask run --",
    no_binary_name = true,
    after_help = "These are the lab's options. To run the agent, name an interface: --interface NAME"
)]
struct LabLine {
    #[command(flatten)]
    options: LabOptions,
}

/// Builds and runs what the arguments ask for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    if !arguments.rest.is_empty() && (arguments.lab.seconds.is_some() || arguments.lab.keep) {
        eprintln!(
            "error: --seconds and --keep are the lab's: give them alone, or ARGS without them"
        );
        return Ok(ExitCode::from(USAGE));
    }
    if arguments.rest.iter().any(|word| means_agent(word)) {
        let binary = agent::build()?;
        let mut command = as_root(binary);
        command.args(arguments.rest);
        return replace_with(command).map(never);
    }
    let options = if arguments.rest.is_empty() {
        arguments.lab
    } else {
        // Ends the process with the usage if it is not the lab's either.
        LabLine::parse_from(arguments.rest).options
    };
    setup::lab()?;
    let agent = agent::build()?;
    if is_root() {
        return lab(&LabTask { options, agent });
    }
    let mut command = as_root(std::env::current_exe()?);
    command.arg("lab").args(options.seconds.map(|n| format!("--seconds={n}")));
    command.args(options.keep.then_some("--keep")).arg("--agent").arg(agent);
    replace_with(command).map(never)
}

/// Runs the lab in this process.
pub(crate) fn lab(task: &LabTask) -> Result<ExitCode> {
    route_cache_lab::story::run(&route_cache_lab::story::Options {
        agent: Path::new(&task.agent).to_owned(),
        seconds: task.options.seconds.unwrap_or(SECONDS),
        keep: task.options.keep,
    })
}

fn means_agent(word: &str) -> bool {
    MEANS_AGENT.contains(&word) || word.starts_with("--interface=")
}

// Of `Infallible`: the process has been replaced.
fn never(value: Infallible) -> ExitCode {
    match value {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Arguments {
        Line::parse_from([&["run"], words].concat()).arguments
    }

    #[test]
    fn the_labs_options_stand_on_either_side() {
        assert_eq!(parse(&["--seconds", "5"]).lab.seconds, Some(5));
        let behind = LabLine::parse_from(parse(&["--", "--seconds", "5", "--keep"]).rest).options;
        assert_eq!((behind.seconds, behind.keep), (Some(5), true));
    }

    #[test]
    fn an_interface_or_a_subcommand_means_the_agent() {
        for words in
            [["--interface", "eth1"], ["--interface=eth1", "--trace-packets"], ["show", "clones"]]
        {
            assert!(words.iter().any(|word| means_agent(word)), "{words:?}");
        }
        assert!(!["--seconds", "5", "--keep"].iter().any(|word| means_agent(word)));
    }
}
