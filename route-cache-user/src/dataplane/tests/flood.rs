//! A million frames that are almost right.

use std::collections::BTreeMap;

use route_cache_common::{
    Action, Config, MacAddresses, NextHopId, Outcome, Port,
    next_hop::{NeighbourKey, NextHopVersion},
};

use super::{
    super::Sizes,
    bench::{Bench, OUT_MAC, SMALL, XDP_PASS, XDP_REDIRECT, on_bench},
    model,
    mutate::{self, Random},
    world::{Gateway, Leads, World},
};
use crate::fib::plan::{Plan, RoutePlan};

const FRAMES: usize = 1_000_000;

/// Guard against partial checksums, look-up of sources: every combination.
const PHASES: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// What stands in front of the routes: clones, clones and flows, nothing.
const TIERS: [u64; 3] = [0, Config::FLOWS, Config::NO_CLONES];

const SOURCES: [[u8; 4]; 8] = [
    [10, 1, 0, 2],
    [10, 1, 0, 2],
    [10, 1, 0, 2],
    [192, 0, 2, 1],
    [10, 2, 7, 9],
    [10, 2, 6, 9],
    [10, 1, 0, 1],
    [127, 0, 0, 1],
];

#[test]
fn a_million_mutated_frames_end_as_the_model_says() {
    for tiers in TIERS {
        mutated_frames_end_as_the_model_says(tiers);
    }
}

fn mutated_frames_end_as_the_model_says(tiers: u64) {
    let sizes = Sizes { clones_per_cpu: 65_536, flows_per_cpu: 65_536, ..SMALL };
    on_bench(sizes, |bench| {
        bench.tiers = tiers;
        let mut random = Random::new();
        let mut world = fill(bench);
        let mut destinations = vec![[10, 2, 0, 2], [172, 16, 0, 1], [11, 0, 0, 1], [239, 0, 0, 1]];
        for net in 0..12 {
            destinations.extend([1, 5, 255].map(|last| [10, 2, net, last]));
        }
        let before = bench.outcomes();
        let mut counts = BTreeMap::<Outcome, (u64, u64)>::new();
        for (guard, check_source) in PHASES {
            (world.guard, world.check_source) = (guard, check_source);
            bench.set_port(if guard { Port::PARTIAL_CHECKSUMS } else { 0 });
            let flag = if check_source { Config::CHECK_SOURCE } else { 0 };
            bench.configure(|config| config.flags = Config::ACCELERATE4 | flag | tiers);
            for _ in 0..FRAMES / PHASES.len() / TIERS.len() {
                let frame = mutate::frame(&mut random, &destinations, &SOURCES);
                let outcome = check(bench, &mut world, &frame);
                let count = counts.entry(outcome).or_default();
                *count = (count.0 + 1, count.1 + frame.len() as u64);
            }
        }
        let by_flow = bench.plane.counters.outcome(Outcome::ForwardedFlow).expect("readable");
        if tiers & Config::FLOWS == 0 {
            assert_eq!(by_flow.packets, 0);
        } else {
            // A flow is stale after a quarter of a second, and this machine has other things to do.
            let may_be = world.of_flows;
            assert!((may_be / 2..=may_be).contains(&by_flow.packets), "{by_flow:?} of {may_be}");
        }
        // Which of the tiers a packet is forwarded by is a matter of time; that it is one of them is not.
        let tiered = |outcome| match outcome {
            Outcome::ForwardedFlow | Outcome::ForwardedClone if tiers & Config::NO_CLONES != 0 => {
                Outcome::ForwardedRoute
            }
            Outcome::ForwardedFlow => Outcome::ForwardedClone,
            other => other,
        };
        let mut wanted_of = BTreeMap::<Outcome, (u64, u64)>::new();
        for (outcome, (packets, bytes)) in counts {
            let sum = wanted_of.entry(tiered(outcome)).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
        let mut counted_of = BTreeMap::<Outcome, (u64, u64)>::new();
        for ((outcome, before), after) in Outcome::ALL.iter().zip(before).zip(bench.outcomes()) {
            let counted = (after.packets - before.packets, after.bytes - before.bytes);
            println!("{:>8} {}", counted.0, outcome.name());
            let sum = counted_of.entry(tiered(*outcome)).or_default();
            *sum = (sum.0 + counted.0, sum.1 + counted.1);
        }
        counted_of.retain(|_, sum| *sum != (0, 0));
        assert_eq!(counted_of, wanted_of, "packets and bytes by outcome");
        // What the tables and the mutations cannot lead to.
        let never = [Outcome::PassInterface, Outcome::PassExpired, Outcome::PassReversePath];
        let ended = |o: &&Outcome| counted_of.contains_key(&tiered(**o));
        let missed: Vec<_> =
            Outcome::ALL.iter().filter(|o| !never.contains(o) && !ended(o)).collect();
        assert_eq!(missed, <[&Outcome; 0]>::default(), "outcomes that no frame ended in");
    });
}

fn check(bench: &Bench, world: &mut World, frame: &[u8]) -> Outcome {
    let ran = bench.run(frame);
    match world.judge(frame) {
        Ok((outcome, gateway)) => {
            assert_eq!(ran.action, XDP_REDIRECT, "{outcome:?} expected for {frame:02x?}");
            let wanted = model::forwarded(frame, gateway.mac, OUT_MAC);
            assert_eq!(ran.bytes, wanted, "{frame:02x?}");
            outcome
        }
        Err(outcome) => {
            assert_eq!(ran.action, XDP_PASS, "{outcome:?} expected for {frame:02x?}");
            assert_eq!(ran.bytes, frame, "a frame that passes is the frame that came");
            outcome
        }
    }
}

/// The same tables for the program and for the model.
fn fill(bench: &mut Bench) -> World {
    let mut world = World { own: vec![[10, 1, 0, 1]], ..World::default() };
    let [word, bit] = {
        let (word, bit) = Config::local_filter_bit([10, 1, 0, 1]);
        [word, bit as usize]
    };
    let mut local_filter = [0; 4];
    local_filter[word] |= 1 << bit;
    let locals_added = world.own.iter().map(|own| (*own).into()).collect();
    bench.write(&Plan { locals_added, local_filter, ..bench.plan() });

    let usable = Gateway { mac: [0; 6], mtu: 1500, against: None };
    let ingress = bench.ingress;
    let with = |reason| Gateway { against: Some(reason), ..usable };
    // Each next hop as the model has it, and what is special about it in the map.
    let mut hop = |index: u32, gateway: Gateway, special: fn(&mut NextHopVersion, u32)| {
        let mac = [2, 0, 0, 0, 7, index as u8];
        let addresses = MacAddresses::new(mac, OUT_MAC);
        let mtu = gateway.mtu as u16;
        let mut version = NextHopVersion { addresses, mtu, ..bench.gateway(index) };
        special(&mut version, ingress);
        bench.set_hop(index, version);
        (NextHopId::new(index, 0), Gateway { mac, ..gateway })
    };
    let ways = [
        ("10.2.0.0/16", hop(0, usable, |_, _| ()), 0),
        ("10.2.3.0/24", hop(1, usable, |_, _| ()), 700),
        ("172.16.0.0/12", hop(2, Gateway { mtu: 200, ..usable }, |_, _| ()), 0),
        (
            "10.2.7.0/24",
            hop(3, with(Outcome::PassNeighbour), |version, _| {
                (version.flags, version.pass) = (0, Outcome::PassNeighbour as u8);
            }),
            0,
        ),
        (
            "10.2.8.0/24",
            hop(4, with(Outcome::PassSameInterface), |version, ingress| {
                version.ifindex = ingress;
            }),
            0,
        ),
        (
            "10.2.9.0/24",
            hop(5, with(Outcome::PassRace), |version, _| version.id = NextHopId::new(5, 1).0),
            0,
        ),
        // An interface that has no entry in the device map.
        (
            "10.2.10.0/24",
            hop(6, with(Outcome::PassEgress), |version, _| {
                (version.ifindex, version.port) = (65_000, 65_000);
            }),
            0,
        ),
    ];
    for (prefix, (id, gateway), mtu) in ways {
        bench.add_route(prefix, Action::Via(id), mtu);
        let net = prefix.parse().expect("a prefix");
        world.routes.push((net, Leads::To(gateway, mtu.into())));
    }
    let (id, host) = ways[0].1;
    let key = NeighbourKey { ifindex: bench.egress, address: [10, 2, 5, 5] };
    let v4 = RoutePlan { neighbours_added: vec![(key, id)], ..RoutePlan::default() };
    bench.write(&Plan { v4, ..bench.plan() });
    let (prefix, hosts) = ("10.2.5.0/24", vec![(key.address, host)]);
    bench.add_route(prefix, Action::OnLink(bench.egress), 0);
    world.routes.push((prefix.parse().expect("a prefix"), Leads::OnLink(hosts)));
    for (prefix, reason) in [
        ("10.2.4.0/24", Outcome::PassRoute),
        ("10.2.6.1/32", Outcome::PassLocal),
        ("10.2.6.0/28", Outcome::PassBroadcast),
    ] {
        bench.add_route(prefix, Action::Pass(reason), 0);
        world.routes.push((prefix.parse().expect("a prefix"), Leads::Pass(reason)));
    }
    world
}
