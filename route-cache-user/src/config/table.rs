//! The one table of settings: names, kinds, limits, defaults and help.

use std::fmt;

use super::kind::Kind;

/// A setting, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    Interfaces,
    ExemptInterfaces,
    Netns,
    XdpMode,
    ListenAddress,
    ControlSocket,
    RtExpire,
    RtMinExpire,
    RtMaxCache,
    SweepInterval,
    ClonesPerCpu,
    MaxRoutes,
    MaxNextHops,
    FlowEntries,
    CloneOn,
    Cache,
    Index,
    EgressCheck,
    BypassNetfilter,
    TracePackets,
    AuditRate,
    LogLevel,
}

/// What is known about a setting.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Which one.
    pub(crate) setting: Setting,
    /// In the file, on the control socket and, in capitals, in the environment.
    pub(crate) name: &'static str,
    /// On the command line; in the singular where it may be repeated.
    pub(crate) option: &'static str,
    /// Kind and limits.
    pub(crate) kind: Kind,
    /// As one would type it.
    pub(crate) default: &'static str,
    /// Whether it can change without a restart.
    pub(crate) at_run_time: bool,
    /// Stands for the value in the help.
    pub(crate) value_name: &'static str,
    /// One line.
    pub(crate) help: &'static str,
}

const AT_RUN_TIME: bool = true;
const AT_START: bool = false;

/// All settings, in the order of [`Setting`] and of the help.
#[rustfmt::skip]
pub(crate) static TABLE: [Spec; 22] = [
    spec(Setting::Interfaces, "interfaces", "interface", Kind::Names, "none", AT_START,
        "NAME-OR-GLOB", "Attach to this interface, or to all that match, now and later"),
    spec(Setting::ExemptInterfaces, "exempt_interfaces", "exempt-interface", Kind::Names, "none", AT_RUN_TIME,
        "NAME-OR-GLOB", "Keep the clones of this one when it loses its carrier (VRRP)"),
    spec(Setting::Netns, "netns", "netns", Kind::Name { or: "self" }, "self", AT_START,
        "NAME|PATH", "Serve this namespace: a name of 'ip netns', or /proc/PID/ns/net"),
    spec(Setting::XdpMode, "xdp_mode", "xdp-mode", Kind::XdpMode, "native", AT_START,
        "MODE", "XDP in the driver (native) or in the stack (skb)"),
    spec(Setting::ListenAddress, "listen_address", "listen-address", Kind::Address, "127.0.0.1:9477", AT_START,
        "IP:PORT", "Prometheus metrics at /metrics"),
    spec(Setting::ControlSocket, "control_socket", "control-socket", Kind::Path, "/run/route-cache/control.sock", AT_START,
        "PATH", "Socket for commands"),
    spec(Setting::RtExpire, "rtexpire", "rtexpire", Kind::Duration { least: 0 }, "1h", AT_RUN_TIME,
        "DURATION", "Expire clones idle for this long; 0 keeps none"),
    spec(Setting::RtMinExpire, "rtminexpire", "rtminexpire", Kind::Duration { least: 1 }, "10s", AT_RUN_TIME,
        "DURATION", "Never shrink rtexpire below this"),
    spec(Setting::RtMaxCache, "rtmaxcache", "rtmaxcache", Kind::Count { most: MOST_ENTRIES, or: Some("auto") }, "auto", AT_RUN_TIME,
        "N", "Shrink rtexpire above this many clones per CPU; auto: 3/4 of the table"),
    spec(Setting::SweepInterval, "sweep_interval", "sweep-interval", Kind::Duration { least: 1 }, "10m", AT_RUN_TIME,
        "DURATION", "Look for idle clones this often, at least 1s"),
    spec(Setting::ClonesPerCpu, "clones_per_cpu", "clones-per-cpu", Kind::Count { most: MOST_ENTRIES, or: None }, "65536", AT_START,
        "N", "Most clones in the table of one CPU"),
    spec(Setting::MaxRoutes, "max_routes", "max-routes", Kind::Count { most: MOST_ENTRIES, or: None }, "2097152", AT_START,
        "N", "Most routes mirrored"),
    spec(Setting::MaxNextHops, "max_next_hops", "max-next-hops", Kind::Count { most: 1 << 20, or: None }, "16384", AT_START,
        "N", "Most next hops"),
    spec(Setting::FlowEntries, "flow_entries", "flow-entries", Kind::Size { most: MOST_ENTRIES }, "65536", AT_START,
        "N", "Flows remembered per CPU and family, a power of two; 0 for none"),
    spec(Setting::CloneOn, "clone_on", "clone-on", Kind::CloneOn, "auto", AT_RUN_TIME,
        "WHEN", "Clone on auto, first-packet or second-packet"),
    spec(Setting::Cache, "cache", "cache", Kind::Flag, "true", AT_RUN_TIME,
        "BOOL", "Keep clones and flows; off: forward by the routes alone"),
    spec(Setting::Index, "index", "index", Kind::IndexMode, "auto", AT_START,
        "WHEN", "Index IPv4's /24s in front of the routes (32 MiB): auto, on or off"),
    spec(Setting::EgressCheck, "egress_check", "egress-check", Kind::EgressCheck, "auto", AT_START,
        "HOW", "Find out which interfaces take redirects: auto, features or probe"),
    spec(Setting::BypassNetfilter, "bypass_netfilter", "bypass-netfilter", Kind::Flag, "false", AT_START,
        "BOOL", "Consent that forwarded packets skip netfilter, tc and XFRM"),
    spec(Setting::TracePackets, "trace_packets", "trace-packets", Kind::Count { most: u32::MAX, or: Some("off") }, "off", AT_START,
        "N", "Log one packet in N, or in 1000 if no N is given"),
    spec(Setting::AuditRate, "audit_rate", "audit-rate", Kind::Rate { most: 100_000 }, "10", AT_RUN_TIME,
        "N", "Ask the kernel about so many clones a second; 0 asks about none"),
    spec(Setting::LogLevel, "log_level", "log-level", Kind::LogLevel, "info", AT_RUN_TIME,
        "LEVEL", "Log to stderr: error, warn, info, debug or trace"),
];

/// More than a router needs, and maps that the kernel can still allocate.
const MOST_ENTRIES: u32 = 1 << 24;

const _: () = {
    assert!(TABLE.len() == Setting::LogLevel as usize + 1, "a setting is missing in the table");
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].setting as usize == index, "the table is out of order");
        index += 1;
    }
};

#[expect(clippy::too_many_arguments, reason = "the columns of the table")]
const fn spec(
    setting: Setting,
    name: &'static str,
    option: &'static str,
    kind: Kind,
    default: &'static str,
    at_run_time: bool,
    value_name: &'static str,
    help: &'static str,
) -> Spec {
    Spec { setting, name, option, kind, default, at_run_time, value_name, help }
}

impl Setting {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|spec| spec.setting)
    }

    /// Its row of the table.
    pub(crate) fn spec(self) -> &'static Spec {
        &TABLE[self as usize]
    }

    /// Finds a setting by the name it has in the file or on the command line.
    pub(crate) fn by_name(text: &str) -> Option<Self> {
        let dashed = text.replace('_', "-");
        let found = TABLE.iter().find(|spec| {
            text == spec.option || dashed.bytes().eq(spec.name.bytes().map(dash_for_underscore))
        });
        found.map(|spec| spec.setting)
    }

    /// The variable of the environment.
    pub(crate) fn variable(self) -> String {
        format!("ROUTE_CACHE_{}", self.spec().name.to_ascii_uppercase())
    }
}

fn dash_for_underscore(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec().name)
    }
}
