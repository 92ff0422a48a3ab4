//! A table as large as the Internet's comes, goes and comes again.

use std::{
    env,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use route_cache_lab::{Usage, Watch, wait_until};

use crate::{
    daemon::{Choice, Kind, Loss},
    place::{Delivery, Place},
    speaker::Speaker,
};

/// Prefixes, unless `ROUTE_CACHE_FULL_TABLE` says otherwise: at most 1,048,576.
const PREFIXES: u32 = 100_000;

/// BIRD takes so long for what is announced at the most.
const PATIENCE: Duration = Duration::from_secs(300);

/// Later than this after the last change in the kernel the agent has followed: by then its promise would run out.
const LAG: Duration = Duration::from_secs(5);

/// A resync takes no longer than this.
const RESYNC: Duration = Duration::from_secs(2);

/// For so long nothing changes, and the agent has little to do:
const IDLE: Duration = Duration::from_secs(8);

/// this share of a CPU at the most.
const IDLE_SHARE: f64 = 0.005;

/// What covers all the prefixes.
const COVER: &str = "16.0.0.0/4";

/// An address in a /24, by its number.
fn inside(number: u32) -> Ipv4Addr {
    Ipv4Addr::from((16 << 24) + (number << 8) + 7)
}

/// The table, and what was there before it.
struct Table {
    place: Place,
    prefixes: u32,
    kernel_before: u64,
    agent_before: u64,
    watch: Option<Watch>,
}

impl Table {
    fn new() -> Self {
        let prefixes =
            env::var("ROUTE_CACHE_FULL_TABLE").map_or(PREFIXES, |count| count.parse().unwrap());
        assert!(prefixes <= 1 << 20, "they lie in {COVER}");
        // Announced when all else is there, so that it is seen to come.
        let place =
            Place::with("full", Kind::Bird, Choice::First, Loss::Withdraws, |lab, other| {
                let cover = ["ip", "route", "add", COVER, "via", &other.address.to_string()];
                lab.router.exec(&cover).unwrap();
                let all = (0..prefixes).map(inside);
                (Speaker::announcing(&lab.server, Loss::Withdraws, all), None)
            });
        place.first.as_ref().unwrap().withdraw();
        let mut table = Self {
            watch: Some(Watch::start(&place.agent)),
            prefixes,
            kernel_before: 0,
            agent_before: 0,
            place,
        };
        // All of it may have come already.
        table.await_quiet();
        (table.kernel_before, table.agent_before) = (table.in_kernel(), table.in_agent());
        table
    }

    fn upstream(&self) -> &Speaker {
        self.place.first.as_ref().unwrap()
    }

    fn in_kernel(&self) -> u64 {
        self.place.router.ipv4_routes().unwrap()
    }

    fn in_agent(&self) -> u64 {
        self.place.agent.status().unwrap()["routes"]["ipv4"].as_u64().unwrap()
    }

    /// Waits until nothing comes or goes any more.
    fn await_quiet(&self) {
        let mut last = (u64::MAX, Instant::now());
        self.wait("no change for a second", PATIENCE, || {
            let now = self.in_kernel();
            if now != last.0 {
                last = (now, Instant::now());
            }
            now < 100 && last.1.elapsed() > Duration::from_secs(1)
        });
    }

    fn wait(&self, what: &str, patience: Duration, condition: impl FnMut() -> bool) {
        wait_until(what, patience, condition)
            .unwrap_or_else(|error| panic!("{error:#}; {}", self.place.story()));
    }

    /// Waits until the kernel has the prefixes, or none of them, and then for the agent; then packets come out where the
    /// routes lead, by XDP, and the kernel agrees with every clone.
    fn becomes(&self, what: &str, is_there: bool) {
        let wanted = if is_there { u64::from(self.prefixes) } else { 0 };
        let used = self.usage();
        let began = Instant::now();
        self.wait(&format!("{what}, in the kernel"), PATIENCE, || {
            self.in_kernel() == self.kernel_before + wanted
        });
        let known = Instant::now();
        self.wait(&format!("{what}, in the agent"), LAG * 4, || {
            self.in_agent() == self.agent_before + wanted
        });
        let lag = known.elapsed();
        let cpu = self.usage().cpu - used.cpu;
        let all = || (0..self.prefixes).step_by(self.prefixes as usize / 500).map(inside);
        let sent = all().count() as u64;
        let (server, other) = if is_there { (sent, 0) } else { (0, sent) };
        // Twice: the first makes clones, the second uses them.
        for _ in 0..2 {
            let delivery = self.place.deliver_to(all());
            let expected = Delivery { server, other, sent, by_xdp: sent };
            assert_eq!(delivery, expected, "{what}: {}", self.place.story());
        }
        self.place.audit_is_clean(sent);
        let took = known - began;
        eprintln!(
            "{} prefixes {what}: in the kernel after {took:.1?}, in the agent less than {lag:.1?} later, for {:.1} s of CPU; {}",
            self.prefixes,
            cpu.as_secs_f64(),
            self.usage(),
        );
        assert!(lag < LAG, "{what}: {lag:?}; {}", self.place.story());
    }

    /// The share of a CPU that an agent takes to which nothing is said, and which nobody asks.
    fn idle_share(&self) -> f64 {
        let (used, began) = (self.usage().cpu, Instant::now());
        std::thread::sleep(IDLE);
        (self.usage().cpu - used).as_secs_f64() / began.elapsed().as_secs_f64()
    }

    fn usage(&self) -> Usage {
        Usage::of(self.place.agent.pid()).unwrap()
    }
}

#[test]
fn f4_a_full_table_of_bird_comes_goes_and_comes_again() {
    let mut table = Table::new();
    table.upstream().announce();
    table.becomes("announced", true);
    table.upstream().withdraw();
    table.becomes("withdrawn", false);
    table.upstream().announce();
    table.becomes("announced again", true);
    let status = table.place.agent.status().unwrap();
    let aside = table.watch.take().unwrap().longest_aside();
    eprintln!(
        "overruns {}, resyncs {}, everything passed for {aside:?} at the longest",
        status["netlink_overruns"], status["resyncs"],
    );
    // Nothing was lost; or all passed until the tables were read anew, and that was soon.
    assert!(aside <= RESYNC, "{aside:?}; {}", table.place.story());
    assert!(status["resyncs"]["doubt"].is_null(), "{}", table.place.story());
    assert_eq!(status["audit_mismatches"], 0, "{}", table.place.story());
    let share = table.idle_share();
    eprintln!("idle: {:.2} % of a CPU", share * 100.0);
    assert!(share < IDLE_SHARE, "{share}; {}", table.place.story());
}
