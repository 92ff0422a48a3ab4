//! The bench with the agent's mirror in front: kernel tables made by hand, planned and installed as the agent does.

use std::{collections::BTreeMap, net::IpAddr};

use route_cache_common::{Outcome, V4};

use super::{
    super::Sizes,
    bench::{Bench, GATEWAY_MAC, IN_MAC, OUT_MAC, SMALL, on_bench},
    frame::Frame,
    model,
};
use crate::{
    cli::IndexMode,
    fib::{
        family::IpFamily,
        message::{
            Address, Event, Hop, KernelRoute, Link, Neighbour, Netconf, RouteInfo, RouteTarget,
            Rule, XDP_FEATURE_NDO_XMIT,
        },
        mirror::{Fib, Limits},
        tables::Tables,
        verdict::HopKey,
    },
};

/// States of neighbours (include/uapi/linux/neighbour.h).
const NUD_REACHABLE: u16 = 0x02;
/// Likewise.
pub(super) const NUD_STALE: u16 = 0x04;
/// Likewise.
pub(super) const NUD_FAILED: u16 = 0x20;

/// RTN_* (include/uapi/linux/rtnetlink.h).
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const BROADCAST: u8 = 3;
const BLACKHOLE: u8 = 6;

/// The bench, with a mirror of tables such as the kernel has.
pub(super) struct Mirror<'a> {
    /// The program under test.
    pub(super) bench: &'a mut Bench,
    /// What the agent knows.
    pub(super) fib: Fib,
    limits: Limits,
    macs: BTreeMap<[u8; 4], [u8; 6]>,
}

/// A router with 10.0.1.1/24 on `in` and 10.0.2.1/24 on `out`, gateways 10.0.2.2 and 10.0.2.3 there, and no other route.
pub(super) fn on_mirror(test: impl FnOnce(&mut Mirror<'_>) + Send) {
    on_mirror_of(SMALL, test);
}

/// The same with other sizes.
pub(super) fn on_mirror_of(sizes: Sizes, test: impl FnOnce(&mut Mirror<'_>) + Send) {
    on_bench(sizes, |bench| {
        let limits = Limits { routes: sizes.routes, hops: sizes.hops, groups: 16, bypass: false };
        let fib = Fib::new(limits);
        let mut mirror = Mirror { bench, fib, limits, macs: BTreeMap::new() };
        let mut tables = Tables::default();
        for event in mirror.start() {
            let _resync = tables.apply(event);
        }
        let ingress = mirror.bench.ingress;
        mirror.fib.set_attached(ingress, ingress);
        mirror.fib.replace(tables);
        assert_eq!(mirror.fib.reasons::<V4>(), []);
        assert_eq!(mirror.fib.ingress(IpFamily::V4, ingress), []);
        mirror.install();
        for (last, mac) in [(2, GATEWAY_MAC), (3, [2, 0, 0, 0, 2, 3])] {
            mirror.neighbour([10, 0, 2, last], mac);
        }
        test(&mut mirror);
    });
}

impl Mirror<'_> {
    fn start(&self) -> Vec<Event> {
        let (ingress, egress) = (self.bench.ingress, self.bench.egress);
        let mut events = vec![self.link(ingress, true), self.link(egress, true)];
        for ifindex in [ingress as i32, egress as i32, Netconf::ALL] {
            let netconf = Netconf {
                family: IpFamily::V4,
                ifindex,
                forwarding: Some(true),
                ignores_linkdown: None,
                rp_filter: Some(0),
            };
            events.push(Event::Netconf(netconf));
        }
        for (ifindex, net) in [(ingress, 1), (egress, 2)] {
            let features = XDP_FEATURE_NDO_XMIT;
            events.push(Event::XdpFeatures { ifindex, features });
            let local = IpAddr::from([10, 0, net, 1]);
            events.push(Event::Address(Address { ifindex, local, prefix_len: 24 }));
            let on_link = |prefix: &str, kind| {
                let hop = hop(ifindex, None);
                let target = RouteTarget::Hop(hop);
                let table = if kind == UNICAST { 254 } else { 255 };
                added(with(route(prefix, kind), |info| {
                    *info = RouteInfo { target, table, protocol: 2, ..info.clone() };
                }))
            };
            events.push(on_link(&format!("10.0.{net}.1/32"), LOCAL));
            events.push(on_link(&format!("10.0.{net}.255/32"), BROADCAST));
            events.push(on_link(&format!("10.0.{net}.0/24"), UNICAST));
        }
        for (priority, table) in [(0, 255), (32_766, 254), (32_767, 253)] {
            events.push(Event::Rule(Rule {
                family: IpFamily::V4,
                priority,
                table,
                action: 1,
                iif: None,
                oif: None,
                l3mdev: false,
                inverted: false,
                selective: false,
            }));
        }
        events
    }

    fn link(&self, ifindex: u32, running: bool) -> Event {
        const IFF_UP: u32 = 1;
        const IFF_LOWER_UP: u32 = 1 << 16;
        let is_in = ifindex == self.bench.ingress;
        Event::Link(Link {
            ifindex,
            name: if is_in { "in" } else { "out" }.into(),
            hardware: 1,
            flags: if running { IFF_UP | IFF_LOWER_UP } else { IFF_UP },
            mac: Some(if is_in { IN_MAC } else { OUT_MAC }),
            mtu: 1500,
            kind: None,
            bus: Some("pci".into()),
            master: None,
            vlan: None,
            takes_from: None,
            xdp_program: None,
        })
    }

    /// The kernel says so; the agent follows.
    fn hear(&mut self, event: Event) {
        assert_eq!(self.fib.apply(event), None, "no doubt about it");
        self.install();
    }

    fn install(&mut self) {
        let mut plan = self.fib.plan();
        plan.flags |= self.bench.tiers;
        self.bench.write(&plan);
    }

    /// A new route by a gateway, or on the link `out`.
    pub(super) fn route(&mut self, prefix: &str, gateway: Option<[u8; 4]>) {
        self.hear(added(self.via(prefix, gateway)));
    }

    /// A new route by several gateways.
    pub(super) fn multipath(&mut self, prefix: &str, gateways: &[[u8; 4]]) {
        let hops = gateways.iter().map(|gateway| hop(self.bench.egress, Some(*gateway))).collect();
        let target = RouteTarget::Multipath(hops);
        self.hear(added(with(route(prefix, UNICAST), |info| info.target = target)));
    }

    /// Many new routes, taken in at once.
    pub(super) fn routes(&mut self, prefixes: impl Iterator<Item = String>, gateway: [u8; 4]) {
        for prefix in prefixes {
            let event = added(self.via(&prefix, Some(gateway)));
            assert_eq!(self.fib.apply(event), None, "no doubt about it");
        }
        self.install();
    }

    /// The agent starts anew, and finds these routes by a gateway besides those that were there.
    pub(super) fn restart(&mut self, found: impl Iterator<Item = (String, [u8; 4])>) {
        for (prefix, gateway) in found {
            let event = added(self.via(&prefix, Some(gateway)));
            assert_eq!(self.fib.apply(event), None, "no doubt about it");
        }
        let tables = std::mem::take(&mut self.fib.tables);
        self.fib = Fib::new(self.limits);
        self.fib.set_attached(self.bench.ingress, self.bench.ingress);
        self.fib.replace(tables);
        let written = self.bench.plane.writer.write_first(&mut self.fib, IndexMode::On);
        let (mut plan, written) = written.expect("it is written");
        plan.flags |= self.bench.tiers;
        self.bench.write_behind(&plan, written);
    }

    /// `ip route replace`.
    pub(super) fn replace_route(&mut self, prefix: &str, gateway: Option<[u8; 4]>) {
        let route = self.via(prefix, gateway);
        self.hear(Event::Route { route, replace: true, append: false });
    }

    /// `ip route replace`, of which nothing reaches the program: the agent has planned it and could not write.
    pub(super) fn miss_replace(&mut self, prefix: &str, gateway: Option<[u8; 4]>) {
        let route = self.via(prefix, gateway);
        assert_eq!(self.fib.apply(Event::Route { route, replace: true, append: false }), None);
        let _never_written = self.fib.plan();
    }

    /// `ip route delete`.
    pub(super) fn delete_route(&mut self, prefix: &str, gateway: Option<[u8; 4]>) {
        self.hear(Event::RouteGone(self.via(prefix, gateway)));
    }

    /// `ip route add blackhole`.
    pub(super) fn blackhole(&mut self, prefix: &str) {
        self.hear(added(route(prefix, BLACKHOLE)));
    }

    fn via(&self, prefix: &str, gateway: Option<[u8; 4]>) -> KernelRoute {
        let target = RouteTarget::Hop(hop(self.bench.egress, gateway));
        with(route(prefix, UNICAST), |info| info.target = target)
    }

    /// `ip address add … dev in`.
    pub(super) fn local_address(&mut self, local: [u8; 4]) {
        let (ifindex, local) = (self.bench.ingress, IpAddr::from(local));
        self.hear(Event::Address(Address { ifindex, local, prefix_len: 32 }));
        let target = RouteTarget::Hop(hop(ifindex, None));
        let route = route(&format!("{local}/32"), LOCAL);
        self.hear(added(with(route, |info| {
            *info = RouteInfo { target, table: 255, protocol: 2, ..info.clone() };
        })));
    }

    /// A neighbour on `out` answers.
    pub(super) fn neighbour(&mut self, address: [u8; 4], mac: [u8; 6]) {
        self.macs.insert(address, mac);
        self.neighbour_in_state(address, Some(mac), NUD_REACHABLE);
    }

    /// A neighbour on `out` gets into a state.
    pub(super) fn neighbour_in_state(
        &mut self,
        address: [u8; 4],
        lladdr: Option<[u8; 6]>,
        state: u16,
    ) {
        let (ifindex, address) = (self.bench.egress, address.into());
        self.hear(Event::Neighbour(Neighbour { ifindex, address, state, lladdr }));
    }

    /// A neighbour on `out` is forgotten.
    pub(super) fn neighbour_gone(&mut self, address: [u8; 4]) {
        let (ifindex, address) = (self.bench.egress, address.into());
        self.hear(Event::NeighbourGone { ifindex, address });
    }

    /// Carrier of `out`.
    pub(super) fn set_out_running(&mut self, running: bool) {
        self.hear(self.link(self.bench.egress, running));
    }

    /// The MAC address of a neighbour, one of its own if it has not answered yet.
    pub(super) fn mac_of(&self, address: [u8; 4]) -> [u8; 6] {
        let [a, b, c, d] = address;
        self.macs.get(&address).copied().unwrap_or([2, 0, a, b, c, d])
    }

    /// A frame to this destination must leave for this neighbour.
    #[track_caller]
    pub(super) fn forwards(&self, destination: [u8; 4], neighbour: [u8; 4], how: Outcome) {
        let frame = Frame::to(destination);
        let (outcome, bytes) = self.bench.send(&frame);
        assert_eq!(outcome, how);
        assert_eq!(bytes, model::forwarded(&frame, self.mac_of(neighbour), OUT_MAC));
    }

    /// Index of the next hop that stands for a neighbour.
    pub(super) fn hop_index(&self, address: [u8; 4]) -> u32 {
        let key = HopKey::Neighbour((self.bench.egress, address.into()));
        self.fib.hops.get(&key).expect("it has one").id.index()
    }

    /// Next hops with a mark on them.
    pub(super) fn marks(&self) -> Vec<u32> {
        let touched = &self.bench.plane.writer.touched;
        (0..SMALL.hops).filter(|index| touched.get(index, 0).expect("readable") != 0).collect()
    }
}

fn added(route: KernelRoute) -> Event {
    Event::Route { route, replace: false, append: false }
}

fn route(prefix: &str, kind: u8) -> KernelRoute {
    KernelRoute {
        prefix: prefix.parse().expect("a prefix"),
        info: RouteInfo {
            table: 254,
            kind,
            tos: 0,
            protocol: 4,
            metric: 0,
            mtu: 0,
            limited: None,
            is_uneven: false,
            target: RouteTarget::None,
        },
    }
}

fn with(mut route: KernelRoute, change: impl FnOnce(&mut RouteInfo)) -> KernelRoute {
    change(&mut route.info);
    route
}

fn hop(ifindex: u32, gateway: Option<[u8; 4]>) -> Hop {
    Hop { ifindex, gateway: gateway.map(IpAddr::from), encap: false, weight: 1, flags: 0 }
}
