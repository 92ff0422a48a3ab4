//! The lab with a daemon and the agent in its router.

use std::{
    net::Ipv4Addr,
    ops::Deref,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::{Agent, Frame, Host, Ipv4View, Lab, Namespace, RawSocket, wait_until};
use serde_json::Value;

use crate::{
    daemon::{Choice, Daemon, Kind, Loss},
    speaker::{PREFIXES, Speaker, inside},
};

/// What must happen, happens within this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Later than this after the last of 10,000 changes in the kernel, the agent has followed. Alone it takes a few
/// milliseconds; the machine may have other things to do.
const BOUND: Duration = Duration::from_millis(500);

/// Every so many prefixes, one is in the sample.
const EVERY: u32 = 50;

/// Packets sent in one go: few enough for the ring of a veth.
const BURST: usize = 32;

/// A packet is through the router after this, on a machine that has other things to do.
const TRANSIT: Duration = Duration::from_millis(150);

const PORTS: (u16, u16) = (4000, 4001);

/// Everything there is.
pub struct Place {
    /// The agent, on `left`, `right` and `right2`.
    pub agent: Agent,
    /// The daemon under test.
    pub daemon: Daemon,
    /// Upstream in the server.
    pub first: Option<Speaker>,
    /// Upstream in the other host.
    pub second: Option<Speaker>,
    /// 10.0.3.2 behind `right2`.
    pub other: Host,
    lab: Lab,
}

/// Where the packets to a sample of the prefixes came out.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// At the server.
    pub server: u64,
    /// At the other host.
    pub other: u64,
    /// Of all that were sent.
    pub sent: u64,
    /// Of all that were sent, by XDP.
    pub by_xdp: u64,
}

impl Place {
    /// Starts the agent first, then the daemons; comes back when both sessions are up.
    pub fn start(label: &str, kind: Kind, choice: Choice, loss: Loss) -> Self {
        let upstreams = |lab: &Lab, other: &Host| {
            (Speaker::start(&lab.server, loss), Some(Speaker::start(other, loss)))
        };
        Self::with(label, kind, choice, loss, upstreams)
    }

    /// The same with other upstreams in the server and, perhaps, in the other host.
    pub fn with(
        label: &str,
        kind: Kind,
        choice: Choice,
        loss: Loss,
        upstreams: impl FnOnce(&Lab, &Host) -> (Speaker, Option<Speaker>),
    ) -> Self {
        let lab = Lab::new(label).unwrap();
        let other = lab.add_host("other", "right2", "10.0.3.0/24").unwrap();
        for host in [&lab.client, &lab.server, &other] {
            host.namespace.sysctl("net/ipv4/ip_forward", "0").unwrap();
        }
        lab.resolve_neighbours().unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_route-cache"));
        let interfaces = ["left", "right", "right2"];
        let agent = Agent::start(binary, &lab.router, &interfaces).unwrap();
        let (first, second) = upstreams(&lab, &other);
        let daemon = Daemon::start(kind, &lab.router, &[&lab.server, &other], choice, loss);
        let place = Self { agent, daemon, first: Some(first), second, other, lab };
        place.wait("the sessions", || {
            [&place.first, &place.second].into_iter().flatten().all(Speaker::is_established)
        });
        place
    }

    /// Waits for a condition.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        wait_until(what, PATIENCE, condition)
            .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    /// Restarts the daemon: its sessions break and come up again, and no route goes.
    pub fn restart_daemon(&mut self) {
        let Self { daemon, lab, first, second, .. } = self;
        let established = || [&*first, &*second].map(|s| s.as_ref().unwrap().is_established());
        daemon.restart(&lab.router, || {
            wait_until("the sessions to break", PATIENCE, || established() == [false; 2]).unwrap();
            assert_eq!(kernel_routes(&lab.router, ""), PREFIXES as usize);
        });
        self.wait("both sessions", || {
            [&self.first, &self.second].iter().all(|s| s.as_ref().unwrap().is_established())
        });
    }

    /// Routes of the kernel's that a filter of `ip route` chooses, of those that the upstreams announce.
    pub fn kernel_routes(&self, filter: &str) -> usize {
        kernel_routes(&self.router, filter)
    }

    /// Those that the agent has mirrored, and that go by this gateway if one is given.
    pub fn agent_routes(&self, via: Option<Ipv4Addr>) -> usize {
        let routes = self.agent.json(&["show", "routes"]).unwrap();
        let via = via.map(|via| via.to_string());
        let announced = |route: &&Value| {
            route["prefix"].as_str().unwrap().starts_with("100.")
                && via.as_ref().is_none_or(|via| route["via"] == **via)
        };
        routes.as_array().unwrap().iter().filter(announced).count()
    }

    /// Waits until all announced routes go by a gateway, in the kernel and then in the agent, and tells how long that took.
    #[track_caller]
    pub fn await_via(&self, what: &str, via: Ipv4Addr) {
        let all = PREFIXES as usize;
        let filter = format!("via {via}");
        self.follow(
            what,
            || self.kernel_routes(&filter) == all,
            || self.agent_routes(Some(via)) == all,
        );
    }

    /// Waits until no announced route is left.
    #[track_caller]
    pub fn await_none(&self, what: &str) {
        self.follow(what, || self.kernel_routes("") == 0, || self.agent_routes(None) == 0);
    }

    /// Waits for the kernel and then for the agent.
    #[track_caller]
    pub fn follow(
        &self,
        what: &str,
        kernel: impl FnMut() -> bool,
        mut agent: impl FnMut() -> bool,
    ) {
        let began = Instant::now();
        self.wait(&format!("{what}, in the kernel"), kernel);
        let known = Instant::now();
        // A question takes longer than the answer is late: what counts is when the one was asked that found it so.
        let mut asked = known.elapsed();
        self.wait(&format!("{what}, in the agent"), || {
            asked = known.elapsed();
            agent()
        });
        assert!(asked < BOUND, "{what}: {asked:?} later in the agent; {}", self.story());
        eprintln!(
            "{:?}: {what}: {PREFIXES} routes in the kernel after {:.0} ms, in the agent less than {:.0} ms later",
            self.daemon.kind,
            (known - began).as_secs_f64() * 1e3,
            known.elapsed().as_secs_f64() * 1e3,
        );
    }

    /// Sends a packet to each prefix of the sample.
    pub fn deliver(&self) -> Delivery {
        self.deliver_to(sample())
    }

    /// Sends a packet to each of these.
    pub fn deliver_to(&self, destinations: impl Iterator<Item = Ipv4Addr>) -> Delivery {
        let socket = |host: &Host| RawSocket::open(&host.namespace, host.interface).unwrap();
        let (server, other) = (socket(&self.server), socket(&self.other));
        let sender = socket(&self.client);
        let before = self.forwarded();
        let destinations: Vec<_> = destinations.collect();
        for burst in destinations.chunks(BURST) {
            for destination in burst {
                sender.send(&self.frame(*destination, 0)).unwrap();
            }
            thread::sleep(Duration::from_millis(2));
        }
        let (server, other) = (arrived(&server), arrived(&other));
        let sent = destinations.len() as u64;
        Delivery { server, other, sent, by_xdp: self.forwarded() - before }
    }

    /// A frame of the client.
    pub fn frame(&self, destination: Ipv4Addr, number: u32) -> Vec<u8> {
        let (from, to) = ((self.client.address, PORTS.0), (destination, PORTS.1));
        Frame::udp(from, to, &number.to_be_bytes()).sent_by(&self.client).build()
    }

    /// All packets to the sample come out at the server, or all at the other host, and all by XDP.
    #[track_caller]
    pub fn delivers(&self, at_server: bool) {
        let (all, delivery) = (sample().count() as u64, self.deliver());
        let (server, other) = if at_server { (all, 0) } else { (0, all) };
        let expected = Delivery { server, other, sent: all, by_xdp: all };
        assert_eq!(delivery, expected, "{}", self.story());
    }

    /// The kernel agrees with every clone, of which there are at least so many.
    #[track_caller]
    pub fn audit_is_clean(&self, least: u64) {
        let (report, code) = self.agent.audit().unwrap();
        assert_eq!(code, 0, "{report}; {}", self.story());
        assert!(report["checked"].as_u64().unwrap() >= least, "{report}; {}", self.story());
        assert_eq!(report["unsure"], 0, "{report}; {}", self.story());
    }

    /// Packets forwarded by XDP.
    pub fn forwarded(&self) -> u64 {
        self.agent.forwarded().unwrap()
    }

    /// The agent has lost nothing and was not at a loss, and tells how often it read the tables anew.
    #[track_caller]
    pub fn kept_up(&self) {
        let status = self.agent.status().unwrap();
        let resyncs = &status["resyncs"];
        let metrics = self.agent.metrics().unwrap();
        let latency = |what: &str| {
            let name = format!("route_cache_change_latency_seconds_{what} ");
            metrics.lines().find_map(|line| line.strip_prefix(&*name)).unwrap().to_owned()
        };
        let (sum, count) = (latency("sum"), latency("count"));
        eprintln!(
            "{:?}: resyncs {resyncs}; {sum} s in all to take in {count} batches of news",
            self.daemon.kind
        );
        assert_eq!(status["netlink_overruns"], 0, "{}", self.story());
        assert_eq!(resyncs["doubt"], Value::Null, "{}", self.story());
        assert_eq!(status["audit_mismatches"], 0, "{}", self.story());
    }

    /// For the message of a failing test.
    pub fn story(&self) -> String {
        let status = self.agent.status().map_or_else(|e| format!("{e:#}"), |s| s.to_string());
        format!("status: {status}\nlog:\n{}\ndaemon:\n{}", self.agent.log(), self.daemon.log())
    }
}

fn kernel_routes(router: &Namespace, filter: &str) -> usize {
    let words = ["ip", "route", "show", "root", "100.64.0.0/10"].into_iter();
    let argv: Vec<_> = words.chain(filter.split_whitespace()).collect();
    let listed = router.exec(&argv).unwrap();
    // The next hops of a multipath route are lines of their own.
    listed.lines().filter(|line| line.starts_with("100.")).count()
}

/// Destinations of the sample.
pub fn sample() -> impl Iterator<Item = Ipv4Addr> {
    (0..PREFIXES).step_by(EVERY as usize).map(inside)
}

/// How many packets to the sample a socket has captured.
pub fn arrived(socket: &RawSocket) -> u64 {
    let is_ours =
        |frame: &[u8]| Ipv4View::of(frame).is_some_and(|view| view.ports() == Some(PORTS));
    let mut count = 0;
    while let Some(frame) = socket.recv(TRANSIT).unwrap() {
        count += u64::from(is_ours(&frame));
    }
    count
}

impl Deref for Place {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}
