//! The command line as a whole.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{
    Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind,
    parser::ValueSource,
};

use super::AgentOptions;
use crate::control::protocol::Request;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Run the agent in the foreground.
    Agent(AgentOptions),
    /// Ask a running agent, through [`run_client`](super::run_client).
    Client {
        /// What to ask.
        command: ClientCommand,
        /// Where it listens.
        control_socket: PathBuf,
    },
}

/// Parses the command line of this process; ends it after `--help` and `--version` (0) and on a usage error (2).
pub(crate) fn parse() -> Invocation {
    try_parse(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// `route-cache`.
#[derive(Debug, Parser)]
#[command(
    name = "route-cache",
    version,
    about = ABOUT,
    override_usage = "route-cache --interface NAME-OR-GLOB... [AGENT OPTIONS]\n       \
                      route-cache [--control-socket PATH] COMMAND",
    after_help = EXAMPLES,
)]
struct CommandLine {
    /// Socket for commands
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/route-cache/control.sock"
    )]
    control_socket: PathBuf,

    #[command(flatten)]
    agent: AgentOptions,

    #[command(subcommand)]
    command: Option<ClientCommand>,
}

const ABOUT: &str = "\
route-cache forwards packets by XDP out of cloned host routes, with the kernel as the slow path.

Without a command it is the agent: it attaches an XDP program to the interfaces named, mirrors the
kernel's routes and neighbours into it, and runs in the foreground until SIGINT or SIGTERM, when it
removes all it made. XDP forwards a packet only where the kernel would have forwarded it just so;
everything else is left to the kernel.

With a command it asks a running agent.";

const EXAMPLES: &str = "\
A DURATION is whole seconds, minutes or hours: 90, 90s, 5m, 1h. With --netns, routes and interfaces
are those of the namespace; the control socket and the metrics stay where the agent was started.
Without --bypass-netfilter, packets that such rules would have to see are left to the kernel.

Examples:
  Accelerate two interfaces, and every VXLAN device that ever appears:
    route-cache --interface eth0 --interface eth1 --interface 'vxlan*'
  Serve a network namespace, and let clones live for five minutes:
    route-cache --netns router --interface 'veth*' --rtexpire 5m
  Is it working, and if not, why not?
    route-cache status
  What happens to a packet to 192.0.2.1?
    route-cache get 192.0.2.1
  The ten clones that forwarded most:
    route-cache show clones --json | jq -r 'sort_by(-.packets)[:10][] | \"\\(.dst) \\(.packets)\"'";

/// A question to a running agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum ClientCommand {
    /// Show whether XDP forwards, how packets end, and how full the tables are
    Status(Format),
    /// List what is in a table
    Show {
        /// The table
        #[arg(value_enum, value_name = "TABLE")]
        listing: Listing,
        #[command(flatten)]
        format: Format,
    },
    /// Explain what happens to a packet to an address, and why
    Get {
        /// Destination address
        #[arg(value_name = "ADDR")]
        address: IpAddr,
        #[command(flatten)]
        format: Format,
    },
}

/// A table to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// Cloned host routes, per CPU
    Clones,
    /// Routes mirrored from the kernel
    Routes,
    /// Next hops, and the state of their neighbours
    #[value(name = "nexthops")]
    NextHops,
    /// Interfaces that are attached or wanted
    Interfaces,
}

/// How to print the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct Format {
    /// Print JSON: indented on a terminal, on one line otherwise
    #[arg(long)]
    pub(super) json: bool,
}

impl ClientCommand {
    /// What to send to the agent.
    pub(super) fn request(self) -> Request {
        match self {
            ClientCommand::Status(_) => Request::Status {},
            ClientCommand::Show { listing: Listing::Clones, .. } => Request::Clones {},
            ClientCommand::Show { listing: Listing::Routes, .. } => Request::Routes {},
            ClientCommand::Show { listing: Listing::NextHops, .. } => Request::NextHops {},
            ClientCommand::Show { listing: Listing::Interfaces, .. } => Request::Interfaces {},
            ClientCommand::Get { address, .. } => Request::Get { address },
        }
    }

    /// Whether JSON was asked for.
    pub(super) fn json(self) -> bool {
        match self {
            ClientCommand::Status(format)
            | ClientCommand::Show { format, .. }
            | ClientCommand::Get { format, .. } => format.json,
        }
    }
}

/// Parses a command line, whose first word is the program.
///
/// # Errors
///
/// A usage error, or the text of `--help` or `--version`.
pub(super) fn try_parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Invocation, clap::Error> {
    let mut grammar = CommandLine::command();
    let matches = grammar.try_get_matches_from_mut(words)?;
    let CommandLine { mut agent, control_socket, command } =
        CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut grammar))?;
    let Some(command) = command else {
        if agent.interfaces.is_empty() {
            return Err(grammar.error(
                ErrorKind::MissingRequiredArgument,
                "no interface named: give --interface NAME-OR-GLOB to run the agent, \
                 or a command such as 'status' to ask a running one",
            ));
        }
        agent.control_socket = control_socket;
        return Ok(Invocation::Agent(agent));
    };
    let options = AgentOptions::augment_args(Command::new("agent"));
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    match options.get_arguments().find(|option| given(option.get_id().as_str())) {
        Some(option) => Err(grammar.error(
            ErrorKind::ArgumentConflict,
            format!(
                "--{} is an option of the agent, and a command does not start one",
                option.get_long().unwrap_or_default()
            ),
        )),
        None => Ok(Invocation::Client { command, control_socket }),
    }
}
