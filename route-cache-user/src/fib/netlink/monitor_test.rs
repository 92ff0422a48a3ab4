//! Notifications of a real kernel. Root: each test has a network namespace of its own.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::namespace::{index, run, with_veth};
use super::{Monitor, Received};
use crate::fib::message::{
    Address, Event, Hop, KernelRoute, Neighbour, Netconf, NextHopKind, NextHopObject, RouteTarget,
    Rule,
};

const BUFFER: usize = 1 << 20;

/// A monitor with a runtime around it.
struct Ear {
    runtime: tokio::runtime::Runtime,
    monitor: Monitor,
}

impl Ear {
    fn open(buffer: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let inside = runtime.enter();
        let monitor = Monitor::open(buffer).expect("the monitor opens");
        drop(inside);
        Self { runtime, monitor }
    }

    /// What is heard within `limit`.
    fn next(&mut self, events: &mut Vec<Event>, limit: Duration) -> Option<Received> {
        let next = self.monitor.next(events);
        self.runtime
            .block_on(async { tokio::time::timeout(limit, next).await.ok() })
            .map(|received| received.expect("the socket lives"))
    }

    /// Everything heard until an event fits.
    fn until(&mut self, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        while !events.iter().any(&fits) {
            let received = self.next(&mut events, Duration::from_secs(5));
            assert_eq!(received, Some(Received::Events), "heard only {events:?}");
        }
        events
    }

    /// Runs a command and returns the first route event that it causes.
    fn route_after(&mut self, command: &str) -> Event {
        run(command);
        let is_route = |event: &Event| matches!(event, Event::Route { .. } | Event::RouteGone(_));
        self.until(is_route).into_iter().find(is_route).expect("until() found it")
    }
}

fn hear<T: Send>(test: impl FnOnce(&mut Ear) -> T + Send) -> T {
    with_veth(|| test(&mut Ear::open(BUFFER)))
}

fn hop(gateway: [u8; 4]) -> Hop {
    Hop {
        ifindex: index("left"),
        gateway: Some(Ipv4Addr::from(gateway)),
        via_ipv6: false,
        encap: false,
        flags: 0,
    }
}

fn route(target: RouteTarget) -> KernelRoute {
    KernelRoute {
        prefix: "192.0.2.0/24".parse().expect("a prefix"),
        table: 254,
        kind: libc::RTN_UNICAST,
        tos: 0,
        protocol: 3,
        metric: 0,
        mtu: 0,
        target,
    }
}

#[test]
fn a_link_that_goes_down_and_away_is_heard() {
    hear(|ear| {
        let right = index("right");
        let up = |event: &Event, wanted: bool| match event {
            Event::Link(link) => {
                link.ifindex == right && (link.flags & libc::IFF_UP as u32 != 0) == wanted
            }
            _ => false,
        };
        run("ip link set right down");
        ear.until(|event| up(event, false));
        run("ip link set right up");
        ear.until(|event| up(event, true));
        run("ip link del right");
        ear.until(|event| *event == Event::LinkGone(right));
    });
}

#[test]
fn a_port_that_leaves_a_bridge_is_not_a_link_that_is_gone() {
    hear(|ear| {
        run("ip link add bridge type bridge && ip link set left master bridge");
        let bridge = index("bridge");
        ear.until(|event| matches!(event, Event::Link(link) if link.master == Some(bridge)));
        run("ip link set left nomaster && ip link del bridge");
        let events = ear.until(|event| matches!(event, Event::LinkGone(_)));
        assert!(events.contains(&Event::LinkGone(bridge)), "{events:?}");
        assert!(events.iter().any(
            |event| matches!(event, Event::Link(link) if link.name == "left" && link.master.is_none())
        ));
    });
}

#[test]
fn addresses_that_come_and_go_are_heard() {
    hear(|ear| {
        let address =
            Address { ifindex: index("right"), local: Ipv4Addr::new(192, 0, 2, 1), prefix_len: 24 };
        run("ip address add 192.0.2.1/24 dev right");
        ear.until(|event| *event == Event::Address(address));
        run("ip address del 192.0.2.1/24 dev right");
        ear.until(|event| *event == Event::AddressGone(address));
    });
}

#[test]
fn routes_are_heard_with_how_they_were_put() {
    hear(|ear| {
        let one = RouteTarget::Hop(hop([10, 0, 0, 2]));
        let two = RouteTarget::Hop(hop([10, 0, 0, 3]));
        let put = |target: &RouteTarget, replace, append| Event::Route {
            route: route(target.clone()),
            replace,
            append,
        };
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2");
        assert_eq!(event, put(&one, false, false));
        let event = ear.route_after("ip route replace 192.0.2.0/24 via 10.0.0.3");
        assert_eq!(event, put(&two, true, false));
        let event = ear.route_after("ip route append 192.0.2.0/24 via 10.0.0.2");
        assert_eq!(event, put(&one, false, true));
        let event = ear.route_after("ip route del 192.0.2.0/24 via 10.0.0.2");
        assert_eq!(event, Event::RouteGone(route(one)));
    });
}

#[test]
fn multipath_blackhole_and_mtu_are_heard() {
    hear(|ear| {
        let both = RouteTarget::Multipath(vec![hop([10, 0, 0, 2]), hop([10, 0, 0, 3])]);
        let put = |route| Event::Route { route, replace: false, append: false };
        let event =
            ear.route_after("ip route add 192.0.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.0.3");
        assert_eq!(event, put(route(both.clone())));
        let event = ear.route_after("ip route del 192.0.2.0/24");
        assert_eq!(event, Event::RouteGone(route(both)));

        let blackhole = KernelRoute { kind: libc::RTN_BLACKHOLE, ..route(RouteTarget::None) };
        let event = ear.route_after("ip route add blackhole 192.0.2.0/24");
        assert_eq!(event, put(blackhole.clone()));
        let event = ear.route_after("ip route del 192.0.2.0/24");
        assert_eq!(event, Event::RouteGone(blackhole));

        let small = RouteTarget::Hop(hop([10, 0, 0, 2]));
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2 mtu 1280");
        assert_eq!(event, put(KernelRoute { mtu: 1280, ..route(small) }));
    });
}

#[test]
fn next_hop_objects_and_routes_over_them_are_heard() {
    hear(|ear| {
        let object = |gateway| {
            Event::NextHopObject(NextHopObject { id: 7, kind: NextHopKind::Hop(hop(gateway)) })
        };
        run("ip nexthop add id 7 via 10.0.0.2 dev left");
        ear.until(|event| *event == object([10, 0, 0, 2]));
        let event = ear.route_after("ip route add 192.0.2.0/24 nhid 7");
        let over = route(RouteTarget::Object(7));
        assert_eq!(event, Event::Route { route: over, replace: false, append: false });
        run("ip nexthop replace id 7 via 10.0.0.3 dev left");
        ear.until(|event| *event == object([10, 0, 0, 3]));
        run("ip nexthop del id 7");
        ear.until(|event| *event == Event::NextHopObjectGone(7));
    });
}

#[test]
fn neighbours_that_change_and_go_are_heard() {
    hear(|ear| {
        let (ifindex, address) = (index("left"), Ipv4Addr::new(10, 0, 0, 2));
        let lladdr = Some([2, 0, 0, 0, 0, 2]);
        let neighbour = |state| Event::Neighbour(Neighbour { ifindex, address, state, lladdr });
        run("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev left nud reachable");
        ear.until(|event| *event == neighbour(libc::NUD_REACHABLE));
        run("ip neigh change 10.0.0.2 lladdr 02:00:00:00:00:02 dev left nud stale");
        ear.until(|event| *event == neighbour(libc::NUD_STALE));
        run("ip neigh del 10.0.0.2 dev left");
        ear.until(|event| *event == Event::NeighbourGone { ifindex, address });
    });
}

#[test]
fn rules_that_come_and_go_are_heard() {
    hear(|ear| {
        let rule = Rule { priority: 5, table: 1000, action: 1, selective: true };
        run("ip rule add from 192.0.2.0/24 priority 5 lookup 1000");
        ear.until(|event| *event == Event::Rule(rule.clone()));
        run("ip rule del priority 5");
        ear.until(|event| *event == Event::RuleGone(rule.clone()));
    });
}

#[test]
fn forwarding_and_reverse_path_filters_that_change_are_heard() {
    hear(|ear| {
        let left = index("left").cast_signed();
        let forwarding = |event: &Event, wanted| match event {
            Event::Netconf(netconf) => {
                netconf.ifindex == left && netconf.forwarding == Some(wanted)
            }
            _ => false,
        };
        run("sysctl -qw net.ipv4.conf.left.forwarding=1");
        ear.until(|event| forwarding(event, true));
        run("sysctl -qw net.ipv4.ip_forward=1 && sysctl -qw net.ipv4.ip_forward=0");
        ear.until(|event| forwarding(event, false));
        run("sysctl -qw net.ipv4.conf.left.rp_filter=2 net.ipv4.conf.all.rp_filter=1");
        let filter = |event: &Event, ifindex, wanted| match event {
            Event::Netconf(Netconf { ifindex: of, rp_filter, .. }) => {
                *of == ifindex && *rp_filter == Some(wanted)
            }
            _ => false,
        };
        let events = ear.until(|event| filter(event, Netconf::ALL, 1));
        assert!(events.iter().any(|event| filter(event, left, 2)), "{events:?}");
        run("ip link del left");
        ear.until(|event| *event == Event::NetconfGone(left.cast_unsigned()));
    });
}

#[test]
fn queueing_disciplines_that_come_and_go_are_heard() {
    hear(|ear| {
        let left = index("left");
        run("tc qdisc add dev left clsact && tc qdisc del dev left clsact");
        let events =
            ear.until(|event| matches!(event, Event::QdiscGone(qdisc) if qdisc.kind == "clsact"));
        assert!(events.iter().any(|event| matches!(
            event,
            Event::Qdisc(qdisc) if qdisc.ifindex == left && qdisc.parent == 0xffff_fff1
        )));
    });
}

#[test]
fn a_veth_peer_that_turns_gro_on_takes_redirected_frames_from_then_on() {
    use crate::fib::message::XDP_FEATURE_NDO_XMIT;
    hear(|ear| {
        assert!(ear.monitor.hears_xdp_features());
        let left = index("left");
        let takes = |event: &Event, wanted: bool| match event {
            Event::XdpFeatures { ifindex, features } => {
                *ifindex == left && (features & XDP_FEATURE_NDO_XMIT != 0) == wanted
            }
            _ => false,
        };
        run("ethtool -K right gro on");
        ear.until(|event| takes(event, true));
        run("ethtool -K right gro off");
        ear.until(|event| takes(event, false));
    });
}

#[test]
fn a_loss_is_reported_and_nothing_older_follows_it() {
    with_veth(|| {
        let mut ear = Ear::open(4096);
        run("seq 1 5000 | awk '{ printf \"route add 20.%d.%d.0/24 via 10.0.0.2\\n\", \
             $1 / 256, $1 % 256 }' | ip -batch -");
        let mut events = Vec::new();
        let received = ear.next(&mut events, Duration::from_secs(5));
        assert_eq!(received, Some(Received::Overrun));
        assert!(events.is_empty(), "{} events came before the loss was told", events.len());
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2");
        let target = RouteTarget::Hop(hop([10, 0, 0, 2]));
        assert_eq!(event, Event::Route { route: route(target), replace: false, append: false });
    });
}

#[test]
fn what_another_process_sends_is_not_believed() {
    use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
    hear(|ear| {
        let mut address = SocketAddr::new(0, 0);
        ear.monitor.route_socket().get_address(&mut address).expect("it is bound");
        let mut liar = Socket::new(NETLINK_ROUTE).expect("a socket opens");
        liar.bind_auto().expect("it binds");
        let lie = super::Request::get(libc::RTM_DELLINK, &[0; 16]).finish(0);
        liar.send_to(&lie, &address, 0).expect("the lie is told");
        run("ip link add truth type veth peer name true");
        let events = ear.until(|event| matches!(event, Event::Link(_)));
        assert!(!events.contains(&Event::LinkGone(0)), "{events:?}");
    });
}

#[test]
fn waiting_can_be_given_up_without_losing_anything() {
    hear(|ear| {
        let mut events = Vec::new();
        while ear.next(&mut events, Duration::from_millis(100)).is_some() {}
        events.clear();
        assert_eq!(ear.next(&mut events, Duration::from_millis(1)), None);
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2");
        assert!(matches!(event, Event::Route { .. }));
        assert!(events.is_empty());
    });
}
