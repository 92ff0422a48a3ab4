//! What the kernel does to forwarded packets and XDP would bypass: it is obeyed, and the cache goes on when it is gone.

use std::net::Ipv4Addr;

use route_cache_lab::{Ipv4View, RawSocket, link::attach_tcx_drop};

use crate::{
    router::{PATIENCE, Router},
    stream::{Exit, POLLED, numbered},
};

#[test]
fn row_40_a_tc_filter_that_drops_is_obeyed_and_forgotten() {
    let router = Router::forwarding("tc-drop");
    let tc = |argv: &[&str]| router.router.exec(&[&["tc"], argv].concat()).unwrap();
    router
        .during("tc filter add, drop", || {
            tc(&["qdisc", "add", "dev", "left", "clsact"]);
            // A program of one instruction: TC_ACT_SHOT.
            let drop = ["bpf", "direct-action", "bytecode", "1,6 0 0 2"];
            tc(&[&["filter", "add", "dev", "left", "ingress"], &drop[..]].concat());
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_interface_reason("left", "clsact");
    router
        .during("tc qdisc del", || {
            tc(&["qdisc", "del", "dev", "left", "clsact"]);
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_40_a_tcx_program_that_drops_is_obeyed_and_forgotten() {
    let router = Router::forwarding("tcx");
    let Some(known) = attach_tcx_drop(&router.router, "left").unwrap() else {
        eprintln!("not here: this kernel has no tcx");
        return;
    };
    drop(known);
    router.await_forwarding(router.flow());
    let mut program = None;
    router
        .during_flow("tcx, drop", router.flow(), POLLED, || {
            program = attach_tcx_drop(&router.router, "left").unwrap();
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_interface_reason("left", "tcx");
    router.during("tcx detached", || drop(program)).moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_40_a_rule_of_iptables_legacy_is_obeyed() {
    let router = Router::forwarding("legacy");
    let iptables = |arguments: &str| {
        let argv: Vec<_> = ["iptables-legacy"].into_iter().chain(arguments.split(' ')).collect();
        router.router.exec(&argv).unwrap();
    };
    router
        .during_flow("iptables-legacy -A FORWARD", router.flow(), POLLED, || {
            iptables("-A FORWARD -d 10.9.0.0/16 -j DROP");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_reason("iptables-legacy: table `filter`");
    router.await_pass(router.flow(), "pass_disabled");
    // The table stays, and so does the doubt about what is in it.
    router.during("iptables-legacy -F", || iptables("-F")).moves(Exit::Nowhere, Exit::Server);
    router.await_pass(router.flow(), "pass_disabled");
}

#[test]
fn row_40_packets_are_translated_and_forwarded_past_the_kernel_again_when_the_rule_is_gone() {
    let router = Router::forwarding("nat");
    let nft = |command: &str| router.router.exec(&["nft", command]).unwrap();
    let source = || {
        let server = RawSocket::open(&router.server.namespace, router.server.interface).unwrap();
        router.sender().send(&router.frame(router.flow(), 0)).unwrap();
        let is_ours = |frame: &[u8]| numbered(frame).is_some();
        let frames = server.capture(is_ours, 1, PATIENCE).unwrap();
        Ipv4View::of(&frames[0]).unwrap().source()
    };
    assert_eq!(source(), router.client.address);
    nft("add table ip n");
    nft("add chain ip n p { type nat hook postrouting priority 100; }");
    nft("add rule ip n p oifname right masquerade");
    router.await_reason("table `ip n`");
    router.await_pass(router.flow(), "pass_disabled");
    assert_eq!(source(), Ipv4Addr::new(10, 0, 2, 1));
    nft("delete table ip n");
    router.await_forwarding(router.flow());
    assert_eq!(source(), router.client.address);
}

#[test]
fn row_40_connections_that_a_rule_for_local_packets_asks_for_are_followed_by_the_kernel() {
    let router = Router::forwarding("conntrack");
    let nft = |command: &str| router.router.exec(&["nft", command]).unwrap();
    nft("add table ip f");
    nft("add chain ip f in { type filter hook input priority 0; }");
    nft("add rule ip f in counter");
    router.await_forwarding(router.flow());
    nft("add rule ip f in ct state established accept");
    router.await_reason("conntrack follows");
    router.await_pass(router.flow(), "pass_disabled");
    let followed = router.router.read("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    assert_ne!(followed.trim(), "0");
    nft("flush chain ip f in");
    router.await_forwarding(router.flow());
}

#[test]
fn row_36_a_macvlan_device_that_takes_the_frames_of_a_port_gets_them() {
    let router = Router::forwarding("passthru");
    let add = "ip link add link left name mac type macvlan mode passthru";
    let added = router.router.run(&add.split(' ').collect::<Vec<_>>()).unwrap();
    if added.code != 0 {
        eprintln!("not here: this kernel has no macvlan: {}", added.stderr.trim());
        return;
    }
    router.ip("link del mac");
    router.await_forwarding(router.flow());
    router
        .during("ip link add macvlan, passthru", || {
            router.ip(add.trim_start_matches("ip "));
            router.router.sysctl("net/ipv4/conf/mac/forwarding", "0").unwrap();
            router.ip("link set mac up");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_interface_reason("left", "macvlan mac on left");
    router.await_pass(router.flow(), "pass_interface");
    router
        .during("ip link del macvlan", || drop(router.ip("link del mac")))
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());

    // In the other modes it is handed what is sent to its own address.
    router.ip("link add link left name mac type macvlan mode bridge");
    router.await_forwarding(router.flow());
}
