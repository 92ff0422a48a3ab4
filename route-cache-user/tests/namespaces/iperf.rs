//! TCP and UDP of iperf3 between real hosts. Nothing is lost and no receiver finds a wrong checksum, whether XDP forwards
//! it (checksums that are complete, as from a wire) or the kernel does (row 39a: those that a sender behind a veth leaves
//! to the device, as it does unless told otherwise).

use route_cache_lab::{Checksums, Host, Namespace, Snmp, counters::InterfaceCount, wait_until};
use serde_json::Value;

use crate::{
    ipv6::Router6,
    router::{PATIENCE, Router, grown},
    vlan,
};

/// Modest, so that what is lost is lost by the router and not for want of CPU.
const UDP: &[&str] = &["-u", "-b", "20M", "-t", "1", "-l", "1200"];
const TCP: &[&str] = &["-b", "80M", "-n", "8M"];

/// Payload of a full segment is at most this.
const SEGMENT: u64 = 1460;

/// Complete checksums that look partial: one in 65,536 on average (row 39a), of ten thousand or so.
const UNLUCKY: u64 = 3;

/// Segments of IPv4 that the kernel makes without a socket, an acknowledgement in TIME-WAIT or a reset, have complete
/// checksums whatever the device can do (`ip_send_unicast_reply`): one at the end of each of three connections.
const LAST_WORDS: u64 = 3;

/// The server's addresses.
const ADDRESSES: [&str; 2] = ["10.0.2.2", "2001:db8:2::2"];
/// The same in VLAN 200.
const TAGGED: [&str; 2] = ["10.0.200.2", "2001:db8:200::2"];

/// What may tell of a loss or of a wrong checksum, added up over all ends of the links.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    dropped: u64,
    checksum_errors: u64,
    redirect_errors: Value,
}

impl Damage {
    fn of(router: &Router) -> Self {
        let (client, server) = (&router.client.namespace, &router.server.namespace);
        let ends = [
            (client, "eth0"),
            (&router.router, "left"),
            (&router.router, "right"),
            (server, "eth0"),
        ];
        let dropped = |(namespace, interface): (&Namespace, &str)| {
            let count = InterfaceCount::read(namespace, interface).unwrap();
            count.rx_dropped + count.tx_dropped
        };
        Self {
            dropped: ends.map(dropped).iter().sum(),
            checksum_errors: at_both(router, Snmp::checksum_errors),
            redirect_errors: router.agent.status().unwrap()["redirect_errors"].clone(),
        }
    }
}

/// A counter of both hosts together.
fn at_both(router: &Router, counter: impl Fn(&Snmp) -> u64) -> u64 {
    let hosts = [&router.client.namespace, &router.server.namespace];
    hosts.iter().map(|host| counter(&Snmp::read(host).unwrap())).sum()
}

/// Segments that the hosts sent again because they seemed lost on the way: they were, or others overtook them. Timers that a
/// busy machine lets run out are no loss, and not among these.
fn fast_retransmits(router: &Router) -> u64 {
    at_both(router, |snmp| snmp.get("TcpExt", "TCPFastRetrans"))
}

/// Segments that the hosts were told had arrived twice (RFC 2883): nothing was lost of what was sent again.
fn arrived_twice(router: &Router) -> u64 {
    at_both(router, |snmp| snmp.get("TcpExt", "TCPDSACKRecvSegs"))
}

/// Has both hosts hand over checksums in this state, and sends TCP and UDP from client to server.
#[track_caller]
fn exchange(router: &Router, address: &str, checksums: Checksums) {
    for host in [&router.client, &router.server] {
        host.send_checksums(checksums).unwrap();
    }
    await_forwarded_ping(router, address);
    let before = (router.outcomes(), forwarded_by_kernel(router), Damage::of(router));
    let before_again = (fast_retransmits(router), arrived_twice(router));
    let datagrams = udp(router, address);
    let bytes = tcp(router, address);
    let packets = datagrams + bytes / SEGMENT;
    let counted = grown(&before.0, &router.outcomes());
    let by_kernel = forwarded_by_kernel(router) - before.1;
    let what = format!("{address}, {checksums:?}: {packets} packets or more, {counted:?}");
    let of = |prefix: &str| -> u64 {
        counted.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
    };
    let again = fast_retransmits(router) - before_again.0;
    if again > 0 {
        // A complete checksum that looks partial, one in 65,536, takes the longer way and may be overtaken.
        let overtaken = checksums == Checksums::Complete && of("pass_partial_checksum") > 0;
        assert!(overtaken, "{again} segments sent again; {what}");
        wait_until("all that was sent again to arrive twice", PATIENCE, || {
            arrived_twice(router) - before_again.1 >= again
        })
        .unwrap_or_else(|error| panic!("{error:#}; {again} segments sent again; {what}"));
    }
    assert_eq!(Damage::of(router), before.2, "{what}");
    match checksums {
        Checksums::Complete => {
            assert!(of("forwarded_") >= packets - by_kernel, "{what}");
            assert!(by_kernel <= UNLUCKY, "{what}; the kernel forwarded {by_kernel}");
        }
        Checksums::Partial => {
            assert!(of("pass_partial_checksum") >= packets, "{what}");
            assert!(of("forwarded_") <= LAST_WORDS, "{what}");
        }
    }
}

/// Datagrams that the client sent, none of which was lost on the way.
#[track_caller]
fn udp(router: &Router, address: &str) -> u64 {
    let full = || {
        let snmp = Snmp::read(&router.server.namespace).unwrap();
        snmp.get("Udp", "RcvbufErrors") + snmp.get("Udp6", "RcvbufErrors")
    };
    let before = full();
    let report = run(router, address, UDP);
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap();
    let (sent, lost) = (number("/end/sum/packets"), number("/end/sum/lost_packets"));
    // iperf3 takes a small socket buffer: what did not fit had arrived.
    assert_eq!(lost - lost.min(full() - before), 0, "{address}: {}", report["end"]["sum"]);
    assert!(sent > 1000, "{sent}");
    sent
}

/// Bytes that the client sent. That none was lost is told by [`Damage`]: iperf3 does not wait for the last to arrive.
#[track_caller]
fn tcp(router: &Router, address: &str) -> u64 {
    let report = run(router, address, TCP);
    let sent = report.pointer("/end/sum_sent/bytes").and_then(Value::as_u64).unwrap();
    assert!(sent >= 8 << 20, "{sent}");
    sent
}

/// What iperf3 reports at the client.
fn run(router: &Router, address: &str, arguments: &[&str]) -> Value {
    let mut server =
        router.server.namespace.spawn(&["iperf3", "-s", "-1", "--forceflush"]).unwrap();
    server.wait_for_text("Server listening", PATIENCE).unwrap();
    let argv = [&["iperf3", "-J", "-c", address], arguments].concat();
    let report = router.client.namespace.exec(&argv).unwrap();
    serde_json::from_str(&report).unwrap()
}

/// Packets forwarded by the kernel of the router.
fn forwarded_by_kernel(router: &Router) -> u64 {
    let snmp = Snmp::read(&router.router).unwrap();
    snmp.forwarded() + snmp.get("Ip6", "OutForwDatagrams")
}

/// Waits until echo requests and their answers, whose checksums are always complete, are forwarded by XDP.
#[track_caller]
fn await_forwarded_ping(router: &Router, address: &str) {
    let argv = ["ping", "-q", "-i", "0.002", "-W", "1", "-c", "10", address];
    wait_until(&format!("XDP to forward a ping of {address}"), PATIENCE, || {
        let before = router.forwarded();
        router.client.namespace.run(&argv).unwrap().code == 0 && router.forwarded() == before + 20
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
}

#[test]
fn tcp_and_udp_with_complete_checksums_lose_nothing_past_the_kernel() {
    let router = Router6::start("iperf");
    for address in ADDRESSES {
        exchange(&router, address, Checksums::Complete);
    }
}

#[test]
fn row_39a_tcp_and_udp_at_default_offloads_lose_nothing_through_the_kernel() {
    let router = Router6::start("iperf-offload");
    for address in ADDRESSES {
        exchange(&router, address, Checksums::Partial);
    }
}

#[test]
fn rows_34_and_35_tcp_and_udp_between_vlans_lose_nothing() {
    let Some(place) = vlan::place("iperf-vlan") else { return };
    vlan::show_tags(&place);
    let router = Router6::around(place);
    vlan_host(&router.client, 100, 200);
    vlan_host(&router.server, 200, 100);
    router.ip("address add 2001:db8:100::1/64 dev left.100 nodad");
    router.ip("address add 2001:db8:200::1/64 dev right.200 nodad");
    for checksums in [Checksums::Complete, Checksums::Partial] {
        for address in TAGGED {
            exchange(&router, address, checksums);
        }
    }
}

/// Gives a host its VLAN device, with tags where XDP sees them, and the way to the other VLAN.
fn vlan_host(host: &Host, own: u16, other: u16) {
    let exec = |command: String| {
        let argv: Vec<_> = command.split(' ').collect();
        host.namespace.run(&argv).unwrap()
    };
    let device = format!("eth0.{own}");
    exec("ethtool -K eth0 tx-vlan-hw-insert off".to_owned());
    // The server has it already.
    exec(format!("ip link add link eth0 name {device} type vlan id {own}"));
    for command in [
        format!("ip link set {device} up"),
        format!("ip address add 10.0.{own}.2/24 dev {device}"),
        format!("ip address add 2001:db8:{own}::2/64 dev {device} nodad"),
        format!("ip route add 10.0.{other}.0/24 via 10.0.{own}.1"),
        format!("ip route add 2001:db8:{other}::/64 via 2001:db8:{own}::1"),
    ] {
        let done = exec(command.clone());
        assert_eq!(done.code, 0, "{command}: {}", done.stderr);
    }
}
