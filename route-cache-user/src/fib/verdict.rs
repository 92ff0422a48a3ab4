//! What may be done, and why not: pure judgements over the tables. The sentences are what `show` and `get` print.

use route_cache_common::{Outcome, Port, route::BUCKETS};

use super::{
    family::{IpFamily, NetFamily, ancestors},
    groups::{GroupKey, GroupOf, Member},
    interlock::Subject,
    message::{Address, Hop, Ifindex, Link, Netconf, NextHopKind, RouteInfo, RouteTarget},
    tables::{NeighbourKey, Tables},
    why::{Code, Why},
};

/// Table numbers (include/uapi/linux/rtnetlink.h).
pub(crate) const TABLE_DEFAULT: u32 = 253;
/// `main`.
pub(crate) const TABLE_MAIN: u32 = 254;
/// `local`.
pub(crate) const TABLE_LOCAL: u32 = 255;

const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
const RTN_ANYCAST: u8 = 4;
const RTN_MULTICAST: u8 = 5;

/// What a next hop is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HopKey {
    /// A neighbour.
    Neighbour(NeighbourKey),
    /// A next-hop object with a gateway, so that a change of the object is one write, however many routes use it.
    Object(u32),
}

/// The members of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Every one.
    pub(crate) all: Vec<Member<HopKey>>,
    /// Those the kernel may choose.
    pub(crate) usable: Vec<Member<HopKey>>,
}

/// What to do with packets that a prefix covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

impl From<Why> for Against {
    fn from(why: Why) -> Self {
        Self { outcome: Outcome::PassEgress, reason: why.sentence }
    }
}

/// The name of a route type, as `ip route` prints it.
pub(crate) fn kind_name(kind: u8) -> &'static str {
    match kind {
        RTN_UNICAST => "unicast",
        RTN_LOCAL => "local",
        RTN_BROADCAST => "broadcast",
        RTN_ANYCAST => "anycast",
        RTN_MULTICAST => "multicast",
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
    /// The routes of a prefix that the default rules can reach, best first.
    pub(crate) fn candidates<F: NetFamily>(
        &self,
        net: &F::Net,
    ) -> impl Iterator<Item = &RouteInfo> + Clone + use<'_, F> {
        let is_reached = |table| F::RULES.iter().any(|(_, looked_up)| *looked_up == table);
        F::tables(self).routes.get(net).iter().filter(move |route| is_reached(route.table))
    }

    /// The judgement on a prefix, or nothing if it has no route that counts.
    pub(crate) fn verdict<F: NetFamily>(&self, net: &F::Net) -> Option<Verdict> {
        // Found once: a table may have a million.
        let candidates = self.candidates::<F>(net);
        let best = candidates.clone().next()?;
        let mtu = u16::try_from(best.mtu).unwrap_or(0);
        let is_equal =
            |other: &&RouteInfo| (other.table, other.metric) == (best.table, best.metric);
        let way = if candidates.clone().any(|route| route.tos != 0) {
            Way::Pass(Outcome::PassRoute, "the prefix has routes for a DSCP value")
        } else if let Some(reason) = candidates.clone().find_map(|route| route.limited) {
            Way::Pass(Outcome::PassRoute, reason)
        } else if best.is_uneven {
            Way::Pass(Outcome::PassRoute, "its next hops may differ in their MTU or expire apart")
        } else if F::FAMILY == IpFamily::V6 && candidates.clone().filter(is_equal).count() > 1 {
            // Which one the kernel takes depends on their order, their preference and the state of their routers
            // (`find_rr_leaf` in net/ipv6/route.c).
            Way::Pass(outcome_of_kind(best.kind), "the prefix has several routes of one metric")
        } else if best.table == TABLE_DEFAULT && self.is_covered::<F>(net) {
            Way::Pass(Outcome::PassRoute, "table default counts only where table main has no match")
        } else if best.table == TABLE_MAIN && self.is_inside_local::<F>(net) {
            Way::Pass(Outcome::PassRoute, "a local route covers the prefix")
        } else {
            match best.kind {
                RTN_UNICAST => self.unicast(F::FAMILY, &best.target),
                RTN_LOCAL | RTN_ANYCAST => {
                    Way::Pass(outcome_of_kind(best.kind), "an address of this host")
                }
                3 => Way::Pass(outcome_of_kind(best.kind), "a broadcast address"),
                5 => Way::Pass(outcome_of_kind(best.kind), "a multicast route"),
                6 => Way::Pass(Outcome::PassRoute, "a blackhole route"),
                7 => Way::Pass(Outcome::PassRoute, "an unreachable route"),
                8 => Way::Pass(Outcome::PassRoute, "a prohibit route"),
                9 => Way::Pass(Outcome::PassRoute, "a throw route"),
                _ => Way::Pass(Outcome::PassRoute, "a route of an unknown type"),
            }
        };
        Some(Verdict { way, mtu })
    }

    fn unicast(&self, family: IpFamily, target: &RouteTarget) -> Way {
        match target {
            RouteTarget::None => Way::Pass(Outcome::PassRoute, "the route has no next hop"),
            RouteTarget::Hop(hop) => way_of(hop),
            RouteTarget::Multipath(hops) => self.multipath(family, hops),
            RouteTarget::Object(id) => self.way_of_object(family, *id),
        }
    }

    fn multipath(&self, family: IpFamily, hops: &[Hop]) -> Way {
        /// With its last address goes the use of an interface (`fib_disable_ip`), which nothing but this flag tells.
        const RTNH_F_DEAD: u32 = 1;
        let mut members = Vec::with_capacity(hops.len());
        for hop in hops {
            let is_up = self.links.get(&hop.ifindex).is_some_and(Link::is_up);
            if hop.flags & RTNH_F_DEAD != 0
                && is_up
                && self.addresses.iter().all(|address| address.ifindex != hop.ifindex)
            {
                return Way::Pass(
                    Outcome::PassRoute,
                    "a next hop is dead on an interface that is up",
                );
            }
            match way_of(hop) {
                Way::Via(key) => members.push(Member { key, weight: hop.weight }),
                Way::OnLink(_) => {
                    return Way::Pass(Outcome::PassRoute, "a next hop of several has no gateway");
                }
                other @ (Way::Group(_) | Way::Pass(..)) => return other,
            }
        }
        Way::Group(GroupKey { family, of: GroupOf::Members(members.into()) })
    }

    /// The members of a group, those left out that the kernel skips (row 22), or why it is left to the kernel.
    pub(crate) fn members_of(&self, key: &GroupKey<HopKey>) -> Result<Judged, String> {
        let all: Vec<_> = match &key.of {
            GroupOf::Members(members) => members.to_vec(),
            GroupOf::Object(id) => match self.objects.get(id).map(|object| &object.kind) {
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
                if let HopKey::Object(id) = member.key
                    && !self.unsure_objects.contains(&id)
                {
                    return Err(format!("member {id} is not a plain next hop with a gateway"));
                }
                usable.push(*member);
                continue;
            };
            let Some(link) = self.links.get(&ifindex) else {
                return Err(format!("interface {ifindex} of a member is gone"));
            };
            if link.is_up() && (link.is_running() || !self.ignores_linkdown(key.family, ifindex)) {
                usable.push(*member);
            }
        }
        Ok(Judged { all, usable })
    }

    /// Whether routes through an interface without carrier are skipped (`ip_ignore_linkdown`, `ip6_ignore_linkdown`).
    fn ignores_linkdown(&self, family: IpFamily, ifindex: Ifindex) -> bool {
        let (settings, all) = match family {
            IpFamily::V4 => (&self.v4.netconf, Some(Netconf::ALL)),
            IpFamily::V6 => (&self.v6.netconf, None),
        };
        std::iter::once(ifindex as i32).chain(all).any(|ifindex| {
            settings.get(&ifindex).and_then(|netconf| netconf.ignores_linkdown) == Some(true)
        })
    }

    /// Where a route by a next-hop object leads. What is wrong with the object is the next hop's affair.
    pub(crate) fn way_of_object(&self, family: IpFamily, id: u32) -> Way {
        if self.unsure_objects.contains(&id) || self.is_sized(id) {
            return Way::Via(HopKey::Object(id));
        }
        match self.objects.get(&id).map(|object| &object.kind) {
            Some(NextHopKind::Hop(hop)) if hop.gateway.is_none() => way_of(hop),
            Some(NextHopKind::Group(_)) => Way::Group(GroupKey { family, of: GroupOf::Object(id) }),
            _ => Way::Via(HopKey::Object(id)),
        }
    }

    /// Whether [`Tables::is_sized`] holds for any.
    pub(crate) fn is_any_sized(&self) -> bool {
        self.v4.routes.sized().chain(self.v6.routes.sized()).next().is_some()
    }

    /// Whether a route with an MTU leads by a next-hop object, or by a group that it is a member of. The kernel forwards all
    /// that lead by it by the MTU of the one that was used first (`nhc_rth_input`, net/ipv4/route.c).
    pub(crate) fn is_sized(&self, id: u32) -> bool {
        let mut sized = self.v4.routes.sized().chain(self.v6.routes.sized());
        sized.any(|object| {
            object == id
                || match self.objects.get(&object).map(|object| &object.kind) {
                    Some(NextHopKind::Group(members)) => members.iter().any(|m| m.id == id),
                    // Of whom is not known.
                    Some(NextHopKind::OtherGroup) => true,
                    _ => false,
                }
        })
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
    fn is_covered<F: NetFamily>(&self, net: &F::Net) -> bool {
        ancestors::<F>(net).any(|ancestor| {
            self.candidates::<F>(&ancestor).any(|route| route.table != TABLE_DEFAULT)
        })
    }

    /// Whether a local route (not of a single address) covers the prefix. With the default rules untouched the kernel
    /// looks local and main up as one, else (IPv6: always) one after the other (`fib_unmerge`); only in this case it
    /// matters which.
    fn is_inside_local<F: NetFamily>(&self, net: &F::Net) -> bool {
        let mut nets = F::tables(self).routes.local_nets.iter();
        nets.any(|local| local != net && F::contains(local, net))
    }

    /// Whether frames may be redirected out of an interface (forwarding.md rows 36, 38 and 40) that takes them (row 37).
    pub(crate) fn egress(&self, ifindex: Ifindex, bypass: bool) -> Result<&Link, Why> {
        let against = |code, sentence: String| Err(Why { code, sentence });
        let Some(link) = self.links.get(&ifindex) else {
            return against(Code::Gone, format!("interface {ifindex} is gone"));
        };
        let name = &link.name;
        if ifindex >= route_cache_common::MAX_IFINDEX {
            return against(
                Code::Device,
                format!("{name} has index {ifindex}, which is beyond the device map"),
            );
        }
        if !link.is_running() {
            return against(Code::Carrier, format!("{name} is down or has no carrier"));
        }
        if self.unsure.contains(&ifindex) {
            return against(Code::Resync, format!("the routes through {name} are being read anew"));
        }
        if link.hardware != ARPHRD_ETHER || link.mac.is_none() {
            return against(Code::Device, format!("{name} is not an Ethernet interface"));
        }
        if let Some(vlan) = link.vlan {
            let lower = self.below(link, vlan).map_err(|reason| Why::new(Code::Vlan, reason))?;
            if vlan.maps_priority {
                return against(
                    Code::Vlan,
                    format!(
                        "{name} has an egress priority mapping (`ip link set {name} type vlan egress-qos-map`)"
                    ),
                );
            }
            self.egress(lower, bypass)?;
        } else if let Some(kind) = link.kind.as_deref().filter(|kind| *kind != "veth") {
            return against(
                Code::Device,
                format!("{name} is a {kind}, over which redirects are not proven"),
            );
        }
        if let Some(master) = link.master {
            return against(
                Code::Master,
                format!("{name} is enslaved to {}", self.link_name(master)),
            );
        }
        match self
            .qdiscs
            .get(&ifindex)
            .into_iter()
            .flatten()
            .find(|qdisc| !is_transparent(&qdisc.kind))
        {
            Some(qdisc) if !bypass => against(
                Code::Qdisc,
                format!(
                    "{name} has the queueing discipline {}, which a redirect would bypass",
                    qdisc.kind
                ),
            ),
            _ => Ok(link),
        }
    }

    /// What stands against forwarding what an interface receives of a family; nothing if it may be forwarded.
    pub(crate) fn ingress(&self, family: IpFamily, ifindex: Ifindex, bypass: bool) -> Vec<Why> {
        let Some(link) = self.links.get(&ifindex) else {
            return vec![Why::new(Code::Gone, format!("interface {ifindex} is gone"))];
        };
        let name = &link.name;
        let mut reasons = self.against_frames(link, bypass);
        if let Some(vlan) = link.vlan {
            match self.below(link, vlan) {
                Err(reason) => reasons.push(Why::new(Code::Vlan, reason)),
                Ok(lower) => match self.links.get(&lower) {
                    Some(lower) => reasons.extend(self.against_frames(lower, bypass)),
                    None => reasons
                        .push(Why::new(Code::Gone, format!("the interface below {name} is gone"))),
                },
            }
        }
        match family {
            IpFamily::V4 => reasons.extend(self.against_settings4(ifindex, name)),
            // The kernel has given up what it has of IPv6 there, and drops what comes in (`ip6_rcv_core`).
            IpFamily::V6 if !self.v6.netconf.contains_key(&(ifindex as i32)) => {
                let sentence = format!("{name} has no IPv6: its MTU is below 1280");
                reasons.push(Why::new(Code::Ipv6Disabled, sentence));
            }
            IpFamily::V6 => {}
        }
        let rules = self.against_rules_of(family, name);
        reasons.extend(rules.map(|reason| Why::new(Code::Rules, reason)));
        reasons
    }

    /// What stands against taking frames from an interface, whatever is in them.
    fn against_frames(&self, link: &Link, bypass: bool) -> Vec<Why> {
        let name = &link.name;
        let mut reasons = Vec::new();
        let mut against = |code, sentence: String| reasons.push(Why { code, sentence });
        if !link.is_running() {
            against(Code::Carrier, format!("{name} is down or has no carrier"));
        }
        if link.hardware != ARPHRD_ETHER || link.mac.is_none() {
            against(Code::Device, format!("{name} is not an Ethernet interface"));
        }
        if let Some(master) = link.master {
            against(Code::Master, format!("{name} is enslaved to {}", self.link_name(master)));
        }
        let upper = self.links.values().find(|u| u.takes_from == Some(link.ifindex));
        let upper = upper
            .map(|upper| format!("{} {}", upper.kind.as_deref().unwrap_or("device"), upper.name));
        if let Some(upper) = upper.or_else(|| self.moved.get(&link.ifindex).cloned()) {
            against(
                Code::Stacked,
                format!("the {upper} on {name} is handed frames before they are forwarded"),
            );
        }
        let on_ingress = |kind: &str| matches!(kind, "ingress" | "clsact");
        let mut qdiscs = self.qdiscs.get(&link.ifindex).into_iter().flatten();
        if let Some(qdisc) = qdiscs.find(|qdisc| on_ingress(&qdisc.kind))
            && !bypass
        {
            against(
                Code::Tc,
                format!("{name} has a tc {} hook, which XDP would bypass", qdisc.kind),
            );
        }
        reasons
    }

    /// What the IPv4 settings of an interface stand against. IPv6 asks for no more than that there is any, and that
    /// forwarding is on for all.
    fn against_settings4(&self, ifindex: Ifindex, name: &str) -> Vec<Why> {
        let mut reasons = Vec::new();
        let mut against = |code, sentence: String| reasons.push(Why { code, sentence });
        let setting = self.v4.netconf.get(&(ifindex as i32));
        if setting.and_then(|netconf| netconf.forwarding) != Some(true) {
            against(Code::Forwarding, format!("IPv4 forwarding is off on {name}"));
        }
        match self.reverse_path(ifindex) {
            None => against(Code::ReversePath, format!("rp_filter of {name} is not known")),
            Some(0) => {}
            Some(_) if self.unsure.contains(&ifindex) => against(
                Code::ReversePath,
                format!("rp_filter is on at {name}, and the routes through it are being read anew"),
            ),
            Some(_) => {
                if let Some(priority) = self.rule_of_ways_back() {
                    against(
                        Code::ReversePath,
                        format!(
                            "rp_filter is on at {name}, and policy rule {priority} can apply to the way back (`ip rule`)"
                        ),
                    );
                }
            }
        }
        reasons
    }

    /// How the way back to IPv4 sources is checked: 0 not at all, [`Port::REVERSE_STRICT`] or [`Port::REVERSE_LOOSE`].
    pub(crate) fn reverse_path(&self, ifindex: Ifindex) -> Option<u16> {
        let rp_filter = |ifindex: i32| self.v4.netconf.get(&ifindex).and_then(|n| n.rp_filter);
        let is_own = |address: &Address| address.ifindex == ifindex && address.local.is_ipv4();
        match rp_filter(ifindex as i32)?.max(rp_filter(Netconf::ALL)?) {
            0 => Some(0),
            1 => Some(Port::REVERSE_STRICT),
            // Without an address of its own an interface is as strict in loose mode (`__fib_validate_source`).
            _ if !self.addresses.iter().any(is_own) => Some(Port::REVERSE_STRICT),
            _ => Some(Port::REVERSE_LOOSE),
        }
    }

    /// Whether there may be routes in the tables that are no ways back to a source: the kernel has dropped them without a
    /// message, or ignores them while their interface has no carrier.
    pub(crate) fn has_doubtful_ways_back(&self) -> bool {
        let is_ignored = |link: &Link| {
            link.is_up() && !link.is_running() && self.ignores_linkdown(IpFamily::V4, link.ifindex)
        };
        !self.unsure.is_empty()
            || !self.unsure_objects.is_empty()
            || self.links.values().any(is_ignored)
    }

    /// Whether checksums of frames received here may still be somebody's to complete (row 39a).
    pub(crate) fn has_partial_checksums(&self, ifindex: Ifindex) -> bool {
        self.links.get(&self.port_of(ifindex)).is_none_or(|link| {
            link.kind.is_some()
                || link.bus.as_deref().is_none_or(|bus| !matches!(bus, "pci" | "usb" | "platform"))
        })
    }

    /// What settings stand against a family as a whole.
    pub(crate) fn against_settings(&self, family: IpFamily) -> Option<String> {
        // `ip6_forward` asks for nothing else.
        let all = self.v6.netconf.get(&Netconf::ALL).and_then(|netconf| netconf.forwarding);
        (family == IpFamily::V6 && all != Some(true))
            .then(|| "IPv6 forwarding is off (net.ipv6.conf.all.forwarding)".to_owned())
    }

    /// Whether a prefix has a route that is not unicast, nor one of the kernel's own for an address: the kernel drops what
    /// comes from there as soon as there is, or was, a local one among them (`fib_has_custom_local_routes`).
    pub(crate) fn has_custom_local_route<F: NetFamily>(&self, net: &F::Net) -> bool {
        const RTPROT_KERNEL: u8 = 2;
        let mut routes = F::tables(self).routes.get(net).iter();
        F::FAMILY == IpFamily::V4
            && routes.any(|r| {
                matches!(r.kind, RTN_LOCAL | RTN_BROADCAST | RTN_ANYCAST | RTN_MULTICAST)
                    && r.protocol != RTPROT_KERNEL
            })
    }

    /// Whether a prefix is a single address with a broadcast route, as each network has one.
    pub(crate) fn is_broadcast_address<F: NetFamily>(&self, net: &F::Net) -> bool {
        F::FAMILY == IpFamily::V4
            && F::prefix_len(net) == 32
            && F::tables(self).routes.get(net).iter().any(|r| r.kind == RTN_BROADCAST)
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
                may_merge: link.kind.is_none()
                    && link.hardware == ARPHRD_ETHER
                    && link.bus.as_deref() != Some("virtio"),
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
    } else {
        match hop.gateway {
            Some(gateway) => Way::Via(HopKey::Neighbour((hop.ifindex, gateway))),
            None => Way::OnLink(hop.ifindex),
        }
    }
}

/// What packets to a route of this type come to, which is left to the kernel.
const fn outcome_of_kind(kind: u8) -> Outcome {
    match kind {
        RTN_LOCAL | RTN_ANYCAST => Outcome::PassLocal,
        RTN_BROADCAST => Outcome::PassBroadcast,
        RTN_MULTICAST => Outcome::PassMulticast,
        _ => Outcome::PassRoute,
    }
}

/// Queueing disciplines that Linux installs by itself and that neither shape nor filter.
fn is_transparent(kind: &str) -> bool {
    matches!(kind, "noqueue" | "pfifo_fast" | "mq" | "fq_codel" | "fq" | "ingress")
}
