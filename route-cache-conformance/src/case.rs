//! What a case is.

use crate::need::Need;

/// A host of the lab. The senders are hosts like the others: what comes back to them is captured, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Station {
    /// 10.0.1.2 behind `left`.
    Client,
    /// 10.0.4.2 behind `left2`.
    Second,
    /// 10.0.2.2 behind `right`, next hop of 10.9.0.0/16 and 2001:db8:9::/48.
    Server,
    /// 10.0.3.2 behind `right2`.
    Other,
}

impl Station {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Second, Self::Server, Self::Other];

    /// As in commands and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Second => "second",
            Self::Server => "server",
            Self::Other => "other",
        }
    }
}

/// Address family of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, or no IP at all.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// As in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// What the data plane has to be able to do for the expectation of a case to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Untagged IPv4.
    Ipv4,
    /// Untagged IPv6.
    Ipv6,
    /// Frames with a VLAN tag.
    VlanIngress,
    /// VLAN devices as egress.
    VlanEgress,
    /// More than one next hop.
    Multipath,
    /// `rp_filter`, judged by our own tables.
    ReversePath,
    /// IPv4 routes via an IPv6 next hop.
    ViaIpv6,
}

/// What the data plane can do. A case of any other feature has to pass, as [`Feature::without`] says.
pub const SUPPORTED: &[Feature] = &[
    Feature::Ipv4,
    Feature::Ipv6,
    Feature::VlanIngress,
    Feature::VlanEgress,
    Feature::Multipath,
    Feature::ReversePath,
    Feature::ViaIpv6,
];

impl Feature {
    /// The outcome of all its packets while the data plane does not have it.
    const fn without(self) -> &'static str {
        match self {
            Self::Ipv4 => "pass_disabled",
            Self::Ipv6 | Self::VlanIngress => "pass_ethertype",
            Self::VlanEgress => "pass_egress",
            Self::Multipath | Self::ViaIpv6 => "pass_route",
            Self::ReversePath => "pass_interface",
        }
    }
}

/// What the data plane has to make of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// It forwards all of them: by the route at first, then by the clone.
    Forwarded,
    /// It leaves all of them to the kernel, in this outcome.
    Passed(&'static str),
    /// No program sees them: the interface has been let go.
    Unseen,
}

/// What the kernel alone makes of the frames: so many arrive at a host, or anywhere.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Where; `None` is any of the hosts.
    pub at: Option<Station>,
    /// How many.
    pub frames: usize,
    /// Type and code, if they are ICMP or ICMPv6 messages.
    pub icmp: Option<(u8, u8)>,
}

/// So many frames arrive at a host.
pub const fn at(station: Station, frames: usize) -> Arrival {
    Arrival { at: Some(station), frames, icmp: None }
}

/// The client is answered with an ICMP message of this type and code.
pub const fn answer(kind: u8, code: u8) -> Arrival {
    Arrival { at: Some(Station::Client), frames: 1, icmp: Some((kind, code)) }
}

/// A difference that forwarding.md allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Row 21: a hash of our own picks the member, so that host and link-layer addresses may differ; nothing else.
    Member,
}

impl Allowance {
    /// Why it is allowed.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Member => {
                "the kernel's hash is seeded with a secret: the cache picks the member by a hash of its own"
            }
        }
    }
}

/// Commands before the frames and after, frames, and what has to come of them.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Row of the checklist.
    pub row: &'static str,
    /// Unique together with row and family.
    pub name: &'static str,
    /// Family.
    pub family: Family,
    /// What [`Case::plane`] takes for granted.
    pub feature: Feature,
    /// What the kernel has to have.
    pub needs: &'static [Need],
    /// Commands in the router (`server: COMMAND` in the server, `sysctl NAME=VALUE` without a program, `- COMMAND` may fail).
    pub setup: &'static [&'static str],
    /// Commands that undo the above.
    pub undo: &'static [&'static str],
    /// Whether there are clones of the destinations, made before the set-up, that it has to make invalid.
    pub cloned: bool,
    /// Who sends.
    pub sender: Station,
    /// What is sent, a frame at a time.
    pub frames: fn() -> Vec<Vec<u8>>,
    /// Where frames arrive without the cache. What is not listed arrives nowhere.
    pub kernel: &'static [Arrival],
    /// A counter of the router's kernel that each frame moves without the cache.
    pub counter: Option<(&'static str, &'static str)>,
    /// What the data plane has to make of the frames.
    pub plane: Plane,
    /// What may differ.
    pub allowed: Option<Allowance>,
    /// Whether the agent is stopped, as by SIGSTOP, until its promise has run out.
    pub agent_stopped: bool,
}

impl Case {
    /// Takes `plane` for what it is to be on a kernel that does or does not take redirected frames.
    pub fn expectation(&self, can_redirect: bool) -> Plane {
        if !SUPPORTED.contains(&self.feature) && self.plane != Plane::Unseen {
            return Plane::Passed(self.feature.without());
        }
        match self.plane {
            // Where neither the kernel nor a probe frame tells whether an interface takes them, none is used.
            Plane::Forwarded | Plane::Passed("pass_mtu" | "pass_same_interface")
                if !can_redirect =>
            {
                Plane::Passed("pass_egress")
            }
            plane => plane,
        }
    }
}

/// An IPv4 case that sends nothing and expects it to arrive nowhere.
pub const V4: Case = Case {
    row: "",
    name: "",
    family: Family::V4,
    feature: Feature::Ipv4,
    needs: &[],
    setup: &[],
    undo: &[],
    cloned: false,
    sender: Station::Client,
    frames: Vec::new,
    kernel: &[],
    counter: None,
    plane: Plane::Forwarded,
    allowed: None,
    agent_stopped: false,
};

/// The same for IPv6.
pub const V6: Case = Case { family: Family::V6, feature: Feature::Ipv6, ..V4 };
