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

use ipnet::IpNet;

use super::{AgentOptions, config_check, packet::PacketWords};
use crate::{
    config::{
        ConfigFile, Environment, Options, Problems, STANDARD_PATH, Setting, Settings, Sources,
    },
    control::{Packet, protocol::Request},
    fib::family::IpFamily,
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

With a command it asks a running agent, or tells it what to do.

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
  What happens to a packet to 192.0.2.1, and to one that eth0 receives?
    route-cache get 192.0.2.1
    route-cache get 192.0.2.1 from 198.51.100.7 iif eth0
  The ten clones that forwarded most:
    route-cache show clones --json | jq -r 'sort_by(-.packets)[:10][] | \"\\(.dst) \\(.packets)\"'
  Let idle clones live for five minutes from now on, and watch what happens:
    route-cache set rtexpire 5m && route-cache monitor --follow";

/// A question or an order to a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum ClientCommand {
    /// Show whether XDP forwards, how packets end, and how full the tables are
    Status(Format),
    /// List what is in a table
    Show {
        /// The table
        #[arg(value_enum, value_name = "TABLE")]
        listing: Listing,
        /// Rows of this family alone: ipv4 or ipv6, or as ip says it inet or inet6
        #[arg(long, value_name = "FAMILY", value_parser = family)]
        family: Option<IpFamily>,
        /// The same as --family ipv4
        #[arg(short = '4', conflicts_with_all = ["family", "ipv6"])]
        ipv4: bool,
        /// The same as --family ipv6
        #[arg(short = '6', conflicts_with = "family")]
        ipv6: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Explain step by step what happens to a packet, and what the kernel would do with it
    Get {
        #[command(flatten)]
        packet: PacketWords,
        #[command(flatten)]
        format: Format,
    },
    /// Ask the kernel about every clone, and remove those it disagrees with; 1 if there are any
    Audit(Format),
    /// Change a setting until the next reload or restart
    #[command(after_help = what_can_be_set())]
    Set {
        /// The setting
        #[arg(value_name = "NAME")]
        name: String,
        /// Its new value
        // So that -5 is a wrong value, and not an option that nobody knows.
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Remove clones: all, or those that fit all that is given
    Flush {
        /// To these destinations: an address, or a prefix such as 10.0.0.0/8
        #[arg(value_name = "PREFIX", value_parser = prefix)]
        prefix: Option<IpNet>,
        /// Through this interface
        #[arg(long, value_name = "IF")]
        dev: Option<String>,
        /// Of this family
        #[arg(long, value_name = "FAMILY", value_parser = ["ipv4", "ipv6", "inet", "inet6", "4", "6"])]
        family: Option<String>,
    },
    /// Remove all clones of all CPUs, as when memory is scarce
    Drain,
    /// Remove all clones through an interface, as if it had gone down
    Purge {
        /// The interface
        #[arg(long, value_name = "IF")]
        dev: String,
        /// Even if it is one of --exempt-interface
        #[arg(long)]
        force: bool,
    },
    /// Show the last events: clones, timeouts, drains, purges, resyncs, audits, links, settings
    Monitor {
        /// Print JSON: an object a line
        #[arg(long)]
        json: bool,
        /// And go on with those to come, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
}

/// A row for each setting that `set` takes.
fn what_can_be_set() -> String {
    let settable = Setting::all().map(Setting::spec).filter(|spec| spec.at_run_time);
    let rows = settable.map(|spec| format!("  {:<18} {}", spec.name, spec.help));
    let rows: Vec<String> = rows.collect();
    format!(
        "What can be set; all else needs a restart:\n{}\n\n\
         Times are whole seconds, minutes or hours: 90, 90s, 5m, 1h.",
        rows.join("\n")
    )
}

/// An address is the prefix of itself alone.
fn prefix(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse::<IpNet>())
        .map_err(|_| "expected an address or a prefix, such as 192.0.2.1 or 10.0.0.0/8".to_owned())
}

fn family(text: &str) -> Result<IpFamily, String> {
    IpFamily::named(text).ok_or_else(|| "expected ipv4 or ipv6 (or inet, inet6, 4, 6)".to_owned())
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
            ClientCommand::Get { packet: PacketWords(Packet { dst, from, iif }), .. } => {
                Request::Get { address: dst, from, iif }
            }
            ClientCommand::Audit(_) => Request::Audit {},
            ClientCommand::Set { name, value } => Request::Set { name, value },
            ClientCommand::Flush { prefix, dev, family } => Request::Flush { prefix, dev, family },
            ClientCommand::Drain => Request::Drain {},
            ClientCommand::Purge { dev, force } => Request::Purge { dev, force },
            ClientCommand::Monitor { follow, .. } => Request::Monitor { follow },
        }
    }

    /// Of which family rows are listed, if not of both.
    pub(super) fn family(&self) -> Option<IpFamily> {
        match self {
            ClientCommand::Show { ipv4: true, .. } => Some(IpFamily::V4),
            ClientCommand::Show { ipv6: true, .. } => Some(IpFamily::V6),
            ClientCommand::Show { family, .. } => *family,
            _ => None,
        }
    }

    /// Whether JSON was asked for.
    pub(super) fn json(&self) -> bool {
        match self {
            ClientCommand::Status(format)
            | ClientCommand::Audit(format)
            | ClientCommand::Show { format, .. }
            | ClientCommand::Get { format, .. } => format.json,
            ClientCommand::Monitor { json, .. } => *json,
            ClientCommand::Set { .. }
            | ClientCommand::Flush { .. }
            | ClientCommand::Drain
            | ClientCommand::Purge { .. } => false,
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
