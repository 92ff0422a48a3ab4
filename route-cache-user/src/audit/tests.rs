//! What a real kernel answers, and what is made of it.

use std::net::IpAddr;

use nix::errno::Errno;

use super::{
    ask::{Asker, Ingress},
    compare::{Answer, Difference, Hop, Ours, Resolved, UNICAST},
    examine::ask,
};
use crate::fib::netlink::namespace::{index, run, with_veth};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn hop(device: &str, of: &str) -> Hop {
    Hop { ifindex: index(device), address: address(of) }
}

fn unicast(hop: Hop) -> Answer {
    let ways = Vec::new();
    Answer::Route(Resolved { kind: UNICAST, encapsulated: false, hop, ways, mtu: Some(0) })
}

/// A router with 10.0.0.1/24 on `left`, 10.0.1.1/24 on `right`, and gateways on the latter.
fn on_router<T: Send>(test: impl FnOnce(&mut Asker) -> T + Send) -> T {
    with_veth(|| {
        run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
             net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.left.rp_filter=0 \
             && ip address add 10.0.1.1/24 dev right \
             && ip route add 192.0.2.0/24 via 10.0.1.2 \
             && ip route add 198.51.100.0/24 via 10.0.1.2 mtu 1400 \
             && ip route add blackhole 203.0.113.0/24 \
             && ip address add 2001:db8:1::1/64 dev right nodad \
             && ip route add 2001:db8:9::/64 via 2001:db8:1::2");
        test(&mut Asker::open().expect("a socket"))
    })
}

fn from_left() -> Option<Ingress> {
    Some(Ingress { ifindex: index("left"), source: address("10.0.0.2") })
}

#[test]
fn the_kernel_tells_where_it_would_send_a_packet() {
    on_router(|asker| {
        for ingress in [from_left(), None] {
            let mut told = |dst| asker.resolve(address(dst), ingress).expect("an answer");
            assert_eq!(told("192.0.2.7"), unicast(hop("right", "10.0.1.2")));
            assert_eq!(told("10.0.1.9"), unicast(hop("right", "10.0.1.9")));
            let Answer::Route(small) = told("198.51.100.1") else { panic!("it has a route") };
            assert_eq!(small.mtu, Some(1400));
            let Answer::Route(own) = told("10.0.1.1") else { panic!("it is local") };
            assert_eq!(own.kind, libc::RTN_LOCAL);
            assert!(matches!(told("100.64.0.1"), Answer::Refused(_)));
            assert_eq!(told("203.0.113.1"), Answer::Refused(Errno::EINVAL));
        }
        let six = asker.resolve(address("2001:db8:9::7"), None).expect("an answer");
        assert_eq!(six, unicast(hop("right", "2001:db8:1::2")));
    });
}

/// A source that the kernel would not take is no reason to think that there is no route.
#[test]
fn what_is_asked_with_a_bad_source_is_asked_without() {
    on_router(|asker| {
        for (source, ifindex) in [("127.0.0.1", index("left")), ("10.0.0.2", 9999)] {
            let ingress = Some(Ingress { ifindex, source: address(source) });
            let told = asker.resolve(address("192.0.2.7"), ingress).expect("an answer");
            assert_eq!(told, unicast(hop("right", "10.0.1.2")), "{source} by {ifindex}");
        }
    });
}

/// With forwarding off it would still send packets of its own.
#[test]
fn where_packets_are_forwarded_counts_and_not_where_the_kernel_sends_its_own() {
    on_router(|asker| {
        run("sysctl -qw net.ipv4.conf.left.forwarding=0");
        let told = asker.resolve(address("192.0.2.7"), from_left()).expect("an answer");
        assert!(matches!(told, Answer::Refused(_)), "{told:?}");
        let told = asker.resolve(address("192.0.2.7"), None).expect("an answer");
        assert_eq!(told, unicast(hop("right", "10.0.1.2")));
    });
}

/// Asks about a clone to a destination by these neighbours.
fn difference_to(asker: &mut Asker, dst: &str, gateways: &[&str]) -> Option<Difference> {
    let hops = gateways.iter().map(|gateway| hop("right", gateway)).collect();
    let ours = Ours { dst: address(dst), hops, mtu: 0 };
    let ingresses: Vec<_> = from_left().into_iter().collect();
    let differs = ask(asker, &ours, &ingresses).expect("an answer");
    differs.map(|(difference, _)| difference)
}

/// A clone of the group agrees, one by a stranger does not, and one by a single member does if the kernel chose that. A way
/// too many or too few is found whatever it chose.
fn assert_group(asker: &mut Asker, dst: &str, [one, other, stranger]: [&str; 3]) {
    let mut by = |gateways: &[&str]| difference_to(asker, dst, gateways);
    assert_eq!(by(&[one, other]), None);
    assert_eq!(by(&[other, one]), None);
    assert_eq!(by(&[stranger]), Some(Difference::NextHop));
    assert_eq!(by(&[one, other, stranger]), Some(Difference::NextHop));
    assert_eq!(by(&[one, stranger]), Some(Difference::NextHop));
    assert_eq!(by(&[other, stranger]), Some(Difference::NextHop));
    let mut single = [by(&[one]), by(&[other])];
    single.sort_unstable_by_key(Option::is_some);
    assert_eq!(single, [None, Some(Difference::NextHop)]);
}

/// The group has only its second member left.
fn assert_second_left(asker: &mut Asker, dst: &str, [one, other, stranger]: [&str; 3]) {
    let mut by = |gateways: &[&str]| difference_to(asker, dst, gateways);
    assert_eq!(by(&[other]), None);
    assert_eq!(by(&[one]), Some(Difference::NextHop));
    assert_eq!(by(&[stranger]), Some(Difference::NextHop));
    assert_eq!(by(&[one, other]), Some(Difference::NextHop));
}

const FOUR: [&str; 3] = ["10.0.1.2", "10.0.1.3", "10.0.1.4"];
const SIX: [&str; 3] = ["2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::4"];

#[test]
fn a_clone_of_a_group_agrees_whatever_the_kernel_chose() {
    on_router(|asker| {
        // IPv4, IPv6, and IPv4 by IPv6.
        for (dst, prefix, via, gateways) in [
            ("100.64.0.7", "100.64.0.0/24", "via", FOUR),
            ("2001:db8:64::7", "2001:db8:64::/64", "via", SIX),
            ("100.64.0.7", "100.64.0.0/24", "via inet6", SIX),
        ] {
            let [one, other, _] = gateways;
            run(&format!(
                "ip route add {prefix} nexthop {via} {one} dev right nexthop {via} {other} dev right"
            ));
            assert_group(asker, dst, gateways);
            run(&format!(
                "ip route delete {prefix} \
                 && ip nexthop add id 2 via {one} dev right \
                 && ip nexthop add id 3 via {other} dev right && ip nexthop add id 23 group 2/3 \
                 && ip route add {prefix} nhid 23"
            ));
            assert_group(asker, dst, gateways);
            run("sysctl -qw net.ipv4.nexthop_compat_mode=0");
            assert_group(asker, dst, gateways);
            run("ip nexthop replace id 23 group 3");
            assert_second_left(asker, dst, gateways);
            run("sysctl -qw net.ipv4.nexthop_compat_mode=1");
            assert_second_left(asker, dst, gateways);
            run("ip nexthop flush");
        }
    });
}

/// Routes keep their dead next hops, and packets do not take them.
#[test]
fn a_way_that_is_dead_is_none() {
    on_router(|asker| {
        run("ip link add second type veth peer name third && ip link set second up \
             && ip link set third up && ip address add 10.0.3.1/24 dev second \
             && ip route add 100.64.0.0/24 nexthop via 10.0.1.2 nexthop via 10.0.1.3 \
                nexthop via 10.0.3.2");
        let dst = address("100.64.0.7");
        let three = [hop("right", "10.0.1.2"), hop("right", "10.0.1.3"), hop("second", "10.0.3.2")];
        assert_eq!(asker.ways(dst, from_left()).expect("an answer"), three);
        run("ip link set second down");
        assert_eq!(asker.ways(dst, from_left()).expect("an answer"), three[..2]);
        run("ip link set second up && ip link set third down \
             && ip route replace 100.64.0.0/24 nexthop via 10.0.1.2 nexthop via 10.0.1.3 \
                nexthop via 10.0.3.2");
        assert_eq!(asker.ways(dst, from_left()).expect("an answer"), three);
        // The kernel notes a lost carrier up to a second late.
        run("for i in $(seq 200); do \
                 ip route show 100.64.0.0/24 | grep -q linkdown && exit; sleep 0.05; \
             done; exit 1");
        run("sysctl -qw net.ipv4.conf.second.ignore_routes_with_linkdown=1");
        assert_eq!(asker.ways(dst, from_left()).expect("an answer"), three[..2]);
    });
}
