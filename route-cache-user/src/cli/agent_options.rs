//! The options of the agent: one table of names, defaults, limits and help.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use glob::Pattern;

use super::duration;

/// Longest interface name the kernel takes, in bytes.
const LONGEST_NAME: usize = 15;

/// The options of the agent, as given.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Agent options")]
pub(crate) struct AgentOptions {
    /// Attach to this interface, or to all that match the pattern, now and later (repeatable)
    #[arg(short, long = "interface", value_name = "NAME-OR-GLOB", value_parser = interface)]
    pub(crate) interfaces: Vec<Pattern>,

    /// Serve this network namespace: a name under /run/netns, or a path such as /proc/PID/ns/net
    ///
    /// Routes and interfaces are those of the namespace; the control socket and the metrics stay where the agent was started.
    #[arg(long, value_name = "NAME|PATH", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) netns: Option<String>,

    /// How to attach the XDP program: by the driver, or after the kernel has made an skb
    #[arg(long, value_name = "MODE", value_enum, default_value_t = XdpMode::Native)]
    pub(crate) xdp_mode: XdpMode,

    /// Serve Prometheus metrics at http://IP:PORT/metrics
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9477", value_parser = listen_address)]
    pub(crate) listen_address: SocketAddr,

    /// Expire a clone that forwarded nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "3600s", value_parser = duration::parse)]
    pub(crate) rtexpire: Duration,

    /// Look for clones to expire this often; at least 1s
    #[arg(long, value_name = "DURATION", default_value = "600s", value_parser = duration::parse_nonzero)]
    pub(crate) sweep_interval: Duration,

    /// Most clones in the table of one CPU
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = up_to(16_777_216))]
    pub(crate) clones_per_cpu: u32,

    /// Most routes mirrored; further ones are left to the kernel
    #[arg(long, value_name = "N", default_value_t = 2_097_152, value_parser = up_to(16_777_216))]
    pub(crate) max_routes: u32,

    /// Most next hops; routes by further ones are left to the kernel
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = up_to(1_048_576))]
    pub(crate) max_next_hops: u32,

    /// Consent that packets forwarded by XDP skip netfilter, tc and XFRM
    ///
    /// Without it the agent leaves the packets to the kernel wherever rules, filters or policies would have to see them.
    #[arg(long)]
    pub(crate) bypass_netfilter: bool,

    /// Log one packet in N (1000 if N is not given) as the XDP program sees it; off without this option
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1000",
          value_parser = up_to(u32::MAX))]
    pub(crate) trace_packets: Option<u32>,

    /// Log this and what is worse, to stderr
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,

    /// Global: stands with [`CommandLine`](super::command_line), since every client command takes it as well.
    #[arg(skip)]
    pub(crate) control_socket: PathBuf,
}

/// Where the XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum XdpMode {
    /// In the driver: the only mode that makes anything faster.
    Native,
    /// In the network stack: works everywhere, for trying out.
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
