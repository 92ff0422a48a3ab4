//! The options of the agent: the settings in force, each as the type the agent works with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use glob::Pattern;
use route_cache_common::FlowSet;

use crate::config::{Setting, Settings};

/// The options of the agent, from all sources; names, limits, defaults and help stand in its table.
#[derive(Debug, Clone)]
pub(crate) struct AgentOptions {
    /// Where to attach; never empty.
    pub(crate) interfaces: Vec<Pattern>,
    /// What a link that goes down does not purge (S15).
    pub(crate) exempt_interfaces: Vec<Pattern>,
    /// The namespace to serve, or nothing for the agent's own.
    pub(crate) netns: Option<String>,
    /// Where the program runs.
    pub(crate) xdp_mode: XdpMode,
    /// For metrics.
    pub(crate) listen_address: SocketAddr,
    /// For commands.
    pub(crate) control_socket: PathBuf,
    /// Idle clones live this long (S8); 0 keeps none.
    pub(crate) rtexpire: Duration,
    /// And under pressure this long at least (S11).
    pub(crate) rtminexpire: Duration,
    /// More clones of a CPU than this are pressure (S11).
    pub(crate) rtmaxcache: u32,
    /// Longest time between two walks (S10).
    pub(crate) sweep_interval: Duration,
    /// Capacity of a clone table.
    pub(crate) clones_per_cpu: u32,
    /// Capacity of the routes.
    pub(crate) max_routes: u32,
    /// Capacity of the next hops.
    pub(crate) max_next_hops: u32,
    /// Flows per CPU and family, a power of two, or 0.
    pub(crate) flow_entries: u32,
    /// Which packet makes a clone.
    pub(crate) clone_on: CloneOn,
    /// Whether clones and flows are kept.
    pub(crate) cache: bool,
    /// When IPv4 routes are indexed.
    pub(crate) index: IndexMode,
    /// How it is found out which interfaces take redirected frames.
    pub(crate) egress_check: EgressCheck,
    /// Whether packets may skip netfilter, tc and XFRM.
    pub(crate) bypass_netfilter: bool,
    /// One packet in so many is logged.
    pub(crate) trace_packets: Option<u32>,
    /// The kernel is asked about so many clones a second; 0 for none.
    pub(crate) audit_rate: u32,
    /// How much is logged.
    pub(crate) log_level: LogLevel,
    /// All of the above with their origins: for the status, for `set` and for a reload.
    pub(crate) settings: Settings,
}

impl From<Settings> for AgentOptions {
    fn from(settings: Settings) -> Self {
        Self {
            interfaces: settings.get(Setting::Interfaces),
            exempt_interfaces: settings.get(Setting::ExemptInterfaces),
            netns: settings.get(Setting::Netns),
            xdp_mode: settings.get(Setting::XdpMode),
            listen_address: settings.get(Setting::ListenAddress),
            control_socket: settings.get(Setting::ControlSocket),
            rtexpire: settings.get(Setting::RtExpire),
            rtminexpire: settings.get(Setting::RtMinExpire),
            rtmaxcache: settings.get(Setting::RtMaxCache),
            sweep_interval: settings.get(Setting::SweepInterval),
            clones_per_cpu: settings.get(Setting::ClonesPerCpu),
            max_routes: settings.get(Setting::MaxRoutes),
            max_next_hops: settings.get(Setting::MaxNextHops),
            flow_entries: match settings.get(Setting::FlowEntries) {
                0 => 0,
                entries => u32::next_power_of_two(entries).max(FlowSet::WAYS as u32),
            },
            clone_on: settings.get(Setting::CloneOn),
            cache: settings.get(Setting::Cache),
            index: settings.get(Setting::Index),
            egress_check: settings.get(Setting::EgressCheck),
            bypass_netfilter: settings.get(Setting::BypassNetfilter),
            trace_packets: settings.get(Setting::TracePackets),
            audit_rate: settings.get(Setting::AuditRate),
            log_level: settings.get(Setting::LogLevel),
            settings,
        }
    }
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

/// Which packet to a destination makes its clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CloneOn {
    /// The first, as long as few destinations are new and the tables have room; else the second.
    #[value(help = None)]
    Auto,
    /// The second: a scan, which sends one to each, pushes out nothing that is in use.
    #[value(help = None)]
    SecondPacket,
    /// The first.
    #[value(help = None)]
    FirstPacket,
}

/// When IPv4 routes are looked for in the index first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IndexMode {
    /// When there are many.
    #[value(help = None)]
    Auto,
    /// Always.
    #[value(help = None)]
    On,
    /// Never: its memory is not taken.
    #[value(help = None)]
    Off,
}

/// How it is found out which interfaces take redirected frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EgressCheck {
    /// By their features where the kernel tells them, else by probe frames.
    #[value(help = None)]
    Auto,
    /// By their features; where the kernel does not tell them, none does.
    #[value(help = None)]
    Features,
    /// By probe frames, whatever the kernel tells.
    #[value(help = None)]
    Probe,
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
