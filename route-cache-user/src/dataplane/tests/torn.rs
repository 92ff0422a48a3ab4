//! A next hop that changes under traffic: every frame gets all of one version, never half of each.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use aya::programs::Xdp;
use route_cache_common::{Config, NextHop, next_hop::NextHopVersion};

use super::{
    super::{Dataplane, possible_cpus},
    bench::{Bench, SMALL, XDP_REDIRECT, forwarder, on_bench, run_on, stay_on},
    frame::Frame,
    model,
};
use crate::fib::{install::Written, plan::Plan};

/// How long it goes on.
const TRAFFIC: Duration = Duration::from_secs(2);

/// Destination and source address, and MTU. Only frames of up to 100 bytes may have the first.
type Version = ([u8; 6], [u8; 6], u32);
const VERSIONS: [Version; 2] = [
    ([2, 0x11, 0x11, 0x11, 0x11, 0x11], [6, 0x11, 0x11, 0x11, 0x11, 0x11], 100),
    ([2, 0xee, 0xee, 0xee, 0xee, 0xee], [6, 0xee, 0xee, 0xee, 0xee, 0xee], 1500),
];

#[test]
fn row_33_a_next_hop_that_changes_under_traffic_is_never_mixed() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let gateway = bench.gateway(0);
        let Bench { plane: Dataplane { ebpf, writer, .. }, config, ingress, .. } = bench;
        let (program, ingress) = (forwarder(ebpf), *ingress);
        let cpus = 0..possible_cpus().expect("Linux tells") as usize;
        let over = AtomicBool::new(false);
        let mut element = NextHop { current: 1, ..NextHop::default() };
        let mut flip = || {
            let (to, from, mtu) = VERSIONS[(element.current & 1) as usize];
            let addresses = NextHopVersion::addresses(to, from);
            element.current += 1;
            element.versions[(element.current & 1) as usize] =
                NextHopVersion { addresses, mtu, ..gateway };
            let (flags, local_filter) = (Config::ACCELERATE4, config.local_filter);
            let plan = Plan { hops: vec![(0, element)], flags, local_filter, ..Plan::default() };
            assert_eq!(writer.install(&plan, config).expect("it is written"), Written::All);
        };
        flip();
        std::thread::scope(|scope| {
            let traffic: Vec<_> = cpus
                .clone()
                .map(|cpu| {
                    let over = &over;
                    scope.spawn(move || {
                        stay_on([cpu]);
                        let seen = send(program, ingress, over);
                        over.store(true, Ordering::Relaxed);
                        seen
                    })
                })
                .collect();
            stay_on(cpus);
            let (begin, mut flips) = (Instant::now(), 0);
            while begin.elapsed() < TRAFFIC && !over.load(Ordering::Relaxed) {
                flip();
                flips += 1;
            }
            over.store(true, Ordering::Relaxed);
            println!("{flips} changes");
            for seen in traffic {
                let seen = seen.join().expect("it counts").unwrap_or_else(|mixed| {
                    panic!("a mixture of two versions: {mixed:02x?}");
                });
                println!("small by one version and the other, large by the other: {seen:?}");
                assert!(seen.iter().all(|count| *count > 100), "both versions in use: {seen:?}");
            }
        });
    });
}

/// Runs frames until it is over. Returns how many left small by the first version, small by the second, large by the
/// second; or the frame that left as none of these.
fn send(program: &Xdp, ingress: u32, over: &AtomicBool) -> Result<[u64; 3], Vec<u8>> {
    let [small, large] = [100, 101].map(|size| Frame::of_size(size).bytes());
    let by = |frame: &[u8], (to, from, _): Version| model::forwarded(frame, to, from);
    let (may_be, passes) = (
        [by(&small, VERSIONS[0]), by(&small, VERSIONS[1]), by(&large, VERSIONS[1])],
        [small, large],
    );
    let mut seen = [0; 3];
    while !over.load(Ordering::Relaxed) {
        for frame in &passes {
            let ran = run_on(program, ingress, frame);
            if ran.action == XDP_REDIRECT {
                match may_be.iter().position(|bytes| *bytes == ran.bytes) {
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
