//! What `cargo xtask run` shows: a router first without and then with the cache, real traffic, and whether all of it held.

mod checks;
mod interrupt;
mod meter;
mod phases;
mod report;
mod screen;
mod stage;
pub mod traffic;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};

use crate::{Agent, Lab, namespace::reap_stale};
use interrupt::Interrupt;
use report::Report;
use stage::Stage;

/// How the lab is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary of the agent.
    pub agent: PathBuf,
    /// About how long traffic runs in all.
    pub seconds: u64,
    /// Leave everything up at the end until Ctrl-C.
    pub keep: bool,
}

/// Runs the lab: progress on stderr, the summary on stdout. Success means that every check held.
///
/// # Errors
/// If the lab cannot be built, or the agent or the traffic cannot be started.
pub fn run(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    for name in reap_stale()? {
        eprintln!("deleted the namespace {name}, which a killed run had left");
    }
    // Everything that is made lives in this call, and is gone after it.
    let played = play(options, &interrupt);
    match (interrupt.code(), played) {
        (_, Ok(held)) => Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        (Some(code), Err(_)) => {
            eprintln!("interrupted; the lab is removed");
            Ok(ExitCode::from(code))
        }
        (None, Err(error)) => Err(error),
    }
}

fn play(options: &Options, interrupt: &Interrupt) -> Result<bool> {
    let lab = Lab::new("").context("cannot build the lab")?;
    let mut stage = Stage::new(&lab, options.seconds, interrupt)?;
    let mut report = Report::default();

    phases::kernel_only(&mut stage, &mut report)?;
    stage.say("starting the agent in the router");
    let mut agent = Agent::start(&options.agent, &lab.router, &["left", "right"])?;
    phases::with_cache(&mut stage, &agent, &mut report)?;
    phases::default_offloads(&mut stage, &agent, &mut report)?;
    report.take_status(agent.status()?);
    stage.clear();

    if options.keep {
        println!("{report}");
        println!("{}", how_to_enter(options, &lab, &agent));
        interrupt.wait();
        phases::end(&lab, &mut agent, &mut report)?;
        report.print_last_checks();
    } else {
        phases::end(&lab, &mut agent, &mut report)?;
        println!("{report}");
    }
    Ok(report.held())
}

fn how_to_enter(options: &Options, lab: &Lab, agent: &Agent) -> String {
    let (binary, socket) = (options.agent.display(), agent.control_socket().display());
    format!(
        "The lab is up until Ctrl-C. From another terminal, as root:\n\
         \n  enter the router   ip netns exec {router} bash\
         \n  enter the client   ip netns exec {client} bash      (ping {address})\
         \n  enter the server   ip netns exec {server} bash\
         \n  ask the agent      {binary} status --control-socket {socket}\
         \n                     {binary} show clones --control-socket {socket}\
         \n  metrics            curl http://{metrics}/metrics\n",
        router = lab.router.name(),
        client = lab.client.namespace.name(),
        server = lab.server.namespace.name(),
        address = lab.server.address,
        metrics = agent.metrics_address(),
    )
}
