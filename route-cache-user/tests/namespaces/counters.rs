//! Which of the kernel's counters packets that XDP forwards do not move (forwarding.md row 43). docs/operating.md names them.

use route_cache_lab::{Snmp, counters::InterfaceCount};

use crate::{
    ipv6::Router6,
    router::{Place, Router},
};

/// Packets of a ping, each answered.
const COUNT: u64 = 300;

/// What neighbours ask of each other in between.
const CHATTER: u64 = 30;

/// A family: the counters of packets, that of packets forwarded among them, whom the client pings, and how the whole family
/// is left to the kernel.
struct Of {
    protocol: &'static str,
    packets: &'static [&'static str],
    forwarded: &'static str,
    server: &'static str,
    rule: &'static str,
}

const IPV4: Of = Of {
    protocol: "Ip",
    packets: &["InReceives", "ForwDatagrams"],
    forwarded: "ForwDatagrams",
    server: "10.0.2.2",
    rule: "rule add pref 100 from 10.0.1.0/24 lookup main",
};

const IPV6: Of = Of {
    protocol: "Ip6",
    packets: &["InReceives", "InNoECTPkts", "OutForwDatagrams"],
    forwarded: "OutForwDatagrams",
    server: "2001:db8:2::2",
    rule: "-6 rule add pref 100 from 2001:db8:1::/64 lookup main",
};

fn row_43(router: &Router, of: &Of) {
    let ping = || {
        let count = COUNT.to_string();
        let argv = ["ping", "-q", "-i", "0.002", "-c", &count, of.server];
        let done = router.client.namespace.exec(&argv).unwrap();
        assert!(done.contains(" 0% packet loss"), "{done}");
    };
    let growth = |work: &dyn Fn()| {
        let (by_xdp, before) = (router.forwarded(), Snmp::read(&router.router).unwrap());
        work();
        let after = Snmp::read(&router.router).unwrap();
        let grown = move |name: &str| after.get(of.protocol, name) - before.get(of.protocol, name);
        (router.forwarded() - by_xdp, grown)
    };
    // The neighbours are known from here on.
    ping();
    let (by_xdp, grown) = growth(&ping);
    assert_eq!(by_xdp, 2 * COUNT, "{}", router.story());
    assert_eq!(grown(of.forwarded), 0);
    for name in of.packets {
        assert!(grown(name) < CHATTER, "{} {name} moved by {}", of.protocol, grown(name));
    }
    // The same packets move all of them where the kernel forwards.
    router.ip(of.rule);
    route_cache_lab::wait_until("the kernel to forward", crate::router::PATIENCE, || {
        let status = router.agent.status().unwrap();
        [&status["codes"], &status["ipv6"]["codes"]].iter().any(|c| c.to_string().contains("rules"))
    })
    .unwrap();
    let (by_xdp, grown) = growth(&ping);
    assert_eq!(by_xdp, 0, "{}", router.story());
    for name in of.packets {
        assert!(grown(name) >= 2 * COUNT, "{} {name} moved by {}", of.protocol, grown(name));
    }
}

#[test]
fn row_43_the_counters_of_ipv4_do_not_move() {
    row_43(&Router::forwarding("counters"), &IPV4);
}

#[test]
fn row_43_the_counters_of_ipv6_do_not_move() {
    row_43(&Router6::start("counters6"), &IPV6);
}

#[test]
fn row_43_rules_that_are_bypassed_count_nothing_and_a_veth_counts_all() {
    let place = Place::new("counters-nft");
    let nft = |command: &str| {
        let argv: Vec<_> = ["nft"].into_iter().chain(command.split(' ')).collect();
        place.router.exec(&argv).unwrap()
    };
    nft("add table ip t");
    nft("add chain ip t f { type filter hook forward priority 0 ; }");
    nft("add rule ip t f ip daddr 10.9.0.0/16 counter");
    let router = Router::with(place, &["--bypass-netfilter"]);
    router.await_forwarding(router.flow());
    let counted = || {
        let chain = router.router.exec(&["nft", "list", "chain", "ip", "t", "f"]).unwrap();
        let packets =
            chain.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.and_then(|packets| packets.parse::<u64>().ok()).unwrap()
    };
    let of = |interface| InterfaceCount::read(&router.router, interface).unwrap();
    let (rule, left, right) = (counted(), of("left"), of("right"));
    let sent = router.during("nothing", || ());
    sent.stays(crate::stream::Exit::Server);
    assert_eq!(counted(), rule);
    // Other drivers may count less.
    assert!(of("left").rx_packets - left.rx_packets >= sent.sent(), "{left:?}, {:?}", of("left"));
    assert!(
        of("right").tx_packets - right.tx_packets >= sent.sent(),
        "{right:?}, {:?}",
        of("right")
    );
}
