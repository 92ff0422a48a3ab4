//! From a change in the kernel to the first packet that no longer uses the old way, over many changes, with few and
//! with many clones in the tables.
//!
//! A probe sends a frame to one destination every 100 to 200 µs; its route is replaced by one netlink message, the time
//! taken right before. A frame counts with the time at which it was sent, so that what is told is no less than the
//! latency, and too much by up to [`RESOLUTION`] and by what the probe itself was held up.

use std::{
    env, fmt,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use route_cache_lab::{Frame, RawSocket, wait_until};

use crate::{
    router::{Flow, Place, Router},
    rtnetlink::Rtnetlink,
    stream::{BOUND, Exit, arrivals},
};

/// Changes in each router.
const EVENTS: usize = 60;

/// Changes in a row before the other router has its turn.
const ROUND: usize = 20;

/// Between two probes.
const PERIOD: Duration = Duration::from_micros(100);

/// Between two probes with what a sleeping thread oversleeps, twice: once for each of two medians compared.
const RESOLUTION: Duration = Duration::from_micros(400);

/// Between two changes: a latency above the bound is seen as such.
const PAUSE: Duration = Duration::from_millis(110);

/// Clones in the tables of the two routers.
pub const FEW: u32 = 100;
const MANY: u32 = 500_000;

/// Where the clones are: 10.16.0.0/12.
const FILLED: u32 = 0x0a10_0000;

/// The addresses of the two next hops of 10.9.0.0/16.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 2);

/// A router with so many clones, and the latencies seen in it.
pub struct Contender {
    /// The router.
    pub router: Router,
    clones: u32,
    rtnetlink: Rtnetlink,
    latencies: Vec<Duration>,
    at: Exit,
}

impl Contender {
    /// A router whose stream is forwarded.
    pub fn new(clones: u32) -> Self {
        let place = Place::new(&format!("latency-{clones}"));
        place.ip("route add 10.16.0.0/12 via 10.0.2.2");
        // Walks all the time, so that changes meet one; and not so full that the timeout shrinks, also if one CPU receives
        // nearly everything.
        let clones_stay = ["--clone-on", "first-packet", "--rtmaxcache", "786432"];
        let sizes = ["--clones-per-cpu", "1048576", "--sweep-interval", "1s"];
        let router = Router::with(place, &[clones_stay, sizes].concat());
        let rtnetlink = Rtnetlink::open(&router.router);
        let contender = Self { router, clones, rtnetlink, latencies: Vec::new(), at: Exit::Server };
        contender.fill();
        contender.router.await_forwarding(contender.router.flow());
        contender
    }

    /// Clones in all tables.
    fn live(&self) -> u64 {
        let status = self.router.agent.status().unwrap();
        let tables = status["clones"].as_array().unwrap();
        tables.iter().map(|table| table["live"].as_u64().unwrap()).sum()
    }

    /// Each CPU sends to its share of the destinations, until all have a clone: a queue that is full drops frames.
    fn fill(&self) {
        let began = Instant::now();
        let cpus = thread::available_parallelism().unwrap().get() as u32;
        let router = &self.router;
        wait_until("the tables to be filled", Duration::from_secs(60), || {
            thread::scope(|scope| {
                for cpu in 0..cpus {
                    scope.spawn(move || {
                        stay_on(cpu as usize);
                        let sender = router.sender();
                        for number in (0..self.clones).filter(|number| number % cpus == cpu) {
                            let to = (Ipv4Addr::from(FILLED + number), 4001);
                            let frame = Frame::udp((router.client.address, 4000), to, &[]);
                            // Where the queue is full, the next round sends it again.
                            let _ = sender.send(&frame.sent_by(&router.client).build());
                        }
                    });
                }
            });
            self.live() >= self.clones.into()
        })
        .unwrap();
        eprintln!("{} clones made in {:?}", self.live(), began.elapsed());
    }

    /// So many changes of a prefix, and the latency of each.
    pub fn changes(&mut self, count: usize, prefix: (Ipv4Addr, u8), flow: Flow) -> Vec<Duration> {
        let socket = |host: &route_cache_lab::Host| {
            RawSocket::open(&host.namespace, host.interface).unwrap()
        };
        let (server, other) = (socket(&self.router.server), socket(&self.router.other));
        let over = AtomicBool::new(false);
        let mut changes = Vec::new();
        let router = &self.router;
        let sender = router.sender();
        let sent = thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut sent = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let frame = router.frame(flow, sent.len() as u32);
                    sent.push(Instant::now());
                    sender.send(&frame).unwrap();
                    thread::sleep(PERIOD);
                }
                sent
            });
            thread::sleep(PAUSE);
            for number in 0..count {
                let (to, gateway) = match self.at {
                    Exit::Server => (Exit::Other, OTHER),
                    _ => (Exit::Server, SERVER),
                };
                changes.push((self.rtnetlink.replace(prefix, gateway), to));
                self.at = to;
                // Not in step with anything that comes every so often.
                thread::sleep(PAUSE + Duration::from_micros(number as u64 * 7919 % 5000));
            }
            over.store(true, Ordering::Relaxed);
            sending.join().unwrap()
        });
        let arrived = arrivals(&server, &other);
        let exit = |number: usize| arrived.get(&(number as u32)).copied();
        let mut latencies = Vec::new();
        for (index, &(changed, to)) in changes.iter().enumerate() {
            let until = changes.get(index + 1).map(|(next, _)| *next);
            let first = sent.partition_point(|at| *at < changed);
            let end = until.map_or(sent.len(), |until| sent.partition_point(|at| *at < until));
            let is_old = |number: &usize| exit(*number).is_some_and(|exit| exit != to);
            let next = (first..end).rev().find(is_old).map_or(first, |last| last + 1);
            // Still the old way when the next change came: no less than that.
            let at = if next < end { sent[next] } else { until.unwrap_or(sent[end - 1]) };
            latencies.push(at - changed);
            let lost = (first..end).filter(|number| exit(*number).is_none()).count();
            assert_eq!(lost, 0, "frames lost at change {index}: {}", self.router.story());
        }
        latencies
    }
}

/// The calling thread stays on a CPU.
fn stay_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// What latencies come to.
pub struct Summary {
    least: Duration,
    p50: Duration,
    /// 99 of 100 are no more.
    pub p99: Duration,
    most: Duration,
}

impl Summary {
    /// Of one at least.
    pub fn of(latencies: &[Duration]) -> Self {
        let mut sorted = latencies.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
        Self { least: sorted[0], p50: rank(50), p99: rank(99), most: rank(100) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, p50, p99, most } = self;
        write!(f, "p50 {p50:?}, p99 {p99:?} ({least:?} to {most:?})")
    }
}

#[test]
fn s14_a_change_takes_effect_in_time_however_many_clones_there_are() {
    let wanted = env::var("ROUTE_CACHE_EVENTS").map_or(EVENTS, |count| count.parse().unwrap());
    let mut contenders = [FEW, MANY].map(Contender::new);
    while contenders[1].latencies.len() < wanted {
        for contender in &mut contenders {
            let count = ROUND.min(wanted - contender.latencies.len());
            let flow = contender.router.flow();
            let seen = contender.changes(count, (Ipv4Addr::new(10, 9, 0, 0), 16), flow);
            contender.latencies.extend(seen);
        }
    }
    let summaries = contenders.each_ref().map(|contender| {
        // The clones were there all along.
        assert!(contender.live() >= contender.clones.into(), "{}", contender.router.story());
        let summary = Summary::of(&contender.latencies);
        eprintln!("latency: {} changes, {} clones: {summary}", wanted, contender.clones);
        summary
    });
    for contender in &mut contenders {
        // All clones but the probe's are of this prefix: all become void at once, and are deleted meanwhile.
        let last =
            Flow { destination: Ipv4Addr::from(FILLED + 0x000f_fffe), ..contender.router.flow() };
        contender.at = Exit::Server;
        let seen = contender.changes(1, (Ipv4Addr::from(FILLED), 12), last);
        eprintln!("latency: {} clones void at once: {:?}", contender.clones, seen[0]);
        assert!(seen[0] <= BOUND, "{}: {:?}", contender.clones, seen[0]);
    }
    for (contender, summary) in contenders.iter().zip(&summaries) {
        assert!(summary.p99 <= BOUND, "{} clones: {summary}", contender.clones);
        // Walks did not delay the promise.
        let expired = contender.router.agent.outcome("pass_expired").unwrap();
        assert_eq!(expired, 0, "{}", contender.router.story());
        let metrics = contender.router.agent.metrics().unwrap();
        let sweep = metrics.lines().filter(|line| {
            line.starts_with("route_cache_sweep_duration_seconds_sum")
                || line.starts_with("route_cache_sweep_duration_seconds_count")
        });
        eprintln!("{} clones: {}", contender.clones, sweep.collect::<Vec<_>>().join(", "));
    }
    let [few, many] = summaries.map(|summary| summary.p50);
    for (one, other) in [(few, many), (many, few)] {
        assert!(one <= other * 2 + RESOLUTION, "medians {few:?} and {many:?}");
    }
}
