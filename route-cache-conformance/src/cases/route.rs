//! Rows 20 to 25, 28 to 30 and 46: which route.

use super::net::{BEYOND, SECOND, flow, sent, to, udp};
use crate::{
    case::{
        Allowance, Arrival, Case, Feature,
        Plane::Passed,
        Station::{Other, Second, Server},
        V4, answer, at,
    },
    need::Need,
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        row: "20",
        name: "a VRF with a route of its own",
        needs: &[Need::Vrf],
        setup: &[
            "ip link add blue type vrf table 77",
            // The first VRF brings the rule along, later ones do not.
            "- ip rule add l3mdev pref 1000",
            "ip link set blue up",
            "ip link set left2 master blue",
            "ip link set right2 master blue",
            "ip neigh replace 10.0.3.2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip route add 10.9.0.0/16 via 10.0.3.2 vrf blue",
        ],
        undo: &[
            "ip link set left2 nomaster",
            "ip link set right2 nomaster",
            "ip link del blue",
            "ip rule del pref 1000",
            // Where both have brought one along.
            "- ip rule del pref 1000",
            "- ip -6 rule del pref 1000",
            "ip -6 address replace fd00:0:0:4::1/64 dev left2 nodad",
            "ip -6 address replace fd00:0:0:3::1/64 dev right2 nodad",
            "ip neigh replace 10.0.4.2 lladdr 02:00:00:00:04:02 dev left2 nud permanent",
            "ip neigh replace 10.0.3.2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip neigh replace fd00:0:0:4::2 lladdr 02:00:00:00:04:02 dev left2 nud permanent",
            "ip neigh replace fd00:0:0:3::2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
        ],
        sender: Second,
        frames: || vec![udp().macs(SECOND.0, SECOND.1).build()],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "21",
        name: "two next hops, sixteen flows",
        setup: &["ip route replace 10.9.0.0/16 nexthop via 10.0.2.2 nexthop via 10.0.3.2 weight 2"],
        undo: DEFAULT,
        frames: || {
            let flows = (1..=16).map(|n| sent(to([10, 9, 0, n])).remove(0));
            flows.collect()
        },
        kernel: &[Arrival { at: None, frames: 16, icmp: None }],
        feature: Feature::Multipath,
        allowed: Some(Allowance::Member),
        ..UDP
    },
    Case {
        row: "21",
        name: "a group of next-hop objects",
        setup: &[
            "ip nexthop add id 1 via 10.0.2.2 dev right",
            "ip nexthop add id 2 via 10.0.3.2 dev right2",
            "ip nexthop add id 10 group 1/2",
            "ip route replace 10.9.0.0/16 nhid 10",
        ],
        undo: &[
            "ip route replace 10.9.0.0/16 via 10.0.2.2",
            "ip nexthop del id 10",
            "ip nexthop del id 1",
            "ip nexthop del id 2",
        ],
        kernel: &[Arrival { at: None, frames: 1, icmp: None }],
        feature: Feature::Multipath,
        allowed: Some(Allowance::Member),
        ..UDP
    },
    Case {
        row: "22",
        name: "one of two members is down",
        setup: &[
            "ip route replace 10.9.0.0/16 nexthop via 10.0.2.2 nexthop via 10.0.3.2",
            "ip link set right2 down",
        ],
        undo: &[
            "ip link set right2 up",
            "ip route replace 10.9.0.0/16 via 10.0.2.2",
            "ip neigh replace 10.0.3.2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip neigh replace fd00:0:0:3::2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
        ],
        feature: Feature::Multipath,
        ..UDP
    },
    Case {
        kernel: &[],
        ..kind(
            "blackhole",
            &["ip route add blackhole 10.9.0.0/24"],
            &["ip route del blackhole 10.9.0.0/24"],
        )
    },
    Case {
        kernel: &[answer(3, 1)],
        frames: || sent(flow([10, 0, 1, 100], BEYOND, b"x")),
        ..kind(
            "unreachable",
            &["ip route add unreachable 10.9.0.0/24"],
            &["ip route del unreachable 10.9.0.0/24"],
        )
    },
    Case {
        kernel: &[answer(3, 13)],
        frames: || sent(flow([10, 0, 1, 101], BEYOND, b"x")),
        ..kind(
            "prohibit",
            &["ip route add prohibit 10.9.0.0/24"],
            &["ip route del prohibit 10.9.0.0/24"],
        )
    },
    Case {
        kernel: &[answer(3, 0)],
        frames: || sent(flow([10, 0, 1, 102], BEYOND, b"x")),
        ..kind("throw", &["ip route add throw 10.9.0.0/24"], &["ip route del throw 10.9.0.0/24"])
    },
    Case {
        row: "23",
        name: "no route",
        frames: || sent(flow([10, 0, 1, 103], [10, 13, 0, 1], b"x")),
        kernel: &[answer(3, 0)],
        counter: Some(("IpExt", "InNoRoutes")),
        plane: Passed("pass_no_route"),
        ..V4
    },
    Case {
        row: "23a",
        name: "a route for a DSCP value shadows the wider one",
        setup: &["ip route add 10.9.0.0/24 tos 0x10 via 10.0.3.2"],
        undo: &["ip route del 10.9.0.0/24 tos 0x10"],
        frames: || vec![sent(udp()).remove(0), sent(udp().tos(0x10)).remove(0)],
        kernel: &[at(Server, 1), at(Other, 1)],
        plane: Passed("pass_route"),
        ..V4
    },
    Case {
        row: "24",
        name: "a next-hop object that was replaced",
        cloned: true,
        setup: &[
            "ip nexthop add id 5 via 10.0.2.2 dev right",
            "ip route replace 10.9.0.0/16 nhid 5",
            "ip nexthop replace id 5 via 10.0.3.2 dev right2",
        ],
        undo: &["ip route replace 10.9.0.0/16 via 10.0.2.2", "ip nexthop del id 5"],
        kernel: &[at(Other, 1)],
        ..UDP
    },
    Case {
        row: "24",
        name: "a next-hop object that was deleted",
        setup: &[
            "ip nexthop add id 5 via 10.0.3.2 dev right2",
            "ip route add 10.9.0.0/24 nhid 5",
            "ip nexthop del id 5",
        ],
        undo: &["ip route replace 10.9.0.0/16 via 10.0.2.2"],
        ..UDP
    },
    Case {
        row: "24",
        name: "a next-hop object that is a blackhole",
        setup: &["ip nexthop add id 5 blackhole", "ip route add 10.9.0.0/24 nhid 5"],
        undo: &["ip route del 10.9.0.0/24", "ip nexthop del id 5"],
        kernel: &[],
        plane: Passed("pass_route"),
        ..UDP
    },
    Case {
        row: "25",
        name: "a global address",
        setup: &["ip route replace 10.9.0.0/16 via inet6 fd00:0:0:3::2 dev right2"],
        undo: DEFAULT,
        kernel: &[at(Other, 1)],
        feature: Feature::ViaIpv6,
        ..UDP
    },
    Case {
        row: "28",
        name: "IPv4 via a link-local address",
        setup: &[
            "ip neigh replace fe80::99 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip neigh replace fe80::99 lladdr 02:00:00:00:02:02 dev right nud permanent",
            "ip route replace 10.9.0.0/16 via inet6 fe80::99 dev right2",
        ],
        undo: &[
            "ip route replace 10.9.0.0/16 via 10.0.2.2",
            "ip neigh del fe80::99 dev right2",
            "ip neigh del fe80::99 dev right",
        ],
        kernel: &[at(Other, 1)],
        feature: Feature::ViaIpv6,
        ..UDP
    },
    Case {
        row: "29",
        name: "segment routing",
        needs: &[Need::Seg6],
        setup: &["ip route add 10.9.0.0/24 encap seg6 mode encap segs 2001:db8:9::7 dev right"],
        undo: &["ip route del 10.9.0.0/24"],
        kernel: &[at(Server, 1)],
        plane: Passed("pass_route"),
        ..UDP
    },
    Case {
        row: "30",
        name: "a more specific route appears",
        cloned: true,
        setup: &["ip route add 10.9.0.0/24 via 10.0.3.2"],
        undo: &["ip route del 10.9.0.0/24"],
        kernel: &[at(Other, 1)],
        ..UDP
    },
    Case {
        row: "30",
        name: "a more specific route goes",
        setup: &["ip route add 10.9.0.0/24 via 10.0.3.2", "ip route del 10.9.0.0/24"],
        undo: DEFAULT,
        ..UDP
    },
    Case {
        row: "30",
        name: "a host route",
        cloned: true,
        setup: &["ip route add 10.9.0.1/32 via 10.0.3.2"],
        undo: &["ip route del 10.9.0.1/32"],
        kernel: &[at(Other, 1)],
        ..UDP
    },
    Case {
        row: "30",
        name: "a lower metric",
        cloned: true,
        setup: &[
            "ip route add 10.9.0.0/24 via 10.0.2.2 metric 20",
            "ip route add 10.9.0.0/24 via 10.0.3.2 metric 10",
        ],
        undo: &["ip route del 10.9.0.0/24 metric 10", "ip route del 10.9.0.0/24 metric 20"],
        kernel: &[at(Other, 1)],
        ..UDP
    },
    Case {
        row: "30",
        name: "the default route",
        setup: &["ip route add default via 10.0.3.2"],
        undo: &["ip route del default"],
        frames: || sent(to([192, 0, 2, 1])),
        kernel: &[at(Other, 1)],
        ..V4
    },
    Case {
        row: "30",
        name: "by another ingress",
        sender: Second,
        frames: || vec![udp().macs(SECOND.0, SECOND.1).build()],
        ..UDP
    },
    Case {
        row: "46",
        name: "proxy ARP on the egress",
        setup: &["sysctl net/ipv4/conf/right/proxy_arp=1", "sysctl net/ipv4/conf/left/proxy_arp=1"],
        undo: &["sysctl net/ipv4/conf/right/proxy_arp=0", "sysctl net/ipv4/conf/left/proxy_arp=0"],
        ..UDP
    },
];

const UDP: Case = Case { frames: || sent(udp()), kernel: &[at(Server, 1)], ..V4 };

const DEFAULT: &[&str] = &["ip route replace 10.9.0.0/16 via 10.0.2.2"];

const fn kind(
    name: &'static str,
    setup: &'static [&'static str],
    undo: &'static [&'static str],
) -> Case {
    Case { row: "23", name, setup, undo, plane: Passed("pass_route"), ..UDP }
}
