//! Rows 31 to 33, 36 to 38 and 42: neighbours and interfaces.

use super::net::{BEYOND, SECOND, flow, from, sent, to, udp};
use crate::{
    case::{
        Case,
        Plane::Passed,
        Station::{Client, Other, Second, Server},
        V4, answer, at,
    },
    need::Need,
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        row: "31",
        name: "on the link, nobody answers",
        setup: &["sysctl net/ipv4/neigh/right/mcast_solicit=100"],
        undo: &[
            "sysctl net/ipv4/neigh/right/mcast_solicit=3",
            "ip neigh flush dev right nud incomplete nud failed",
        ],
        frames: || sent(to([10, 0, 2, 99])),
        plane: Passed("pass_neighbour"),
        ..V4
    },
    Case {
        row: "31",
        name: "on the link, a neighbour of its own",
        setup: &["ip neigh replace 10.0.2.77 lladdr 02:00:00:00:02:02 dev right nud permanent"],
        undo: &["ip neigh del 10.0.2.77 dev right"],
        frames: || sent(to([10, 0, 2, 77])),
        kernel: &[at(Server, 1)],
        ..V4
    },
    Case {
        row: "32",
        name: "stale",
        setup: &["ip neigh replace 10.0.2.2 lladdr 02:00:00:00:02:02 dev right nud stale"],
        undo: NEIGHBOUR,
        ..UDP
    },
    Case {
        row: "33",
        name: "another address",
        setup: &["ip neigh replace 10.0.2.2 lladdr 02:00:00:00:02:77 dev right nud permanent"],
        undo: NEIGHBOUR,
        ..UDP
    },
    Case {
        row: "33",
        name: "another address of the egress",
        setup: &["ip link set right address 02:00:00:00:02:66"],
        undo: &["ip link set right address 02:00:00:00:02:01"],
        ..UDP
    },
    Case {
        row: "36",
        name: "ingress enslaved to a bridge",
        needs: &[Need::Bridge],
        setup: &[
            "ip link add name bridge type bridge",
            "ip link set bridge up",
            "ip link set left master bridge",
        ],
        undo: &["ip link set left nomaster", "ip link del dev bridge"],
        kernel: &[at(Server, 1)],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "36",
        name: "a macvlan device as egress",
        needs: &[Need::Macvlan],
        setup: &[
            "ip link add link right2 name mac address 02:00:00:00:05:01 type macvlan mode bridge",
            "ip link set mac up",
            "ip address add 10.0.5.1/24 dev mac",
            "ip neigh replace 10.0.5.2 lladdr 02:00:00:00:03:02 dev mac nud permanent",
            "ip route add 10.9.0.0/24 via 10.0.5.2",
        ],
        undo: &["ip link del mac"],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_egress"),
        ..UDP
    },
    Case {
        row: "36",
        name: "a bridge as egress",
        needs: &[Need::Bridge],
        setup: &[
            "ip link add name bridge address 02:00:00:00:05:01 type bridge",
            "ip link set bridge up",
            "ip link set right2 master bridge",
            "ip address add 10.0.5.1/24 dev bridge",
            "ip neigh replace 10.0.5.2 lladdr 02:00:00:00:03:02 dev bridge nud permanent",
            "bridge fdb replace 02:00:00:00:03:02 dev right2 master static",
            "ip route add 10.9.0.0/24 via 10.0.5.2",
        ],
        undo: &["ip link set right2 nomaster", "ip link del dev bridge"],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_egress"),
        ..UDP
    },
    Case {
        row: "36",
        name: "ingress enslaved to a bond",
        needs: &[Need::Bond],
        setup: &[
            "ip link add name bond type bond mode active-backup miimon 10",
            "ip link set left2 down",
            "ip link set left2 master bond",
            "ip link set bond up",
            "ip link set left2 up",
        ],
        undo: &[
            "ip link set left2 nomaster",
            "ip link del dev bond",
            "ip link set left2 up",
            "ip neigh replace 10.0.4.2 lladdr 02:00:00:00:04:02 dev left2 nud permanent",
            "ip neigh replace fd00:0:0:4::2 lladdr 02:00:00:00:04:02 dev left2 nud permanent",
        ],
        sender: Second,
        frames: || vec![udp().macs(SECOND.0, SECOND.1).build()],
        kernel: &[at(Server, 1)],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "36",
        name: "a bond as egress",
        needs: &[Need::Bond],
        setup: &[
            "ip link add name bond address 02:00:00:00:05:01 type bond mode active-backup miimon 10",
            "ip link set right2 down",
            "ip link set right2 master bond",
            "ip link set bond up",
            "ip link set right2 up",
            "ip address add 10.0.5.1/24 dev bond",
            "ip neigh replace 10.0.5.2 lladdr 02:00:00:00:03:02 dev bond nud permanent",
            "ip route add 10.9.0.0/24 via 10.0.5.2",
        ],
        undo: &[
            "ip link set right2 nomaster",
            "ip link del dev bond",
            "ip link set right2 address 02:00:00:00:03:01",
            "ip link set right2 up",
            "ip neigh replace 10.0.3.2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip neigh replace fd00:0:0:3::2 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
        ],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_egress"),
        ..UDP
    },
    Case {
        row: "36",
        name: "ingress below a macvlan device in mode passthru",
        needs: &[Need::Macvlan],
        setup: &[
            "ip link add link left2 name mac type macvlan mode passthru",
            "ip link set mac up",
        ],
        undo: &["ip link del mac"],
        sender: Second,
        frames: || vec![udp().macs(SECOND.0, SECOND.1).build()],
        kernel: &[at(Server, 1)],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "36",
        name: "ingress below a macvlan device of another address",
        needs: &[Need::Macvlan],
        setup: &["ip link add link left2 name mac type macvlan mode bridge", "ip link set mac up"],
        undo: &["ip link del mac"],
        sender: Second,
        frames: || vec![udp().macs(SECOND.0, SECOND.1).build()],
        kernel: &[at(Server, 1)],
        ..UDP
    },
    Case {
        row: "36",
        name: "a VXLAN device as egress",
        needs: &[Need::Vxlan],
        setup: &[
            // Nobody's, so that nobody answers.
            "ip neigh replace 10.0.3.9 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip link add vx address 02:00:00:00:05:01 type vxlan id 7 dstport 4789 local 10.0.3.1 remote 10.0.3.9 dev right2 srcport 5000 5001",
            "ip link set vx up",
            "ip address add 10.0.5.1/24 dev vx",
            "ip neigh replace 10.0.5.2 lladdr 02:00:00:00:05:02 dev vx nud permanent",
            "ip route add 10.9.0.0/24 via 10.0.5.2",
        ],
        undo: &["ip link del vx", "ip neigh del 10.0.3.9 dev right2"],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_egress"),
        ..UDP
    },
    Case {
        row: "36",
        name: "an IP-in-IP tunnel as egress",
        needs: &[Need::Ipip],
        setup: &[
            "ip neigh replace 10.0.3.9 lladdr 02:00:00:00:03:02 dev right2 nud permanent",
            "ip link add tun type ipip local 10.0.3.1 remote 10.0.3.9",
            "ip link set tun up",
            "ip route add 10.9.0.0/24 dev tun",
        ],
        undo: &["ip link del tun", "ip neigh del 10.0.3.9 dev right2"],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_neighbour"),
        ..UDP
    },
    Case {
        row: "37",
        name: "the veth peer without GRO",
        setup: &["server: ethtool -K eth0 gro off"],
        undo: &["server: ethtool -K eth0 gro on"],
        kernel: &[at(Server, 1)],
        plane: Passed("pass_egress"),
        ..UDP
    },
    Case {
        row: "38",
        name: "egress down, no other route",
        setup: &["ip link set right down"],
        undo: UP,
        frames: || sent(flow([10, 0, 1, 104], BEYOND, b"x")),
        kernel: &[answer(3, 0)],
        plane: Passed("pass_no_route"),
        ..UDP
    },
    Case {
        row: "38",
        name: "egress down, a wider route takes over",
        setup: &["ip route add 10.0.0.0/8 via 10.0.3.2", "ip link set right down"],
        undo: &[
            "ip route del 10.0.0.0/8 via 10.0.3.2",
            "ip link set right up",
            "ip route replace 10.9.0.0/16 via 10.0.2.2",
            "ip route replace 2001:db8:9::/48 via fd00:0:0:2::2",
            "ip neigh replace 10.0.2.2 lladdr 02:00:00:00:02:02 dev right nud permanent",
            "ip neigh replace fd00:0:0:2::2 lladdr 02:00:00:00:02:02 dev right nud permanent",
        ],
        kernel: &[at(Other, 1)],
        ..UDP
    },
    Case {
        row: "42",
        name: "back to where it came from, no redirects",
        setup: &[
            "sysctl net/ipv4/conf/all/send_redirects=0",
            "sysctl net/ipv4/conf/left/send_redirects=0",
            "ip neigh replace 10.0.1.9 lladdr 02:00:00:00:01:09 dev left nud permanent",
            "ip route add 10.9.0.0/24 via 10.0.1.9",
        ],
        undo: &[
            "ip route del 10.9.0.0/24",
            "ip neigh del 10.0.1.9 dev left",
            "sysctl net/ipv4/conf/all/send_redirects=1",
            "sysctl net/ipv4/conf/left/send_redirects=1",
        ],
        kernel: &[at(Client, 1)],
        plane: Passed("pass_same_interface"),
        ..UDP
    },
    // Not right behind row 41: for a moment after an XFRM policy is gone, the kernel redirects nobody.
    // A host that gets no errors: those take from what the kernel allows it of redirects. Again it sends one after 40 ms,
    // then 80, and so on (`ip_rt_send_redirect`).
    Case {
        row: "42",
        name: "back to where it came from",
        setup: &[
            "ip neigh replace 10.0.1.9 lladdr 02:00:00:00:01:09 dev left nud permanent",
            "ip route add 10.9.0.0/24 via 10.0.1.9",
        ],
        undo: &["ip route del 10.9.0.0/24", "ip neigh del 10.0.1.9 dev left"],
        kernel: &[at(Client, 1), answer(5, 1)],
        plane: Passed("pass_same_interface"),
        frames: || sent(from([10, 0, 1, 110])),
        ..V4
    },
];

const UDP: Case = Case { frames: || sent(udp()), kernel: &[at(Server, 1)], ..V4 };

const NEIGHBOUR: &[&str] =
    &["ip neigh replace 10.0.2.2 lladdr 02:00:00:00:02:02 dev right nud permanent"];

/// Routes and neighbours of an interface go when it goes down.
pub(super) const UP: &[&str] = &[
    "ip link set right up",
    "ip route replace 10.9.0.0/16 via 10.0.2.2",
    "ip route replace 2001:db8:9::/48 via fd00:0:0:2::2",
    "ip neigh replace 10.0.2.2 lladdr 02:00:00:00:02:02 dev right nud permanent",
    "ip neigh replace fd00:0:0:2::2 lladdr 02:00:00:00:02:02 dev right nud permanent",
];
