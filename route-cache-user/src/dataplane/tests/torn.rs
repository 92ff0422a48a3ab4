//! A next hop that changes under traffic: every frame gets all of one version, never parts of two.
//!
//! There are three versions in turn, because the element holds two: each place must see its content change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use aya::programs::{TestRun as _, TestRunOptions, Xdp, XdpMode};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use route_cache_common::{
    Config, MacAddresses, NextHop, Outcome, next_hop::NextHopVersion, programs,
};

use super::{
    super::{Dataplane, possible_cpus, program},
    bench::{
        Bench, IN_MAC, OUT_MAC, SMALL, XDP_REDIRECT, context, forwarder, on_bench, run_on, stay_on,
    },
    frame::Frame,
    model,
};
use crate::fib::{install::Written, netlink::namespace::index, plan::Plan};

/// How long it goes on.
const TRAFFIC: Duration = Duration::from_secs(2);

/// Destination and source address, and MTU.
const WAYS: [([u8; 6], [u8; 6], u16); 3] = [
    ([2, 0x11, 0x11, 0x11, 0x11, 0x11], [6, 0x11, 0x11, 0x11, 0x11, 0x11], 100),
    ([2, 0xee, 0xee, 0xee, 0xee, 0xee], [6, 0xee, 0xee, 0xee, 0xee, 0xee], 1500),
    ([2, 0x77, 0x77, 0x77, 0x77, 0x77], [6, 0x77, 0x77, 0x77, 0x77, 0x77], 101),
];

#[test]
fn row_33_a_frame_gets_the_addresses_and_the_mtu_of_one_version() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let gateway = bench.gateway(0);
        let versions = WAYS.map(|(to, from, mtu)| NextHopVersion {
            addresses: MacAddresses::new(to, from),
            mtu,
            ..gateway
        });
        let seen = change_under_traffic(bench, versions, send_and_compare);
        for seen in seen {
            let seen = seen.unwrap_or_else(|mixed| panic!("parts of two versions: {mixed:02x?}"));
            println!("small by each version, large by those that may: {seen:?}");
            assert!(seen.iter().all(|count| *count > 100), "every version in use: {seen:?}");
        }
    });
}

/// Runs frames until it is over. Returns how many became each of what they may become, or the frame that became
/// something else.
fn send_and_compare(program: &Xdp, ingress: u32, over: &AtomicBool) -> Result<[u64; 5], Vec<u8>> {
    let [small, large] = [100, 101].map(|size| Frame::of_size(size).bytes());
    let by = |frame: &[u8], way: usize| model::forwarded(frame, WAYS[way].0, WAYS[way].1);
    let may_become = [by(&small, 0), by(&small, 1), by(&small, 2), by(&large, 1), by(&large, 2)];
    let mut seen = [0; 5];
    while !over.load(Ordering::Relaxed) {
        for frame in [&small, &large] {
            let ran = run_on(program, ingress, frame);
            if ran.action == XDP_REDIRECT {
                match may_become.iter().position(|bytes| *bytes == ran.bytes) {
                    Some(which) => seen[which] += 1,
                    None => return Err(ran.bytes),
                }
            } else if ran.bytes != *frame {
                return Err(ran.bytes);
            }
        }
    }
    Ok(seen)
}

/// Many runs for each system call, so that the read meets the write much more often. Only the counters can tell then:
/// the three versions end in three outcomes, and the end of the first with the beginning of another in a fourth.
#[test]
fn row_33_a_next_hop_that_is_read_millions_of_times_is_never_mixed() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let first =
            NextHopVersion { addresses: MacAddresses::new(IN_MAC, OUT_MAC), ..bench.gateway(0) };
        let passing = |reason: Outcome, ifindex| {
            let addresses = MacAddresses::default();
            NextHopVersion { ifindex, mtu: 60, flags: 0, pass: reason as u8, addresses, ..first }
        };
        let versions = [
            first,
            passing(Outcome::PassBroadcast, bench.ingress),
            passing(Outcome::PassMulticast, 65_000),
        ];
        // The kernel patches its code at each such call, unless the program is attached somewhere.
        let forwarder = program(&mut bench.plane.ebpf, programs::FORWARD).expect("it is there");
        forwarder.attach_to_if_index(index("in-far"), XdpMode::Driver).expect("it attaches");
        change_under_traffic(bench, versions, send_in_bulk);
        let may_be = [
            Outcome::ForwardedRoute,
            Outcome::ForwardedClone,
            Outcome::PassBroadcast,
            Outcome::PassMulticast,
            Outcome::PassRace,
        ];
        for (outcome, count) in Outcome::ALL.iter().zip(bench.outcomes()) {
            if may_be.contains(outcome) {
                println!("{:>9} {}", count.packets, outcome.name());
            } else {
                assert_eq!(count.packets, 0, "parts of two versions: {outcome:?}");
            }
        }
    });
}

fn send_in_bulk(program: &Xdp, ingress: u32, over: &AtomicBool) {
    // The frame goes on as it came out, addressed to the router again and with one hop less.
    const RUNS: u8 = 250;
    let frame = Frame { ttl: RUNS + 2, ..Frame::of_size(100) }.bytes();
    while !over.load(Ordering::Relaxed) {
        let context = context(ingress, frame.len());
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: RUNS.into(),
            ..TestRunOptions::default()
        };
        program.test_run(options).expect("the kernel runs the program");
    }
}

/// Makes the versions current in turn, as fast as the agent's writer can, while `traffic` runs on every CPU.
fn change_under_traffic<T: Send>(
    bench: &mut Bench,
    versions: [NextHopVersion; 3],
    traffic: impl Fn(&Xdp, u32, &AtomicBool) -> T + Sync,
) -> Vec<T> {
    let Bench { plane: Dataplane { ebpf, writer, .. }, config, ingress, .. } = bench;
    let (program, ingress, traffic) = (forwarder(ebpf), *ingress, &traffic);
    let mut element = NextHop { current: 1, ..NextHop::default() };
    let mut change = || {
        element.current += 1;
        element.versions[(element.current % 2) as usize] = versions[(element.current % 3) as usize];
        let (flags, local_filter) = (Config::ACCELERATE4, config.local_filter);
        let plan = Plan { hops: vec![(0, element)], flags, local_filter, ..Plan::default() };
        assert_eq!(
            writer.install(&plan, Written::BOTH, config).expect("it is written").v4,
            Written::All
        );
    };
    change();
    let cpus = 0..possible_cpus().expect("Linux tells") as usize;
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = cpus.clone().map(|cpu| {
            scope.spawn(move || {
                stay_on([cpu]);
                interrupt(cpu, over, scope);
                let seen = traffic(program, ingress, over);
                over.store(true, Ordering::Relaxed);
                seen
            })
        });
        let running: Vec<_> = running.collect();
        stay_on(cpus);
        let (begin, mut changes) = (Instant::now(), 0);
        while begin.elapsed() < TRAFFIC && !over.load(Ordering::Relaxed) {
            change();
            changes += 1;
        }
        over.store(true, Ordering::Relaxed);
        println!("{changes} changes");
        running.into_iter().map(|thread| thread.join().expect("it runs")).collect()
    })
}

/// Has a timer interrupt a CPU all the time, so that the program is held up between any two of its instructions.
fn interrupt<'scope>(
    cpu: usize,
    over: &'scope AtomicBool,
    scope: &'scope std::thread::Scope<'scope, '_>,
) {
    const OFTEN: i64 = 50_000;
    scope.spawn(move || {
        stay_on([cpu]);
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty()).expect("it opens");
        let every = Expiration::Interval(TimeSpec::new(0, OFTEN));
        timer.set(every, TimerSetTimeFlags::empty()).expect("it is set");
        while !over.load(Ordering::Relaxed) {
            timer.wait().expect("it fires");
        }
    });
}
