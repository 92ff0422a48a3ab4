//! What is said over the control socket: one JSON object a line, one request and one answer per connection; only
//! `monitor` is answered by many lines, an [`Entry`](crate::events::Entry) each.
//!
//! The answers are also what `--json` prints, so their field names are a stable interface.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A request of a client.
///
/// Variants without fields are written `{}`: of a unit variant serde would take any field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// [`Status`].
    Status {},
    /// All [`CloneEntry`]s.
    Clones {},
    /// All [`RouteEntry`]s.
    Routes {},
    /// All [`NextHopEntry`]s.
    NextHops {},
    /// All [`InterfaceEntry`]s.
    Interfaces {},
    /// What happens to a packet: an [`Explanation`].
    Get {
        /// Destination.
        address: IpAddr,
        /// Source.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
        /// The interface it comes in by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        iif: Option<String>,
    },
    /// Asks the kernel about every clone: an [`AuditReport`].
    Audit {},
    /// Changes a setting: [`Done`].
    Set {
        /// As in the file or on the command line.
        name: String,
        /// As one would type it.
        value: String,
    },
    /// Removes the clones that fit all that is given: [`Done`].
    Flush {
        /// To these destinations.
        prefix: Option<IpNet>,
        /// Through this interface.
        dev: Option<String>,
        /// `ipv4` or `ipv6`.
        family: Option<String>,
    },
    /// Removes all clones, as under memory pressure: [`Done`].
    Drain {},
    /// Removes the clones through an interface, as if it had gone down: [`Done`].
    Purge {
        /// Which.
        dev: String,
        /// Even if it is exempt.
        #[serde(default)]
        force: bool,
    },
    /// The last events, a line each.
    Monitor {
        /// And those to come, until the client goes away.
        #[serde(default)]
        follow: bool,
    },
}

/// An answer: exactly one of the two.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer<T> {
    /// What was asked for.
    Ok(T),
    /// What failed, on which object, why, and what to do.
    Error(String),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// One sentence for people.
    pub(crate) message: String,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Packets.
    pub(crate) packets: u64,
    /// Bytes, counted from the Ethernet header.
    pub(crate) bytes: u64,
}

/// The agent as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Version of the agent.
    pub(crate) version: String,
    /// Process id.
    pub(crate) pid: u32,
    /// Since the agent started.
    pub(crate) uptime_seconds: f64,
    /// The namespace served, as given, or nothing for the agent's own.
    pub(crate) netns: Option<String>,
    /// Whether IPv4 packets may be forwarded at all.
    pub(crate) accelerating: bool,
    /// Why not, one sentence each; empty while accelerating.
    pub(crate) reasons: Vec<String>,
    /// The code of each of them, in the same order.
    pub(crate) codes: Vec<String>,
    /// The same of IPv6.
    pub(crate) ipv6: FamilyStatus,
    /// Effective settings, by name.
    pub(crate) settings: BTreeMap<String, SettingEntry>,
    /// What stands in front of the routes.
    pub(crate) tiers: Tiers,
    /// The timeout of clones, and what works on it.
    pub(crate) timeout: Timeout,
    /// By outcome name; every outcome is there.
    pub(crate) outcomes: BTreeMap<String, Count>,
    /// One per CPU and family.
    pub(crate) clones: Vec<CloneTable>,
    /// Routes mirrored, by family.
    pub(crate) routes: BTreeMap<String, u64>,
    /// Next hops by state: `usable` or why not.
    pub(crate) next_hops: BTreeMap<String, u64>,
    /// Full resyncs by cause: `start`, `overrun`, `link`, and so on.
    pub(crate) resyncs: BTreeMap<String, u64>,
    /// Times the kernel dropped netlink messages because the agent was too slow.
    pub(crate) netlink_overruns: u64,
    /// Clones about which the kernel was asked.
    pub(crate) audits: u64,
    /// Clones that disagreed with it, and were removed.
    pub(crate) audit_mismatches: u64,
    /// Packets lost behind the data plane, by interface and cause.
    pub(crate) redirect_errors: Vec<RedirectErrorEntry>,
    /// Why those are not counted; nothing if they are.
    pub(crate) redirect_errors_unknown: Option<String>,
    /// Bytes of kernel memory the maps take now, as the kernel accounts them. Clones and routes come on top as they are made.
    pub(crate) map_memory_bytes: u64,
    /// The same by map.
    pub(crate) map_memory: BTreeMap<String, u64>,
    /// Bytes of memory that the agent's process has.
    pub(crate) resident_memory_bytes: u64,
    /// Interfaces the agent is attached to or wants to be.
    pub(crate) interfaces: Vec<InterfaceEntry>,
}

/// What stands in front of the routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tiers {
    /// Whether flows are remembered.
    pub(crate) flows: bool,
    /// For how many destinations clones are looked for and made: `all`, `few` while most packets would find none, or
    /// `none`.
    pub(crate) clones: String,
    /// Whether IPv4 routes are looked up in the index first.
    pub(crate) index: bool,
}

/// Packets that the data plane redirected and that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedirectErrorEntry {
    /// The egress interface; of the cause `exception` the ingress interface.
    pub(crate) interface: String,
    /// The kernel's error, such as `ENXIO`; `dropped` if the driver names none; or `exception`.
    pub(crate) cause: String,
    /// Packets since start.
    pub(crate) packets: u64,
}

/// Whether a family is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FamilyStatus {
    /// Whether its packets may be forwarded at all.
    pub(crate) accelerating: bool,
    /// Why not, one sentence each; empty while accelerating.
    pub(crate) reasons: Vec<String>,
    /// The code of each of them, in the same order.
    pub(crate) codes: Vec<String>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SettingEntry {
    /// The value in force, as one would type it.
    pub(crate) value: String,
    /// Where it came from: `default`, `file …`, `environment …`, `command line`, `control socket`.
    pub(crate) origin: String,
}

/// The timeout of clones (S8 to S16).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeout {
    /// In force now; pressure may have shrunk it.
    pub(crate) rtexpire_seconds: u64,
    /// The least that pressure shrinks it to.
    pub(crate) rtminexpire_seconds: u64,
    /// The clones of a CPU above which it shrinks.
    pub(crate) rtmaxcache: u64,
    /// Times it shrank under pressure.
    pub(crate) shrunk: u64,
    /// Times it grew back.
    pub(crate) recovered: u64,
    /// `none`, `sweep`, `shrink` or `drain`.
    pub(crate) memory_pressure: String,
}

/// A clone table: that of one family on one CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloneTable {
    /// `ipv4` or `ipv6`.
    pub(crate) family: String,
    /// CPU number.
    pub(crate) cpu: u32,
    /// Clones in the table.
    pub(crate) live: u64,
    /// Most clones the table can hold.
    pub(crate) capacity: u64,
    /// Clones made since start.
    pub(crate) created: u64,
    /// Clones removed since start, by reason: `timeout`, `route`, and so on.
    pub(crate) expired: BTreeMap<String, u64>,
    /// Clones not made because the table was full.
    pub(crate) refused: u64,
    /// Clones that the last walk met, and those of them it removed.
    pub(crate) last_walk: Walked,
    /// First packets that made no clone because many destinations were new.
    pub(crate) deferred: u64,
}

/// What a walk over a clone table came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Walked {
    /// Clones met.
    pub(crate) found: u64,
    /// Clones removed.
    pub(crate) killed: u64,
}

/// One clone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CloneEntry {
    /// Destination.
    pub(crate) dst: IpAddr,
    /// `ipv4` or `ipv6`.
    pub(crate) family: String,
    /// CPU whose table it is in.
    pub(crate) cpu: u32,
    /// The network route it was cloned from.
    pub(crate) prefix: IpNet,
    /// Gateway, or nothing if the destination is on the link.
    pub(crate) via: Option<IpAddr>,
    /// Egress interface.
    pub(crate) dev: String,
    /// Largest IP packet in bytes.
    pub(crate) mtu: u32,
    /// Packets forwarded by it.
    pub(crate) packets: u64,
    /// Bytes forwarded by it.
    pub(crate) bytes: u64,
    /// Since its last packet.
    pub(crate) idle_seconds: f64,
    /// Until it expires, if no packet comes.
    pub(crate) expires_in_seconds: f64,
    /// `in-use` or `expiring`.
    pub(crate) state: String,
}

/// One mirrored route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteEntry {
    /// Destination prefix.
    pub(crate) prefix: IpNet,
    /// `ipv4` or `ipv6`.
    pub(crate) family: String,
    /// `local`, `main` or `default`.
    pub(crate) table: String,
    /// As `ip route` names it: `unicast`, `local`, `blackhole`, and so on.
    pub(crate) kind: String,
    /// Gateway, or nothing if on the link.
    pub(crate) via: Option<IpAddr>,
    /// Egress interface.
    pub(crate) dev: Option<String>,
    /// Metric.
    pub(crate) metric: u32,
    /// Its own MTU in bytes, if it has one.
    pub(crate) mtu: Option<u32>,
    /// Whether packets it covers may be forwarded by XDP.
    pub(crate) accelerated: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
}

/// One next hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextHopEntry {
    /// Index in the data plane's array.
    pub(crate) id: u32,
    /// Address of the neighbour.
    pub(crate) address: IpAddr,
    /// Egress interface.
    pub(crate) dev: String,
    /// Link-layer address, if resolved.
    pub(crate) lladdr: Option<String>,
    /// State of the neighbour, as `ip neigh` names it, or `none`.
    pub(crate) neighbour: String,
    /// VLAN id its frames are tagged with.
    pub(crate) vlan: Option<u16>,
    /// The interface below the VLAN device.
    pub(crate) port: Option<String>,
    /// MTU of the egress interface in bytes.
    pub(crate) mtu: u32,
    /// Mirrored routes that point here.
    pub(crate) routes: u64,
    /// Whether frames may be sent to it.
    pub(crate) usable: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
}

/// One of the next hops of a route by several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberEntry {
    /// Index in the data plane's array.
    pub(crate) id: u32,
    /// Address of the neighbour, if it is known.
    pub(crate) address: Option<IpAddr>,
    /// Egress interface.
    pub(crate) dev: String,
    /// Weight, from 1.
    pub(crate) weight: u32,
    /// Its share of the flows.
    pub(crate) share: String,
    /// Whether frames may be sent to it.
    pub(crate) usable: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
}

/// One interface that is attached, or wanted and not attached, or a VLAN device on one that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InterfaceEntry {
    /// Name.
    pub(crate) name: String,
    /// Index.
    pub(crate) ifindex: u32,
    /// The interface below a VLAN device: the program is there.
    pub(crate) port: Option<String>,
    /// `native`, `skb`, or `none` if not attached.
    pub(crate) mode: String,
    /// Whether IPv4 packets received here may be forwarded by XDP.
    pub(crate) accelerating: bool,
    /// Whether frames with IPv4 packets may be redirected out of it.
    pub(crate) egress: bool,
    /// What stands against either.
    pub(crate) reasons: Vec<String>,
    /// The code of each of them, in the same order.
    pub(crate) codes: Vec<String>,
    /// Redirected packets lost here since start, for any cause; nothing if they are not counted.
    pub(crate) redirect_errors: Option<u64>,
    /// The same of IPv6.
    pub(crate) ipv6: FamilyInterface,
}

/// What an interface is good for, for one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FamilyInterface {
    /// Whether packets received here may be forwarded by XDP.
    pub(crate) accelerating: bool,
    /// Whether frames may be redirected out of it.
    pub(crate) egress: bool,
    /// What stands against either.
    pub(crate) reasons: Vec<String>,
    /// The code of each of them, in the same order.
    pub(crate) codes: Vec<String>,
}

/// What happens to a packet, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explanation {
    /// The address asked for.
    pub(crate) dst: IpAddr,
    /// The source asked about, if any was.
    pub(crate) from: Option<IpAddr>,
    /// The interface asked about, if any was.
    pub(crate) iif: Option<String>,
    /// What the data plane looks at, in its order. The first step that passes decides.
    pub(crate) steps: Vec<StepEntry>,
    /// Outcome name, as in the metrics; a clone's or a route's if it would be forwarded.
    pub(crate) outcome: String,
    /// One sentence.
    pub(crate) reason: String,
    /// The route that covers it.
    pub(crate) route: Option<RouteEntry>,
    /// The next hop it would take.
    pub(crate) next_hop: Option<NextHopEntry>,
    /// The next hops it may take, if there are several.
    pub(crate) members: Vec<MemberEntry>,
    /// Its clones on all CPUs.
    pub(crate) clones: Vec<CloneEntry>,
    /// What the kernel says to the same question.
    pub(crate) kernel: KernelAnswer,
}

/// One step of a packet through the data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepEntry {
    /// Its stable name: `promise`, `family`, `interface`, `destination`, `source`, `reverse_path`, `tiers`, `clones`, `route`,
    /// `next_hop`, `egress`, `same_interface`, `mtu`.
    pub(crate) step: String,
    /// `ok`, `passes`, or `not_asked` if it depends on what was not given.
    pub(crate) result: String,
    /// The outcome of packets that end here.
    pub(crate) outcome: Option<String>,
    /// The codes of the reasons to stand aside that are in force here.
    pub(crate) codes: Vec<String>,
    /// For people.
    pub(crate) reason: String,
}

/// What the kernel says of a packet (RTM_GETROUTE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelAnswer {
    /// The question, as one would put it to `ip`.
    pub(crate) question: String,
    /// Its route, as `ip route get` prints it.
    pub(crate) answer: Option<String>,
    /// Why there is none, as `ip route get` prints it.
    pub(crate) error: Option<String>,
    /// `agrees`, `differs`, `kernel_decides` if the packet is left to it, or `unknown`.
    pub(crate) agreement: String,
    /// For people.
    pub(crate) reason: String,
}

/// What asking the kernel about every clone came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditReport {
    /// Clones about which it was asked.
    pub(crate) checked: u64,
    /// Clones that the data plane does not use any more, about which it was not.
    pub(crate) void: u64,
    /// Clones with which it seemed to disagree, while the mirror was too busy to tell whether this stands.
    pub(crate) unsure: u64,
    /// Clones with which it disagrees. They are removed.
    pub(crate) differences: Vec<AuditedClone>,
}

/// A clone with which the kernel disagrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditedClone {
    /// Destination.
    pub(crate) dst: IpAddr,
    /// CPU whose table it was in.
    pub(crate) cpu: u32,
    /// `next_hop`, `mtu`, `kind`, or `refused` if the kernel would send no packet there.
    pub(crate) difference: String,
    /// What the clone said, in the words of `ip route`.
    pub(crate) clone: String,
    /// What the kernel says.
    pub(crate) kernel: String,
}
