//! The lab with the agent in its router.

use std::{collections::BTreeMap, net::Ipv4Addr, ops::Deref, path::Path, time::Duration};

use route_cache_lab::{
    Agent, Frame, Host, Lab, Namespace, RawSocket,
    agent::{FORWARDED, Setup},
    wait_until,
};
use serde_json::Value;

/// The agent's binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_route-cache");

/// What must happen soon, without a bound that is promised, happens within this.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Nobody's address, by 10.9.0.0/16 behind the server.
pub const BEYOND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// A file as `/proc/pressure/memory`, without any pressure.
const CALM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/namespaces/calm-memory-pressure");

/// The namespaces, without the agent.
pub struct Place {
    lab: Lab,
    /// 10.0.3.2 behind `right2`.
    pub other: Host,
}

/// The namespaces and an agent attached to `left` and `right`.
pub struct Router {
    /// The agent; ends before its namespaces go.
    pub agent: Agent,
    place: Place,
}

/// Where a packet comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Place {
    /// Builds it: next hops resolved, hosts that answer nothing that is not theirs.
    pub fn new(label: &str) -> Self {
        let lab = Lab::new(label).unwrap();
        let other = lab.add_host("other", "right2", "10.0.3.0/24").unwrap();
        for host in [&lab.client, &lab.server, &other] {
            host.namespace.sysctl("net/ipv4/ip_forward", "0").unwrap();
        }
        // Every packet that deserves an ICMP error gets it, but for those without a route: five in a burst, then one a
        // second (`ip_error`). Not by a limit of 0, which empties that bucket too (`inet_peer_xrlim_allow`).
        lab.router.sysctl("net/ipv4/icmp_ratemask", "0").unwrap();
        let place = Self { lab, other };
        place.ip("route add 10.9.0.0/16 via 10.0.2.2");
        place.lab.resolve_neighbours().unwrap();
        place.router.exec(&["ping", "-q", "-c", "1", "-W", "5", "10.0.3.2"]).unwrap();
        place
    }

    /// Runs `ip` in the router.
    pub fn ip(&self, arguments: &str) -> String {
        let argv: Vec<_> = ["ip"].into_iter().chain(arguments.split_whitespace()).collect();
        self.router.exec(&argv).unwrap()
    }

    /// From the client to [`BEYOND`].
    pub fn flow(&self) -> Flow {
        Flow { source: self.client.address, destination: BEYOND }
    }

    /// A socket on the client's interface.
    pub fn sender(&self) -> RawSocket {
        RawSocket::open(&self.client.namespace, self.client.interface).unwrap()
    }
}

impl Deref for Place {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Router {
    /// A fresh lab with an agent that accelerates.
    pub fn start(label: &str) -> Self {
        Self::with(Place::new(label), &[])
    }

    /// Starts the agent in a lab.
    pub fn with(place: Place, arguments: &[&str]) -> Self {
        Self::with_environment(place, arguments, &[])
    }

    /// The same with variables in its environment.
    pub fn with_environment(
        place: Place,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let set = |setup: Setup, (name, value): &(&str, &str)| setup.environment(name, value);
        Self::set_up(place, arguments, |setup| environment.iter().fold(setup, set))
    }

    /// The same with anything else that can be set up.
    pub fn set_up(place: Place, arguments: &[&str], more: impl FnOnce(Setup) -> Setup) -> Self {
        let setup = Agent::setup(Path::new(BINARY))
            .unwrap()
            .arguments(&["--netns", place.router.name(), "--interface", "left"])
            .arguments(&["--interface", "right"])
            .arguments(arguments)
            // Whoever else presses the memory of this machine, tests in other threads among them.
            .environment("ROUTE_CACHE_MEMORY_PRESSURE_FILE", CALM);
        let agent = more(setup).start().unwrap();
        Self { agent, place }
    }

    /// With an agent of one's own.
    pub const fn around(agent: Agent, place: Place) -> Self {
        Self { agent, place }
    }

    /// A fresh lab whose stream is known to be forwarded by XDP.
    pub fn forwarding(label: &str) -> Self {
        let router = Self::start(label);
        router.await_forwarding(router.flow());
        router
    }

    /// Waits until packets of a flow are forwarded by XDP.
    pub fn await_forwarding(&self, flow: Flow) {
        self.await_outcome(flow, &FORWARDED);
    }

    /// Waits until packets of a flow end in this outcome.
    pub fn await_pass(&self, flow: Flow, outcome: &str) {
        self.await_outcome(flow, &[outcome]);
    }

    fn await_outcome(&self, flow: Flow, outcomes: &[&str]) {
        const COUNT: u64 = 5;
        let sender = self.sender();
        let mut ended = BTreeMap::new();
        let what = format!("packets to {} to end in {}", flow.destination, outcomes.join(" or "));
        wait_until(&what, PATIENCE, || {
            let before = self.outcomes();
            for _ in 0..COUNT {
                sender.send(&self.frame(flow, UNNUMBERED)).unwrap();
            }
            // They are through when their number has been counted, however they ended.
            wait_until("the packets to be counted", PATIENCE, || {
                ended = grown(&before, &self.outcomes());
                ended.values().sum::<u64>() >= COUNT
            })
            .unwrap();
            outcomes.iter().filter_map(|name| ended.get(*name)).sum::<u64>() >= COUNT
        })
        .unwrap_or_else(|error| panic!("{error:#}; they ended so: {ended:?}; {}", self.story()));
    }

    /// A numbered frame of a flow, as the client sends it.
    pub fn frame(&self, flow: Flow, number: u32) -> Vec<u8> {
        let (from, to) = ((flow.source, PORTS.0), (flow.destination, PORTS.1));
        Frame::udp(from, to, &number.to_be_bytes()).sent_by(&self.client).build()
    }

    /// Packets by outcome.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        let status = self.agent.status().unwrap();
        let outcomes = status["outcomes"].as_object().unwrap();
        outcomes
            .iter()
            .map(|(name, count)| (name.clone(), count["packets"].as_u64().unwrap()))
            .collect()
    }

    /// Packets forwarded by XDP.
    pub fn forwarded(&self) -> u64 {
        self.agent.forwarded().unwrap()
    }

    /// What `route-cache show clones` says.
    pub fn clones(&self) -> Vec<Value> {
        self.agent.json(&["show", "clones"]).unwrap().as_array().unwrap().clone()
    }

    /// The clones of one destination.
    pub fn clones_of(&self, destination: impl AsAddress) -> Vec<Value> {
        let destination = destination.text();
        let mut all = self.clones();
        all.retain(|clone| clone["dst"] == *destination);
        all
    }

    /// A number of all clone tables together, by its name in the status.
    pub fn tables(&self, name: &str) -> u64 {
        let status = self.agent.status().unwrap();
        let tables = status["clones"].as_array().unwrap();
        tables.iter().map(|table| table[name].as_u64().unwrap()).sum()
    }

    /// CPUs that have clone tables.
    pub fn cpus(&self) -> usize {
        let status = self.agent.status().unwrap();
        let tables = status["clones"].as_array().unwrap();
        tables.iter().filter(|table| table["family"] == "ipv4").count()
    }

    /// Clones removed so far for a reason.
    pub fn expired(&self, reason: &str) -> u64 {
        let status = self.agent.status().unwrap();
        let tables = status["clones"].as_array().unwrap();
        tables.iter().map(|table| table["expired"][reason].as_u64().unwrap()).sum()
    }

    /// The kernel agrees with every clone, of which the data plane uses so many at least.
    #[track_caller]
    pub fn audit_is_clean(&self, least: u64) {
        let (report, code) = self.agent.audit().unwrap();
        assert_eq!(code, 0, "{report}; {}", self.story());
        assert!(report["checked"].as_u64().unwrap() >= least, "{report}; {}", self.story());
        assert_eq!(report["unsure"], 0, "{report}; {}", self.story());
    }

    /// What `route-cache get` says.
    pub fn get(&self, address: &str) -> Value {
        self.agent.json(&["get", address]).unwrap()
    }

    /// The row of an interface in `route-cache show interfaces`.
    pub fn interface(&self, name: &str) -> Option<Value> {
        let interfaces = self.agent.json(&["show", "interfaces"]).unwrap();
        interfaces.as_array().unwrap().iter().find(|row| row["name"] == name).cloned()
    }

    /// Waits until the agent as a whole names a reason that contains this text.
    pub fn await_reason(&self, text: &str) {
        wait_until(&format!("the reason \"{text}\""), PATIENCE, || {
            let status = self.agent.status().unwrap();
            status["accelerating"] == false && status["reasons"].to_string().contains(text)
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    /// Waits until an interface names a reason that contains this text.
    pub fn await_interface_reason(&self, name: &str, text: &str) {
        wait_until(&format!("the reason \"{text}\" of {name}"), PATIENCE, || {
            self.interface(name).is_some_and(|row| row["reasons"].to_string().contains(text))
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    /// For the message of a failing test.
    pub fn story(&self) -> String {
        let status = self.agent.status().map_or_else(|e| format!("{e:#}"), |s| s.to_string());
        format!("status: {status}\nlog:\n{}", self.agent.log())
    }
}

/// Interfaces of a namespace that have an XDP program.
pub fn attached_programs(namespace: &Namespace) -> Vec<String> {
    let links = namespace.exec(&["ip", "-json", "link", "show"]).unwrap();
    let links: Value = serde_json::from_str(&links).unwrap();
    let attached = links.as_array().unwrap().iter().filter(|link| !link["xdp"].is_null());
    attached.map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

/// The number of frames that are no part of a stream.
pub const UNNUMBERED: u32 = u32::MAX;

/// Source and destination port of the frames.
pub const PORTS: (u16, u16) = (4000, 4001);

/// The counters that grew, and by how much.
pub fn grown(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let by = after.iter().map(|(name, count)| (name.clone(), count - before[name]));
    by.filter(|(_, count)| *count != 0).collect()
}

impl Deref for Router {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// An address, or how one is written.
pub trait AsAddress {
    /// As the agent writes it.
    fn text(self) -> String;
}

impl AsAddress for Ipv4Addr {
    fn text(self) -> String {
        self.to_string()
    }
}

impl AsAddress for &str {
    fn text(self) -> String {
        self.to_owned()
    }
}
