//! The kernel's tables as the agent knows them: plain data, changed by events, compared by prefix.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv6Net};
use route_cache_common::{V4, V6};

use super::{
    family::{IpFamily, NetFamily},
    message::{
        Address, Event, Ifindex, KernelRoute, Link, Neighbour, Netconf, NextHopKind, NextHopObject,
        Qdisc, RouteInfo, Rule,
    },
    routes::Routes,
};

/// A neighbour: interface and address.
pub(crate) type NeighbourKey = (Ifindex, IpAddr);

/// What the kernel has told of one family.
#[derive(Debug)]
pub(crate) struct FamilyTables<F: NetFamily> {
    /// Routes of all tables.
    pub(crate) routes: Routes<F>,
    /// Settings by interface, `all` and `default` included.
    pub(crate) netconf: HashMap<i32, Netconf>,
    /// Policy rules.
    pub(crate) rules: Vec<Rule>,
}

impl<F: NetFamily> Default for FamilyTables<F> {
    fn default() -> Self {
        Self { routes: Routes::default(), netconf: HashMap::new(), rules: Vec::new() }
    }
}

/// What the kernel has told, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Interfaces.
    pub(crate) links: BTreeMap<Ifindex, Link>,
    /// `xdp-features` of interfaces, where the kernel tells them.
    pub(crate) features: HashMap<Ifindex, u64>,
    /// Queueing disciplines by interface.
    pub(crate) qdiscs: HashMap<Ifindex, Vec<Qdisc>>,
    /// Addresses of this host.
    pub(crate) addresses: HashSet<Address>,
    /// What is IPv4's own.
    pub(crate) v4: FamilyTables<V4>,
    /// What is IPv6's own.
    pub(crate) v6: FamilyTables<V6>,
    /// Next-hop objects.
    pub(crate) objects: HashMap<u32, NextHopObject>,
    /// Neighbours, of every state.
    pub(crate) neighbours: BTreeMap<NeighbourKey, Neighbour>,
    /// Interfaces whose routes may have vanished without a message. Nothing is sent through them until the next dump:
    /// they may be in use again before it is in, and the routes that are only remembered are not.
    pub(crate) unsure: BTreeSet<Ifindex>,
    /// Next-hop objects that were deleted, and their routes with them without a message; one of the same id may be made
    /// before the next dump is in.
    pub(crate) unsure_objects: BTreeSet<u32>,
    /// Interfaces below devices that take their frames first and have moved to another network namespace, by a name for the
    /// device. Nobody tells when that goes: it counts for as long as the interface below is there.
    pub(super) moved: BTreeMap<Ifindex, String>,
    /// IPv6 routes of the dump that count as uneven because next hops that are dead could not be asked for.
    pub(super) doubtful_dead: Vec<(Ipv6Net, RouteInfo)>,
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
    Prefix(IpNet),
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
    /// An interface went down or away: IPv4 routes vanish with it without a message (`fib_disable_ip`), IPv6 routes with
    /// `skip_notify_on_dev_down` (`rt6_sync_down_dev`).
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

impl Tables {
    /// Takes in one event. The second value asks for a new dump.
    pub(crate) fn apply(&mut self, event: Event) -> (Touched, Option<Cause>) {
        match event {
            Event::Link(link) => self.link(link),
            Event::LinkGone(ifindex) => self.link_gone(ifindex),
            Event::LinkMoved(ifindex) => {
                if let Some(link) = self.links.get(&ifindex)
                    && let Some(lower) = link.takes_from
                {
                    let kind = link.kind.as_deref().unwrap_or("device");
                    let name = format!("{kind} {} of another namespace", link.name);
                    self.moved.insert(lower, name);
                }
                self.link_gone(ifindex)
            }
            Event::Address(address) => {
                self.addresses.insert(address);
                (Touched::Address(address), None)
            }
            Event::AddressGone(address) => {
                self.addresses.remove(&address);
                (Touched::Address(address), self.address_gone(address))
            }
            Event::Route { route, replace, append } => {
                let prefix = route.prefix;
                let doubt = self.insert_route(route, replace, append);
                (Touched::Prefix(prefix), doubt)
            }
            Event::RouteGone(route) => match route.prefix {
                IpNet::V4(_) => self.remove_route::<V4>(&route),
                IpNet::V6(_) => self.remove_route::<V6>(&route),
            },
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
            Event::NetconfGone(family, ifindex) => {
                self.netconf_mut(family).remove(&(ifindex as i32));
                (Touched::Interface(ifindex), None)
            }
            Event::Rule(rule) => {
                let rules = self.rules_mut(rule.family);
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
                (Touched::Rules, None)
            }
            Event::RuleGone(rule) => {
                let rules = self.rules_mut(rule.family);
                match rules.iter().position(|known| *known == rule) {
                    Some(position) => {
                        rules.swap_remove(position);
                        (Touched::Rules, None)
                    }
                    None => (Touched::Rules, Some(Cause::Doubt)),
                }
            }
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
        let lost =
            |flag| was.as_ref().is_some_and(|was| was.flags & flag != 0) && is.flags & flag == 0;
        // Next-hop objects, and their routes with them, go with the carrier already (`nh_netdev_event`).
        let went_down = lost(IFF_UP) || (lost(IFF_LOWER_UP) && self.has_objects_on(ifindex));
        if went_down {
            self.unsure.insert(ifindex);
        }
        (Touched::Interface(ifindex), went_down.then_some(Cause::Link))
    }

    fn link_gone(&mut self, ifindex: Ifindex) -> (Touched, Option<Cause>) {
        self.features.remove(&ifindex);
        self.qdiscs.remove(&ifindex);
        self.moved.remove(&ifindex);
        match self.links.remove(&ifindex) {
            Some(_) => (Touched::Interface(ifindex), Some(Cause::Link)),
            None => (Touched::Nothing, None),
        }
    }

    /// Takes over from older tables what no dump tells.
    pub(super) fn remember_moved(&mut self, old: &Self) {
        for (lower, name) in &old.moved {
            if self.links.contains_key(lower) {
                self.moved.insert(*lower, name.clone());
            }
        }
    }

    fn has_objects_on(&self, ifindex: Ifindex) -> bool {
        self.objects
            .values()
            .any(|object| matches!(&object.kind, NextHopKind::Hop(hop) if hop.ifindex == ifindex))
    }

    fn netconf(&mut self, news: Netconf) -> (Touched, Option<Cause>) {
        let known = self.netconf_mut(news.family).entry(news.ifindex).or_insert(news);
        known.forwarding = news.forwarding.or(known.forwarding);
        known.rp_filter = news.rp_filter.or(known.rp_filter);
        known.ignores_linkdown = news.ignores_linkdown.or(known.ignores_linkdown);
        match u32::try_from(news.ifindex) {
            Ok(ifindex) => (Touched::Interface(ifindex), None),
            Err(_) => (Touched::AllInterfaces, None),
        }
    }

    fn netconf_mut(&mut self, family: IpFamily) -> &mut HashMap<i32, Netconf> {
        match family {
            IpFamily::V4 => &mut self.v4.netconf,
            IpFamily::V6 => &mut self.v6.netconf,
        }
    }

    fn rules_mut(&mut self, family: IpFamily) -> &mut Vec<Rule> {
        match family {
            IpFamily::V4 => &mut self.v4.rules,
            IpFamily::V6 => &mut self.v6.rules,
        }
    }

    /// What may have gone with an address without a message. All routes through an interface go with its last one.
    fn address_gone(&mut self, address: Address) -> Option<Cause> {
        let family = IpFamily::of(address.local);
        let is_like_it = |other: &Address| {
            (other.ifindex, IpFamily::of(other.local)) == (address.ifindex, family)
        };
        let is_last = !self.addresses.iter().any(is_like_it);
        if is_last {
            self.unsure.insert(address.ifindex);
        }
        match family {
            // `fib_disable_ip`; and `fib_sync_down_addr` for each.
            IpFamily::V4 => Some(Cause::Address),
            // `rt6_disable_ip`. Of single addresses every route that goes is told (`fib6_del`).
            IpFamily::V6 => is_last.then_some(Cause::Link),
        }
    }

    /// Puts a route where the kernel has it among those of its prefix.
    pub(crate) fn insert_route(
        &mut self,
        route: KernelRoute,
        replace: bool,
        append: bool,
    ) -> Option<Cause> {
        let KernelRoute { prefix, info } = route;
        match prefix {
            IpNet::V4(net) => self.v4.routes.insert(net, info, replace, append),
            IpNet::V6(net) => self.v6.routes.insert(net, info, replace, append),
        }
    }

    /// Whether a prefix has local routes and is wider than one address.
    pub(crate) fn is_local_net(&self, prefix: IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => self.v4.routes.local_nets.contains(&net),
            IpNet::V6(net) => self.v6.routes.local_nets.contains(&net),
        }
    }

    fn remove_route<F: NetFamily>(&mut self, route: &KernelRoute) -> (Touched, Option<Cause>) {
        let routes = &mut F::tables_mut(self).routes;
        match F::net(route.prefix).map(|net| routes.remove(net, &route.info)) {
            Some((true, doubt)) => (Touched::Prefix(route.prefix), doubt),
            Some((false, _)) | None => (Touched::Nothing, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::message::{Hop, RouteInfo, RouteTarget};

    fn route(prefix: &str, metric: u32, gateway: u8) -> KernelRoute {
        KernelRoute {
            prefix: prefix.parse().unwrap(),
            info: RouteInfo {
                table: 254,
                kind: 1,
                tos: 0,
                protocol: 4,
                metric,
                mtu: 0,
                limited: None,
                is_uneven: false,
                target: RouteTarget::Hop(Hop {
                    ifindex: 2,
                    gateway: Some([10, 0, 0, gateway].into()),
                    weight: 1,
                    encap: false,
                    flags: 0,
                }),
            },
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
        let prefix = "10.9.0.0/16".parse().unwrap();
        add(&mut tables, route("10.9.0.0/16", 100, 1), false, false);
        add(&mut tables, route("10.9.0.0/16", 50, 2), false, false);
        add(&mut tables, route("10.9.0.0/16", 50, 3), false, true);
        add(&mut tables, route("10.9.0.0/16", 50, 4), false, false);
        let mut local = route("10.9.0.0/16", 1000, 5);
        local.info.table = 255;
        add(&mut tables, local.clone(), false, false);
        let order: Vec<_> =
            tables.v4.routes.get(&prefix).iter().map(|r| r.target.clone()).collect();
        let wanted: Vec<_> =
            [5, 4, 2, 3, 1].map(|g| route("10.9.0.0/16", 0, g).info.target).to_vec();
        assert_eq!(order, wanted);

        add(&mut tables, route("10.9.0.0/16", 50, 6), true, false);
        assert_eq!(tables.v4.routes.get(&prefix)[1], route("10.9.0.0/16", 50, 6).info);
        assert_eq!(tables.v4.routes.get(&prefix).len(), 5);
    }

    #[test]
    fn a_route_told_twice_is_one_route() {
        let mut tables = Tables::default();
        for _ in 0..2 {
            add(&mut tables, route("10.9.0.0/16", 0, 1), false, false);
        }
        assert_eq!(tables.v4.routes.iter().next().unwrap().1.len(), 1);
    }

    #[test]
    fn routes_by_the_same_gateway_that_differ_in_their_mtu_are_two() {
        let mut tables = Tables::default();
        let mut narrow = route("10.9.0.0/16", 0, 1);
        narrow.info.mtu = 1400;
        add(&mut tables, narrow.clone(), false, false);
        add(&mut tables, route("10.9.0.0/16", 0, 1), false, false);
        let (_, cause) = tables.apply(Event::RouteGone(route("10.9.0.0/16", 0, 1)));
        assert_eq!(cause, None);
        assert_eq!(tables.v4.routes.get(&"10.9.0.0/16".parse().unwrap()), [narrow.info]);
    }

    #[test]
    fn deleting_an_unknown_route_of_a_known_prefix_asks_for_a_dump() {
        let mut tables = Tables::default();
        add(&mut tables, route("10.9.0.0/16", 0, 1), false, false);
        let (_, cause) = tables.apply(Event::RouteGone(route("10.9.0.0/16", 0, 9)));
        assert_eq!(cause, Some(Cause::Doubt));
        let (touched, cause) = tables.apply(Event::RouteGone(route("10.9.0.0/16", 0, 1)));
        assert!(matches!(touched, Touched::Prefix(_)) && cause.is_none());
        assert_eq!(tables.v4.routes.nets().count(), 0);
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
            vlan: None,
            takes_from: None,
            xdp_program: None,
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
