//! Dumps of routes and next-hop objects.

use super::super::Table;
use super::super::namespace::{index, run, with_veth};
use super::{dump, hop};
use crate::fib::family::IpFamily;
use crate::fib::message::{
    Event, GroupMember, Hop, NextHopKind, NextHopObject, RouteInfo, RouteTarget,
};

const GATEWAY: [u8; 4] = [10, 0, 0, 2];

fn route(prefix: &str) -> RouteInfo {
    let found = routes().into_iter().find(|(of, _)| of == prefix);
    found.expect("it is dumped").1
}

fn routes() -> Vec<(String, RouteInfo)> {
    let route = |event| match event {
        Event::Route { route, .. } => Some((route.prefix.to_string(), route.info)),
        _ => None,
    };
    dump(Table::Routes(IpFamily::V4)).into_iter().filter_map(route).collect()
}

#[test]
fn routes_of_every_table_are_dumped() {
    with_veth(|| {
        run("ip route add 192.0.2.0/24 via 10.0.0.2 table 1000 metric 7 proto 42");
        let routes = routes();
        let table = |table| routes.iter().filter(|(_, route)| route.table == table).count();
        assert_eq!(table(1000), 1);
        assert_eq!(table(254), 1, "the connected route is in main");
        assert!(table(255) >= 3, "local and broadcast routes are in local");
        let kind = routes.iter().find(|(_, route)| route.table == 255).map(|(_, route)| route.kind);
        assert!(kind == Some(libc::RTN_LOCAL) || kind == Some(libc::RTN_BROADCAST));
        let other = route("192.0.2.0/24");
        assert_eq!((other.metric, other.protocol, other.kind), (7, 42, libc::RTN_UNICAST));
        assert_eq!(other.target, RouteTarget::Hop(hop(Some(GATEWAY))));
        assert_eq!(route("10.0.0.0/24").target, RouteTarget::Hop(hop(None)));
    });
}

#[test]
fn a_route_tells_its_mtu_tos_and_that_it_leads_nowhere() {
    with_veth(|| {
        run("ip route add 192.0.2.0/25 via 10.0.0.2 mtu 1280
             ip route add 192.0.2.128/25 tos 0x10 via 10.0.0.2
             ip route add blackhole 198.51.100.0/24
             ip route add 203.0.113.0/24 via 10.0.0.77 dev right onlink");
        assert_eq!(route("192.0.2.0/25").mtu, 1280);
        assert_eq!((route("192.0.2.128/25").tos, route("192.0.2.128/25").mtu), (0x10, 0));
        let blackhole = route("198.51.100.0/24");
        assert_eq!((blackhole.kind, blackhole.target), (libc::RTN_BLACKHOLE, RouteTarget::None));
        let RouteTarget::Hop(onlink) = route("203.0.113.0/24").target else { panic!("no hop") };
        assert_eq!((onlink.ifindex, onlink.flags), (index("right"), 4), "RTNH_F_ONLINK");
    });
}

#[test]
fn next_hops_of_a_multipath_route_are_told_each() {
    with_veth(|| {
        run("ip route add 192.0.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.0.3 weight 3");
        let three = Hop { weight: 3, ..hop(Some([10, 0, 0, 3])) };
        assert_eq!(
            route("192.0.2.0/24").target,
            RouteTarget::Multipath(vec![hop(Some(GATEWAY)), three])
        );
    });
}

#[test]
fn a_route_over_an_ipv6_next_hop_says_so() {
    with_veth(|| {
        run("ip route add 192.0.2.0/24 via inet6 fe80::1 dev left
             ip route add 198.51.100.0/24 nexthop via inet6 fe80::1 dev left nexthop via 10.0.0.2");
        let gateway = "fe80::1".parse().ok();
        let six = Hop { gateway, ..hop(None) };
        assert_eq!(route("192.0.2.0/24").target, RouteTarget::Hop(six));
        let both = RouteTarget::Multipath(vec![six, hop(Some(GATEWAY))]);
        assert_eq!(route("198.51.100.0/24").target, both);
    });
}

#[test]
fn an_encapsulating_route_says_so() {
    with_veth(|| {
        run("ip route add 192.0.2.0/24 encap seg6 mode encap segs 2001:db8::1 via 10.0.0.2
             ip route add 198.51.100.0/24 nexthop encap seg6 mode encap segs 2001:db8::1 \
                via 10.0.0.2 nexthop via 10.0.0.2");
        let encap = Hop { encap: true, ..hop(Some(GATEWAY)) };
        assert_eq!(route("192.0.2.0/24").target, RouteTarget::Hop(encap));
        let both = RouteTarget::Multipath(vec![encap, hop(Some(GATEWAY))]);
        assert_eq!(route("198.51.100.0/24").target, both);
    });
}

#[test]
fn next_hop_objects_are_dumped_and_routes_name_them() {
    with_veth(|| {
        run("ip nexthop add id 1 via 10.0.0.2 dev left
             ip nexthop add id 2 blackhole
             ip nexthop add id 3 group 1
             ip nexthop add id 4 via 10.0.0.3 fdb
             ip nexthop add id 5 dev left
             ip -6 nexthop add id 6 via fe80::1 dev left
             ip nexthop add id 7 group 4 fdb
             ip nexthop add id 8 encap seg6 mode encap segs 2001:db8::1 via 10.0.0.2 dev left
             ip route add 192.0.2.0/24 nhid 1
             ip route add 198.51.100.0/24 nhid 3
             ip route add 203.0.113.0/24 nhid 2");
        let objects: Vec<NextHopKind> = dump(Table::NextHopObjects)
            .into_iter()
            .map(|event| match event {
                Event::NextHopObject(NextHopObject { kind, .. }) => kind,
                other => panic!("not a next-hop object: {other:?}"),
            })
            .collect();
        let hop_of = |gateway| NextHopKind::Hop(hop(gateway));
        let gateway = "fe80::1".parse().ok();
        let six = Hop { gateway, ..hop(None) };
        let encap = Hop { encap: true, ..hop(Some(GATEWAY)) };
        assert_eq!(
            objects,
            [
                hop_of(Some(GATEWAY)),
                NextHopKind::Blackhole,
                NextHopKind::Group(vec![GroupMember { id: 1, weight: 1 }]),
                NextHopKind::Other,
                hop_of(None),
                NextHopKind::Hop(six),
                NextHopKind::Other,
                NextHopKind::Hop(encap),
            ]
        );
        assert_eq!(route("192.0.2.0/24").target, RouteTarget::Object(1));
        assert_eq!(route("198.51.100.0/24").target, RouteTarget::Object(3));
        assert_eq!(route("203.0.113.0/24").target, RouteTarget::Object(2));
    });
}
