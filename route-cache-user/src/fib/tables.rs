//! The kernel's tables as the agent knows them: plain data, changed by events, compared by prefix.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

use super::message::{
    Address, Event, Hop, Ifindex, KernelRoute, Link, Neighbour, Netconf, NextHopKind, NextHopObject, Qdisc,
    RouteTarget, Rule,
};
use super::verdict::{TABLE_DEFAULT, TABLE_LOCAL};

/// A neighbour: interface and address.
pub(crate) type NeighbourKey = (Ifindex, Ipv4Addr);

/// What the kernel has told, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Interfaces.
    pub(crate) links: BTreeMap<Ifindex, Link>,
    /// `xdp-features` of interfaces, where the kernel tells them.
    pub(crate) features: HashMap<Ifindex, u64>,
    /// IPv4 settings by interface, `all` and `default` included.
    pub(crate) netconf: HashMap<i32, Netconf>,
    /// Queueing disciplines by interface.
    pub(crate) qdiscs: HashMap<Ifindex, Vec<Qdisc>>,
    /// IPv4 addresses of this host.
    pub(crate) addresses: HashSet<Address>,
    /// Routes of all tables by prefix; those of one prefix in the order in which the kernel would try them.
    pub(crate) routes: BTreeMap<Ipv4Net, Vec<KernelRoute>>,
    /// Prefixes of table local that are wider than one address.
    pub(crate) local_nets: BTreeSet<Ipv4Net>,
    /// Prefixes with routes in table default.
    pub(crate) default_nets: BTreeSet<Ipv4Net>,
    /// Prefixes with a route by a next-hop object.
    pub(crate) by_object: HashMap<u32, BTreeSet<Ipv4Net>>,
    /// Next-hop objects.
    pub(crate) objects: HashMap<u32, NextHopObject>,
    /// Neighbours, of every state.
    pub(crate) neighbours: BTreeMap<NeighbourKey, Neighbour>,
    /// Tables that had a route since the last dump, and whether one that is not unicast and not an error.
    pub(crate) used_tables: HashMap<u32, bool>,
    /// IPv4 policy rules.
    pub(crate) rules: Vec<Rule>,
    /// Interfaces whose routes may have vanished without a message. Nothing is sent through them until the next dump:
    /// they may be in use again before it is in, and the routes that are only remembered are not.
    pub(crate) unsure: BTreeSet<Ifindex>,
    /// Next-hop objects that were deleted, and their routes with them without a message; one of the same id may be made
    /// before the next dump is in.
    pub(crate) unsure_objects: BTreeSet<u32>,
}

/// What an event touched, and whether it leaves a doubt that only a new dump removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Nothing that matters.
    Nothing,
    /// An interface: its state, MTU, MAC, features, qdiscs, settings.
    Interface(Ifindex),
    /// Settings that hold for every interface.
    AllInterfaces,
    /// A local address.
    Address(Address),
    /// The routes of a prefix.
    Prefix(Ipv4Net),
    /// A next-hop object.
    Object(u32),
    /// A neighbour.
    Neighbour(NeighbourKey),
    /// Policy rules.
    Rules,
}

/// Why a new dump is needed. The label of `route_cache_resyncs_total{cause}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cause {
    /// The first dump.
    Start,
    /// The kernel dropped messages.
    Overrun,
    /// A message that could not be read, or that contradicts the tables.
    Doubt,
    /// An interface went down or away: IPv4 routes vanish with it without a message (`fib_disable_ip`).
    Link,
    /// An address went away: routes that prefer it as source vanish without a message (`fib_sync_down_addr`).
    Address,
    /// A next-hop object went away: its routes vanish without a message (`__remove_nexthop_fib`).
    NextHop,
}

impl Cause {
    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Overrun => "overrun",
            Self::Doubt => "doubt",
            Self::Link => "link",
            Self::Address => "address",
            Self::NextHop => "next_hop",
        }
    }

    /// Whether the tables must not be used until the dump is in. The others concern routes whose next hop is unusable
    /// already, or an interface that is not used until then ([`Tables::unsure`]), so that what is stale passes.
    pub(crate) const fn distrusts(self) -> bool {
        match self {
            Self::Start | Self::Overrun | Self::Doubt | Self::Address => true,
            Self::Link | Self::NextHop => false,
        }
    }
}

/// IFF_UP (include/uapi/linux/if.h).
const IFF_UP: u32 = 1;
/// IFF_LOWER_UP: there is a carrier.
const IFF_LOWER_UP: u32 = 1 << 16;

impl Link {
    /// Up, whatever the carrier.
    pub(crate) const fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Up, with a carrier.
    pub(crate) const fn is_running(&self) -> bool {
        self.flags & IFF_UP != 0 && self.flags & IFF_LOWER_UP != 0
    }
}

impl KernelRoute {
    /// Place among the routes of one prefix, smallest first: `fib_find_alias` sorts by table, DSCP and metric.
    fn order(&self) -> (std::cmp::Reverse<u32>, std::cmp::Reverse<u8>, u32) {
        (std::cmp::Reverse(self.table), std::cmp::Reverse(self.tos), self.metric)
    }

    /// The same route, whatever the state of its next hops.
    fn same(&self, other: &Self) -> bool {
        self.order() == other.order() && self.kind == other.kind && self.target.same(&other.target)
    }
}

impl Hop {
    /// The same next hop, whatever its state.
    fn same(&self, other: &Self) -> bool {
        (self.ifindex, self.gateway) == (other.ifindex, other.gateway)
    }
}

impl RouteTarget {
    /// The interface of the first next hop.
    pub(crate) fn first_interface(&self) -> Option<Ifindex> {
        match self {
            Self::Hop(hop) => Some(hop.ifindex),
            Self::Multipath(hops) => hops.first().map(|first| first.hop.ifindex),
            Self::None | Self::Object(_) => None,
        }
        .filter(|ifindex| *ifindex != 0)
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hop(a), Self::Hop(b)) => a.same(b),
            (Self::Multipath(a), Self::Multipath(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(a, b)| a.weight == b.weight && a.hop.same(&b.hop))
            }
            (Self::None | Self::Object(_) | Self::Hop(_) | Self::Multipath(_), _) => self == other,
        }
    }
}

impl Tables {
    /// Takes in one event. The second value asks for a new dump.
    pub(crate) fn apply(&mut self, event: Event) -> (Touched, Option<Cause>) {
        match event {
            Event::Link(link) => self.link(link),
            Event::LinkGone(ifindex) => {
                self.features.remove(&ifindex);
                self.qdiscs.remove(&ifindex);
                match self.links.remove(&ifindex) {
                    Some(_) => (Touched::Interface(ifindex), Some(Cause::Link)),
                    None => (Touched::Nothing, None),
                }
            }
            Event::Address(address) => {
                self.addresses.insert(address);
                (Touched::Address(address), None)
            }
            Event::AddressGone(address) => {
                self.addresses.remove(&address);
                // With its last address go all routes through an interface (`fib_disable_ip`).
                if self.addresses.iter().all(|other| other.ifindex != address.ifindex) {
                    self.unsure.insert(address.ifindex);
                }
                (Touched::Address(address), Some(Cause::Address))
            }
            Event::Route { route, replace, append } => {
                let prefix = route.prefix;
                self.insert_route(route, replace, append);
                (Touched::Prefix(prefix), None)
            }
            Event::RouteGone(route) => self.remove_route(&route),
            Event::NextHopObject(object) => {
                let id = object.id;
                self.objects.insert(id, object);
                (Touched::Object(id), None)
            }
            Event::NextHopObjectGone(id) => {
                self.objects.remove(&id);
                self.unsure_objects.insert(id);
                (Touched::Object(id), Some(Cause::NextHop))
            }
            Event::Neighbour(neighbour) => {
                let key = (neighbour.ifindex, neighbour.address);
                self.neighbours.insert(key, neighbour);
                (Touched::Neighbour(key), None)
            }
            Event::NeighbourGone { ifindex, address } => {
                self.neighbours.remove(&(ifindex, address));
                (Touched::Neighbour((ifindex, address)), None)
            }
            Event::Netconf(netconf) => self.netconf(netconf),
            Event::NetconfGone(ifindex) => {
                self.netconf.remove(&(ifindex as i32));
                (Touched::Interface(ifindex), None)
            }
            Event::Rule(rule) => {
                if !self.rules.contains(&rule) {
                    self.rules.push(rule);
                }
                (Touched::Rules, None)
            }
            Event::RuleGone(rule) => match self.rules.iter().position(|known| *known == rule) {
                Some(position) => {
                    self.rules.swap_remove(position);
                    (Touched::Rules, None)
                }
                None => (Touched::Rules, Some(Cause::Doubt)),
            },
            Event::Qdisc(qdisc) => {
                let ifindex = qdisc.ifindex;
                let all = self.qdiscs.entry(ifindex).or_default();
                all.retain(|known| (known.parent, known.handle) != (qdisc.parent, qdisc.handle));
                all.push(qdisc);
                (Touched::Interface(ifindex), None)
            }
            Event::QdiscGone(qdisc) => {
                if let Some(all) = self.qdiscs.get_mut(&qdisc.ifindex) {
                    all.retain(|known| {
                        (known.parent, known.handle) != (qdisc.parent, qdisc.handle)
                    });
                }
                (Touched::Interface(qdisc.ifindex), None)
            }
            Event::XdpFeatures { ifindex, features } => {
                self.features.insert(ifindex, features);
                (Touched::Interface(ifindex), None)
            }
        }
    }

    fn link(&mut self, link: Link) -> (Touched, Option<Cause>) {
        let ifindex = link.ifindex;
        let was = self.links.insert(ifindex, link);
        let is = &self.links[&ifindex];
        if was.as_ref() == Some(is) {
            return (Touched::Nothing, None);
        }
        let lost = |flag| was.as_ref().is_some_and(|was| was.flags & flag != 0) && is.flags & flag == 0;
        // Next-hop objects, and their routes with them, go with the carrier already (`nh_netdev_event`).
        let went_down = lost(IFF_UP) || (lost(IFF_LOWER_UP) && self.has_objects_on(ifindex));
        if went_down {
            self.unsure.insert(ifindex);
        }
        (Touched::Interface(ifindex), went_down.then_some(Cause::Link))
    }

    fn has_objects_on(&self, ifindex: Ifindex) -> bool {
        self.objects.values().any(
            |object| matches!(&object.kind, NextHopKind::Hop(hop) if hop.ifindex == ifindex),
        )
    }

    fn netconf(&mut self, news: Netconf) -> (Touched, Option<Cause>) {
        let known = self.netconf.entry(news.ifindex).or_insert(news);
        known.forwarding = news.forwarding.or(known.forwarding);
        known.rp_filter = news.rp_filter.or(known.rp_filter);
        known.ignores_linkdown = news.ignores_linkdown.or(known.ignores_linkdown);
        match u32::try_from(news.ifindex) {
            Ok(ifindex) => (Touched::Interface(ifindex), None),
            Err(_) => (Touched::AllInterfaces, None),
        }
    }

    /// Puts a route where the kernel has it among those of its prefix (`fib_table_insert`).
    pub(crate) fn insert_route(&mut self, route: KernelRoute, replace: bool, append: bool) {
        let prefix = route.prefix;
        self.note_nets(&route);
        let all = self.routes.entry(route.prefix).or_default();
        let first = all.partition_point(|known| known.order() < route.order());
        let after = all.partition_point(|known| known.order() <= route.order());
        if replace && first < after {
            all[first] = route;
        } else if let Some(known) = all[first..after].iter_mut().find(|known| known.same(&route)) {
            *known = route;
        } else {
            all.insert(if append { after } else { first }, route);
            return;
        }
        self.forget_nets(&prefix);
    }

    /// Enters a route into the indexes.
    fn note_nets(&mut self, route: &KernelRoute) {
        // Unicast, blackhole, unreachable, prohibit, throw.
        *self.used_tables.entry(route.table).or_default() |= !matches!(route.kind, 1 | 6..=9);
        if route.table == TABLE_DEFAULT {
            self.default_nets.insert(route.prefix);
        }
        if route.table == TABLE_LOCAL && route.prefix.prefix_len() < route.prefix.max_prefix_len() {
            self.local_nets.insert(route.prefix);
        }
        if let RouteTarget::Object(id) = route.target {
            self.by_object.entry(id).or_default().insert(route.prefix);
        }
    }

    /// Takes a prefix out of the indexes that its routes no longer justify.
    fn forget_nets(&mut self, prefix: &Ipv4Net) {
        let routes = self.routes.get(prefix).map_or(&[][..], Vec::as_slice);
        if !routes.iter().any(|route| route.table == TABLE_DEFAULT) {
            self.default_nets.remove(prefix);
        }
        if !routes.iter().any(|route| route.table == TABLE_LOCAL) {
            self.local_nets.remove(prefix);
        }
        // Entries of `by_object` may outlive their route: re-judging a prefix once too often is harmless.
    }

    fn remove_route(&mut self, route: &KernelRoute) -> (Touched, Option<Cause>) {
        let prefix = route.prefix;
        let Some(all) = self.routes.get_mut(&prefix) else {
            return (Touched::Nothing, None);
        };
        let doubt = match all.iter().position(|known| known.same(route)) {
            Some(position) => {
                all.remove(position);
                None
            }
            // The prefix is known and this route of it is not: what is left may be wrong.
            None => Some(Cause::Doubt),
        };
        if all.is_empty() {
            self.routes.remove(&prefix);
        }
        self.forget_nets(&prefix);
        (Touched::Prefix(prefix), doubt)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::fib::message::Hop;

    fn route(prefix: &str, metric: u32, gateway: u8) -> KernelRoute {
        KernelRoute {
            prefix: prefix.parse().unwrap(),
            table: 254,
            kind: 1,
            tos: 0,
            protocol: 4,
            metric,
            mtu: 0,
            target: RouteTarget::Hop(Hop {
                ifindex: 2,
                gateway: Some(Ipv4Addr::new(10, 0, 0, gateway)),
                via_ipv6: false,
                encap: false,
                flags: 0,
            }),
        }
    }

    fn add(tables: &mut Tables, route: KernelRoute, replace: bool, append: bool) {
        let prefix = route.prefix;
        assert_eq!(
            tables.apply(Event::Route { route, replace, append }),
            (Touched::Prefix(prefix), None)
        );
    }

    #[test]
    fn routes_of_a_prefix_stand_in_the_kernels_order() {
        let mut tables = Tables::default();
        let prefix: Ipv4Net = "10.9.0.0/16".parse().unwrap();
        add(&mut tables, route("10.9.0.0/16", 100, 1), false, false);
        add(&mut tables, route("10.9.0.0/16", 50, 2), false, false);
        add(&mut tables, route("10.9.0.0/16", 50, 3), false, true);
        add(&mut tables, route("10.9.0.0/16", 50, 4), false, false);
        let mut local = route("10.9.0.0/16", 1000, 5);
        local.table = 255;
        add(&mut tables, local.clone(), false, false);
        let order: Vec<_> = tables.routes[&prefix].iter().map(|r| r.target.clone()).collect();
        let wanted: Vec<_> = [5, 4, 2, 3, 1].map(|g| route("10.9.0.0/16", 0, g).target).to_vec();
        assert_eq!(order, wanted);

        add(&mut tables, route("10.9.0.0/16", 50, 6), true, false);
        assert_eq!(tables.routes[&prefix][1], route("10.9.0.0/16", 50, 6));
        assert_eq!(tables.routes[&prefix].len(), 5);
    }

    #[test]
    fn a_route_told_twice_is_one_route() {
        let mut tables = Tables::default();
        for _ in 0..2 {
            add(&mut tables, route("10.9.0.0/16", 0, 1), false, false);
        }
        assert_eq!(tables.routes.values().next().unwrap().len(), 1);
    }

    #[test]
    fn deleting_an_unknown_route_of_a_known_prefix_asks_for_a_dump() {
        let mut tables = Tables::default();
        add(&mut tables, route("10.9.0.0/16", 0, 1), false, false);
        let (_, cause) = tables.apply(Event::RouteGone(route("10.9.0.0/16", 0, 9)));
        assert_eq!(cause, Some(Cause::Doubt));
        let (touched, cause) = tables.apply(Event::RouteGone(route("10.9.0.0/16", 0, 1)));
        assert!(matches!(touched, Touched::Prefix(_)) && cause.is_none());
        assert!(tables.routes.is_empty());
    }

    #[test]
    fn s14_an_interface_without_any_address_is_not_used_until_its_routes_are_read() {
        let mut tables = Tables::default();
        let address = |last| Address { ifindex: 2, local: [10, 0, 2, last].into(), prefix_len: 24 };
        for last in [1, 9] {
            tables.apply(Event::Address(address(last)));
        }
        tables.apply(Event::AddressGone(address(9)));
        assert!(tables.unsure.is_empty());
        tables.apply(Event::AddressGone(address(1)));
        assert_eq!(tables.unsure, [2].into());
    }

    #[test]
    fn row_38_a_link_that_goes_down_asks_for_a_dump_because_ipv4_routes_vanish_silently() {
        let mut tables = Tables::default();
        let up = Link {
            ifindex: 2,
            name: "eth0".into(),
            hardware: 1,
            flags: IFF_UP | IFF_LOWER_UP,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            kind: None,
            bus: None,
            master: None,
            xdp_program: None,
            vlan: None,
        };
        assert_eq!(tables.apply(Event::Link(up.clone())), (Touched::Interface(2), None));
        assert_eq!(tables.apply(Event::Link(up.clone())), (Touched::Nothing, None));
        let no_carrier = Link { flags: IFF_UP, ..up.clone() };
        assert_eq!(tables.apply(Event::Link(no_carrier)), (Touched::Interface(2), None));
        assert!(tables.unsure.is_empty());
        let down = Link { flags: 0, ..up.clone() };
        assert_eq!(tables.apply(Event::Link(down)), (Touched::Interface(2), Some(Cause::Link)));
        // Up again, it still has to be read what is left.
        assert_eq!(tables.apply(Event::Link(up)), (Touched::Interface(2), None));
        assert_eq!(tables.unsure, [2].into());
        assert_eq!(tables.apply(Event::LinkGone(2)), (Touched::Interface(2), Some(Cause::Link)));
    }
}
