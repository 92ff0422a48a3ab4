//! Packets arrive, past the kernel, and their bytes are those of the kernel.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use route_cache_lab::{Frame, Host, Ipv4View, RawSocket, Snmp, wait_until};

use crate::{
    router::{BEYOND, PATIENCE, Place, Router, grown},
    stream::Exit,
};

/// Long enough for a frame that will not come.
const SILENCE: Duration = Duration::from_millis(100);

#[test]
fn the_kernel_forwards_nothing_and_the_counts_are_what_was_sent() {
    let router = Router::forwarding("counts");
    let (before, snmp) = (router.outcomes(), Snmp::read(&router.router).unwrap());
    let account = router.during("nothing", || ());
    account.stays(Exit::Server);
    let counted = grown(&before, &router.outcomes());
    let by = |name: &str| counted.get(name).copied().unwrap_or_default();
    let hits = by("forwarded_flow") + by("forwarded_clone");
    assert_eq!(hits + by("forwarded_route"), account.sent(), "{counted:?}");
    // One per CPU that had no clone yet.
    let cpus = thread::available_parallelism().unwrap().get() as u64;
    assert!(by("forwarded_route") <= cpus, "{counted:?}");
    assert_eq!(Snmp::read(&router.router).unwrap().forwarded(), snmp.forwarded());
}

#[test]
fn ping_loses_nothing_and_the_kernel_sees_none_of_it() {
    let router = Router::start("ping");
    router.resolve_neighbours().unwrap();
    let (before, snmp) = (router.forwarded(), Snmp::read(&router.router).unwrap());
    let client = &router.client.namespace;
    let ping = client.exec(&["ping", "-q", "-i", "0.002", "-c", "300", "10.0.2.2"]).unwrap();
    assert!(ping.contains("300 received, 0% packet loss"), "{ping}");
    assert_eq!(Snmp::read(&router.router).unwrap().forwarded(), snmp.forwarded());
    assert_eq!(router.forwarded() - before, 600);
}

#[test]
fn tcp_of_real_sockets_arrives_whole_and_the_kernel_sees_none_of_it() {
    let router = Router::start("tcp");
    router.resolve_neighbours().unwrap();
    let (before, snmp) = (router.forwarded(), Snmp::read(&router.router).unwrap());
    let (client, server) = (&router.client.namespace, &router.server.namespace);
    let listener = server.run_in(|| TcpListener::bind("10.0.2.2:4001")).unwrap().unwrap();
    let bytes: Vec<u8> = (0_u32..1 << 20).flat_map(u32::to_be_bytes).collect();
    let mut received = Vec::new();
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut stream, _) = listener.accept()?;
            stream.read_to_end(&mut received)
        });
        let mut stream = client.run_in(|| TcpStream::connect("10.0.2.2:4001")).unwrap().unwrap();
        stream.write_all(&bytes).unwrap();
        drop(stream);
        reading.join().unwrap().unwrap();
    });
    assert!(received == bytes, "{} of {} bytes arrived, or others", received.len(), bytes.len());
    let kernel = Snmp::read(&router.router).unwrap().forwarded() - snmp.forwarded();
    let cache = router.forwarded() - before;
    assert_eq!(Snmp::read(server).unwrap().checksum_errors(), 0);
    // A complete checksum looks partial once in 65,536 (row 39a): such a segment is the kernel's.
    assert!(kernel <= 3 && cache > 2000, "the kernel forwarded {kernel}, XDP {cache}");
}

/// The frames that are forwarded: each with a name, and all with a destination that answers nothing.
fn forwardable(place: &Place) -> Vec<(&'static str, Vec<u8>)> {
    let (from, to) = ((place.client.address, 4000), (BEYOND, 4001));
    let udp = || Frame::udp(from, to, b"an odd number of bytes.");
    let tcp = |payload: &[u8]| Frame::tcp(from, to, 7, payload);
    let icmp = || Frame::ping(from.0, to.0, 9, b"0123456789");
    let large = vec![0x5a; 1472];
    let frames = [
        ("UDP", udp()),
        ("UDP without checksum", udp().transport_checksum(0)),
        ("UDP of the largest size", Frame::udp(from, to, &large)),
        ("UDP that is padded", Frame::udp(from, to, b"1").pad_to(60)),
        ("TCP", tcp(b"segment")),
        ("TCP acknowledgement, padded", tcp(b"").pad_to(60)),
        ("ICMP", icmp()),
        ("a first fragment", udp().fragment(0, true)),
        ("a fragment in the middle", Frame::ipv4(from.0, to.0, 17, &[0; 64]).fragment(8, true)),
        ("a last fragment", Frame::ipv4(from.0, to.0, 17, &[1; 9]).fragment(16, false)),
        ("fragmentation allowed", udp().flags_and_offset(0)),
        ("DSCP EF", udp().tos(0xb8)),
        ("ECN CE", tcp(b"x").tos(0x03)),
        ("DSCP CS6 and ECT(1)", icmp().tos(0xc1)),
        ("TTL 2", udp().ttl(2)),
        ("TTL 255", udp().ttl(255)),
        // 0x0100 is taken off the sum: fields in which the carry wraps.
        ("TTL 128", udp().ttl(128).id(0)),
        ("identification 0xffff", udp().id(0xffff)),
    ];
    frames.map(|(name, frame)| (name, frame.sent_by(&place.client).build())).to_vec()
}

/// The frames that the kernel answers or drops.
fn left_to_the_kernel(place: &Place) -> Vec<(&'static str, Vec<u8>)> {
    let (from, to) = ((place.client.address, 4000), (BEYOND, 4001));
    let udp = || Frame::udp(from, to, b"payload");
    let large = vec![0x5a; 1400];
    let protocol = |number| Frame::ipv4(from.0, to.0, number, &[7; 40]);
    let frames = [
        ("row 7: TTL 1", udp().ttl(1)),
        ("row 7: TTL 0", udp().ttl(0)),
        ("row 8: too big, DF", Frame::udp(from, (BEYOND_SMALL, 4001), &large)),
        ("row 9: too big, fragmented", {
            Frame::udp(from, (BEYOND_SMALL, 4001), &large).flags_and_offset(0)
        }),
        ("row 23: unreachable", Frame::udp(from, (UNREACHABLE, 4001), b"payload")),
        ("row 23: prohibited", Frame::udp(from, (PROHIBITED, 4001), b"payload")),
        ("no route", Frame::udp(from, (NO_ROUTE, 4001), b"payload")),
        ("row 6: options", udp().options(&[1, 1, 1, 0])),
        ("row 4: a wrong checksum", udp().header_checksum(0x1234)),
        ("row 3: version 5", udp().version(5)),
        ("row 3: a header too short", udp().header_words(4)),
        ("row 5: longer than the frame", udp().total_length(200)),
        ("row 12: a source of 127/8", Frame::udp(([127, 0, 0, 1].into(), 1), to, b"x")),
        ("row 12: a multicast source", Frame::udp(([224, 0, 0, 1].into(), 1), to, b"x")),
        ("row 12: our own source", Frame::udp((place.client.gateway, 1), to, b"x")),
        ("row 13: to 127/8", Frame::udp(from, ([127, 9, 9, 9].into(), 1), b"x")),
        ("row 14: a directed broadcast", Frame::udp(from, ([10, 0, 2, 255].into(), 1), b"x")),
        ("row 15: multicast", Frame::udp(from, ([239, 1, 2, 3].into(), 1), b"x")),
        ("row 16: local", Frame::ping(from.0, place.server.gateway, 1, b"x")),
        ("a partial checksum", udp().partial_checksum()),
        ("GRE", protocol(47)),
        ("SCTP", protocol(132)),
    ];
    let strange = [
        ("row 1: somebody else's address", udp().macs(place.client.mac, [2, 9, 9, 9, 9, 9])),
        ("row 2: a broadcast address", udp().macs(place.client.mac, [0xff; 6])),
        ("row 2: a multicast address", udp().macs(place.client.mac, [1, 0, 0x5e, 0, 0, 1])),
        ("row 45: IPv6's EtherType", {
            udp().macs(place.client.mac, place.client.gateway_mac).ethertype(0x86dd)
        }),
        ("row 34: a VLAN tag", udp().macs(place.client.mac, place.client.gateway_mac).vlan(7)),
    ];
    let frames = frames.map(|(name, frame)| (name, frame.sent_by(&place.client)));
    frames.into_iter().chain(strange).map(|(name, frame)| (name, frame.build())).collect()
}

/// By a route with an MTU of 1000.
const BEYOND_SMALL: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
const UNREACHABLE: Ipv4Addr = Ipv4Addr::new(10, 11, 0, 1);
const PROHIBITED: Ipv4Addr = Ipv4Addr::new(10, 12, 0, 1);
const NO_ROUTE: Ipv4Addr = Ipv4Addr::new(10, 13, 0, 1);

fn place_with_routes(label: &str) -> Place {
    let place = Place::new(label);
    place.ip("route add 10.10.0.0/16 via 10.0.2.2 mtu lock 1000");
    place.ip("route add unreachable 10.11.0.0/16");
    place.ip("route add prohibit 10.12.0.0/16");
    place
}

/// Sends each frame and captures what comes of it: at the server, at the other host, and back at the client.
fn outcome_of(place: &Place, frames: &[(&'static str, Vec<u8>)], patience: Duration) -> Vec<Seen> {
    let open = |host: &Host| RawSocket::open(&host.namespace, "eth0").unwrap();
    let (client, server, other) = (open(&place.client), open(&place.server), open(&place.other));
    frames
        .iter()
        .map(|(name, frame)| {
            for socket in [&client, &server, &other] {
                socket.drain().unwrap();
            }
            client.send(frame).unwrap();
            let first = server.capture(is_ipv4, 1, patience).unwrap();
            let rest = |socket: &RawSocket| {
                socket.capture(is_ipv4, usize::MAX, Duration::from_millis(2)).unwrap()
            };
            let at_server = [first, rest(&server)].concat();
            let back = rest(&client).iter().map(|frame| without_identity(frame)).collect();
            Seen { name, at_server, at_other: rest(&other), back }
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: &'static str,
    at_server: Vec<Vec<u8>>,
    at_other: Vec<Vec<u8>>,
    back: Vec<Vec<u8>>,
}

fn is_ipv4(frame: &[u8]) -> bool {
    // The hosts' own ARP goes its own ways.
    frame.get(12..14) == Some(&[8, 0])
}

/// The kernel numbers what it sends itself: identification and header checksum differ each time.
fn without_identity(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for byte in [18, 19, 24, 25] {
        if let Some(byte) = frame.get_mut(byte) {
            *byte = 0;
        }
    }
    frame
}

#[test]
fn forwarded_bytes_are_those_of_the_kernel() {
    let place = place_with_routes("bytes");
    let frames = forwardable(&place);
    let kernel = outcome_of(&place, &frames, PATIENCE);
    for seen in &kernel {
        assert_eq!(seen.at_server.len(), 1, "{}", seen.name);
    }
    let router = Router::with(place, &[]);
    router.await_forwarding(router.flow());
    let (before, snmp) = (router.outcomes(), Snmp::read(&router.router).unwrap());
    for round in ["first", "second"] {
        let cache = outcome_of(&router, &frames, PATIENCE);
        for (cache, kernel) in cache.iter().zip(&kernel) {
            assert_eq!(cache, kernel, "{round} round");
        }
    }
    let counted = grown(&before, &router.outcomes());
    let forwarded: u64 =
        counted.iter().filter(|(name, _)| name.starts_with("forwarded")).map(|(_, n)| n).sum();
    assert_eq!(forwarded, 2 * frames.len() as u64, "{counted:?}");
    assert_eq!(Snmp::read(&router.router).unwrap().forwarded(), snmp.forwarded());
}

#[test]
fn what_the_kernel_answers_or_drops_it_answers_or_drops_likewise() {
    let place = place_with_routes("answers");
    let frames = left_to_the_kernel(&place);
    let kernel = outcome_of(&place, &frames, SILENCE);
    let of = |name: &str| kernel.iter().find(|seen| seen.name.starts_with(name)).unwrap();
    for name in ["row 7: TTL 1", "row 8", "row 23: unreachable", "row 23: prohibited", "row 16"] {
        let is_icmp = |frame: &Vec<u8>| Ipv4View::of(frame).is_some_and(|v| v.protocol() == 1);
        assert!(of(name).back.iter().any(is_icmp), "{:?}", of(name));
    }
    assert_eq!(of("row 9").at_server.len(), 2);
    let router = Router::with(place, &[]);
    router.await_forwarding(router.flow());
    let before = router.forwarded();
    for round in ["first", "second"] {
        let cache = outcome_of(&router, &frames, SILENCE);
        for (cache, kernel) in cache.iter().zip(&kernel) {
            assert_eq!(cache, kernel, "{round} round");
        }
    }
    assert_eq!(router.forwarded(), before);
}

#[test]
fn row_10_mtus_are_followed() {
    let router = Router::forwarding("mtu");
    let flow = router.flow();
    let datagram = |size: usize| {
        Frame::udp((flow.source, 1), (flow.destination, 1), &vec![1; size - 28])
            .sent_by(&router.client)
            .build()
    };
    let ends = |size: usize, outcome: &str| {
        let what = format!("{size} bytes to end in {outcome}");
        let sender = router.sender();
        wait_until(&what, PATIENCE, || {
            let before = router.outcomes();
            for _ in 0..5 {
                sender.send(&datagram(size)).unwrap();
            }
            let counted = grown(&before, &router.outcomes());
            counted
                .iter()
                .filter(|(name, _)| name.starts_with(outcome))
                .map(|(_, n)| n)
                .sum::<u64>()
                >= 5
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    };
    let back = RawSocket::open(&router.client.namespace, "eth0").unwrap();
    let told_mtu = |size: usize| {
        back.drain().unwrap();
        router.sender().send(&datagram(size)).unwrap();
        let is_too_big = |frame: &[u8]| {
            Ipv4View::of(frame).is_some_and(|v| v.protocol() == 1 && v.transport()[..2] == [3, 4])
        };
        let frames = back.capture(is_too_big, 1, PATIENCE).unwrap();
        let transport = Ipv4View::of(&frames[0]).unwrap().transport();
        u16::from_be_bytes([transport[6], transport[7]])
    };
    ends(1500, "forwarded");

    router.ip("route change 10.9.0.0/16 via 10.0.2.2 mtu 1000");
    ends(1001, "pass_mtu");
    assert_eq!(told_mtu(1001), 1000);
    ends(1000, "forwarded");
    router.ip("route change 10.9.0.0/16 via 10.0.2.2");
    ends(1500, "forwarded");

    router.ip("link set right mtu 1300");
    ends(1301, "pass_mtu");
    assert_eq!(told_mtu(1301), 1300);
    ends(1300, "forwarded");
    router.ip("link set right mtu 1500");
    ends(1500, "forwarded");
}
