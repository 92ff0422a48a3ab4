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
            is_uneven: false,
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

/// What the messages of a real kernel come to must be what a dump says.
#[test]
fn ipv6_routes_that_change_are_what_a_dump_finds() {
    use crate::fib::{dump, tables::Tables};

    hear(|ear| {
        run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.left.disable_ipv6=0
             ip -6 address add 2001:db8:2::1/64 dev left nodad");
        let mut tables: Tables = dump::all().expect("the kernel answers");
        let is_tested = |prefix: &ipnet::IpNet| prefix.prefix_len() == 48;
        let of = |tables: &Tables| {
            let routes =
                tables.v6.routes.iter().filter(|(net, _)| net.to_string().ends_with("/48"));
            let mut of: Vec<_> = routes.map(|(net, all)| (net, all.to_vec())).collect();
            // Behind a better route nobody can ask for them.
            of.iter_mut().flat_map(|(_, all)| &mut all[1..]).for_each(|r| r.is_uneven = false);
            of
        };
        for command in [
            "route add 2001:db8:9::/48 via 2001:db8:2::2",
            "route append 2001:db8:9::/48 via 2001:db8:2::3",
            "route append 2001:db8:9::/48 via 2001:db8:2::4",
            "route del 2001:db8:9::/48 via 2001:db8:2::3",
            "route add 2001:db8:9::/48 via 2001:db8:2::5 metric 7",
            "route replace 2001:db8:9::/48 via 2001:db8:2::6 mtu 1400",
            "route add 2001:db8:a::/48 nexthop via 2001:db8:2::2 nexthop via 2001:db8:2::3",
            "route replace 2001:db8:a::/48 nexthop via 2001:db8:2::4 nexthop via 2001:db8:2::5",
            "route del 2001:db8:a::/48",
            "route add blackhole 2001:db8:b::/48",
            "route add 2001:db8:c::/48 via 2001:db8:2::2 expires 1000",
            "route add 2001:db8:d::/48 via 2001:db8:2::2 mtu 1400",
            "route append 2001:db8:d::/48 via 2001:db8:2::3",
            "route append 2001:db8:d::/48 via 2001:db8:2::4",
            "route add 2001:db8:e::/48 via 2001:db8:2::2 mtu 1400",
            "route append 2001:db8:e::/48 via 2001:db8:2::3 mtu 1400",
        ] {
            run(&format!("ip -6 {command}"));
            let events = ear.until(|event| match event {
                Event::Route { route, .. } | Event::RouteGone(route) => is_tested(&route.prefix),
                _ => false,
            });
            let mut cause = None;
            for event in &events {
                cause = cause.or(tables.apply(event.clone()).1);
            }
            let dumped = dump::all().expect("the kernel answers");
            if cause.is_none() {
                assert_eq!(of(&tables), of(&dumped), "{command}: {events:?}");
            }
            tables = dumped;
        }
        let limited = |net: &str| {
            tables.v6.routes.get(&net.parse().expect("a prefix")).first().and_then(|r| r.limited)
        };
        assert_eq!(limited("2001:db8:c::/48"), Some("the route expires"));
        assert_eq!(limited("2001:db8:b::/48"), None);
        let uneven = |net: &str| tables.v6.routes.get(&net.parse().expect("a prefix"))[0].is_uneven;
        assert!(uneven("2001:db8:d::/48") && !uneven("2001:db8:e::/48"));
    });
}
