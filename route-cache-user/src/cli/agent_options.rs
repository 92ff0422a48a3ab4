//! The options of the agent: one table of names, defaults, limits and help.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{NonEmptyStringValueParser, RangedU64ValueParser},
};
use glob::Pattern;

use super::duration;

/// Longest interface name the kernel takes, in bytes.
const LONGEST_NAME: usize = 15;

/// The options of the agent, as given.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Agent options")]
pub(crate) struct AgentOptions {
    /// Attach to this interface, or to all that match, now and later
    #[arg(short, long = "interface", value_name = "NAME-OR-GLOB", value_parser = interface)]
    pub(crate) interfaces: Vec<Pattern>,

    /// Serve this namespace: a name of 'ip netns', or /proc/PID/ns/net
    #[arg(long, value_name = "NAME|PATH", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) netns: Option<String>,

    /// XDP in the driver: native; in the stack: skb
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    #[arg(default_value = "native")]
    pub(crate) xdp_mode: XdpMode,

    /// Prometheus metrics at /metrics
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    #[arg(default_value = "127.0.0.1:9477")]
    pub(crate) listen_address: SocketAddr,

    /// Expire clones idle for this long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    #[arg(default_value = "3600s")]
    pub(crate) rtexpire: Duration,

    /// Look for idle clones this often, at least 1s
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_nonzero)]
    #[arg(default_value = "600s")]
    pub(crate) sweep_interval: Duration,

    /// Most clones in the table of one CPU
    #[arg(long, value_name = "N", value_parser = up_to(16_777_216))]
    #[arg(default_value = "65536")]
    pub(crate) clones_per_cpu: u32,

    /// Most routes mirrored
    #[arg(long, value_name = "N", value_parser = up_to(16_777_216))]
    #[arg(default_value = "2097152")]
    pub(crate) max_routes: u32,

    /// Most next hops
    #[arg(long, value_name = "N", value_parser = up_to(1_048_576))]
    #[arg(default_value = "16384")]
    pub(crate) max_next_hops: u32,

    /// Consent that forwarded packets skip netfilter, tc and XFRM
    #[arg(long)]
    pub(crate) bypass_netfilter: bool,

    /// Log one packet in N (default 1000); off without this
    #[arg(long, value_name = "N", value_parser = up_to(u32::MAX))]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "1000")]
    pub(crate) trace_packets: Option<u32>,

    /// Log to stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", hide_possible_values = true)]
    #[arg(default_value = "info")]
    pub(crate) log_level: LogLevel,

    /// Global: stands with [`CommandLine`](super::command_line), since every client command takes it as well.
    #[arg(skip)]
    pub(crate) control_socket: PathBuf,
}

/// Where the XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum XdpMode {
    /// In the driver: the only mode that makes anything faster.
    #[value(help = None)]
    Native,
    /// In the network stack: works everywhere, for trying out.
    #[value(help = None)]
    Skb,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// What stops the agent or a part of it.
    #[value(help = None)]
    Error,
    /// What the operator should look at.
    #[value(help = None)]
    Warn,
    /// What happens once in a while.
    #[value(help = None)]
    Info,
    /// Each change of a table.
    #[value(help = None)]
    Debug,
    /// Each message.
    #[value(help = None)]
    Trace,
}

impl From<LogLevel> for tracing::level_filters::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// 1 to `most`.
fn up_to(most: u32) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=u64::from(most))
}

fn interface(text: &str) -> Result<Pattern, String> {
    if text.is_empty() || text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        return Err("not the name of an interface".into());
    }
    if !text.contains(['*', '?', '[']) && text.len() > LONGEST_NAME {
        return Err(format!("longer than {LONGEST_NAME} bytes, which no interface name can be"));
    }
    Pattern::new(text).map_err(|error| format!("not a pattern: {}", error.msg))
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:9477 or [::1]:9477".into())
}
