//! Notifications about routes and next-hop objects.

use super::super::namespace::run;
use super::ear::hear;
use super::hop;
use crate::fib::message::{Event, KernelRoute, NextHopKind, NextHopObject, RouteInfo, RouteTarget};

fn route(target: RouteTarget) -> KernelRoute {
    KernelRoute {
        prefix: "192.0.2.0/24".parse().expect("a prefix"),
        info: RouteInfo {
            table: 254,
            kind: libc::RTN_UNICAST,
            tos: 0,
            protocol: 3,
            metric: 0,
            mtu: 0,
            limited: None,
            target,
        },
    }
}

#[test]
fn routes_are_heard_with_how_they_were_put() {
    hear(|ear| {
        let one = RouteTarget::Hop(hop(Some([10, 0, 0, 2])));
        let two = RouteTarget::Hop(hop(Some([10, 0, 0, 3])));
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
        let both = RouteTarget::Multipath(vec![hop(Some([10, 0, 0, 2])), hop(Some([10, 0, 0, 3]))]);
        let put = |route| Event::Route { route, replace: false, append: false };
        let event =
            ear.route_after("ip route add 192.0.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.0.3");
        assert_eq!(event, put(route(both.clone())));
        let event = ear.route_after("ip route del 192.0.2.0/24");
        assert_eq!(event, Event::RouteGone(route(both)));

        let mut blackhole = route(RouteTarget::None);
        blackhole.info.kind = libc::RTN_BLACKHOLE;
        let event = ear.route_after("ip route add blackhole 192.0.2.0/24");
        assert_eq!(event, put(blackhole.clone()));
        let event = ear.route_after("ip route del 192.0.2.0/24");
        assert_eq!(event, Event::RouteGone(blackhole));

        let mut small = route(RouteTarget::Hop(hop(Some([10, 0, 0, 2]))));
        small.info.mtu = 1280;
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2 mtu 1280");
        assert_eq!(event, put(small));
    });
}

#[test]
fn next_hop_objects_and_routes_over_them_are_heard() {
    hear(|ear| {
        let object = |gateway| {
            Event::NextHopObject(NextHopObject {
                id: 7,
                kind: NextHopKind::Hop(hop(Some(gateway))),
            })
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
