//! Traffic on all CPUs while routes, neighbours, addresses and links change at random.
//!
//! After every change the kernel is asked for the next hop of each destination, and for its link-layer address. A frame
//! may come out by a next hop that the kernel had at any moment from [`BOUND`] before it was sent until it came out, and
//! with an address that this one had likewise; by no other. (The kernel keeps a frame for a neighbour that it asks for.) When all is quiet, every clone is what `ip route get` says.
//!
//! ```text
//! change i        answer i              change i+1
//! |------|--------|---------------------|------|
//! what answer i says holds from the start of change i to the end of change i+1
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use route_cache_lab::{Frame, Host, Ipv4View, RawSocket, link::Mac};
use serde_json::Value;

use crate::{
    router::{Flow, PORTS, Place, Router},
    stream::{BOUND, NEW_ADDRESS},
};

/// How long it goes on, in seconds, unless `ROUTE_CACHE_STRESS_SECONDS` says otherwise.
const SECONDS: u64 = 15;

/// A frame of each thread every so often.
const PERIOD: Duration = Duration::from_micros(300);

/// How long traffic goes on when nothing changes any more.
const QUIET: Duration = Duration::from_millis(1500);

/// Destinations, in prefixes inside each other and beside each other.
const DESTINATIONS: [Ipv4Addr; 16] = [
    Ipv4Addr::new(10, 9, 0, 1),
    Ipv4Addr::new(10, 9, 0, 2),
    Ipv4Addr::new(10, 9, 0, 17),
    Ipv4Addr::new(10, 9, 0, 200),
    Ipv4Addr::new(10, 9, 1, 1),
    Ipv4Addr::new(10, 9, 1, 130),
    Ipv4Addr::new(10, 9, 77, 1),
    Ipv4Addr::new(10, 9, 255, 254),
    Ipv4Addr::new(10, 8, 0, 1),
    Ipv4Addr::new(10, 8, 1, 1),
    Ipv4Addr::new(10, 11, 0, 1),
    Ipv4Addr::new(10, 11, 0, 2),
    Ipv4Addr::new(10, 11, 3, 1),
    Ipv4Addr::new(10, 0, 2, 2),
    Ipv4Addr::new(10, 0, 3, 2),
    Ipv4Addr::new(10, 200, 0, 1),
];

/// Prefixes that come and go.
const PREFIXES: [&str; 10] = [
    "10.8.0.0/13",
    "10.8.0.0/14",
    "10.9.0.0/16",
    "10.9.0.0/24",
    "10.9.0.0/28",
    "10.9.0.1/32",
    "10.9.1.0/25",
    "10.11.0.0/16",
    "10.11.0.0/31",
    "10.200.0.0/16",
];

/// A next hop that only a permanent neighbour leads to.
const SILENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Its link-layer address.
const SILENT_MAC: Mac = [2, 0, 0, 0, 0x77, 0x77];

/// Where a frame comes out: behind which interface of the router, and to which link-layer address it is sent.
type Way = (&'static str, Mac);

/// Where the router sends it: interface and gateway, or the destination itself.
type Hop = (&'static str, Ipv4Addr);

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.next() % choices.len() as u64) as usize]
    }
}

/// What the kernel said when it was asked, and for how long it may be believed.
struct Answer {
    change: String,
    from: Instant,
    until: Option<Instant>,
    hops: BTreeMap<Ipv4Addr, Hop>,
    macs: BTreeMap<Hop, Mac>,
}

impl Answer {
    fn way(&self, destination: Ipv4Addr) -> Option<Way> {
        let hop = self.hops.get(&destination)?;
        Some((hop.0, *self.macs.get(hop)?))
    }
}

/// A frame that came out.
struct Arrival {
    destination: Ipv4Addr,
    sent: Instant,
    arrived: Instant,
    way: Way,
}

/// How long each way had been withdrawn when a frame was sent that took it, at most; and what was later than the bound.
fn judge(answers: &[Answer], arrivals: &[Arrival], bound: Duration) -> (Duration, Vec<String>) {
    let (mut latest, mut faults) = (Duration::ZERO, Vec::new());
    for Arrival { destination, sent, arrived, way } in arrivals {
        // For how long it had not been so: not at all, if the last word is that it is.
        let since = |holds: &dyn Fn(&Answer) -> bool| {
            let had = answers.iter().filter(|answer| answer.from <= *arrived && holds(answer));
            had.map(|answer| {
                answer.until.map_or(Duration::ZERO, |u| sent.saturating_duration_since(u))
            })
            .min()
        };
        let by = |hop: Hop| {
            let routed = since(&|answer| answer.hops.get(destination) == Some(&hop))?;
            let known = since(&|answer| answer.macs.get(&hop) == Some(&way.1))?;
            Some(routed.max(known))
        };
        let hops: BTreeSet<Hop> = answers
            .iter()
            .filter_map(|answer| answer.hops.get(destination).copied())
            .filter(|hop| hop.0 == way.0)
            .collect();
        let late = hops.into_iter().filter_map(by).min();
        latest = latest.max(late.unwrap_or_default());
        if late.is_none_or(|late| late > bound) {
            let story: Vec<_> = answers
                .iter()
                .filter(|answer| {
                    answer.from <= *arrived
                        && answer.until.is_none_or(|until| until + 4 * bound >= *sent)
                })
                .map(|answer| {
                    let began = if answer.from <= *sent {
                        format!("{:?} before", *sent - answer.from)
                    } else {
                        format!("{:?} after", answer.from - *sent)
                    };
                    format!("{began}: {}: {:02x?}", answer.change, answer.way(*destination))
                })
                .collect();
            let took = *arrived - *sent;
            faults.push(format!(
                "to {destination} by {way:02x?}, {took:?} on its way, late {late:?}; {story:#?}"
            ));
        }
    }
    (latest, faults)
}

#[test]
fn the_judge_tells_a_withdrawn_way() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let (right, right2) = (("right", SILENT_MAC), ("right2", NEW_ADDRESS));
    let destination = DESTINATIONS[0];
    let answer = |from, until: Option<u64>, (dev, mac): Way| {
        let hop = (dev, SILENT);
        Answer {
            change: String::new(),
            from: at(from),
            until: until.map(at),
            hops: [(destination, hop)].into(),
            macs: [(hop, mac)].into(),
        }
    };
    let answers = [answer(0, Some(1010), right), answer(1000, None, right2)];
    let judged = |ms, way| {
        let (late, faults) = judge(
            &answers,
            &[Arrival { destination, sent: at(ms), arrived: at(ms + 1), way }],
            BOUND,
        );
        (late.as_millis(), faults.len())
    };
    assert_eq!(judged(500, right), (0, 0));
    assert_eq!(judged(500, right2), (0, 1));
    assert_eq!(judged(998, right2), (0, 1));
    assert_eq!(judged(999, right2), (0, 0));
    assert_eq!(judged(1110, right), (100, 0));
    assert_eq!(judged(1111, right), (101, 1));
    assert_eq!(judged(9000, right2), (0, 0));
}

/// The router under stress.
struct Stress<'a> {
    router: &'a Router,
    random: Random,
    questions: String,
    answers: Vec<Answer>,
}

/// Accelerates on all interfaces, and walks its clones every second.
fn start(label: &str, index: &str) -> Router {
    let place = Place::new(label);
    // A packet that waits for a neighbour comes out late, by the way that was.
    for interface in ["right", "right2"] {
        place.router.sysctl(&format!("net/ipv4/neigh/{interface}/unres_qlen_bytes"), "0").unwrap();
    }
    Router::with(
        place,
        &[
            &["--interface", "right2", "--clone-on", "first-packet", "--sweep-interval", "1s"][..],
            &["--index", index],
        ]
        .concat(),
    )
}

impl<'a> Stress<'a> {
    fn new(router: &'a Router, seed: u64) -> Self {
        let directory = router.agent.control_socket().parent().unwrap();
        let questions = directory.join("questions").display().to_string();
        let lines: String = DESTINATIONS.iter().map(|d| format!("route get {d}\n")).collect();
        fs::write(&questions, lines + "neigh show\n").unwrap();
        Self { router, random: Random(seed), questions, answers: Vec::new() }
    }

    /// What the kernel says now: next hops of destinations, and their addresses.
    fn ask(&self) -> (BTreeMap<Ipv4Addr, Hop>, BTreeMap<Hop, Mac>) {
        let asked = ["ip", "-json", "-force", "-batch", &self.questions];
        let told = self.router.router.run(&asked).unwrap();
        let mut hops = BTreeMap::new();
        // One that is not known is asked for, and the host answers.
        let (server, other) = (&self.router.server, &self.router.other);
        let mut macs: BTreeMap<Hop, Mac> =
            [(("right", server.address), server.mac), (("right2", other.address), other.mac)]
                .into();
        for list in serde_json::Deserializer::from_str(&told.stdout).into_iter::<Value>() {
            for entry in list.unwrap().as_array().unwrap() {
                let address: Ipv4Addr = entry["dst"].as_str().unwrap().parse().unwrap();
                let Some(dev) = ["right", "right2"].into_iter().find(|name| entry["dev"] == *name)
                else {
                    continue;
                };
                if entry.get("state").is_none() {
                    let via = entry["gateway"].as_str();
                    hops.insert(address, (dev, via.map_or(address, |via| via.parse().unwrap())));
                } else if let Some(mac) = entry["lladdr"].as_str() {
                    macs.insert((dev, address), parsed(mac));
                }
            }
        }
        (hops, macs)
    }

    /// Lets something happen, and asks the kernel what it came to.
    fn change(&mut self, command: &str) {
        let argv: Vec<_> = ["ip"].into_iter().chain(command.split_whitespace()).collect();
        let from = Instant::now();
        // Some make no sense in the state of the moment; the kernel is asked in any case.
        let _ = self.router.router.run(&argv).unwrap();
        let until = Instant::now();
        if let Some(last) = self.answers.last_mut() {
            last.until = Some(until);
        }
        let (hops, macs) = self.ask();
        self.answers.push(Answer { change: command.to_owned(), from, until: None, hops, macs });
    }

    /// A command like those that routing daemons, operators and cables cause.
    fn command(&mut self) -> String {
        let random = &mut self.random;
        let prefix = random.of(&PREFIXES);
        let gateway = random.of(&["10.0.2.2", "10.0.3.2", "10.0.2.3"]);
        let mac = readable(random.of(&[NEW_ADDRESS, SILENT_MAC]));
        let (dev, net) = random.of(&[("right", 2), ("right2", 3)]);
        match random.next() % 100 {
            0..25 => format!("route replace {prefix} via {gateway}"),
            25..35 => format!("route add {prefix} via {gateway}"),
            35..42 => format!("route change {prefix} via {gateway}"),
            42..45 => format!("route append {prefix} via {gateway} metric 7"),
            45..60 => format!("route del {prefix}"),
            60..63 => format!("route replace blackhole {prefix}"),
            63..66 => format!("route replace {prefix} via {gateway} mtu 1400"),
            66..74 => format!("neigh replace 10.0.{net}.2 lladdr {mac} dev {dev}"),
            74..78 => format!("neigh replace {SILENT} lladdr {} dev right", readable(SILENT_MAC)),
            78..85 => format!("neigh del 10.0.{net}.2 dev {dev}"),
            85..88 => format!("address add {}/32 dev {dev}", random.of(&DESTINATIONS[..13])),
            88..92 => format!("address del {}/32 dev {dev}", random.of(&DESTINATIONS[..13])),
            92..94 => format!("address del 10.0.{net}.1/24 dev {dev}"),
            94..96 => format!("link set {dev} down"),
            96..98 => format!("link set {dev} address 02:00:00:00:0{net}:0{}", random.next() % 9),
            _ => format!("link set {dev} mtu {}", random.of(&[1300, 1500])),
        }
    }

    /// All links, addresses, neighbours and routes are there again; the last changes are those of anybody else.
    fn recover(&mut self) {
        for (dev, net) in [("right", 2), ("right2", 3)] {
            self.change(&format!("link set {dev} up"));
            self.change(&format!("address replace 10.0.{net}.1/24 dev {dev}"));
        }
    }

    fn for_a_while(&mut self, duration: Duration) {
        let began = Instant::now();
        while began.elapsed() < duration {
            let command = self.command();
            self.change(&command);
            // Short, so that changes meet each other; long, so that what is late is seen to be.
            let pause = self.random.of(&[0, 0, 0, 2, 10, 30, 150, 300]);
            thread::sleep(Duration::from_millis(pause));
            // What is down or has no address carries nothing: not for long.
            if command.contains("down")
                || command.contains("/24")
                || self.random.next().is_multiple_of(20)
            {
                self.recover();
            }
        }
        self.recover();
        // Something to look at in the end.
        self.change("route replace 10.8.0.0/13 via 10.0.3.2");
        self.change("route replace 10.9.0.0/16 via 10.0.2.2");
    }

    /// Every clone, with what the kernel says about its destination.
    fn compare(&self) -> (BTreeMap<u64, u32>, Vec<String>) {
        let mut by_cpu = BTreeMap::new();
        let clones = self.router.agent.json(&["show", "clones"]).unwrap();
        let mut differing = Vec::new();
        for clone in clones.as_array().unwrap() {
            let destination = clone["dst"].as_str().unwrap();
            *by_cpu.entry(clone["cpu"].as_u64().unwrap()).or_default() += 1;
            let told =
                self.router.router.run(&["ip", "-json", "route", "get", destination]).unwrap();
            let told: Value = serde_json::from_str(&told.stdout).unwrap_or_default();
            let told = &told[0];
            if told["dev"] != clone["dev"] || told["gateway"] != clone["via"] {
                differing.push(format!("clone {clone}, the kernel: {told}"));
            }
        }
        (by_cpu, differing)
    }
}

fn readable(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn parsed(mac: &str) -> Mac {
    let bytes: Vec<_> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// Sends to all destinations in turn, from a CPU, until it is over. Each frame says when it was sent.
fn send(router: &Router, cpu: usize, began: Instant, over: &AtomicBool) -> u64 {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
    let sender = router.sender();
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let destination = DESTINATIONS[(sent as usize + cpu * 5) % DESTINATIONS.len()];
        let Flow { source, .. } = router.flow();
        let time = (began.elapsed().as_nanos() as u64).to_be_bytes();
        let frame = Frame::udp((source, PORTS.0), (destination, PORTS.1), &time);
        sender.send(&frame.sent_by(&router.client).build()).unwrap();
        sent += 1;
        thread::sleep(PERIOD);
    }
    sent
}

/// What comes out at a host, until it is over and nothing comes any more.
fn receive(
    host: &Host,
    interface: &'static str,
    began: Instant,
    over: &AtomicBool,
    broken: &AtomicU32,
) -> Vec<Arrival> {
    let socket = RawSocket::open(&host.namespace, host.interface).unwrap();
    let mut all = Vec::new();
    loop {
        match socket.recv(Duration::from_millis(50)) {
            Ok(Some(frame)) => all.extend(arrival(&frame, interface, began)),
            Ok(None) if over.load(Ordering::Relaxed) => return all,
            Ok(None) => {}
            // An interface that went down says so once.
            Err(_) => drop(broken.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

fn arrival(frame: &[u8], interface: &'static str, began: Instant) -> Option<Arrival> {
    let view = Ipv4View::of(frame).filter(|view| view.ports() == Some(PORTS))?;
    let time = u64::from_be_bytes(view.transport().get(8..16)?.try_into().ok()?);
    Some(Arrival {
        destination: view.destination(),
        sent: began + Duration::from_nanos(time),
        arrived: Instant::now(),
        way: (interface, view.destination_mac()),
    })
}

#[test]
fn packets_follow_the_kernel_while_everything_changes_and_clones_agree_with_it_afterwards() {
    packets_follow_the_kernel("stress", "auto");
}

#[test]
fn packets_follow_the_kernel_while_everything_changes_and_the_index_answers() {
    packets_follow_the_kernel("stress-index", "on");
}

fn packets_follow_the_kernel(label: &str, index: &str) {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seconds = number("ROUTE_CACHE_STRESS_SECONDS").unwrap_or(SECONDS);
    let seed = number("ROUTE_CACHE_STRESS_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    eprintln!("stress: {seconds} s, ROUTE_CACHE_STRESS_SEED={seed}");
    let router = start(label, index);
    let is_indexed = router.agent.status().unwrap()["tiers"]["index"] == true;
    assert_eq!(is_indexed, index == "on", "{}", router.story());
    let mut stress = Stress::new(&router, seed);
    let began = Instant::now();
    let (over, done, broken) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU32::new(0));
    let cpus = thread::available_parallelism().unwrap().get();
    let (sent, arrivals) = thread::scope(|scope| {
        let (router, over, done, broken) = (&router, &over, &done, &broken);
        // However this ends, so do the others.
        let _end = (OnDrop(over), OnDrop(done));
        let hosts = [(&router.server, "right"), (&router.other, "right2")];
        let receivers = hosts.map(|(host, interface)| {
            scope.spawn(move || receive(host, interface, began, done, broken))
        });
        let senders: Vec<_> = (0..cpus.max(2))
            .map(|number| scope.spawn(move || send(router, number % cpus, began, over)))
            .collect();
        stress.change("route replace 10.9.0.0/16 via 10.0.2.2");
        stress.for_a_while(Duration::from_secs(seconds));
        thread::sleep(QUIET);
        over.store(true, Ordering::Relaxed);
        let sent: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        done.store(true, Ordering::Relaxed);
        let arrivals = receivers.into_iter().flat_map(|receiver| receiver.join().unwrap());
        (sent, arrivals.collect::<Vec<_>>())
    });

    let (latest, faults) = judge(&stress.answers, &arrivals, BOUND);
    let forwarded = router.forwarded();
    eprintln!(
        "stress: {} changes, {sent} frames sent, {} arrived, {forwarded} by XDP; interfaces of \
         hosts went down {} times; the latest frame by a way withdrawn was sent {latest:?} after",
        stress.answers.len(),
        arrivals.len(),
        broken.load(Ordering::Relaxed),
    );
    let longest = arrivals.iter().map(|arrival| arrival.arrived - arrival.sent).max();
    eprintln!("stress: longest on its way: {:?}", longest.unwrap_or_default());
    assert!(
        faults.is_empty(),
        "{} frames by a way withdrawn, the first: {}\n{}",
        faults.len(),
        faults[0],
        router.story()
    );
    let last = stress.answers.last().unwrap();
    for destination in last.hops.keys() {
        let Some(way) = last.way(*destination) else { continue };
        let is_it = |arrival: &Arrival| {
            arrival.destination == *destination
                && arrival.way == way
                && arrival.sent > last.from + BOUND
        };
        assert!(arrivals.iter().any(is_it), "nothing came to {destination} by {way:02x?}");
    }
    let (clones, differing) = stress.compare();
    assert!(differing.is_empty(), "{}\n{}", differing.join("\n"), router.story());
    assert_eq!(clones.len(), cpus, "clones of CPUs {clones:?} only");
    eprintln!("stress: clones by CPU, all as the kernel says: {clones:?}");
    // Most of it was not left to the kernel.
    assert!(forwarded > sent / 4, "{forwarded} of {sent} by XDP; {}", router.story());
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
