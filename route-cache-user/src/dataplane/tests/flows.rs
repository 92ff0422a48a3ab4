//! The memo in front of the clones: what it spares, what it must not spare, and who gets a place in it.
//!
//! A flow is believed for a quarter of a second. A test that takes longer, because the machine has other things to do,
//! says nothing and is tried again with another destination.

use std::time::{Duration, Instant};

use route_cache_common::{Action, ClonedRoute, Config, NextHopId, Outcome, Port};

use super::{
    super::Sizes,
    bench::{Bench, SMALL, on_bench},
    frame::Frame,
    mirror::{Mirror, on_mirror},
};

use Outcome::{ForwardedClone as Cloned, ForwardedFlow as Flow, ForwardedRoute as Route};

/// Jiffies in which a flow is believed for sure.
const BELIEVED: u64 = 40;

/// Runs an attempt until one is quick enough; the attempts have numbers. What it returns must be what is wanted.
#[track_caller]
fn quickly(
    bench: &mut Bench,
    wanted: &[Outcome],
    mut attempt: impl FnMut(&mut Bench, u8) -> Vec<Outcome>,
) {
    for number in 1..=50 {
        let began = bench.jiffies();
        let got = attempt(bench, number);
        if bench.jiffies() - began < BELIEVED {
            assert_eq!(got, wanted);
            return;
        }
    }
    panic!("this machine is too slow for this test");
}

fn send(bench: &Bench, destination: [u8; 4], times: usize) -> Vec<Outcome> {
    (0..times).map(|_| bench.send(&Frame::to(destination)).0).collect()
}

fn with_flows(sizes: Sizes, test: impl FnOnce(&mut Bench) + Send) {
    on_bench(sizes, |bench| {
        bench.tiers = Config::FLOWS;
        bench.add_default_route();
        test(bench);
    });
}

fn clone_of(bench: &Bench, destination: [u8; 4]) -> (u32, ClonedRoute) {
    let mut tables = bench.plane.clones.v4.iter();
    let found = tables.find_map(|table| {
        table.get(destination).expect("readable").map(|clone| (table.cpu, clone))
    });
    found.expect("it has a clone")
}

fn delete_clone(bench: &Bench, destination: [u8; 4]) {
    for table in &bench.plane.clones.v4 {
        let _removed = table.delete(&[destination]).expect("deletable");
    }
}

/// Packets of a clone: as it stands in the table, and with those of its flow.
fn packets(bench: &Bench, destination: [u8; 4]) -> (u64, u64) {
    let (cpu, clone) = clone_of(bench, destination);
    let untold = bench.plane.flows.untold::<route_cache_common::V4>(cpu).expect("readable");
    let told = untold.told(destination, clone, bench.plane.clock.now());
    assert_eq!(told.bytes, told.packets * Frame::to(destination).len() as u64);
    (clone.packets, told.packets)
}

#[test]
fn a_flow_forwards_without_its_clone_until_it_is_stale() {
    with_flows(SMALL, |bench| {
        quickly(bench, &[Route, Cloned, Flow, Flow, Flow], |bench, n| {
            let mut got = send(bench, [10, 2, n, 2], 4);
            delete_clone(bench, [10, 2, n, 2]);
            got.extend(send(bench, [10, 2, n, 2], 1));
            got
        });
        // The same packet may leave as itself only.
        let frame = Frame::to([10, 2, 0, 2]);
        let until = Instant::now() + Duration::from_secs(10);
        let mut how = bench.send(&frame).0;
        assert_eq!(how, Route);
        while how != Flow {
            how = bench.send(&frame).0;
        }
        bench.forwards(&frame, how);
        delete_clone(bench, [10, 2, 0, 2]);
        while how == Flow {
            assert!(Instant::now() < until, "a flow is believed for ever");
            how = bench.send(&frame).0;
        }
        assert_eq!(how, Route, "its clone is gone");
    });
}

#[test]
fn while_flows_are_off_there_are_none() {
    for sizes in [SMALL, Sizes { flows_per_cpu: 0, ..SMALL }] {
        with_flows(sizes, |bench| {
            if sizes.flows_per_cpu > 0 {
                bench.configure(|config| config.flags &= !Config::FLOWS);
            }
            assert_eq!(send(bench, [10, 2, 0, 2], 5), [Route, Cloned, Cloned, Cloned, Cloned]);
        });
    }
}

#[test]
fn s6_a_new_epoch_voids_every_flow_at_once() {
    with_flows(SMALL, |bench| {
        quickly(bench, &[Route, Cloned, Flow, Cloned, Flow], |bench, n| {
            let mut got = send(bench, [10, 2, n, 2], 3);
            bench.configure(|config| config.flow_epoch += 1);
            got.extend(send(bench, [10, 2, n, 2], 2));
            got
        });
    });
}

#[test]
fn a_flow_whose_next_hop_has_another_id_is_void_at_once() {
    with_flows(SMALL, |bench| {
        quickly(bench, &[Route, Cloned, Flow, Outcome::PassRace], |bench, n| {
            let gateway = bench.gateway(0);
            bench.set_hop(0, gateway);
            let mut got = send(bench, [10, 2, n, 2], 3);
            let id = NextHopId::new(0, 1).0;
            bench.set_hop(0, super::bench::version_with_id(gateway, id));
            got.extend(send(bench, [10, 2, n, 2], 1));
            got
        });
    });
}

#[test]
fn row_32_a_flow_whose_next_hop_is_not_usable_passes() {
    with_flows(SMALL, |bench| {
        quickly(bench, &[Route, Cloned, Flow, Outcome::PassNeighbour, Flow], |bench, n| {
            let gateway = bench.gateway(0);
            let mut got = send(bench, [10, 2, n, 2], 3);
            let mut unusable = gateway;
            (unusable.flags, unusable.pass) = (0, Outcome::PassNeighbour as u8);
            bench.set_hop(0, unusable);
            got.extend(send(bench, [10, 2, n, 2], 1));
            bench.set_hop(0, gateway);
            got.extend(send(bench, [10, 2, n, 2], 1));
            got
        });
    });
}

#[test]
fn every_packet_of_a_flow_is_looked_at() {
    use Outcome::*;
    let udp = Frame::udp;
    let odd = [
        (PassTtl, Frame { ttl: 1, ..udp() }),
        (PassChecksum, Frame { checksum: Some(0x1234), ..udp() }),
        (PassOptions, Frame { version_ihl: 0x46, ..udp() }),
        (PassOtherHost, Frame { to: [2, 9, 9, 9, 9, 9], ..udp() }),
        (PassMtu, Frame { protocol: 1, ..Frame::of_size(1501) }),
        (PassMartianSource, Frame { source: [127, 0, 0, 1], ..udp() }),
        (PassMalformed, Frame { total_len: Some(1400), ..udp() }),
        (PassPartialChecksum, Frame::of(47, vec![0; 20])),
        (ForwardedFlow, Frame { padding: vec![0; 17], ..udp() }),
    ];
    let to = |destination, frame: &Frame| Frame { destination, ..frame.clone() }.bytes();
    with_flows(SMALL, |bench| {
        bench.set_port(Port::PARTIAL_CHECKSUMS);
        let mut wanted = vec![Route, Cloned, Flow];
        wanted.extend(odd.iter().map(|(outcome, _)| *outcome));
        wanted.push(PassSameInterface);
        quickly(bench, &wanted, |bench, n| {
            let dst = [10, 2, n, 2];
            let gateway = bench.gateway(0);
            let whole = to(dst, &udp());
            let mut got: Vec<_> = (0..3).map(|_| bench.send(&whole).0).collect();
            got.extend(odd.iter().map(|(_, frame)| bench.send(&to(dst, frame)).0));
            let mut back = gateway;
            back.ifindex = bench.ingress;
            bench.set_hop(0, back);
            got.push(bench.send(&whole).0);
            bench.set_hop(0, gateway);
            got
        });
    });
}

#[test]
fn row_17_the_memo_of_one_source_serves_no_other() {
    with_flows(SMALL, |bench| {
        bench.add_route("10.1.0.0/16", Action::OnLink(bench.ingress), 0);
        bench.set_port(Port::REVERSE_STRICT);
        let from = |source, dst| Frame { source, destination: dst, ..Frame::udp() }.bytes();
        let spoofed = Outcome::PassReversePath;
        quickly(bench, &[Route, Cloned, Flow, spoofed, spoofed, Cloned, Flow, Flow], |bench, n| {
            let sources = [[10, 1, 0, 2]; 3].into_iter().chain([
                [10, 3, 0, 1],
                [10, 2, 0, 7],
                [10, 1, 0, 3],
                [10, 1, 0, 3],
                [10, 1, 0, 2],
            ]);
            sources.map(|source| bench.send(&from(source, [10, 2, n, 2])).0).collect()
        });
        // What was noted down while nobody asked serves nobody who asks.
        quickly(bench, &[Route, Cloned, Flow, spoofed], |bench, n| {
            bench.set_port(0);
            let frame = from([10, 3, 0, 1], [10, 2, n, 3]);
            let mut got: Vec<_> = (0..3).map(|_| bench.send(&frame).0).collect();
            bench.set_port(Port::REVERSE_STRICT);
            got.push(bench.send(&frame).0);
            got
        });
    });
}

#[test]
fn newcomers_do_not_push_out_flows_in_use() {
    // One set of two places.
    with_flows(Sizes { flows_per_cpu: 2, ..SMALL }, |bench| {
        let wanted = [
            Route, Cloned, Flow, Route, Cloned, Flow, Route, Cloned, Flow, Flow, Cloned, Flow, Flow,
        ];
        let rest = [Cloned, Cloned, Flow, Cloned];
        quickly(bench, &[&wanted[..], &rest].concat(), |bench, n| {
            let host = |last| [10, 2, n, last];
            // A quiet moment: what was there before is dead.
            bench.configure(|config| config.flow_epoch += 1);
            let (a, b, c) = (host(1), host(2), host(3));
            let mut got = send(bench, a, 3);
            got.extend(send(bench, b, 3));
            got.extend(send(bench, c, 2));
            for to in [a, b, c, a, b] {
                got.extend(send(bench, to, 1));
            }
            // Not used again, the first one gives its place: the first try spares both, the second takes it.
            for to in [c, c, c, b] {
                got.extend(send(bench, to, 1));
            }
            got
        });
    });
}

#[test]
fn a_clone_is_told_of_the_packets_of_its_flow_when_that_leaves() {
    with_flows(Sizes { flows_per_cpu: 2, ..SMALL }, |bench| {
        let hosts = |n| [1, 2, 3].map(|last| [10, 2, n, last]);
        let mut number = 0;
        let mut wanted = vec![Route, Cloned];
        wanted.extend([Flow; 5]);
        wanted.extend([Route, Cloned, Flow, Route, Cloned, Cloned, Flow]);
        quickly(bench, &wanted, |bench, n| {
            number = n;
            bench.configure(|config| config.flow_epoch += 1);
            let [a, b, c] = hosts(n);
            let mut got = send(bench, a, 7);
            assert_eq!(packets(bench, a).1, 7);
            got.extend(send(bench, b, 3));
            got.extend(send(bench, c, 4));
            got
        });
        let [a, b, c] = hosts(number);
        assert_eq!(packets(bench, a), (2, 7));
        assert_eq!(packets(bench, b), (3, 3), "its flow gave its place to the third");
        assert_eq!(packets(bench, c), (3, 4));
        // Whoever has them is told in the end: each packet once.
        let total = packets(bench, a).1 + packets(bench, b).1 + packets(bench, c).1;
        assert_eq!(total, 14);
    });
}

#[test]
fn a_new_clone_begins_at_one() {
    with_flows(SMALL, |bench| {
        let dst = [10, 2, 0, 2];
        while send(bench, dst, 1) != [Flow] {}
        let began = bench.jiffies();
        delete_clone(bench, dst);
        // The flow must be older than the clone by more than a unit of its stamp.
        while bench.jiffies() - began < 3 * route_cache_common::Flow::STAMP_JIFFIES {
            std::hint::spin_loop();
        }
        bench.configure(|config| config.flow_epoch += 1);
        assert_eq!(send(bench, dst, 1), [Route]);
        assert_eq!(packets(bench, dst), (1, 1));
        assert_eq!(send(bench, dst, 1), [Cloned]);
        assert_eq!(packets(bench, dst).1, 2);
    });
}

#[test]
fn s3_every_change_of_the_tables_voids_the_flows_it_touches() {
    on_mirror(|mirror| {
        mirror.bench.tiers = Config::FLOWS;
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        let warm = |mirror: &Mirror<'_>, to: [u8; 4]| while send(mirror.bench, to, 1) != [Flow] {};
        let (routed, on_link) = ([10, 2, 3, 2], [10, 0, 2, 3]);
        warm(mirror, routed);
        mirror.replace_route("10.2.0.0/16", Some([10, 0, 2, 3]));
        mirror.forwards(routed, [10, 0, 2, 3], Route);
        warm(mirror, routed);
        mirror.route("10.2.3.0/24", Some([10, 0, 2, 2]));
        mirror.forwards(routed, [10, 0, 2, 2], Route);
        warm(mirror, routed);
        mirror.blackhole("10.2.3.2/32");
        mirror.bench.passes(&Frame::to(routed), Outcome::PassRoute);
        // The destination is its own next hop: it is forgotten, and comes back with another address.
        warm(mirror, on_link);
        mirror.neighbour_gone(on_link);
        mirror.bench.passes(&Frame::to(on_link), Outcome::PassNeighbour);
        mirror.neighbour(on_link, [2, 0, 0, 9, 9, 9]);
        let (_, bytes) = mirror.bench.send(&Frame::to(on_link));
        assert_eq!(bytes[..6], [2, 0, 0, 9, 9, 9]);
        warm(mirror, on_link);
        mirror.neighbour(on_link, [2, 0, 0, 8, 8, 8]);
        let (_, bytes) = mirror.bench.send(&Frame::to(on_link));
        assert_eq!(bytes[..6], [2, 0, 0, 8, 8, 8], "one write, and the flow goes there");
        warm(mirror, on_link);
        mirror.local_address(on_link);
        mirror.bench.passes(&Frame::to(on_link), Outcome::PassLocal);
    });
}
