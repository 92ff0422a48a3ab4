//! The mirror and its plans against a model of the data plane, driven by random events.
//!
//! The model takes a plan in the order in which `install` writes it, one write at a time, with packets in between:
//! each packet uses the clone of its destination if its generation and its next hop are current, else the longest match, of which it
//! makes a clone. Whatever the packets cloned on the way, once a plan is written every destination must go where the
//! kernel's tables, looked up naively, say.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use route_cache_common::{
    Action, NextHop, NextHopId, Outcome, Route,
    next_hop::{NeighbourKey, NextHopVersion},
    route::RouteWords,
};

use super::{
    message::{
        Event, Hop, Ifindex, KernelRoute, Link, Neighbour, Netconf, NextHopKind, NextHopObject,
        RouteTarget, XDP_FEATURE_NDO_XMIT,
    },
    mirror::{Fib, Limits},
    plan::Plan,
    tables::Tables,
    verdict::{HopKey, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, Way},
};

/// Where a packet ends up: through a MAC address on an interface, or at the kernel.
type End = Result<(Ifindex, [u16; 6]), ()>;

#[derive(Default)]
struct DataPlane {
    routes: BTreeMap<Ipv4Net, RouteWords>,
    generations: HashMap<u32, u32>,
    hops: HashMap<u32, NextHop>,
    neighbours: HashMap<NeighbourKey<route_cache_common::Address4>, NextHopId>,
    clones: HashMap<Ipv4Addr, RouteWords>,
}

impl DataPlane {
    /// What the program does, without the parts that other tests hold.
    fn packet(&mut self, to: Ipv4Addr) -> End {
        let valid = |words: &RouteWords| {
            self.is_current(*words) && self.version(NextHopId(words[0])).is_some()
        };
        let clone = self.clones.get(&to).copied().filter(valid);
        let words = match clone {
            Some(words) => words,
            None => {
                let covering = self.routes.iter().filter(|(net, _)| net.contains(&to));
                let (_, words) = covering.max_by_key(|(net, _)| net.prefix_len()).ok_or(())?;
                let id = match Route::unpack(*words).action {
                    Action::Pass(_) => return Err(()),
                    Action::Via(id) => id,
                    Action::OnLink(ifindex) => *self
                        .neighbours
                        .get(&NeighbourKey { ifindex, address: to.octets() })
                        .ok_or(())?,
                };
                Route::resolved(*words, id)
            }
        };
        let version = self.version(NextHopId(words[0])).ok_or(())?;
        if version.flags & NextHopVersion::USABLE == 0 {
            return Err(());
        }
        self.clones.insert(to, words);
        Ok((version.ifindex, version.addresses))
    }

    /// The version of a next hop that still has this id.
    fn version(&self, id: NextHopId) -> Option<NextHopVersion> {
        let hop = self.hops.get(&id.index())?;
        let version = hop.versions[(hop.current & 1) as usize];
        (version.id == id.0).then_some(version)
    }

    fn is_current(&self, words: RouteWords) -> bool {
        let route = Route::unpack(words);
        self.generations.get(&route.slot).copied().unwrap_or(0) == route.generation
    }

    /// Takes in a plan as `install` writes it, with `between` after every write.
    fn take(&mut self, plan: &Plan, mut between: impl FnMut(&mut Self)) {
        for (index, element) in &plan.hops {
            self.hops.insert(*index, *element);
            between(self);
        }
        for (key, id) in &plan.neighbours_added {
            self.neighbours.insert(*key, *id);
            between(self);
        }
        for key in &plan.neighbours_removed {
            self.neighbours.remove(key);
            between(self);
        }
        for (net, words) in &plan.routes {
            self.routes.insert(*net, *words);
            between(self);
        }
        for net in &plan.routes_removed {
            self.routes.remove(net);
            between(self);
        }
        for (slot, generation) in &plan.generations {
            self.generations.insert(*slot, *generation);
            between(self);
        }
    }
}

/// What the tables say, looked up without any of the mirror's own structures.
fn naive(fib: &Fib, to: Ipv4Addr) -> End {
    let tables = &fib.tables;
    let covering =
        tables.routes.keys().filter(|net| net.contains(&to) && tables.verdict(net).is_some());
    let best = covering.max_by_key(|net| net.prefix_len()).ok_or(())?;
    let (ifindex, address) = match tables.verdict(best).ok_or(())?.way {
        Way::Pass(..) => return Err(()),
        Way::OnLink(ifindex) => (ifindex, to),
        Way::Via(HopKey::Neighbour(neighbour)) => neighbour,
        // Its routes may be gone.
        Way::Via(HopKey::Object(id)) if tables.unsure_objects.contains(&id) => return Err(()),
        Way::Via(HopKey::Object(id)) => match tables.objects.get(&id).ok_or(())?.kind {
            NextHopKind::Hop(Hop { ifindex, gateway: Some(gateway), encap: false, .. }) => {
                (ifindex, gateway)
            }
            NextHopKind::Hop(_)
            | NextHopKind::Group
            | NextHopKind::Blackhole
            | NextHopKind::Other => {
                return Err(());
            }
        },
    };
    let link = tables.links.get(&ifindex).filter(|link| link.is_running()).ok_or(())?;
    let neighbour = tables.neighbours.get(&(ifindex, address)).ok_or(())?;
    let (Some(mac), true) = (neighbour.lladdr, neighbour.state == REACHABLE) else {
        return Err(());
    };
    Ok((ifindex, NextHopVersion::addresses(mac, link.mac.ok_or(())?)))
}

const REACHABLE: u16 = 2;
const FAILED: u16 = 0x20;
const UP: u32 = 1 | 1 << 16;

fn link(ifindex: Ifindex, flags: u32, mac: u8) -> Link {
    Link {
        ifindex,
        name: format!("eth{ifindex}"),
        hardware: 1,
        flags,
        mac: Some([2, 0, 0, 0, 9, mac]),
        mtu: 1500,
        kind: None,
        bus: Some("pci".into()),
        master: None,
        xdp_program: None,
        vlan: None,
    }
}

/// Few enough that events meet each other: two interfaces, three hosts on each, prefixes inside each other.
fn destinations() -> Vec<Ipv4Addr> {
    let inside = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 1, 1], [10, 1, 0, 1], [11, 0, 0, 1]];
    let neighbours = [2, 3].into_iter().flat_map(|i| (1..=3).map(move |host| [192, 168, i, host]));
    inside.into_iter().chain(neighbours).map(Ipv4Addr::from).collect()
}

fn prefix() -> impl Strategy<Value = Ipv4Net> {
    let nets = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.0.0.0/24",
        "10.0.0.0/31",
        "10.0.0.1/32",
        "10.0.0.2/32",
        "10.1.0.0/16",
        "192.168.2.0/24",
        "192.168.2.1/32",
        "192.168.3.0/24",
    ];
    prop::sample::select(nets.to_vec()).prop_map(|net| net.parse().expect("a prefix"))
}

fn hop() -> impl Strategy<Value = Hop> {
    let gateway = |ifindex: u32, host: u8| Ipv4Addr::new(192, 168, ifindex as u8, host);
    (2u32..=3, 0u8..=3, any::<bool>()).prop_map(move |(ifindex, host, encap)| Hop {
        ifindex,
        gateway: (host > 0).then(|| gateway(ifindex, host)),
        via_ipv6: false,
        encap: encap && host == 3,
        flags: 0,
    })
}

fn route() -> impl Strategy<Value = KernelRoute> {
    let target = prop_oneof![
        4 => hop().prop_map(RouteTarget::Hop),
        2 => (1u32..=3).prop_map(RouteTarget::Object),
        1 => prop::collection::vec(hop(), 2).prop_map(RouteTarget::Multipath),
    ];
    let table = prop_oneof![8 => Just(TABLE_MAIN), 1 => Just(TABLE_LOCAL), 1 => Just(TABLE_DEFAULT), 1 => Just(7)];
    let kind = prop_oneof![8 => Just(1u8), 1 => Just(2), 1 => Just(6), 1 => Just(9)];
    (prefix(), table, kind, 0u32..2, prop_oneof![9 => Just(0u8), 1 => Just(16)], target).prop_map(
        |(prefix, table, kind, metric, tos, target)| KernelRoute {
            prefix,
            table,
            kind,
            tos,
            protocol: 4,
            metric,
            mtu: 0,
            target,
        },
    )
}

fn neighbour() -> impl Strategy<Value = Neighbour> {
    (2u32..=3, 1u8..=3, prop::sample::select(vec![REACHABLE, FAILED]), 0u8..3).prop_map(
        |(ifindex, host, state, mac)| Neighbour {
            ifindex,
            address: Ipv4Addr::new(192, 168, ifindex as u8, host),
            state,
            lladdr: Some([2, 0, 0, 0, host, mac]),
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        4 => hop().prop_map(NextHopKind::Hop),
        1 => Just(NextHopKind::OtherGroup),
        1 => Just(NextHopKind::Blackhole),
    ];
    prop_oneof![
        6 => (route(), any::<bool>(), any::<bool>())
            .prop_map(|(route, replace, append)| Event::Route { route, replace, append }),
        3 => route().prop_map(Event::RouteGone),
        3 => neighbour().prop_map(Event::Neighbour),
        1 => neighbour().prop_map(|n| Event::NeighbourGone { ifindex: n.ifindex, address: n.address }),
        2 => (1u32..=3, kind).prop_map(|(id, kind)| Event::NextHopObject(NextHopObject { id, kind })),
        1 => (1u32..=3).prop_map(Event::NextHopObjectGone),
        1 => (2u32..=3, any::<bool>(), 0u8..2)
            .prop_map(|(ifindex, up, mac)| Event::Link(link(ifindex, if up { UP } else { 1 }, mac))),
    ]
}

/// One step of a script.
#[derive(Debug, Clone)]
enum Step {
    /// Events of one batch.
    Hear(Vec<Event>),
    /// A dump that finds some routes and neighbours gone that nobody told of.
    Resync(Vec<Ipv4Net>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(event(), 1..4).prop_map(Step::Hear),
        1 => prop::collection::vec(prefix(), 0..4).prop_map(Step::Resync),
    ]
}

fn begin() -> Fib {
    // Six neighbours and three objects: indexes are used again.
    let mut fib = Fib::new(Limits { routes: 64, hops: 9, groups: 3, bypass: false });
    fib.replace(Tables::default());
    for ifindex in [2, 3] {
        fib.apply(Event::Link(link(ifindex, UP, 0)));
        fib.apply(Event::XdpFeatures { ifindex, features: XDP_FEATURE_NDO_XMIT });
        fib.apply(Event::Netconf(Netconf {
            ifindex: ifindex as i32,
            forwarding: Some(true),
            rp_filter: Some(0),
            ignores_linkdown: Some(false),
        }));
        let connected = KernelRoute {
            prefix: Ipv4Net::new(Ipv4Addr::new(192, 168, ifindex as u8, 0), 24).expect("a prefix"),
            table: TABLE_MAIN,
            kind: 1,
            tos: 0,
            protocol: 2,
            metric: 0,
            mtu: 0,
            target: RouteTarget::Hop(Hop {
                ifindex,
                gateway: None,
                via_ipv6: false,
                encap: false,
                flags: 0,
            }),
        };
        fib.apply(Event::Route { route: connected, replace: false, append: false });
    }
    fib
}

/// The same tables, made anew as a dump makes them.
fn dumped(tables: &Tables) -> Tables {
    let mut copy = Tables::default();
    copy.links.clone_from(&tables.links);
    copy.features.clone_from(&tables.features);
    copy.netconf.clone_from(&tables.netconf);
    copy.objects.clone_from(&tables.objects);
    copy.neighbours.clone_from(&tables.neighbours);
    copy.rules.clone_from(&tables.rules);
    for route in tables.routes.values().flatten() {
        copy.insert_route(route.clone(), false, true);
    }
    copy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_cloned_on_the_way_packets_end_where_the_tables_say(
        steps in prop::collection::vec(step(), 1..25),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let destinations = destinations();
        let mut fib = begin();
        let mut data_plane = DataPlane::default();
        let mut packets = picks.iter().cycle().map(|pick| destinations[pick.index(destinations.len())]);
        data_plane.take(&fib.plan(), |_| ());
        for step in steps {
            match step {
                Step::Hear(events) => {
                    for event in events {
                        fib.apply(event);
                    }
                }
                Step::Resync(gone) => {
                    let mut tables = dumped(&fib.tables);
                    for net in gone {
                        for route in tables.routes.get(&net).cloned().unwrap_or_default() {
                            tables.apply(Event::RouteGone(route));
                        }
                    }
                    fib.replace(tables);
                }
            }
            let plan = fib.plan();
            data_plane.take(&plan, |data_plane| {
                for _ in 0..2 {
                    if let Some(to) = packets.next() {
                        let _anywhere = data_plane.packet(to);
                    }
                }
            });
            if fib.reasons().iter().any(|reason| reason.contains("fit")) {
                // Out of room: IPv4 stands aside as a whole.
                return Ok(());
            }
            for to in &destinations {
                prop_assert_eq!(data_plane.packet(*to), naive(&fib, *to), "to {}", to);
                // The second packet of a kind goes by the clone.
                prop_assert_eq!(data_plane.packet(*to), naive(&fib, *to), "to {}, cloned", to);
            }
        }
    }
}

#[test]
fn row_23a_a_route_that_passes_shadows_the_less_specific_one() {
    let mut fib = begin();
    fib.apply(Event::Neighbour(Neighbour {
        ifindex: 2,
        address: Ipv4Addr::new(192, 168, 2, 1),
        state: REACHABLE,
        lladdr: Some([2, 0, 0, 0, 1, 1]),
    }));
    let route = |prefix: &str, kind| KernelRoute {
        prefix: prefix.parse().expect("a prefix"),
        table: TABLE_MAIN,
        kind,
        tos: 0,
        protocol: 4,
        metric: 0,
        mtu: 0,
        target: RouteTarget::Hop(Hop {
            ifindex: 2,
            gateway: Some(Ipv4Addr::new(192, 168, 2, 1)),
            via_ipv6: false,
            encap: false,
            flags: 0,
        }),
    };
    let add = |route| Event::Route { route, replace: false, append: false };
    fib.apply(add(route("10.0.0.0/8", 1)));
    let mut data_plane = DataPlane::default();
    data_plane.take(&fib.plan(), |_| ());
    assert!(data_plane.packet(Ipv4Addr::new(10, 0, 0, 1)).is_ok());
    fib.apply(add(route("10.0.0.0/24", 6)));
    data_plane.take(&fib.plan(), |_| ());
    assert_eq!(data_plane.packet(Ipv4Addr::new(10, 0, 0, 1)), Err(()));
    assert!(data_plane.packet(Ipv4Addr::new(10, 0, 1, 1)).is_ok());
    let verdict = fib.tables.verdict(&"10.0.0.0/24".parse().expect("a prefix"));
    assert!(matches!(
        verdict.map(|v| v.way),
        Some(Way::Pass(Outcome::PassRoute, "a blackhole route"))
    ));
}

#[test]
fn f6_routes_that_do_not_fit_make_ipv4_stand_aside_and_recover() {
    let mut fib = Fib::new(Limits { routes: 2, hops: 8, bypass: true });
    let route = |third: u8| KernelRoute {
        prefix: Ipv4Net::new(Ipv4Addr::new(10, 0, third, 0), 24).expect("a prefix"),
        table: TABLE_MAIN,
        kind: 6,
        tos: 0,
        protocol: 4,
        metric: 0,
        mtu: 0,
        target: RouteTarget::None,
    };
    fib.replace(Tables::default());
    for third in 0..3 {
        fib.apply(Event::Route { route: route(third), replace: false, append: false });
    }
    assert_eq!(fib.plan().routes.len(), 2);
    assert!(
        fib.reasons().iter().any(|reason| reason.contains("--max-routes")),
        "{:?}",
        fib.reasons()
    );
    fib.apply(Event::RouteGone(route(0)));
    fib.apply(Event::RouteGone(route(1)));
    fib.apply(Event::RouteGone(route(2)));
    let _removals = fib.plan();
    assert!(fib.may_fit_now());
    fib.replace(Tables::default());
    assert!(!fib.reasons().iter().any(|reason| reason.contains("--max-routes")));
}

#[test]
fn s4_a_route_without_an_mtu_of_its_own_takes_its_interfaces_and_follows_it() {
    let mut fib = begin();
    fib.apply(Event::Neighbour(Neighbour {
        ifindex: 2,
        address: Ipv4Addr::new(192, 168, 2, 1),
        state: REACHABLE,
        lladdr: Some([2, 0, 0, 0, 1, 1]),
    }));
    let mut data_plane = DataPlane::default();
    data_plane.take(&fib.plan(), |_| ());
    let mtu = |data_plane: &DataPlane| data_plane.version(NextHopId::new(0, 0)).expect("known").mtu;
    assert_eq!(mtu(&data_plane), 1500);
    fib.apply(Event::Link(Link { mtu: 1400, ..link(2, UP, 0) }));
    data_plane.take(&fib.plan(), |_| ());
    assert_eq!(mtu(&data_plane), 1400);
    let own = KernelRoute {
        prefix: "10.0.0.0/8".parse().expect("a prefix"),
        table: TABLE_MAIN,
        kind: 1,
        tos: 0,
        protocol: 4,
        metric: 0,
        mtu: 1300,
        target: RouteTarget::Hop(Hop {
            ifindex: 2,
            gateway: Some(Ipv4Addr::new(192, 168, 2, 1)),
            via_ipv6: false,
            encap: false,
            flags: 0,
        }),
    };
    fib.apply(Event::Route { route: own, replace: false, append: false });
    let plan = fib.plan();
    assert_eq!(plan.routes.iter().map(|(_, words)| Route::unpack(*words).mtu).max(), Some(1300));
}
