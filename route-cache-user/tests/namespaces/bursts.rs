//! Many changes of routes in a row, while traffic runs: nothing the kernel said is lost, or its loss is noticed and all passes
//! until the tables are read anew.

use std::{
    env,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::{Host, RawSocket, Usage, Watch, wait_until};

use crate::{
    change_latency::{Contender, FEW, OTHER, SERVER, Summary},
    router::{Flow, Router},
    rtnetlink::Rtnetlink,
    stream::{Exit, arrivals},
};

/// Prefixes of the burst; each is added and then replaced.
const PREFIXES: u32 = 200_000;

/// A resync takes no longer than this.
const RESYNC: Duration = Duration::from_secs(2);

/// An agent that vouches for its tables has taken in what the kernel said before this.
const PROMISE: Duration = Duration::from_secs(5);

/// Seconds of steady changes, unless `ROUTE_CACHE_CHANGES_SECONDS` says otherwise.
const SECONDS: u64 = 5;

/// Steady changes in a hundredth of a second: 10,000 a second.
const CHANGES: u32 = 100;

/// Prefixes that change steadily.
const STEADY: u32 = 20_000;

/// A lag that is longer is too long.
const LAG: Duration = Duration::from_secs(1);

/// Memory of the agent's own with hundreds of thousands of routes, in KiB.
const MEMORY: u64 = 256 << 10;

/// A /24 by its number: all are in 16.0.0.0/4.
fn prefix(number: u32) -> (Ipv4Addr, u8) {
    (Ipv4Addr::from((16 << 24) + (number << 8)), 24)
}

/// Every so many of the prefixes, one is asked for by a packet.
fn sample(prefixes: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..prefixes).step_by(prefixes as usize / 100).map(|number| {
        let (net, _) = prefix(number);
        Ipv4Addr::from(u32::from(net) + 7)
    })
}

/// A packet to each comes out here, by XDP if anywhere.
#[track_caller]
fn all_come_out(router: &Router, prefixes: u32, exit: Exit) {
    let socket = |host: &Host| RawSocket::open(&host.namespace, host.interface).unwrap();
    let (server, other) = (socket(&router.server), socket(&router.other));
    let (sender, before) = (router.sender(), router.forwarded());
    let mut sent = 0;
    for destination in sample(prefixes) {
        let flow = Flow { destination, ..router.flow() };
        sender.send(&router.frame(flow, sent)).unwrap();
        sent += 1;
    }
    thread::sleep(Duration::from_millis(100));
    let arrived = arrivals(&server, &other);
    for number in 0..sent {
        let at = arrived.get(&number).copied().unwrap_or(Exit::Nowhere);
        assert_eq!(at, exit, "packet {number}: {}", router.story());
    }
    let by_xdp = if exit == Exit::Nowhere { 0 } else { u64::from(sent) };
    assert_eq!(router.forwarded() - before, by_xdp, "{}", router.story());
}

/// IPv4 routes that the agent has mirrored.
fn mirrored(router: &Router) -> u64 {
    router.agent.status().unwrap()["routes"]["ipv4"].as_u64().unwrap()
}

/// Waits until the agent has as many routes as the kernel, beyond those that both had before. Tells how long it took.
#[track_caller]
fn follows(router: &Router, before: (u64, u64)) -> Duration {
    let began = Instant::now();
    let kernel = router.router.ipv4_routes().unwrap() - before.0;
    let mut agent = 0;
    wait_until("the agent to have the kernel's routes", PROMISE + RESYNC, || {
        agent = mirrored(router).saturating_sub(before.1);
        agent == kernel
    })
    .unwrap_or_else(|error| panic!("{error:#}: {agent}, not {kernel}; {}", router.story()));
    began.elapsed()
}

#[test]
fn f4_a_burst_of_400_000_changes_is_taken_in_or_its_loss_is_noticed() {
    let router = Router::forwarding("burst");
    let mut rtnetlink = Rtnetlink::open(&router.router);
    let before = (router.router.ipv4_routes().unwrap(), mirrored(&router));
    let watch = Watch::start(&router.agent);
    let mut took = Duration::ZERO;
    let mut lag = Duration::ZERO;
    let account = router.during("400,000 changes of other routes", || {
        let began = Instant::now();
        rtnetlink.change((0..PREFIXES).map(prefix), Some(SERVER));
        rtnetlink.change((0..PREFIXES).map(prefix), Some(OTHER));
        took = began.elapsed();
        let (last, _) = prefix(PREFIXES - 1);
        wait_until("the last change to be known", PROMISE + RESYNC, || {
            router.get(&last.to_string())["route"]["via"] == *OTHER.to_string()
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
        lag = began.elapsed() - took;
    });
    account.stays(Exit::Server);
    follows(&router, before);
    let aside = watch.longest_aside();
    let usage = Usage::of(router.agent.pid()).unwrap();
    let status = router.agent.status().unwrap();
    eprintln!(
        "400,000 changes in {took:?}, in the agent {lag:?} later; overruns {}, resyncs {}, all passed for {aside:?}; {usage}",
        status["netlink_overruns"], status["resyncs"],
    );
    assert!(aside <= RESYNC, "{aside:?}; {}", router.story());
    assert!(usage.peak_kib <= MEMORY, "{usage}");
    all_come_out(&router, PREFIXES, Exit::Other);
    router.audit_is_clean(100);

    rtnetlink.change((0..PREFIXES).map(prefix), None);
    let lag = follows(&router, before);
    eprintln!("200,000 routes gone, in the agent {lag:?} later");
    all_come_out(&router, PREFIXES, Exit::Nowhere);
    router.audit_is_clean(0);
    assert_eq!(router.agent.status().unwrap()["audit_mismatches"], 0, "{}", router.story());
}

#[test]
fn f21_the_agent_keeps_up_with_10_000_changes_a_second() {
    let seconds =
        env::var("ROUTE_CACHE_CHANGES_SECONDS").map_or(SECONDS, |count| count.parse().unwrap());
    let mut contender = Contender::new(FEW);
    let mut rtnetlink = Rtnetlink::open(&contender.router.router);
    let router = &contender.router;
    let before = (router.router.ipv4_routes().unwrap(), mirrored(router));
    rtnetlink.change((0..STEADY).map(prefix), Some(SERVER));
    follows(router, before);
    let used = Usage::of(router.agent.pid()).unwrap();
    let (began, over, pid) = (Instant::now(), AtomicBool::new(false), router.agent.pid());
    let (latencies, changes) = thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let (mut number, mut gateway) = (0, OTHER);
            let mut changes = 0_u64;
            while !over.load(Ordering::Relaxed) {
                rtnetlink.change((number..number + CHANGES).map(prefix), Some(gateway));
                changes += u64::from(CHANGES);
                number += CHANGES;
                if number == STEADY {
                    number = 0;
                    gateway = if gateway == OTHER { SERVER } else { OTHER };
                }
                // What a machine that has other things to do has not done yet, it does now.
                let due = began + Duration::from_micros(changes * 100);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            changes
        });
        // Nine a second: each waits for a while.
        let count = seconds as usize * 9;
        let flow = contender.router.flow();
        let latencies = contender.changes(count, (Ipv4Addr::new(10, 9, 0, 0), 16), flow);
        over.store(true, Ordering::Relaxed);
        (latencies, changing.join().unwrap())
    });
    let (took, router) = (began.elapsed(), &contender.router);
    let usage = Usage::of(pid).unwrap();
    let share = (usage.cpu - used.cpu).as_secs_f64() / took.as_secs_f64() * 100.0;
    let (rate, lag) = (changes as f64 / took.as_secs_f64(), Summary::of(&latencies));
    eprintln!("{rate:.0} changes a second for {took:?}: lag {lag}; {share:.1} % of a CPU; {usage}");
    assert!(lag.p99 < LAG, "{lag}; {}", router.story());
    assert!(usage.peak_kib <= MEMORY, "{usage}");
    follows(router, before);
    let status = router.agent.status().unwrap();
    assert_eq!(status["netlink_overruns"], 0, "{}", router.story());
    assert_eq!(status["audit_mismatches"], 0, "{}", router.story());
    router.audit_is_clean(FEW.into());
}
