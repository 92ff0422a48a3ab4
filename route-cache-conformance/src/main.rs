//! Sends the same frames through a router without and with Route Cache, in one lab, and compares what comes of them.
//!
//! Each case is a row of the checklist of forwarding: commands, frames, what the kernel alone makes of them, and what the
//! data plane has to do. Everything that arrives at any host is compared byte for byte, ICMP answers included, and so
//! are the kernel's counters.

mod case;
mod cases;
mod compare;
mod counts;
mod ipv6;
mod need;
mod pinned;
mod place;
mod progress;
mod report;
mod run;
mod settle;
mod tiers;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;

use crate::{run::Options, tiers::Tiers};

/// Compares the forwarding of Route Cache with that of the kernel, byte by byte. Needs root.
#[derive(Parser)]
#[command(name = "conformance", version)]
struct Arguments {
    /// The agent's binary.
    #[arg(long, default_value = "target/release/route-cache")]
    agent: PathBuf,
    /// Only cases of this row.
    #[arg(long)]
    row: Option<String>,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    name: String,
    /// How long to wait for a frame that should not come.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10)]
    linger: u64,
    /// What stands in front of the routes.
    #[arg(long, value_enum, default_value_t = Tiers::All)]
    tiers: Tiers,
    /// Write the results here, in JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// No table, only what is wrong and the sums.
    #[arg(long)]
    quiet: bool,
    /// Run nothing: make the document of these results and print it.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["json", "row"])]
    document: Vec<PathBuf>,
    /// For the agent.
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<String>,
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
    if !arguments.document.is_empty() {
        print!("{}", report::document(&arguments.document)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut wanted = cases::all();
    wanted.retain(|case| {
        arguments.row.as_ref().is_none_or(|row| case.row == row)
            && case.name.contains(&arguments.name)
    });
    let options = Options {
        agent: &arguments.agent,
        arguments: &arguments.rest,
        tiers: arguments.tiers,
        linger: Duration::from_millis(arguments.linger),
        is_quiet: arguments.quiet,
    };
    let verdicts = run::run(&wanted, &options)?;
    let kernel = report::kernel()?;
    if let Some(path) = &arguments.json {
        fs::write(path, report::json(&verdicts, &kernel))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !arguments.quiet {
        println!("{}", report::table(&verdicts, &kernel));
    }
    let (text, good) = report::sums(&verdicts);
    println!("{text}");
    Ok(if good && !verdicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
