//! Rows 3 to 16 and 39a: what the IPv4 header says.

use route_cache_lab::Frame;

use super::net::{BEYOND, FROM, flow, from, sent, sized, tcp, to, udp};
use crate::case::{Case, Plane::Passed, Station::Server, V4, answer, at};

/// The cases.
pub const CASES: &[Case] = &[
    forwarded("11", "UDP", || sent(udp())),
    forwarded("11", "UDP without checksum", || sent(udp().transport_checksum(0))),
    forwarded("11", "TCP", || sent(tcp(b"segment"))),
    forwarded("11", "ICMP", || sent(Frame::ping(FROM, BEYOND, 9, b"0123456789"))),
    forwarded("11", "DSCP and ECN", || sent(udp().tos(0xbb))),
    forwarded("11", "a checksum in which the carry wraps", || sent(udp().ttl(128).id(0))),
    forwarded("11", "a first fragment", || sent(udp().fragment(0, true))),
    forwarded("11", "a fragment in the middle", || {
        sent(Frame::ipv4(FROM, BEYOND, 17, &[0; 64]).fragment(8, true))
    }),
    forwarded("11", "a last fragment", || {
        sent(Frame::ipv4(FROM, BEYOND, 17, &[1; 9]).fragment(16, false))
    }),
    forwarded("11", "the reserved flag", || sent(udp().flags_and_offset(0xc000))),
    Case { counter: HEADER, ..malformed("3", "version 5", || sent(udp().version(5))) },
    Case { counter: HEADER, ..malformed("3", "version 6", || sent(udp().version(6))) },
    Case {
        counter: HEADER,
        ..malformed("3", "a header of four words", || sent(udp().header_words(4)))
    },
    Case {
        counter: HEADER,
        ..malformed("3", "a header of no words", || sent(udp().header_words(0)))
    },
    Case {
        row: "4",
        name: "a wrong header checksum",
        frames: || sent(udp().header_checksum(0x1234)),
        counter: Some(("IpExt", "InCsumErrors")),
        plane: Passed("pass_checksum"),
        ..V4
    },
    Case {
        row: "4",
        name: "a header checksum of 0",
        frames: || sent(udp().header_checksum(0)),
        counter: Some(("IpExt", "InCsumErrors")),
        plane: Passed("pass_checksum"),
        ..V4
    },
    forwarded("5", "padded", || sent(flow(FROM, BEYOND, b"1").pad_to(60))),
    forwarded("5", "padded, TCP", || sent(tcp(b"").pad_to(60))),
    forwarded("5", "padded far beyond the minimum", || sent(udp().pad_to(700))),
    Case {
        counter: Some(("IpExt", "InTruncatedPkts")),
        ..malformed("5", "longer than the frame", || sent(udp().total_length(200)))
    },
    Case {
        counter: Some(("IpExt", "InTruncatedPkts")),
        ..malformed("5", "longer than the frame by a byte", || sent(udp().total_length(52)))
    },
    Case {
        counter: HEADER,
        ..malformed("5", "shorter than the header", || sent(udp().total_length(19)))
    },
    malformed("5", "cut within the header", || sent(udp().truncate_to(30))),
    options("no operation", || sent(udp().options(&[1, 1, 1, 0])), &[at(Server, 1)]),
    options("record route", || sent(udp().options(&[7, 7, 4, 0, 0, 0, 0, 0])), &[at(Server, 1)]),
    options("router alert", || sent(udp().options(&[148, 4, 0, 0])), &[at(Server, 1)]),
    options("an option that is too long", || sent(udp().options(&[7, 39, 4, 0])), &[answer(12, 0)]),
    Case {
        counter: Some(("Icmp", "OutTimeExcds")),
        kernel: &[answer(11, 0)],
        ..passed("7", "TTL 1", || sent(udp().ttl(1)), "pass_ttl")
    },
    Case { kernel: &[answer(11, 0)], ..passed("7", "TTL 0", || sent(udp().ttl(0)), "pass_ttl") },
    forwarded("7", "TTL 2", || sent(udp().ttl(2))),
    forwarded("7", "TTL 255", || sent(udp().ttl(255))),
    Case {
        setup: SMALL,
        undo: NOT_SMALL,
        counter: Some(("Ip", "FragFails")),
        kernel: &[answer(3, 4)],
        ..passed("8", "a byte too large, DF", || sent(sized(1001)), "pass_mtu")
    },
    Case {
        setup: SMALL,
        undo: NOT_SMALL,
        ..forwarded("8", "as large as it may be, DF", || sent(sized(1000)))
    },
    Case {
        setup: SMALL,
        undo: NOT_SMALL,
        counter: Some(("Ip", "FragOKs")),
        kernel: &[at(Server, 2)],
        ..passed("9", "two fragments", || sent(sized(1400).flags_and_offset(0)), "pass_mtu")
    },
    Case {
        setup: SMALL,
        undo: NOT_SMALL,
        kernel: &[at(Server, 2)],
        ..passed(
            "9",
            "a fragment is fragmented",
            || sent(sized(1400).fragment(4, true)),
            "pass_mtu",
        )
    },
    Case {
        setup: &["ip link set right mtu 1300"],
        undo: &["ip link set right mtu 1500"],
        kernel: &[answer(3, 4)],
        ..passed("10", "a byte too large for the device", || sent(sized(1301)), "pass_mtu")
    },
    Case {
        setup: &["ip link set right mtu 1300"],
        undo: &["ip link set right mtu 1500"],
        ..forwarded("10", "as large as the device allows", || sent(sized(1300)))
    },
    forwarded("10", "the largest", || sent(sized(1500))),
    Case {
        setup: &["ip route replace 10.9.0.0/16 via 10.0.2.2 mtu 1200"],
        undo: NOT_SMALL,
        kernel: &[answer(3, 4)],
        ..passed("10", "a route's MTU that is not locked", || sent(sized(1201)), "pass_mtu")
    },
    martian("0.0.0.0", || sent(from([0; 4]))),
    // Valid for the kernel since 5.3; the data plane leaves all of 0/8 to it.
    Case { kernel: &[at(Server, 1)], ..martian("0/8", || sent(from([0, 1, 1, 1]))) },
    martian("127.0.0.1", || sent(from([127, 0, 0, 1]))),
    martian("127/8", || sent(from([127, 9, 9, 9]))),
    martian("multicast", || sent(from([224, 0, 0, 1]))),
    martian("255.255.255.255", || sent(from([255; 4]))),
    martian("our own, of the ingress", || sent(from([10, 0, 1, 1]))),
    martian("our own, of another interface", || sent(from([10, 0, 2, 1]))),
    // From the first local route of somebody's own on, the kernel looks every source up.
    Case {
        setup: &["ip route add local 10.88.0.0/24 dev lo"],
        undo: &["ip route del local 10.88.0.0/24 dev lo"],
        ..martian("a broadcast address of a link", || sent(from([10, 0, 2, 255])))
    },
    Case {
        setup: &["ip address add 10.77.0.1/32 dev lo"],
        undo: &["ip address del 10.77.0.1/32 dev lo"],
        ..martian("an address that became ours", || sent(from([10, 77, 0, 1])))
    },
    forwarded("12", "240/4 is no martian", || sent(from([240, 1, 1, 1]))),
    passed("13", "127/8", || sent(to([127, 9, 9, 9])), "pass_martian_destination"),
    passed("13", "0.0.0.0", || sent(to([0; 4])), "pass_martian_destination"),
    // Valid for the kernel since 5.3, and without a route.
    Case {
        kernel: &[answer(3, 0)],
        ..passed(
            "13",
            "0/8",
            || sent(flow([10, 0, 1, 105], [0, 9, 9, 9], b"x")),
            "pass_martian_destination",
        )
    },
    passed("14", "a directed broadcast", || sent(to([10, 0, 2, 255])), "pass_broadcast"),
    passed("14", "255.255.255.255", || sent(to([255; 4])), "pass_broadcast"),
    Case {
        setup: &[
            "sysctl net/ipv4/conf/all/bc_forwarding=1",
            "sysctl net/ipv4/conf/left/bc_forwarding=1",
        ],
        undo: &[
            "sysctl net/ipv4/conf/all/bc_forwarding=0",
            "sysctl net/ipv4/conf/left/bc_forwarding=0",
        ],
        kernel: &[at(Server, 1)],
        ..passed(
            "14",
            "a directed broadcast, bc_forwarding",
            || sent(to([10, 0, 2, 255])),
            "pass_broadcast",
        )
    },
    // A host's like any other since Linux 5.14, unless somebody says otherwise.
    Case {
        setup: &["ip neigh replace 10.0.2.0 lladdr 02:00:00:00:02:02 dev right nud permanent"],
        undo: &["ip neigh del 10.0.2.0 dev right"],
        ..forwarded("14", "the all-zeros address of a subnet", || sent(to([10, 0, 2, 0])))
    },
    Case {
        setup: &["ip route add broadcast 10.0.2.0 dev right table local"],
        undo: &["ip route del broadcast 10.0.2.0 dev right table local"],
        ..passed(
            "14",
            "the all-zeros address, a broadcast route",
            || sent(to([10, 0, 2, 0])),
            "pass_broadcast",
        )
    },
    passed("15", "of the link", || sent(to([224, 0, 0, 1])), "pass_multicast"),
    passed("15", "of the organisation", || sent(to([239, 1, 2, 3])), "pass_multicast"),
    Case {
        kernel: &[answer(0, 0)],
        ..passed("16", "our address", || ping([10, 0, 1, 1]), "pass_local")
    },
    Case {
        kernel: &[answer(0, 0)],
        ..passed("16", "our address on another interface", || ping([10, 0, 2, 1]), "pass_local")
    },
    Case {
        setup: &["ip address add 10.0.1.50/24 dev left"],
        undo: &["ip address del 10.0.1.50/24 dev left"],
        kernel: &[answer(0, 0)],
        ..passed("16", "a secondary address", || ping([10, 0, 1, 50]), "pass_local")
    },
    Case {
        cloned: true,
        setup: &["ip address add 10.9.0.1/32 dev lo"],
        undo: &["ip address del 10.9.0.1/32 dev lo"],
        kernel: &[answer(0, 0)],
        ..passed("16", "a new address", || ping([10, 9, 0, 1]), "pass_local")
    },
    Case {
        setup: &["ip route add local 10.9.0.0/28 dev lo"],
        undo: &["ip route del local 10.9.0.0/28 dev lo"],
        kernel: &[answer(0, 0)],
        ..passed("16", "anycast: a local prefix", || ping([10, 9, 0, 1]), "pass_local")
    },
    Case { kernel: &[at(Server, 1)], ..partial("UDP", || sent(udp().partial_checksum())) },
    Case { kernel: &[at(Server, 1)], ..partial("TCP", || sent(tcp(b"x").partial_checksum())) },
    Case {
        kernel: &[at(Server, 1)],
        ..partial("GRE", || sent(Frame::ipv4(FROM, BEYOND, 47, &[7; 40])))
    },
    Case {
        kernel: &[at(Server, 1)],
        ..partial("SCTP", || sent(Frame::ipv4(FROM, BEYOND, 132, &[7; 40])))
    },
    Case {
        kernel: &[at(Server, 1)],
        ..partial("VXLAN", || sent(Frame::udp((FROM, 1), (BEYOND, 4789), &[7; 40])))
    },
];

const HEADER: Option<(&str, &str)> = Some(("Ip", "InHdrErrors"));
const SMALL: &[&str] = &["ip route replace 10.9.0.0/16 via 10.0.2.2 mtu lock 1000"];
const NOT_SMALL: &[&str] = &["ip route replace 10.9.0.0/16 via 10.0.2.2"];

type Frames = fn() -> Vec<Vec<u8>>;

const fn forwarded(row: &'static str, name: &'static str, frames: Frames) -> Case {
    Case { row, name, frames, kernel: const { &[at(Server, 1)] }, ..V4 }
}

const fn passed(
    row: &'static str,
    name: &'static str,
    frames: Frames,
    outcome: &'static str,
) -> Case {
    Case { row, name, frames, plane: Passed(outcome), ..V4 }
}

const fn malformed(row: &'static str, name: &'static str, frames: Frames) -> Case {
    passed(row, name, frames, "pass_malformed")
}

const fn martian(name: &'static str, frames: Frames) -> Case {
    passed("12", name, frames, "pass_martian_source")
}

const fn partial(name: &'static str, frames: Frames) -> Case {
    passed("39a", name, frames, "pass_partial_checksum")
}

const fn options(
    name: &'static str,
    frames: Frames,
    kernel: &'static [crate::case::Arrival],
) -> Case {
    Case { kernel, ..passed("6", name, frames, "pass_options") }
}

fn ping(destination: [u8; 4]) -> Vec<Vec<u8>> {
    sent(Frame::ping(FROM, destination.into(), 1, b"0123456789"))
}
