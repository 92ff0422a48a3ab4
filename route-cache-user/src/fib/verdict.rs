//! What may be done, and why not: pure judgements over the tables. The sentences are what `show` and `get` print.

use ipnet::Ipv4Net;
use route_cache_common::{Outcome, Port, route::BUCKETS};

use super::{
    groups::{GroupKey, Member},
    interlock::Subject,
    message::{
        Hop, Ifindex, KernelRoute, Link, Netconf, NextHopKind, RouteTarget, Weighted,
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

/// The members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Every one.
    pub(crate) all: Vec<Member<HopKey>>,
    /// Those the kernel may choose.
    pub(crate) usable: Vec<Member<HopKey>>,
}

/// What to do with packets that a prefix covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through a gateway.
    Via(HopKey),
    /// Straight to the destination, on this interface.
    OnLink(Ifindex),
    /// Through one of several.
    Group(GroupKey<HopKey>),
    /// Left to the kernel.
    Pass(Outcome, &'static str),
}

/// The judgement on a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            RouteTarget::Multipath(hops) => self.multipath(hops),
            RouteTarget::Object(id) => self.way_of_object(*id),
        }
    }

    fn multipath(&self, hops: &[Weighted]) -> Way {
        /// With its last address goes the use of an interface (`fib_disable_ip`), which nothing but this flag tells.
        const RTNH_F_DEAD: u32 = 1;
        let mut members = Vec::with_capacity(hops.len());
        for Weighted { hop, weight } in hops {
            let is_up = self.links.get(&hop.ifindex).is_some_and(Link::is_up);
            if hop.flags & RTNH_F_DEAD != 0
                && is_up
                && self.addresses.iter().all(|address| address.ifindex != hop.ifindex)
            {
                return Way::Pass(Outcome::PassRoute, "a next hop is dead on an interface that is up");
            }
            match way_of(hop) {
                Way::Via(key) => members.push(Member { key, weight: *weight }),
                Way::OnLink(_) => {
                    return Way::Pass(Outcome::PassRoute, "a multipath route without a gateway");
                }
                other @ (Way::Group(_) | Way::Pass(..)) => return other,
            }
        }
        Way::Group(GroupKey::Members(members.into()))
    }

    /// The members of a group, those left out that the kernel skips (row 22), or why it is left to the kernel.
    pub(crate) fn members_of(&self, key: &GroupKey<HopKey>) -> Result<Judged, String> {
        let all: Vec<_> = match key {
            GroupKey::Members(members) => members.to_vec(),
            GroupKey::Object(id) => match self.objects.get(id).map(|object| &object.kind) {
                Some(NextHopKind::Group(members)) => members
                    .iter()
                    .map(|member| Member { key: HopKey::Object(member.id), weight: member.weight })
                    .collect(),
                _ => return Err(format!("next-hop object {id} is not known as a group")),
            },
        };
        if all.len() > BUCKETS as usize {
            return Err(format!("there are more than {BUCKETS} next hops"));
        }
        let mut usable = Vec::with_capacity(all.len());
        for member in &all {
            // What is wrong with a member that is not skipped is its next hop's affair: its share passes.
            let Ok((ifindex, _)) = self.neighbour_of(member.key) else {
                match member.key {
                    HopKey::Object(id) if self.unsure_objects.contains(&id) => {}
                    HopKey::Object(id) => {
                        return Err(format!("member {id} is not a plain next hop with a gateway"));
                    }
                    HopKey::Neighbour(_) => {}
                }
                usable.push(*member);
                continue;
            };
            let Some(link) = self.links.get(&ifindex) else {
                return Err(format!("interface {ifindex} of a member is gone"));
            };
            if link.is_up() && (link.is_running() || !self.ignores_linkdown(ifindex)) {
                usable.push(*member);
            }
        }
        Ok(Judged { all, usable })
    }

    /// Whether routes through an interface without carrier are skipped (IN_DEV_IGNORE_ROUTES_WITH_LINKDOWN).
    fn ignores_linkdown(&self, ifindex: Ifindex) -> bool {
        [ifindex as i32, Netconf::ALL].iter().any(|ifindex| {
            self.netconf.get(ifindex).and_then(|netconf| netconf.ignores_linkdown) == Some(true)
        })
    }

    /// Where a route by a next-hop object leads. What is wrong with the object is the next hop's affair.
    pub(crate) fn way_of_object(&self, id: u32) -> Way {
        if self.unsure_objects.contains(&id) {
            return Way::Via(HopKey::Object(id));
        }
        match self.objects.get(&id).map(|object| &object.kind) {
            Some(NextHopKind::Hop(hop)) if hop.gateway.is_none() => way_of(hop),
            Some(NextHopKind::Group(_)) => Way::Group(GroupKey::Object(id)),
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
            HopKey::Object(id) => match self.objects.get(&id).map(|object| &object.kind) {
                Some(NextHopKind::Hop(hop)) => match way_of(hop) {
                    Way::Via(HopKey::Neighbour(neighbour)) => Ok(neighbour),
                    Way::Pass(_, reason) => against(format!("next-hop object {id}: {reason}")),
                    Way::Via(HopKey::Object(_)) | Way::OnLink(_) | Way::Group(_) => {
                        against(format!("next-hop object {id} has no gateway"))
                    }
                },
                Some(NextHopKind::Group(_)) => against(format!("next-hop object {id} is a group")),
                Some(NextHopKind::OtherGroup) => against(format!(
                    "next-hop object {id} is a resilient group, whose buckets the kernel moves by itself"
                )),
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
        if let Some(vlan) = link.vlan {
            let because = |reason| Against { outcome: Outcome::PassEgress, reason };
            let lower = self.below(link, vlan).map_err(because)?;
            if vlan.maps_priority {
                return against(format!(
                    "{name} has an egress priority mapping (`ip link set {name} type vlan egress-qos-map`)"
                ));
            }
            self.egress(lower, bypass)?;
        } else if let Some(kind) = link.kind.as_deref().filter(|kind| *kind != "veth") {
            return against(format!("{name} is a {kind}, over which redirects are not proven"));
        }
        if let Some(master) = link.master {
            return against(format!("{name} is enslaved to {}", self.link_name(master)));
        }
        match self.features.get(&ifindex) {
            _ if link.vlan.is_some() => {}
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
        let mut reasons = self.against_frames(link, bypass);
        if let Some(vlan) = link.vlan {
            match self.below(link, vlan) {
                Err(reason) => reasons.push(reason),
                Ok(lower) => match self.links.get(&lower) {
                    Some(lower) => reasons.extend(self.against_frames(lower, bypass)),
                    None => reasons.push(format!("the interface below {name} is gone")),
                },
            }
        }
        let setting = |ifindex: i32| self.netconf.get(&ifindex);
        if setting(ifindex as i32).and_then(|netconf| netconf.forwarding) != Some(true) {
            reasons.push(format!("IPv4 forwarding is off on {name}"));
        }
        match self.reverse_path(ifindex) {
            None => reasons.push(format!("rp_filter of {name} is not known")),
            Some(0) => {}
            Some(mode) => reasons.extend(self.against_ways_back(name, mode)),
        }
        reasons.extend(self.against_rules_of(name));
        reasons
    }

    /// How the way back to sources is checked: 0 not at all, [`Port::REVERSE_STRICT`] or [`Port::REVERSE_LOOSE`].
    pub(crate) fn reverse_path(&self, ifindex: Ifindex) -> Option<u16> {
        let rp_filter = |ifindex: i32| self.netconf.get(&ifindex).and_then(|n| n.rp_filter);
        let has_address = || self.addresses.iter().any(|address| address.ifindex == ifindex);
        match rp_filter(ifindex as i32)?.max(rp_filter(Netconf::ALL)?) {
            0 => Some(0),
            // Without an address of its own an interface is as strict in loose mode (`__fib_validate_source`).
            1 => Some(Port::REVERSE_STRICT),
            _ if !has_address() => Some(Port::REVERSE_STRICT),
            _ => Some(Port::REVERSE_LOOSE),
        }
    }

    /// What stands against judging ways back from the tables.
    fn against_ways_back(&self, name: &str, mode: u16) -> Option<String> {
        if let Some(priority) = self.rule_of_ways_back() {
            return Some(format!(
                "rp_filter is on at {name}, and policy rule {priority} can apply to the way back (`ip rule`)"
            ));
        }
        // Strict mode compares with an interface that has just received something.
        let skipped = |link: &&Link| link.is_up() && !link.is_running() && self.ignores_linkdown(link.ifindex);
        let skipped = self.links.values().find(skipped).filter(|_| mode == Port::REVERSE_LOOSE)?;
        Some(format!(
            "rp_filter is loose at {name}, and routes through {} are ignored while it has no carrier",
            skipped.name
        ))
    }

    /// What stands against taking frames from an interface, whatever is in them.
    fn against_frames(&self, link: &Link, bypass: bool) -> Vec<String> {
        let (name, ifindex) = (&link.name, link.ifindex);
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
        self.links.get(&self.port_of(ifindex)).is_none_or(|link| {
            link.kind.is_some()
                || link.bus.as_deref().is_none_or(|bus| !matches!(bus, "pci" | "usb" | "platform"))
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

    /// What polling has to look at.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        self.links
            .values()
            .map(|link| Subject {
                ifindex: link.ifindex,
                name: link.name.clone(),
                may_hide_tags: match link.kind.as_deref() {
                    None => link.hardware == ARPHRD_ETHER,
                    Some("veth") => self.vlans_on(link.ifindex).next().is_some(),
                    Some(_) => false,
                },
                is_virtual: link.kind.is_some(),
            })
            .collect()
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
