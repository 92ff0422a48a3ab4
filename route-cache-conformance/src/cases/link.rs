//! Rows 1, 2, 34, 35 and 45: what the link-layer header says.

use route_cache_lab::Frame;

use super::net::{CLIENT, udp};
use crate::{
    case::{
        Case, Feature,
        Plane::Passed,
        Station::{Client, Server},
        V4, at,
    },
    need::Need,
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        row: "1",
        name: "somebody else's address",
        frames: || vec![udp().macs(CLIENT.0, [2, 9, 9, 9, 9, 9]).build()],
        plane: Passed("pass_other_host"),
        ..V4
    },
    Case {
        row: "1",
        name: "the address of another interface of ours",
        frames: || vec![udp().macs(CLIENT.0, [2, 0, 0, 0, 2, 1]).build()],
        plane: Passed("pass_other_host"),
        ..V4
    },
    Case {
        row: "1",
        name: "the last byte differs",
        frames: || vec![udp().macs(CLIENT.0, [2, 0, 0, 0, 1, 9]).build()],
        plane: Passed("pass_other_host"),
        ..V4
    },
    Case {
        row: "2",
        name: "the broadcast address",
        frames: || vec![udp().macs(CLIENT.0, [0xff; 6]).build()],
        plane: Passed("pass_link_multicast"),
        ..V4
    },
    Case {
        row: "2",
        name: "a multicast address",
        frames: || vec![udp().macs(CLIENT.0, [1, 0, 0x5e, 0, 0, 1]).build()],
        plane: Passed("pass_link_multicast"),
        ..V4
    },
    Case {
        row: "34",
        name: "a VLAN without a device",
        frames: || tagged(udp(), 9),
        plane: Passed("pass_vlan"),
        ..V4
    },
    // Untagged for the kernel, with or without VLAN devices.
    Case {
        row: "34",
        name: "a priority tag, VLAN 0",
        frames: || tagged(udp(), 0xa000),
        kernel: &[at(Server, 1)],
        plane: Passed("pass_vlan"),
        ..V4
    },
    Case {
        row: "34",
        name: "a VLAN with a device",
        setup: VLAN_7,
        undo: &["ip link del left.7"],
        frames: || tagged(udp(), 7),
        kernel: &[at(Server, 1)],
        ..VLAN
    },
    Case {
        row: "34",
        name: "with priority bits",
        setup: VLAN_7,
        undo: &["ip link del left.7"],
        frames: || tagged(udp(), 0xa007),
        kernel: &[at(Server, 1)],
        ..VLAN
    },
    Case {
        row: "34",
        name: "padded",
        setup: VLAN_7,
        undo: &["ip link del left.7"],
        frames: || {
            tagged(super::net::flow(super::net::FROM, super::net::BEYOND, b"1").pad_to(64), 7)
        },
        kernel: &[at(Server, 1)],
        ..VLAN
    },
    Case {
        row: "34",
        name: "to the lower device's address, the VLAN device has one of its own",
        setup: &[
            "ip link add link left name left.7 address 02:00:00:00:07:01 type vlan id 7",
            "sysctl net/ipv4/conf/left.7/rp_filter=0",
            "ip link set left.7 up",
        ],
        undo: &["ip link del left.7"],
        frames: || tagged(udp(), 7),
        // Its own for the lower device, it stays so for the VLAN device (`vlan_do_receive`).
        kernel: &[at(Server, 1)],
        plane: Passed("pass_other_host"),
        ..VLAN
    },
    Case {
        row: "34",
        name: "to the VLAN device's own address",
        setup: &[
            "ip link add link left name left.7 address 02:00:00:00:07:01 type vlan id 7",
            "sysctl net/ipv4/conf/left.7/rp_filter=0",
            "ip link set left.7 up",
        ],
        undo: &["ip link del left.7"],
        frames: || vec![udp().macs(CLIENT.0, [2, 0, 0, 0, 7, 1]).vlan(7).build()],
        kernel: &[at(Server, 1)],
        ..VLAN
    },
    Case {
        row: "34",
        name: "a VLAN whose device is down",
        setup: &["ip link add link left name left.7 type vlan id 7"],
        undo: &["ip link del left.7"],
        frames: || tagged(udp(), 7),
        plane: Passed("pass_interface"),
        ..VLAN
    },
    Case {
        row: "34",
        name: "a VLAN without forwarding",
        setup: &[
            "ip link add link left name left.7 type vlan id 7",
            "ip link set left.7 up",
            "sysctl net/ipv4/conf/left.7/forwarding=0",
        ],
        undo: &["ip link del left.7"],
        frames: || tagged(udp(), 7),
        plane: Passed("pass_interface"),
        ..VLAN
    },
    Case {
        row: "34",
        name: "two tags",
        setup: VLAN_7,
        undo: &["ip link del left.7"],
        frames: || {
            let mut frame = tagged(udp(), 7).remove(0);
            frame.splice(12..12, [0x88, 0xa8, 0, 5]);
            vec![frame]
        },
        plane: Passed("pass_ethertype"),
        ..VLAN
    },
    Case {
        row: "35",
        name: "untagged in, tagged out",
        feature: Feature::VlanEgress,
        setup: &[
            "ip link add link right name right.8 type vlan id 8",
            "ip link set right.8 up",
            "ip address add 10.0.8.1/24 dev right.8",
            "ip neigh replace 10.0.8.2 lladdr 02:00:00:00:02:02 dev right.8 nud permanent",
            "ip route replace 10.9.0.0/16 via 10.0.8.2",
        ],
        undo: &["ip link del right.8", "ip route replace 10.9.0.0/16 via 10.0.2.2"],
        frames: || super::net::sent(udp()),
        kernel: &[at(Server, 1)],
        ..VLAN
    },
    Case {
        row: "35",
        name: "one tag in, another out",
        setup: &[
            "ip link add link left name left.7 type vlan id 7",
            "sysctl net/ipv4/conf/left.7/rp_filter=0",
            "ip link set left.7 up",
            "ip link add link right name right.8 type vlan id 8",
            "ip link set right.8 up",
            "ip address add 10.0.8.1/24 dev right.8",
            "ip neigh replace 10.0.8.2 lladdr 02:00:00:00:02:02 dev right.8 nud permanent",
            "ip route replace 10.9.0.0/16 via 10.0.8.2",
        ],
        undo: &[
            "ip link del left.7",
            "ip link del right.8",
            "ip route replace 10.9.0.0/16 via 10.0.2.2",
        ],
        frames: || tagged(udp(), 7),
        kernel: &[at(Server, 1)],
        ..VLAN
    },
    Case {
        row: "35",
        name: "two VLANs of one port",
        setup: &[
            "ip link add link left name left.7 type vlan id 7",
            "sysctl net/ipv4/conf/left.7/rp_filter=0",
            "ip link set left.7 up",
            "ip link add link left name left.8 type vlan id 8",
            "ip link set left.8 up",
            "ip address add 10.0.8.1/24 dev left.8",
            "ip neigh replace 10.0.8.2 lladdr 02:00:00:00:01:02 dev left.8 nud permanent",
            "ip route replace 10.9.0.0/16 via 10.0.8.2",
        ],
        undo: &[
            "ip link del left.7",
            "ip link del left.8",
            "ip route replace 10.9.0.0/16 via 10.0.2.2",
        ],
        frames: || tagged(udp(), 7),
        kernel: &[at(Client, 1)],
        ..VLAN
    },
    // The answer does not count, nor does any other ARP.
    other("ARP", || {
        let mut request = [&CLIENT.1[..], &CLIENT.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        request.extend(CLIENT.0);
        request.extend([10, 0, 1, 2, 0, 0, 0, 0, 0, 0, 10, 0, 1, 1]);
        vec![request]
    }),
    other("LLDP", || typed(0x88cc)),
    other("802.1X", || typed(0x888e)),
    other("PPPoE", || typed(0x8864)),
    other("MPLS", || typed(0x8847)),
    other("802.1ad", || typed(0x88a8)),
    other("an IPv4 packet behind an unknown type", || typed(0x88b5)),
    other("a length in place of a type", || typed(0x0026)),
];

const VLAN: Case = Case { feature: Feature::VlanIngress, needs: &[Need::Vlan], ..V4 };

const VLAN_7: &[&str] = &[
    "ip link add link left name left.7 type vlan id 7",
    "sysctl net/ipv4/conf/left.7/rp_filter=0",
    "ip link set left.7 up",
];

const fn other(name: &'static str, frames: fn() -> Vec<Vec<u8>>) -> Case {
    Case { row: "45", name, frames, plane: Passed("pass_ethertype"), ..V4 }
}

fn typed(ethertype: u16) -> Vec<Vec<u8>> {
    vec![udp().macs(CLIENT.0, CLIENT.1).ethertype(ethertype).build()]
}

fn tagged(frame: Frame, tag: u16) -> Vec<Vec<u8>> {
    vec![frame.macs(CLIENT.0, CLIENT.1).vlan(tag).build()]
}
