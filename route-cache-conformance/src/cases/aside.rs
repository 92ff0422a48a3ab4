//! Rows 17 to 19, 40, 41 and 44: settings that leave packets to the kernel.

use super::net::{from, sent, udp};
use crate::{
    case::{
        Case, Feature,
        Plane::Passed,
        Station::{Other, Server},
        V4, at,
    },
    need::Need,
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        row: "17",
        name: "strict, the way back is the ingress",
        setup: &["sysctl net/ipv4/conf/left/rp_filter=1"],
        undo: &["sysctl net/ipv4/conf/left/rp_filter=0"],
        kernel: &[at(Server, 1)],
        feature: Feature::ReversePath,
        ..UDP
    },
    Case {
        row: "17",
        name: "strict, the way back is another",
        setup: &["sysctl net/ipv4/conf/left/rp_filter=1"],
        undo: &["sysctl net/ipv4/conf/left/rp_filter=0"],
        frames: || sent(from([10, 0, 3, 9])),
        counter: Some(("TcpExt", "IPReversePathFilter")),
        feature: Feature::ReversePath,
        plane: Passed("pass_reverse_path"),
        ..V4
    },
    Case {
        row: "17",
        name: "strict by all, the way back is another",
        setup: &["sysctl net/ipv4/conf/all/rp_filter=1"],
        undo: &["sysctl net/ipv4/conf/all/rp_filter=0"],
        frames: || sent(from([10, 0, 3, 9])),
        counter: Some(("TcpExt", "IPReversePathFilter")),
        feature: Feature::ReversePath,
        plane: Passed("pass_reverse_path"),
        ..V4
    },
    Case {
        row: "17",
        name: "loose, the way back is another",
        setup: &["sysctl net/ipv4/conf/left/rp_filter=2"],
        undo: &["sysctl net/ipv4/conf/left/rp_filter=0"],
        frames: || sent(from([10, 0, 3, 9])),
        kernel: &[at(Server, 1)],
        feature: Feature::ReversePath,
        ..V4
    },
    Case {
        row: "17",
        name: "loose, there is no way back",
        setup: &["sysctl net/ipv4/conf/left/rp_filter=2"],
        undo: &["sysctl net/ipv4/conf/left/rp_filter=0"],
        frames: || sent(from([10, 99, 0, 1])),
        feature: Feature::ReversePath,
        plane: Passed("pass_reverse_path"),
        ..V4
    },
    Case {
        row: "17",
        name: "off, there is no way back",
        frames: || sent(from([10, 99, 0, 1])),
        kernel: &[at(Server, 1)],
        ..V4
    },
    Case {
        row: "18",
        name: "off on the ingress",
        setup: &["sysctl net/ipv4/conf/left/forwarding=0"],
        undo: &["sysctl net/ipv4/conf/left/forwarding=1"],
        kernel: &[],
        counter: Some(("Ip", "InAddrErrors")),
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "18",
        name: "off on the egress counts for nothing",
        setup: &["sysctl net/ipv4/conf/right/forwarding=0"],
        undo: &["sysctl net/ipv4/conf/right/forwarding=1"],
        ..UDP
    },
    Case {
        row: "18",
        name: "off for all",
        setup: &["sysctl net/ipv4/ip_forward=0"],
        undo: &["sysctl net/ipv4/ip_forward=1"],
        kernel: &[],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "19",
        name: "a rule for the source",
        setup: &[
            "ip route add default via 10.0.3.2 table 100",
            "ip rule add from 10.0.1.2 lookup 100",
        ],
        undo: &["ip rule del from 10.0.1.2 lookup 100", "ip route flush table 100"],
        kernel: &[at(Other, 1)],
        plane: Passed("pass_disabled"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a rule that drops",
        needs: &[Need::Nftables],
        setup: &[
            "nft add table ip f",
            "nft add chain ip f forward { type filter hook forward priority 0 ; }",
            "nft add rule ip f forward ip daddr 10.9.0.0/16 counter drop",
        ],
        undo: &["nft delete table ip f"],
        kernel: &[],
        plane: Passed("pass_disabled"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a rule that changes the packet",
        needs: &[Need::Nftables],
        setup: &[
            "nft add table ip f",
            "nft add chain ip f forward { type filter hook forward priority 0 ; }",
            "nft add rule ip f forward ip dscp set 46",
        ],
        undo: &["nft delete table ip f"],
        plane: Passed("pass_disabled"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a chain without rules changes nothing",
        needs: &[Need::Nftables],
        setup: &[
            "nft add table ip f",
            "nft add chain ip f forward { type filter hook forward priority 0 ; }",
        ],
        undo: &["nft delete table ip f"],
        ..UDP
    },
    Case {
        row: "40",
        name: "a chain that translates addresses",
        needs: &[Need::Nat],
        setup: &[
            "nft add table ip f",
            "nft add chain ip f post { type nat hook postrouting priority 100 ; }",
            "nft add rule ip f post oifname right masquerade",
        ],
        undo: &["nft delete table ip f"],
        plane: Passed("pass_disabled"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a rule for local packets that has connections followed",
        needs: &[Need::Nat],
        setup: &[
            "nft add table ip f",
            "nft add chain ip f input { type filter hook input priority 0 ; }",
            "nft add rule ip f input ct state established accept",
        ],
        undo: &["nft delete table ip f"],
        plane: Passed("pass_disabled"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a tc filter on the ingress that drops all",
        needs: &[Need::TcBpf],
        setup: &[
            "tc qdisc add dev left clsact",
            "tc filter add dev left ingress bpf direct-action bytecode '1,6 0 0 2'",
        ],
        undo: &["tc qdisc del dev left clsact"],
        kernel: &[],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a tc hook on the ingress",
        setup: &["tc qdisc add dev left clsact"],
        undo: &["tc qdisc del dev left clsact"],
        plane: Passed("pass_interface"),
        ..UDP
    },
    Case {
        row: "40",
        name: "a queueing discipline on the egress that drops all",
        setup: &["tc qdisc add dev right root tbf rate 8bit burst 20 limit 20"],
        undo: &["tc qdisc del dev right root"],
        kernel: &[],
        plane: Passed("pass_egress"),
        ..UDP
    },
    Case {
        row: "41",
        name: "a policy that blocks",
        needs: &[Need::Xfrm],
        setup: &["ip xfrm policy add dir fwd src 10.0.1.0/24 dst 10.9.0.0/16 action block"],
        undo: &["ip xfrm policy flush"],
        kernel: &[],
        plane: Passed("pass_disabled"),
        ..UDP
    },
    Case {
        row: "44",
        name: "the agent is stopped",
        agent_stopped: true,
        plane: Passed("pass_expired"),
        ..UDP
    },
];

const UDP: Case = Case { frames: || sent(udp()), kernel: &[at(Server, 1)], ..V4 };
