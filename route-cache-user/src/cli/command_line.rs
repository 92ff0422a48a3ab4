//! The command line as a whole.

use std::{
    ffi::OsString,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::PathBufValueParser, error::ErrorKind,
};

use super::{AgentOptions, config_check};
use crate::{
    config::{
        ConfigFile, Environment, Options, Problems, STANDARD_PATH, Setting, Settings, Sources,
    },
    control::protocol::Request,
};

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Run the agent in the foreground.
    Agent(Box<AgentOptions>),
    /// Ask a running agent, through [`run_client`](super::run_client).
    Client {
        /// What to ask.
        command: ClientCommand,
        /// Where it listens.
        control_socket: PathBuf,
    },
    /// Say what the settings come to, through [`check_config`](super::check_config).
    CheckConfig {
        /// Where they come from.
        sources: Sources,
    },
}

/// Why there is nothing to do.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A usage error, or the text of `--help` or `--version`.
    Usage(clap::Error),
    /// The file or the environment is wrong.
    Settings(Problems),
}

/// Parses the command line of this process; ends it after `--help` and `--version` (0), on a usage error (2) and on
/// settings that are wrong (1).
pub(crate) fn parse() -> Invocation {
    match try_parse(std::env::args_os(), &Environment::of_this_process(), STANDARD_PATH.as_ref()) {
        Ok(invocation) => invocation,
        Err(Refusal::Usage(error)) => error.exit(),
        Err(Refusal::Settings(problems)) => {
            config_check::write_problems(&problems);
            std::process::exit(1);
        }
    }
}

/// `route-cache`.
#[derive(Debug, Parser)]
#[command(
    name = "route-cache",
    version,
    about = ABOUT,
    override_usage = "route-cache --interface NAME-OR-GLOB... [AGENT OPTIONS]\n       \
                      route-cache [--control-socket PATH] COMMAND\n       \
                      route-cache config check [--config PATH]",
    after_help = EXAMPLES,
)]
struct CommandLine {
    /// Settings, in TOML [default: /etc/route-cache/config.toml]
    #[arg(long, global = true, value_name = "PATH", value_parser = PathBufValueParser::new())]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do instead of being the agent.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Ask(ClientCommand),
    /// Check the settings
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Say what is wrong in the file and the environment, or what the settings come to
    Check,
}

const ABOUT: &str = "\
route-cache forwards packets by XDP out of cloned host routes, with the kernel as the slow path.

Without a command it is the agent: it attaches an XDP program to the interfaces named, mirrors the
kernel's routes and neighbours into it, and runs in the foreground until SIGINT or SIGTERM, when it
removes all it made. XDP forwards a packet only where the kernel would have forwarded it just so;
everything else is left to the kernel.

With a command it asks a running agent.

Each agent option can also stand in the configuration file (as rtexpire, sweep_interval and so on)
or in the environment (as ROUTE_CACHE_RTEXPIRE): command line over environment over file.";

const EXAMPLES: &str = "\
A DURATION is whole seconds, minutes or hours: 90, 90s, 5m, 1h. With --netns, routes and interfaces
are those of the namespace; the control socket and the metrics stay where the agent was started.
Without --bypass-netfilter, packets that such rules would have to see are left to the kernel.

Examples:
  Accelerate two interfaces, and every VXLAN device that ever appears:
    route-cache --interface eth0 --interface eth1 --interface 'vxlan*'
  Serve a network namespace, and let clones live for five minutes:
    route-cache --netns router --interface 'veth*' --rtexpire 5m
  Are the settings right, and where does each come from?
    route-cache config check
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

/// Parses a command line, whose first word is the program, and puts it over the environment and the file, which is at
/// `standard_path` if neither says where.
///
/// # Errors
///
/// See [`Refusal`].
pub(super) fn try_parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    environment: &Environment,
    standard_path: &Path,
) -> Result<Invocation, Refusal> {
    let mut grammar = CommandLine::command();
    let matches = grammar.try_get_matches_from_mut(words).map_err(Refusal::Usage)?;
    let CommandLine { config, options, command } = CommandLine::from_arg_matches(&matches)
        .map_err(|error| Refusal::Usage(error.format(&mut grammar)))?;
    let sources = Sources {
        command_line: options.0,
        file: ConfigFile::named(config.or_else(|| environment.config()), standard_path),
    };
    match command {
        Some(Command::Config { action: ConfigAction::Check }) => {
            Ok(Invocation::CheckConfig { sources })
        }
        Some(Command::Ask(command)) => match option_of_the_agent(&sources) {
            Some(option) => Err(Refusal::Usage(grammar.error(
                ErrorKind::ArgumentConflict,
                format!("--{option} is an option of the agent, and a command does not start one"),
            ))),
            None => {
                let control_socket = Settings::control_socket(&sources, environment);
                let control_socket = control_socket.map_err(Refusal::Settings)?;
                Ok(Invocation::Client { command, control_socket })
            }
        },
        None => {
            let settings = Settings::load(sources, environment).map_err(Refusal::Settings)?;
            let options = AgentOptions::from(settings);
            if options.interfaces.is_empty() {
                return Err(Refusal::Usage(grammar.error(
                    ErrorKind::MissingRequiredArgument,
                    "no interface named: give --interface NAME-OR-GLOB, or name it in the \
                     configuration file, to run the agent; or give a command such as 'status' \
                     to ask a running one",
                )));
            }
            Ok(Invocation::Agent(Box::new(options)))
        }
    }
}

/// An option given that no client command takes.
fn option_of_the_agent(sources: &Sources) -> Option<&'static str> {
    let given = sources.command_line.keys().find(|setting| **setting != Setting::ControlSocket);
    given.map(|setting| setting.spec().option)
}
