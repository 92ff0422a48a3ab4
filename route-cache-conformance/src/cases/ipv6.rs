//! The rows that concern IPv6, with IPv6.

use std::net::Ipv6Addr;

use super::{net::CLIENT, next_hop::UP};
use crate::{
    case::{
        Allowance, Arrival, Case, Feature,
        Plane::Passed,
        Station::{Client, Other, Server},
        V6, answer, at,
    },
    ipv6::Frame6,
    need::Need,
};

/// The cases.
pub const CASES: &[Case] = &[
    passed(
        "1",
        "somebody else's address",
        || vec![udp().macs(CLIENT.0, [2, 9, 9, 9, 9, 9]).build()],
        "pass_other_host",
    ),
    passed(
        "2",
        "a multicast address",
        || vec![udp().macs(CLIENT.0, [0x33, 0x33, 0, 0, 0, 9]).build()],
        "pass_link_multicast",
    ),
    malformed("3", "version 5", || sent(udp().first_word(0x5000_0000))),
    forwarded("5", "padded beyond the payload", || sent(udp().pad_to(200))),
    Case {
        counter: Some(("Ip6", "InTruncatedPkts")),
        ..malformed("5", "longer than the frame", || sent(udp().payload_length(300)))
    },
    malformed("5", "cut within the header", || sent(udp().truncate_to(50))),
    Case {
        counter: Some(("Ip6", "InHdrErrors")),
        kernel: &[answer(3, 0)],
        ..passed("7", "hop limit 1", || sent(udp().hop_limit(1)), "pass_ttl")
    },
    Case {
        kernel: &[answer(3, 0)],
        ..passed("7", "hop limit 0", || sent(udp().hop_limit(0)), "pass_ttl")
    },
    forwarded("7", "hop limit 2", || sent(udp().hop_limit(2))),
    forwarded("7", "hop limit 255", || sent(udp().hop_limit(255))),
    Case {
        setup: &["ip route replace 2001:db8:9::/48 via fd00:0:0:2::2 mtu 1400"],
        undo: DEFAULT,
        counter: Some(("Icmp6", "OutPktTooBigs")),
        kernel: &[answer(2, 0)],
        ..passed("8", "a byte too large", || sent(sized(1401)), "pass_mtu")
    },
    Case {
        setup: &["ip route replace 2001:db8:9::/48 via fd00:0:0:2::2 mtu 1400"],
        undo: DEFAULT,
        ..forwarded("8", "as large as it may be", || sent(sized(1400)))
    },
    Case {
        setup: &["ip link set right mtu 1300"],
        undo: &["ip link set right mtu 1500"],
        kernel: &[answer(2, 0)],
        ..passed("10", "a byte too large for the device", || sent(sized(1301)), "pass_mtu")
    },
    forwarded("10", "the largest", || sent(sized(1500))),
    forwarded("11", "UDP", || sent(udp())),
    forwarded("11", "traffic class and flow label", || sent(udp().first_word(0x6bb1_2345))),
    forwarded("11", "UDP without checksum", || sent(udp().without_checksum())),
    forwarded("11", "an echo request", || sent(Frame6::ping(FROM, BEYOND))),
    forwarded("11", "a first fragment", || sent(udp().extension(44, &[0, 0, 0, 1, 0, 0, 0, 9]))),
    forwarded("11", "a later fragment", || sent(udp().extension(44, &[0, 0, 0, 0x40, 0, 0, 0, 9]))),
    passed(
        "15",
        "of the link",
        || sent(to(address([0xff02, 0, 0, 0, 0, 0, 0, 0x99]))),
        "pass_multicast",
    ),
    passed(
        "15",
        "global",
        || sent(to(address([0xff0e, 0, 0, 0, 0, 0, 0, 0x99]))),
        "pass_multicast",
    ),
    Case {
        kernel: &[answer(129, 0)],
        ..passed(
            "16",
            "our address",
            || sent(Frame6::ping(FROM, address([0xfd00, 0, 0, 1, 0, 0, 0, 1]))),
            "pass_local",
        )
    },
    Case {
        setup: &["ip -6 address add 2001:db8:9::1/128 dev lo"],
        undo: &["ip -6 address del 2001:db8:9::1/128 dev lo"],
        kernel: &[answer(129, 0)],
        ..passed("16", "a new address", || sent(Frame6::ping(FROM, BEYOND)), "pass_local")
    },
    Case {
        setup: &["sysctl net/ipv6/conf/all/forwarding=0"],
        undo: &["sysctl net/ipv6/conf/all/forwarding=1"],
        ..passed("18", "off for all", || sent(udp()), "pass_disabled")
    },
    Case {
        setup: &[
            "ip -6 route add default via fd00:0:0:3::2 table 100",
            "ip -6 rule add from fd00:0:0:1::2 lookup 100",
        ],
        undo: &["ip -6 rule del from fd00:0:0:1::2 lookup 100", "ip -6 route flush table 100"],
        kernel: &[at(Other, 1)],
        ..passed("19", "a rule for the source", || sent(udp()), "pass_disabled")
    },
    Case {
        setup: &[
            "ip route replace 2001:db8:9::/48 nexthop via fd00:0:0:2::2 nexthop via fd00:0:0:3::2",
        ],
        undo: &[
            "ip -6 route flush 2001:db8:9::/48",
            "ip route add 2001:db8:9::/48 via fd00:0:0:2::2",
        ],
        kernel: &[Arrival { at: None, frames: 1, icmp: None }],
        feature: Feature::Ipv6,
        allowed: Some(Allowance::Member),
        ..forwarded("21", "two next hops", || sent(udp()))
    },
    Case {
        setup: &[
            "ip route replace 2001:db8:9::/48 nexthop via fd00:0:0:2::2 nexthop via fd00:0:0:3::2",
            "ip link set right2 down",
        ],
        undo: &[
            "ip link set right2 up",
            "ip -6 route flush 2001:db8:9::/48",
            "ip route add 2001:db8:9::/48 via fd00:0:0:2::2",
            "ip neigh replace 10.0.3.2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip neigh replace fd00:0:0:3::2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
        ],
        ..forwarded("22", "one of two members is down", || sent(udp()))
    },
    kind(
        "blackhole",
        &["ip -6 route add blackhole 2001:db8:9:1::/64"],
        &["ip -6 route del blackhole 2001:db8:9:1::/64"],
        &[],
    ),
    kind(
        "unreachable",
        &["ip -6 route add unreachable 2001:db8:9:1::/64"],
        &["ip -6 route del unreachable 2001:db8:9:1::/64"],
        &[answer(1, 0)],
    ),
    kind(
        "prohibit",
        &["ip -6 route add prohibit 2001:db8:9:1::/64"],
        &["ip -6 route del prohibit 2001:db8:9:1::/64"],
        &[answer(1, 1)],
    ),
    kind(
        "throw",
        &["ip -6 route add throw 2001:db8:9:1::/64"],
        &["ip -6 route del throw 2001:db8:9:1::/64"],
        &[answer(1, 0)],
    ),
    Case {
        setup: &["ip -6 route add 2001:db8:9:1::/64 via fd00:0:0:3::2 expires 1000"],
        undo: &["ip -6 route del 2001:db8:9:1::/64"],
        kernel: &[at(Other, 1)],
        ..passed(
            "23a",
            "a route that expires shadows the wider one",
            || sent(to(SPECIFIC)),
            "pass_route",
        )
    },
    Case {
        cloned: true,
        setup: &[
            "ip nexthop add id 5 via fd00:0:0:2::2 dev right",
            "ip -6 route add 2001:db8:9:1::/64 nhid 5",
            "ip nexthop replace id 5 via fd00:0:0:3::2 dev right2",
        ],
        undo: &["ip -6 route del 2001:db8:9:1::/64", "ip nexthop del id 5"],
        kernel: &[at(Other, 1)],
        ..forwarded("24", "a next-hop object that was replaced", || sent(to(SPECIFIC)))
    },
    Case {
        setup: &[
            "ip nexthop add id 5 via fd00:0:0:3::2 dev right2",
            "ip -6 route add 2001:db8:9:1::/64 nhid 5",
            "ip nexthop del id 5",
        ],
        undo: DEFAULT,
        ..forwarded("24", "a next-hop object that was deleted", || sent(to(SPECIFIC)))
    },
    Case {
        setup: &["ip -6 nexthop add id 5 blackhole", "ip -6 route add 2001:db8:9:1::/64 nhid 5"],
        undo: &["ip -6 route del 2001:db8:9:1::/64", "ip nexthop del id 5"],
        ..passed("24", "a next-hop object that is a blackhole", || sent(to(SPECIFIC)), "pass_route")
    },
    Case {
        kernel: &[answer(1, 0)],
        counter: Some(("Ip6", "InNoRoutes")),
        ..passed(
            "23",
            "no route",
            || sent(to(address([0x2001, 0xdb8, 0x13, 0, 0, 0, 0, 1]))),
            "pass_no_route",
        )
    },
    Case {
        setup: &["ip neigh replace fe80::12 lladdr 02:00:00:00:01:02 dev left nud permanent"],
        undo: &["ip neigh del fe80::12 dev left"],
        kernel: &[answer(1, 2)],
        ..passed("26", "a link-local source", || sent(from(LINK_LOCAL)), "pass_martian_source")
    },
    Case {
        kernel: &[answer(1, 0)],
        ..passed(
            "26",
            "the unspecified destination",
            || sent(to(Ipv6Addr::UNSPECIFIED)),
            "pass_martian_destination",
        )
    },
    // Of the link that it came from, as far as the kernel knows: it forwards back to there, and redirects.
    Case {
        setup: &[
            "ip neigh replace fe80::13 lladdr 02:00:00:00:01:13 dev left nud permanent",
            "ip neigh replace fd00:0:0:1::26 lladdr 02:00:00:00:01:02 dev left nud permanent",
        ],
        undo: &["ip neigh del fe80::13 dev left", "ip neigh del fd00:0:0:1::26 dev left"],
        kernel: &[at(Client, 1), answer(137, 0)],
        ..passed(
            "26",
            "a link-local destination",
            || sent(redirected(0x26, address([0xfe80, 0, 0, 0, 0, 0, 0, 0x13]))),
            "pass_martian_destination",
        )
    },
    passed(
        "26",
        "the unspecified source",
        || sent(from(Ipv6Addr::UNSPECIFIED)),
        "pass_martian_source",
    ),
    passed(
        "26",
        "the loopback destination",
        || sent(to(Ipv6Addr::LOCALHOST)),
        "pass_martian_destination",
    ),
    passed("26", "the loopback source", || sent(from(Ipv6Addr::LOCALHOST)), "pass_martian_source"),
    passed(
        "26",
        "a multicast source",
        || sent(from(address([0xff0e, 0, 0, 0, 0, 0, 0, 9]))),
        "pass_martian_source",
    ),
    Case {
        kernel: &[at(Server, 1)],
        ..passed(
            "27",
            "hop-by-hop options",
            || sent(udp().extension(0, &[0, 0, 1, 4, 0, 0, 0, 0])),
            "pass_options",
        )
    },
    // On a veth the checksum behind an extension header cannot be told to be complete; the kernel forwards them.
    Case {
        kernel: &[at(Server, 1)],
        ..passed(
            "27",
            "destination options",
            || sent(udp().extension(60, &[0, 0, 1, 4, 0, 0, 0, 0])),
            "pass_partial_checksum",
        )
    },
    Case {
        kernel: &[at(Server, 1)],
        ..passed(
            "27",
            "a routing header, not for us",
            || sent(udp().extension(43, &[0, 0, 4, 0, 0, 0, 0, 0])),
            "pass_partial_checksum",
        )
    },
    // Of a fragment no checksum is anybody's to complete.
    forwarded("27", "destination options behind a fragment header", || {
        sent(fragment().extension(60, &[0, 0, 1, 4, 0, 0, 0, 0]))
    }),
    forwarded("27", "a routing header behind a fragment header", || {
        sent(fragment().extension(43, &[0, 0, 4, 0, 0, 0, 0, 0]))
    }),
    Case {
        setup: &[
            "ip neigh replace fe80::99 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip neigh replace fe80::99 lladdr 02:00:00:00:02:02 dev right nud permanent",
            "ip route replace 2001:db8:9::/48 via fe80::99 dev right2",
        ],
        undo: &[
            "ip route replace 2001:db8:9::/48 via fd00:0:0:2::2",
            "ip neigh del fe80::99 dev right2",
            "ip neigh del fe80::99 dev right",
        ],
        kernel: &[at(Other, 1)],
        ..forwarded("28", "one address behind two devices", || sent(udp()))
    },
    Case {
        needs: &[Need::Seg6],
        setup: &[
            "ip -6 route add 2001:db8:9:1::/64 encap seg6 mode encap segs 2001:db8:9::7 dev right via fd00:0:0:2::2",
        ],
        undo: &["ip -6 route del 2001:db8:9:1::/64"],
        kernel: &[at(Server, 1)],
        ..passed("29", "segment routing", || sent(to(SPECIFIC)), "pass_route")
    },
    Case {
        setup: &["ip -6 route add 2001:db8:9:1::/64 via fd00:0:0:3::2"],
        undo: &["ip -6 route del 2001:db8:9:1::/64"],
        kernel: &[at(Other, 1)],
        ..forwarded("30", "a more specific route", || sent(to(SPECIFIC)))
    },
    Case {
        setup: &["sysctl net/ipv6/neigh/right/mcast_solicit=100"],
        undo: &[
            "sysctl net/ipv6/neigh/right/mcast_solicit=3",
            "ip -6 neigh flush dev right nud incomplete nud failed",
        ],
        ..passed(
            "31",
            "on the link, nobody answers",
            || sent(to(address([0xfd00, 0, 0, 2, 0, 0, 0, 0x99]))),
            "pass_neighbour",
        )
    },
    Case {
        setup: &[
            "ip neigh replace fd00:0:0:2::77 lladdr 02:00:00:00:02:02 dev right nud permanent",
        ],
        undo: &["ip neigh del fd00:0:0:2::77 dev right"],
        ..forwarded("31", "on the link, a neighbour of its own", || {
            sent(to(address([0xfd00, 0, 0, 2, 0, 0, 0, 0x77])))
        })
    },
    Case {
        setup: &["ip neigh replace fd00:0:0:2::2 lladdr 02:00:00:00:02:77 dev right nud permanent"],
        undo: &["ip neigh replace fd00:0:0:2::2 lladdr 02:00:00:00:02:02 dev right nud permanent"],
        ..forwarded("33", "another address", || sent(udp()))
    },
    Case {
        needs: &[Need::Vlan],
        feature: Feature::VlanIngress,
        setup: &[
            "ip link add link left name left.7 type vlan id 7",
            "sysctl net/ipv6/conf/left.7/disable_ipv6=0",
            "ip link set left.7 up",
        ],
        undo: &["ip link del left.7"],
        ..forwarded("34", "a VLAN with a device", || {
            vec![udp().macs(CLIENT.0, CLIENT.1).vlan(7).build()]
        })
    },
    Case {
        needs: &[Need::Vlan],
        setup: &[
            "ip link add link right name right.8 type vlan id 8",
            "sysctl net/ipv6/conf/right.8/disable_ipv6=0",
            "ip link set right.8 up",
            "ip -6 address add fd00:0:0:8::1/64 dev right.8 nodad",
            "ip neigh replace fd00:0:0:8::2 lladdr 02:00:00:00:02:02 dev right.8 nud permanent",
            "ip -6 route add 2001:db8:9:1::/64 via fd00:0:0:8::2",
        ],
        undo: &["ip link del right.8"],
        ..forwarded("35", "untagged in, tagged out", || sent(to(SPECIFIC)))
    },
    Case {
        setup: &["ip link set right down"],
        undo: UP,
        kernel: &[answer(1, 0)],
        ..passed("38", "egress down, no other route", || sent(udp()), "pass_no_route")
    },
    Case {
        setup: &["ip -6 route add 2001:db8::/32 via fd00:0:0:3::2", "ip link set right down"],
        undo: const { &["ip -6 route del 2001:db8::/32", UP[0], UP[1], UP[2], UP[3], UP[4]] },
        kernel: &[at(Other, 1)],
        ..forwarded("38", "egress down, a wider route takes over", || sent(udp()))
    },
    Case {
        needs: &[Need::Nftables],
        setup: &[
            "nft add table ip6 f",
            "nft add chain ip6 f forward { type filter hook forward priority 0 ; }",
            "nft add rule ip6 f forward ip6 daddr 2001:db8:9::/48 counter drop",
        ],
        undo: &["nft delete table ip6 f"],
        ..passed("40", "a rule that drops", || sent(udp()), "pass_disabled")
    },
    Case {
        needs: &[Need::Xfrm],
        setup: &["ip xfrm policy add dir fwd src ::/0 dst 2001:db8:9::/48 action block"],
        undo: &["ip xfrm policy flush"],
        ..passed("41", "a policy that blocks", || sent(udp()), "pass_disabled")
    },
    // The kernel redirects to a gateway that it knows by its link-local address only (RFC 4861 8.1).
    Case {
        setup: &[
            "ip neigh replace fe80::99 lladdr 02:00:00:00:01:09 dev left nud permanent",
            "ip neigh replace fd00:0:0:1::42 lladdr 02:00:00:00:01:02 dev left nud permanent",
            "ip -6 route add 2001:db8:9:1::/64 via fe80::99 dev left",
        ],
        undo: &[
            "ip -6 route del 2001:db8:9:1::/64",
            "ip neigh del fe80::99 dev left",
            "ip neigh del fd00:0:0:1::42 dev left",
        ],
        kernel: &[at(Client, 1), answer(137, 0)],
        ..passed(
            "42",
            "back to where it came from",
            || sent(redirected(0x42, SPECIFIC)),
            "pass_same_interface",
        )
    },
    Case {
        agent_stopped: true,
        kernel: &[at(Server, 1)],
        ..passed("44", "the agent is stopped", || sent(udp()), "pass_expired")
    },
    // It counts for forwarding if it is on for all, and only then (`ip6_forward`).
    Case {
        setup: &["sysctl net/ipv6/conf/all/proxy_ndp=1"],
        undo: &["sysctl net/ipv6/conf/all/proxy_ndp=0"],
        kernel: &[at(Server, 1)],
        ..passed("46", "proxy NDP", || sent(udp()), "pass_disabled")
    },
    Case {
        setup: &["sysctl net/ipv6/conf/left/proxy_ndp=1", "sysctl net/ipv6/conf/right/proxy_ndp=1"],
        undo: &["sysctl net/ipv6/conf/left/proxy_ndp=0", "sysctl net/ipv6/conf/right/proxy_ndp=0"],
        ..forwarded("46", "proxy NDP on single interfaces", || sent(udp()))
    },
    Case {
        kernel: &[at(Server, 1)],
        ..passed("39a", "UDP", || sent(udp().partial_checksum()), "pass_partial_checksum")
    },
];

const FROM: Ipv6Addr = address([0xfd00, 0, 0, 1, 0, 0, 0, 2]);
const BEYOND: Ipv6Addr = address([0x2001, 0xdb8, 9, 0, 0, 0, 0, 1]);
const SPECIFIC: Ipv6Addr = address([0x2001, 0xdb8, 9, 1, 0, 0, 0, 1]);
const LINK_LOCAL: Ipv6Addr = address([0xfe80, 0, 0, 0, 0, 0, 0, 0x12]);
const DEFAULT: &[&str] = &["ip route replace 2001:db8:9::/48 via fd00:0:0:2::2"];

type Frames = fn() -> Vec<Vec<u8>>;

const fn forwarded(row: &'static str, name: &'static str, frames: Frames) -> Case {
    Case { row, name, frames, kernel: const { &[at(Server, 1)] }, ..V6 }
}

const fn passed(
    row: &'static str,
    name: &'static str,
    frames: Frames,
    outcome: &'static str,
) -> Case {
    Case { row, name, frames, plane: Passed(outcome), ..V6 }
}

const fn malformed(row: &'static str, name: &'static str, frames: Frames) -> Case {
    passed(row, name, frames, "pass_malformed")
}

const fn kind(
    name: &'static str,
    setup: &'static [&'static str],
    undo: &'static [&'static str],
    kernel: &'static [Arrival],
) -> Case {
    let case = passed("23", name, || sent(to(SPECIFIC)), "pass_route");
    Case { setup, undo, kernel, ..case }
}

const fn address(words: [u16; 8]) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, h] = words;
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

fn sent(frame: Frame6) -> Vec<Vec<u8>> {
    vec![frame.macs(CLIENT.0, CLIENT.1).build()]
}

/// A first fragment, to which headers may be added.
fn fragment() -> Frame6 {
    udp().extension(44, &[0, 0, 0, 1, 0, 0, 0, 9])
}

fn udp() -> Frame6 {
    to(BEYOND)
}

fn to(destination: Ipv6Addr) -> Frame6 {
    Frame6::udp(FROM, destination, b"an odd number of bytes.")
}

/// From a host of the client's link that gets no errors: those take from what the kernel allows it of redirects
/// (`inet_peer_xrlim_allow`).
fn redirected(host: u16, destination: Ipv6Addr) -> Frame6 {
    let source = address([0xfd00, 0, 0, 1, 0, 0, 0, host]);
    Frame6::udp(source, destination, b"an odd number of bytes.")
}

fn from(source: Ipv6Addr) -> Frame6 {
    Frame6::udp(source, BEYOND, b"an odd number of bytes.")
}

/// A datagram whose IP packet has this size.
fn sized(size: usize) -> Frame6 {
    Frame6::udp(FROM, BEYOND, &vec![0x5a; size - 48])
}
