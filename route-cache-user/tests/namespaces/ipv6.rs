//! IPv6 is forwarded as IPv4 is, and its changes are followed. The hosts are real: whoever answers got the packet.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::Deref,
    time::Duration,
};

use route_cache_lab::{Namespace, frame::checksum::checksum, wait_until};

use crate::{
    router::{PATIENCE, PORTS, Place, Router},
    stream::{ASKED, Account, BOUND, Exit},
};

/// Nobody's network but that of an address both hosts behind the router have.
pub const BEYOND: &str = "2001:db8:9::1";

/// The first of the flows' sources, to which there is no route back.
const SOURCES: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x70, 0, 0, 0, 0, 0);

/// Packets of one ping.
const COUNT: u64 = 20;

/// Source-checked nowhere, forwarded everywhere: the lab with IPv6 in it.
pub struct Router6(Router);

impl Deref for Router6 {
    type Target = Router;

    fn deref(&self) -> &Router {
        &self.0
    }
}

impl Router6 {
    /// An agent that forwards IPv6 to [`BEYOND`] through the server.
    fn forwarding(label: &str) -> Self {
        let router = Self::start(label);
        router.await_forwarding();
        router
    }

    /// An agent in a fresh place with IPv6.
    pub fn start(label: &str) -> Self {
        Self::around(Place::new(label))
    }

    /// Gives the hosts and the router of a place IPv6 addresses beside the others, and starts the agent.
    pub fn around(place: Place) -> Self {
        for namespace in [
            &place.client.namespace,
            &place.server.namespace,
            &place.other.namespace,
            &place.router,
        ] {
            // Link-local addresses are used at once.
            for name in ["all/accept_dad", "default/accept_dad"] {
                namespace.sysctl(&format!("net/ipv6/conf/{name}"), "0").unwrap();
            }
            namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "0").unwrap();
        }
        for (host, net) in [(&place.client, 1), (&place.server, 2), (&place.other, 3)] {
            let six = |command: &str| ip6(&host.namespace, command);
            six(&format!("address add 2001:db8:{net}::2/64 dev eth0 nodad"));
            six(&format!("route add default via 2001:db8:{net}::1"));
            if net > 1 {
                six(&format!("address add {BEYOND}/128 dev lo nodad"));
            }
        }
        place.router.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
        for (device, net) in [("left", 1), ("right", 2), ("right2", 3)] {
            ip6(&place.router, &format!("address add 2001:db8:{net}::1/64 dev {device} nodad"));
        }
        ip6(&place.router, "route add 2001:db8:9::/48 via 2001:db8:2::2");
        let router = Self(Router::with(place, &[]));
        router.resolve();
        router
    }

    /// The kernel of the router knows its neighbours.
    fn resolve(&self) {
        for net in 1..=3 {
            let address = format!("2001:db8:{net}::2");
            self.router.exec(&["ping", "-6", "-q", "-c", "1", "-W", "5", &address]).unwrap();
        }
    }

    /// A numbered datagram of a flow, to a neighbour of [`BEYOND`], whom nobody is.
    pub fn datagram(&self, flow: u32, number: u32) -> Vec<u8> {
        const UDP: u8 = 17;
        let Ok(IpAddr::V6(beyond)) = BEYOND.parse() else { panic!("{BEYOND} is no IPv6 address") };
        let destination = Ipv6Addr::from_bits(beyond.to_bits() + 0x76);
        let source = Ipv6Addr::from_bits(SOURCES.to_bits() + u128::from(flow));
        let mut udp = [PORTS.0.to_be_bytes(), PORTS.1.to_be_bytes(), [0, 12], [0, 0]].concat();
        udp.extend(number.to_be_bytes());
        let addresses = [source.octets(), destination.octets()].concat();
        let sum = checksum(&[&addresses, &[0, 12, 0, UDP], &udp]);
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        let header = [0x60, 0, 0, 0, 0, 12, UDP, 64];
        let (from, to) = (&self.client.mac, &self.client.gateway_mac);
        [to, from, &[0x86, 0xdd][..], &header, &addresses, &udp].concat()
    }

    /// Sends a stream of such datagrams while something changes.
    pub fn during_datagrams(
        &self,
        what: &str,
        flow: u32,
        bound: Duration,
        change: impl FnOnce(),
    ) -> Account {
        self.during_frames(what, |number| self.datagram(flow, number), bound, change)
    }

    /// Runs `ip -6` in the router.
    pub fn ip6(&self, command: &str) {
        ip6(&self.router, command);
    }

    /// Packets of a ping to an address that were forwarded by XDP on the way there and back, and how many were answered.
    fn ping(&self, address: &str) -> (u64, u64) {
        let before = self.forwarded();
        let count = COUNT.to_string();
        let argv = ["ping", "-6", "-q", "-i", "0.002", "-W", "1", "-c", &count, address];
        let output = self.client.namespace.run(&argv).unwrap().stdout;
        let answered = output.split(", ").find_map(|part| part.strip_suffix(" received"));
        let answered = answered.and_then(|count| count.parse().ok()).unwrap_or(0);
        (self.forwarded() - before, answered)
    }

    /// Waits until XDP forwards packets to [`BEYOND`] and their answers.
    fn await_forwarding(&self) {
        self.await_forwarded(2 * COUNT);
    }

    /// Waits until XDP forwards so many packets of a ping of [`BEYOND`]: answers of the other host come by `right2`, to
    /// which the agent is not attached.
    fn await_forwarded(&self, forwarded: u64) {
        wait_until("XDP to forward IPv6", PATIENCE, || self.ping(BEYOND) == (forwarded, COUNT))
            .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
        assert!(!self.clones_of(BEYOND).is_empty(), "{}", self.story());
        self.audit_is_clean(1);
    }

    /// Waits until packets to [`BEYOND`] end so, and are not answered.
    fn await_pass(&self, outcome: &str) {
        wait_until(&format!("packets to end in {outcome}"), PATIENCE, || {
            let before = self.outcomes()[outcome];
            self.ping(BEYOND) == (0, 0) && self.outcomes()[outcome] - before >= COUNT
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    /// Echo requests that a host was sent during a ping of [`BEYOND`] which was answered as a whole.
    fn heard_by(&self, host: &Namespace) -> u64 {
        let before = echoes(host);
        assert_eq!(self.ping(BEYOND).1, COUNT, "{}", self.story());
        echoes(host) - before
    }
}

fn ip6(namespace: &Namespace, command: &str) {
    let argv: Vec<_> = ["ip", "-6"].into_iter().chain(command.split_whitespace()).collect();
    namespace.exec(&argv).unwrap();
}

/// Icmp6InEchos of a namespace.
fn echoes(namespace: &Namespace) -> u64 {
    let counters = namespace.exec(&["cat", "/proc/net/snmp6"]).unwrap();
    let line = counters.lines().find_map(|line| line.strip_prefix("Icmp6InEchos"));
    line.and_then(|count| count.trim().parse().ok()).expect("the kernel counts them")
}

#[test]
fn ipv6_is_forwarded_by_clones_and_shown() {
    let router = Router6::forwarding("six");
    let clones = router.clones_of(BEYOND);
    assert!(!clones.is_empty(), "{}", router.story());
    for clone in &clones {
        assert_eq!(clone["family"], "ipv6");
        assert_eq!(clone["prefix"], "2001:db8:9::/48");
        assert_eq!(clone["via"], "2001:db8:2::2");
    }
    let told = router.get(BEYOND);
    assert_eq!(told["outcome"], "forwarded_clone", "{told}");
    let count =
        |arguments: &[&str]| router.agent.json(arguments).unwrap().as_array().unwrap().len();
    assert_eq!(
        count(&["show", "routes", "-4"]) + count(&["show", "routes", "-6"]),
        count(&["show", "routes"])
    );
    assert!(count(&["show", "clones", "--family", "inet6"]) > 0);
    let (before, removed) = (router.clones_of(BEYOND).len(), "flush 2001:db8:9::/48");
    let argv: Vec<_> = removed.split(' ').collect();
    assert!(before > 0 && router.agent.cli(&argv).unwrap().code == 0);
    assert!(router.clones_of(BEYOND).is_empty());
}

#[test]
fn row_30_a_changed_ipv6_route_is_followed_by_the_next_packet() {
    let router = Router6::forwarding("six-change");
    router.ip6("route replace 2001:db8:9::/48 via 2001:db8:3::2");
    wait_until("the route to be followed", PATIENCE, || {
        router.heard_by(&router.other.namespace) == COUNT
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    router.await_forwarded(COUNT);
    router.ip6("route add 2001:db8:9::/64 via 2001:db8:2::2");
    wait_until("the more specific route to be followed", PATIENCE, || {
        router.heard_by(&router.server.namespace) == COUNT
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    router.await_forwarding();
    router.ip6("route del 2001:db8:9::/64");
    router.ip6("route del 2001:db8:9::/48");
    router.await_pass("pass_no_route");
}

#[test]
fn row_23_an_ipv6_blackhole_beats_the_clone_of_its_covering_route() {
    let router = Router6::forwarding("six-hole");
    router.ip6("route add blackhole 2001:db8:9::/64");
    router.await_pass("pass_route");
    router.ip6("route del blackhole 2001:db8:9::/64");
    router.await_forwarding();
}

#[test]
fn s3_an_ipv6_address_that_becomes_local_ends_its_clone() {
    let router = Router6::forwarding("six-local");
    router.ip6(&format!("address add {BEYOND}/128 dev lo nodad"));
    wait_until("packets to be delivered to the router", PATIENCE, || {
        let before = (router.outcomes()["pass_local"], echoes(&router.router));
        let (_, answered) = router.ping(BEYOND);
        answered == COUNT
            && router.outcomes()["pass_local"] - before.0 >= COUNT
            && echoes(&router.router) - before.1 == COUNT
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
}

#[test]
fn row_28_a_link_local_next_hop_is_used_on_its_device() {
    let router = Router6::forwarding("six-link-local");
    ip6(&router.server.namespace, "address add fe80::22/64 dev eth0 nodad");
    router.ip6("route replace 2001:db8:9::/48 via fe80::22 dev right");
    router.await_forwarding();
    assert_eq!(router.get(BEYOND)["next_hop"]["address"], "fe80::22");
}

#[test]
fn row_33_an_ipv6_neighbours_new_address_is_followed() {
    let router = Router6::forwarding("six-mac");
    let exec = |argv: &str| {
        let argv: Vec<_> = argv.split(' ').collect();
        router.server.namespace.exec(&argv).unwrap();
    };
    exec("ip link set eth0 address 02:00:00:00:77:01");
    router.ip6("neigh replace 2001:db8:2::2 lladdr 02:00:00:00:77:01 dev right nud reachable");
    router.await_forwarding();
    assert_eq!(router.get(BEYOND)["next_hop"]["lladdr"], "02:00:00:00:77:01");
}

#[test]
fn row_25_ipv4_is_forwarded_by_an_ipv6_next_hop() {
    let router = Router6::forwarding("six-via");
    router.ip("route replace 10.9.0.0/16 via inet6 2001:db8:2::2 dev right");
    router.0.await_forwarding(router.flow());
    assert_eq!(router.get("10.9.0.1")["route"]["via"], "2001:db8:2::2");
    assert!(!router.clones_of("10.9.0.1").is_empty(), "{}", router.story());
    router.audit_is_clean(1);
}

#[test]
fn row_18_ipv6_stands_aside_alone_while_it_is_not_forwarded_or_filtered() {
    let router = Router6::forwarding("six-off");
    let stands_aside = |text: &str| {
        wait_until(&format!("IPv6 to stand aside: {text}"), PATIENCE, || {
            let status = router.agent.status().unwrap();
            status["accelerating"] == true
                && status["ipv6"]["accelerating"] == false
                && status["ipv6"]["reasons"].to_string().contains(text)
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
        router.0.await_forwarding(router.flow());
    };
    router.router.sysctl("net/ipv6/conf/all/forwarding", "0").unwrap();
    stands_aside("net.ipv6.conf.all.forwarding");
    router.await_pass("pass_disabled");
    router.router.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    router.await_forwarding();
    for command in [
        "add table ip6 t",
        "add chain ip6 t f { type filter hook forward priority 0; }",
        "add rule ip6 t f counter",
    ] {
        router.router.exec(&["nft", command]).unwrap();
    }
    stands_aside("table `ip6 t`");
    router.router.exec(&["nft", "delete table ip6 t"]).unwrap();
    router.await_forwarding();
}

#[test]
fn row_40_an_ipv6_rule_that_drops_is_obeyed_and_forgotten() {
    let router = Router6::forwarding("six-nft");
    let nft = |command: &str| router.router.exec(&["nft", command]).unwrap();
    nft("add table ip6 t");
    nft("add chain ip6 t f { type filter hook forward priority 0; }");
    router.await_forwarding();
    router
        .during_datagrams("nft add rule ip6, drop", 0, ASKED, || {
            nft("add rule ip6 t f ip6 daddr 2001:db8:9::/48 counter drop");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass("pass_disabled");
    assert_eq!(router.agent.status().unwrap()["accelerating"], true, "{}", router.story());
    router
        .during_datagrams("nft flush chain ip6", 0, ASKED, || {
            nft("flush chain ip6 t f");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding();
}

#[test]
fn row_41_a_forward_policy_of_ipsec_for_ipv6_is_obeyed_and_forgotten() {
    let router = Router6::forwarding("six-xfrm");
    router
        .during_datagrams("ip -6 xfrm policy add, block", 0, ASKED, || {
            router.ip("xfrm policy add dir fwd src ::/0 dst 2001:db8:9::/48 action block");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass("pass_disabled");
    router
        .during_datagrams("ip -6 xfrm policy flush", 0, ASKED, || {
            router.ip("xfrm policy flush");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding();
}

/// Below 1280 bytes an interface has no IPv6, and the kernel drops what comes in. At 1280 it has it again.
#[test]
fn row_18_an_interface_with_an_mtu_below_1280_forwards_no_ipv6() {
    let router = Router6::forwarding("mtu-1279");
    router
        .during_datagrams("ip link set left mtu 1279", 1, BOUND, || {
            router.ip("link set left mtu 1279");
        })
        .moves(Exit::Server, Exit::Nowhere);
    let of_left = || router.interface("left").unwrap()["ipv6"].clone();
    assert_eq!(of_left()["codes"], serde_json::json!(["ipv6_disabled"]), "{}", of_left());
    assert_eq!(of_left()["accelerating"], false);
    router.ip("link set left mtu 1500");
    router.ip6("address add 2001:db8:1::1/64 dev left nodad");
    router.await_forwarding();
}
