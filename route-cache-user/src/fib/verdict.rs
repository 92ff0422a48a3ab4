//! What may be done, and why not: pure judgements over the tables. The sentences are what `show` and `get` print.

use ipnet::Ipv4Net;
use route_cache_common::Outcome;

use super::{
    message::{
        Hop, Ifindex, KernelRoute, Link, Netconf, NextHopKind, RouteTarget, Rule,
        XDP_FEATURE_NDO_XMIT,
    },
    tables::{NeighbourKey, Tables},
};

/// Table numbers (include/uapi/linux/rtnetlink.h).
pub(crate) const TABLE_DEFAULT: u32 = 253;
/// `main`.
pub(crate) const TABLE_MAIN: u32 = 254;
/// `local`.
pub(crate) const TABLE_LOCAL: u32 = 255;

const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;

/// What a next hop is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HopKey {
    /// A neighbour.
    Neighbour(NeighbourKey),
    /// A next-hop object with a gateway, so that a change of the object is one write, however many routes use it.
    Object(u32),
}

/// What to do with packets that a prefix covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through a gateway.
    Via(HopKey),
    /// Straight to the destination, on this interface.
    OnLink(Ifindex),
    /// Left to the kernel.
    Pass(Outcome, &'static str),
}

/// The judgement on a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What to do.
    pub(crate) way: Way,
    /// The route's own MTU in bytes, or 0.
    pub(crate) mtu: u16,
}

/// Why something stands aside: the outcome its packets get, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Against {
    /// Outcome of the packets.
    pub(crate) outcome: Outcome,
    /// For people.
    pub(crate) reason: String,
}

/// The name of a route type, as `ip route` prints it.
pub(crate) fn kind_name(kind: u8) -> &'static str {
    match kind {
        RTN_UNICAST => "unicast",
        RTN_LOCAL => "local",
        3 => "broadcast",
        4 => "anycast",
        5 => "multicast",
        6 => "blackhole",
        7 => "unreachable",
        8 => "prohibit",
        9 => "throw",
        10 => "nat",
        _ => "unknown",
    }
}

/// The name of a table, as /etc/iproute2/rt_tables has it.
pub(crate) fn table_name(table: u32) -> String {
    match table {
        TABLE_DEFAULT => "default".into(),
        TABLE_MAIN => "main".into(),
        TABLE_LOCAL => "local".into(),
        other => other.to_string(),
    }
}

impl Tables {
    /// The routes of a prefix that the default three rules can reach, best first.
    pub(crate) fn candidates(&self, prefix: &Ipv4Net) -> impl Iterator<Item = &KernelRoute> {
        self.routes
            .get(prefix)
            .into_iter()
            .flatten()
            .filter(|route| matches!(route.table, TABLE_DEFAULT..=TABLE_LOCAL))
    }

    /// The judgement on a prefix, or nothing if it has no route that counts.
    pub(crate) fn verdict(&self, prefix: &Ipv4Net) -> Option<Verdict> {
        let best = self.candidates(prefix).next()?;
        let mtu = u16::try_from(best.mtu).unwrap_or(0);
        let way = if self.candidates(prefix).any(|route| route.tos != 0) {
            Way::Pass(Outcome::PassRoute, "the prefix has routes for a DSCP value")
        } else if best.table == TABLE_DEFAULT && self.is_covered(prefix) {
            Way::Pass(Outcome::PassRoute, "table default counts only where table main has no match")
        } else if best.table == TABLE_MAIN && self.is_inside_local(prefix) {
            Way::Pass(Outcome::PassRoute, "a local route covers the prefix")
        } else {
            match best.kind {
                RTN_UNICAST => self.unicast(&best.target),
                RTN_LOCAL | 4 => Way::Pass(Outcome::PassLocal, "an address of this host"),
                3 => Way::Pass(Outcome::PassBroadcast, "a broadcast address"),
                5 => Way::Pass(Outcome::PassMulticast, "a multicast route"),
                6 => Way::Pass(Outcome::PassRoute, "a blackhole route"),
                7 => Way::Pass(Outcome::PassRoute, "an unreachable route"),
                8 => Way::Pass(Outcome::PassRoute, "a prohibit route"),
                9 => Way::Pass(Outcome::PassRoute, "a throw route"),
                _ => Way::Pass(Outcome::PassRoute, "a route of an unknown type"),
            }
        };
        Some(Verdict { way, mtu })
    }

    fn unicast(&self, target: &RouteTarget) -> Way {
        match target {
            RouteTarget::None => Way::Pass(Outcome::PassRoute, "the route has no next hop"),
            RouteTarget::Hop(hop) => way_of(hop),
            RouteTarget::Multipath(_) => Way::Pass(Outcome::PassRoute, "a multipath route"),
            RouteTarget::Object(id) => self.way_of_object(*id),
        }
    }

    /// Where a route by a next-hop object leads. What is wrong with the object is the next hop's affair.
    pub(crate) fn way_of_object(&self, id: u32) -> Way {
        match self.objects.get(&id).map(|object| object.kind) {
            Some(NextHopKind::Hop(hop))
                if hop.gateway.is_none() && !self.unsure_objects.contains(&id) =>
            {
                way_of(&hop)
            }
            _ => Way::Via(HopKey::Object(id)),
        }
    }

    /// The neighbour that a next hop stands for.
    pub(crate) fn neighbour_of(&self, key: HopKey) -> Result<NeighbourKey, Against> {
        let against = |reason| Err(Against { outcome: Outcome::PassRoute, reason });
        match key {
            HopKey::Neighbour(neighbour) => Ok(neighbour),
            HopKey::Object(id) if self.unsure_objects.contains(&id) => against(format!(
                "next-hop object {id} was deleted: what is left of its routes is being read"
            )),
            HopKey::Object(id) => match self.objects.get(&id).map(|object| object.kind) {
                Some(NextHopKind::Hop(hop)) => match way_of(&hop) {
                    Way::Via(HopKey::Neighbour(neighbour)) => Ok(neighbour),
                    Way::Pass(_, reason) => against(format!("next-hop object {id}: {reason}")),
                    Way::Via(HopKey::Object(_)) | Way::OnLink(_) => {
                        against(format!("next-hop object {id} has no gateway"))
                    }
                },
                Some(NextHopKind::Group) => against(format!("next-hop object {id} is a group")),
                Some(NextHopKind::Blackhole) => {
                    against(format!("next-hop object {id} is a blackhole"))
                }
                Some(NextHopKind::Other) => {
                    against(format!("next-hop object {id} is of an unknown kind"))
                }
                None => against(format!("next-hop object {id} is not known")),
            },
        }
    }

    /// Whether a route of table local or main covers the whole prefix.
    fn is_covered(&self, prefix: &Ipv4Net) -> bool {
        ancestors(prefix)
            .any(|ancestor| self.candidates(&ancestor).any(|route| route.table != TABLE_DEFAULT))
    }

    /// Whether a local route (not of a single address) covers the prefix. With the default rules untouched the kernel
    /// looks local and main up as one, else one after the other (`fib_unmerge`); only in this case it matters which.
    fn is_inside_local(&self, prefix: &Ipv4Net) -> bool {
        self.local_nets.iter().any(|net| net != prefix && net.contains(prefix))
    }

    /// Whether frames may be redirected out of an interface (forwarding.md rows 36 to 38 and 40).
    pub(crate) fn egress(&self, ifindex: Ifindex, bypass: bool) -> Result<&Link, Against> {
        let against = |reason: String| Err(Against { outcome: Outcome::PassEgress, reason });
        let Some(link) = self.links.get(&ifindex) else {
            return against(format!("interface {ifindex} is gone"));
        };
        let name = &link.name;
        if ifindex >= route_cache_common::MAX_IFINDEX {
            return against(format!("{name} has index {ifindex}, which is beyond the device map"));
        }
        if !link.is_running() {
            return against(format!("{name} is down or has no carrier"));
        }
        if self.unsure.contains(&ifindex) {
            return against(format!("the routes through {name} are being read anew"));
        }
        if link.hardware != ARPHRD_ETHER || link.mac.is_none() {
            return against(format!("{name} is not an Ethernet interface"));
        }
        if let Some(kind) = link.kind.as_deref().filter(|kind| *kind != "veth") {
            return against(format!("{name} is a {kind}, over which redirects are not proven"));
        }
        if let Some(master) = link.master {
            return against(format!("{name} is enslaved to {}", self.link_name(master)));
        }
        match self.features.get(&ifindex) {
            None => {
                return against(format!(
                    "the kernel does not tell whether {name} takes redirected frames"
                ));
            }
            Some(features) if features & XDP_FEATURE_NDO_XMIT == 0 => {
                return against(match link.kind {
                    Some(_) => format!(
                        "{name} takes no redirected frames: its veth peer needs GRO on (`ethtool -K PEER gro on`) or an XDP program"
                    ),
                    None => format!("the driver of {name} takes no redirected frames"),
                });
            }
            Some(_) => {}
        }
        match self
            .qdiscs
            .get(&ifindex)
            .into_iter()
            .flatten()
            .find(|qdisc| !is_transparent(&qdisc.kind))
        {
            Some(qdisc) if !bypass => against(format!(
                "{name} has the queueing discipline {}, which a redirect would bypass",
                qdisc.kind
            )),
            _ => Ok(link),
        }
    }

    /// What stands against forwarding what an interface receives; nothing if it may be forwarded.
    pub(crate) fn ingress(&self, ifindex: Ifindex, bypass: bool) -> Vec<String> {
        let Some(link) = self.links.get(&ifindex) else {
            return vec![format!("interface {ifindex} is gone")];
        };
        let name = &link.name;
        let mut reasons = Vec::new();
        if !link.is_running() {
            reasons.push(format!("{name} is down or has no carrier"));
        }
        if link.hardware != ARPHRD_ETHER || link.mac.is_none() {
            reasons.push(format!("{name} is not an Ethernet interface"));
        }
        if let Some(master) = link.master {
            reasons.push(format!("{name} is enslaved to {}", self.link_name(master)));
        }
        let setting = |ifindex: i32| self.netconf.get(&ifindex);
        if setting(ifindex as i32).and_then(|netconf| netconf.forwarding) != Some(true) {
            reasons.push(format!("IPv4 forwarding is off on {name}"));
        }
        let rp_filter = |ifindex: i32| setting(ifindex).and_then(|netconf| netconf.rp_filter);
        match (rp_filter(ifindex as i32), rp_filter(Netconf::ALL)) {
            (Some(0), Some(0)) => {}
            (Some(own), Some(all)) => {
                reasons.push(format!("rp_filter is {} on {name}", own.max(all)));
            }
            _ => reasons.push(format!("rp_filter of {name} is not known")),
        }
        let on_ingress = |kind: &str| matches!(kind, "ingress" | "clsact");
        if let Some(qdisc) =
            self.qdiscs.get(&ifindex).into_iter().flatten().find(|q| on_ingress(&q.kind))
            && !bypass
        {
            reasons.push(format!("{name} has a tc {} hook, which XDP would bypass", qdisc.kind));
        }
        reasons
    }

    /// Whether checksums of frames received here may still be somebody's to complete (row 39a).
    pub(crate) fn has_partial_checksums(&self, ifindex: Ifindex) -> bool {
        self.links.get(&ifindex).is_none_or(|link| {
            link.kind.is_some()
                || link.bus.as_deref().is_none_or(|bus| !matches!(bus, "pci" | "usb" | "platform"))
        })
    }

    /// What policy rules stand against IPv4 as a whole (row 19): anything but the default three.
    pub(crate) fn against_rules(&self) -> Option<String> {
        const DEFAULT: [(u32, u32); 3] =
            [(0, TABLE_LOCAL), (32_766, TABLE_MAIN), (32_767, TABLE_DEFAULT)];
        const LOOKUP: u8 = 1;
        let is_default = |rule: &Rule| {
            !rule.selective
                && rule.action == LOOKUP
                && DEFAULT.contains(&(rule.priority, rule.table))
        };
        if let Some(rule) = self.rules.iter().find(|rule| !is_default(rule)) {
            return Some(format!(
                "policy rule {} is beyond the default three (`ip rule`)",
                rule.priority
            ));
        }
        (self.rules.len() != DEFAULT.len()).then(|| {
            format!("{} of the default three policy rules are there (`ip rule`)", self.rules.len())
        })
    }

    /// Whether a prefix has a local route that is not one of the kernel's own for an address
    /// (`fib_has_custom_local_routes`).
    pub(crate) fn has_custom_local_route(&self, prefix: &Ipv4Net) -> bool {
        const RTPROT_KERNEL: u8 = 2;
        self.routes.get(prefix).is_some_and(|all| {
            all.iter().any(|r| r.kind == RTN_LOCAL && r.protocol != RTPROT_KERNEL)
        })
    }

    /// Indexes and names of all interfaces.
    pub(crate) fn link_names(&self) -> Vec<(Ifindex, String)> {
        self.links.values().map(|link| (link.ifindex, link.name.clone())).collect()
    }

    /// Name of an interface, or its number.
    pub(crate) fn link_name(&self, ifindex: Ifindex) -> String {
        self.links
            .get(&ifindex)
            .map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
    }
}

const ARPHRD_ETHER: u16 = 1;

fn way_of(hop: &Hop) -> Way {
    if hop.encap {
        Way::Pass(Outcome::PassRoute, "the route has an encapsulation")
    } else if hop.via_ipv6 {
        Way::Pass(Outcome::PassRoute, "the gateway is an IPv6 address")
    } else {
        match hop.gateway {
            Some(gateway) => Way::Via(HopKey::Neighbour((hop.ifindex, gateway))),
            None => Way::OnLink(hop.ifindex),
        }
    }
}

/// Queueing disciplines that Linux installs by itself and that neither shape nor filter.
fn is_transparent(kind: &str) -> bool {
    matches!(kind, "noqueue" | "pfifo_fast" | "mq" | "fq_codel" | "fq" | "ingress")
}

/// The prefixes that cover a prefix, itself excluded, longest first.
pub(crate) fn ancestors(prefix: &Ipv4Net) -> impl Iterator<Item = Ipv4Net> + use<> {
    std::iter::successors(prefix.supernet(), Ipv4Net::supernet)
}
