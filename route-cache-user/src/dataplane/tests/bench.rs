//! The test bench: the program under test, its tables, and frames put through it.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    programs::{Program, TestRun as _, TestRunOptions, Xdp, XdpMode},
};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use route_cache_common::{
    Action, Config, MacAddresses, NextHop, NextHopId, Outcome, Port, Route,
    next_hop::NextHopVersion, outcome::OutcomeCount, programs,
};

use super::{
    super::{Dataplane, Sizes, program},
    model,
};
use crate::fib::{
    family::PerFamily,
    install::Written,
    netlink::namespace::{in_namespace, index, run},
    plan::{Plan, RoutePlan},
};

/// MAC address of the ingress interface `in`.
pub(super) const IN_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// MAC address of the host that sends.
pub(super) const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// MAC address of the egress interface `out`.
pub(super) const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
/// MAC address of the gateway behind it.
pub(super) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 2, 2];

/// Actions of `enum xdp_action` (include/uapi/linux/bpf.h).
pub(super) const XDP_PASS: u32 = 2;
/// Likewise.
pub(super) const XDP_REDIRECT: u32 = 4;

/// Small maps, big enough for every test that does not ask for others.
pub(super) const SMALL: Sizes =
    Sizes { clones_per_cpu: 64, routes: 64, hops: 16, flows_per_cpu: 64, index: false };

/// Loads the program into a fresh namespace, on a thread that stays on its CPU, because the clones do.
pub(super) fn on_bench<T: Send>(sizes: Sizes, test: impl FnOnce(&mut Bench) -> T + Send) -> T {
    in_namespace(|| {
        // Without IPv6 the kernel sends no frames of its own.
        run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
             && ip link add in address 02:00:00:00:01:01 type veth peer name in-far \
             && ip link add out address 02:00:00:00:02:01 type veth peer name out-far \
             && for device in in in-far out out-far; do ip link set $device up; done");
        stay_on(sched_getcpu());
        test(&mut Bench::new(sizes))
    })
}

/// Binds the calling thread to CPUs.
pub(super) fn stay_on(cpus: impl IntoIterator<Item = usize>) {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(cpu).expect("a CPU");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("the CPU is there");
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ran {
    /// The program's return value.
    pub(super) action: u32,
    /// The frame afterwards.
    pub(super) bytes: Vec<u8>,
}

/// The loaded program with its tables.
pub(super) struct Bench {
    /// The loaded object.
    pub(super) plane: Dataplane,
    /// The config line as last written.
    pub(super) config: Config,
    /// Index of `in`.
    pub(super) ingress: u32,
    /// Index of `out`.
    pub(super) egress: u32,
    /// [`Config::FLOWS`] and so on, for the plans that are written.
    pub(super) tiers: u64,
    slots: u32,
    hops: BTreeMap<u32, NextHop>,
}

impl Bench {
    /// Nothing in the tables but an open ingress and egress, and a promise without end.
    fn new(sizes: Sizes) -> Self {
        let mut plane = Dataplane::load(sizes, false).expect("this kernel takes the program");
        let (ingress, egress) = (index("in"), index("out"));
        // A test run borrows the receive queue of a device, which veth has only while a program is attached: one that
        // passes everything and is not under test. It stays as long as the device.
        let idle = program(&mut plane.ebpf, programs::CLOCK).expect("it is in the object");
        for device in [ingress, index("out-far")] {
            idle.attach_to_if_index(device, XdpMode::Driver).expect("veth takes programs");
        }
        let config = Config { deadline: u64::MAX, ..Config::default() };
        let (tiers, slots, hops) = (0, 0, BTreeMap::new());
        let mut bench = Self { plane, config, ingress, egress, tiers, slots, hops };
        bench.write(&Plan {
            egress_opened: vec![ingress, egress],
            ports: vec![(ingress, port(0))],
            ..bench.plan()
        });
        bench
    }

    /// A plan that changes nothing.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            flags: Config::ACCELERATE4 | self.tiers,
            local_filter: self.config.local_filter,
            ..Plan::default()
        }
    }

    /// Writes a plan, as the agent does.
    pub(super) fn write(&mut self, plan: &Plan) {
        self.write_behind(plan, Written::BOTH);
    }

    /// The same behind routes that were written before.
    pub(super) fn write_behind(&mut self, plan: &Plan, before: PerFamily<Written>) {
        let written = self.plane.writer.install(plan, before, &mut self.config);
        assert_eq!(written.expect("it is written"), Written::BOTH, "a table is full");
        let is_indexed = self.config.flags & Config::INDEX4 != 0;
        assert_eq!(is_indexed, self.plane.writer.index.flag() != 0);
    }

    /// Writes the config line.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.plane.writer.write_config(&self.config).expect("it is written");
    }

    /// Sets the flags of the ingress interface besides `ACCELERATE4`.
    pub(super) fn set_port(&mut self, flags: u16) {
        self.write(&Plan { ports: vec![(self.ingress, port(flags))], ..self.plan() });
    }

    /// A next hop by the gateway on `out`.
    pub(super) fn gateway(&self, index: u32) -> NextHopVersion {
        NextHopVersion {
            id: NextHopId::new(index, 0).0,
            ifindex: self.egress,
            port: self.egress as u16,
            vlan: 0,
            mtu: 1500,
            addresses: MacAddresses::new(GATEWAY_MAC, OUT_MAC),
            flags: NextHopVersion::USABLE,
            pass: 0,
        }
    }

    /// A plan that makes a version of a next hop the current one.
    pub(super) fn hop_plan(&mut self, index: u32, version: NextHopVersion) -> Plan {
        let hop = self.hops.entry(index).or_default();
        hop.current += 1;
        hop.versions[(hop.current & 1) as usize] = version;
        let hops = vec![(index, *hop)];
        Plan { hops, ..self.plan() }
    }

    /// Makes a version of a next hop the current one.
    pub(super) fn set_hop(&mut self, index: u32, version: NextHopVersion) -> NextHopId {
        let plan = self.hop_plan(index, version);
        self.write(&plan);
        NextHopId(version.id)
    }

    /// Writes a route in a slot of its own; returns its words' slot.
    pub(super) fn add_route(&mut self, prefix: &str, action: Action, mtu: u16) -> u32 {
        let (net, slot) = (prefix.parse::<ipnet::Ipv4Net>().expect("a prefix"), self.slots);
        self.slots += 1;
        let words = Route { action, slot, generation: 0, mtu, prefix_len: net.prefix_len() }.pack();
        let v4 = RoutePlan { routes: vec![(net, words)], ..RoutePlan::default() };
        self.write(&Plan { v4, ..self.plan() });
        slot
    }

    /// 10.2.0.0/16 by the gateway: where [`super::frame::Frame::udp`] goes.
    pub(super) fn add_default_route(&mut self) -> u32 {
        let version = self.gateway(0);
        let id = self.set_hop(0, version);
        self.add_route("10.2.0.0/16", Action::Via(id), 0)
    }

    /// Runs the program on a frame received by `in`.
    pub(super) fn run(&self, frame: &[u8]) -> Ran {
        run_on(forwarder(&self.plane.ebpf), self.ingress, frame)
    }

    /// Runs the program on a frame; exactly one outcome must have counted it, and a frame that passed be untouched.
    pub(super) fn send(&self, frame: &[u8]) -> (Outcome, Vec<u8>) {
        let before = self.outcomes();
        let ran = self.run(frame);
        let moved: Vec<_> = Outcome::ALL
            .iter()
            .zip(before.iter().zip(self.outcomes()))
            .filter(|(_, (before, after))| **before != *after)
            .map(|(outcome, (before, after))| {
                (*outcome, after.packets - before.packets, after.bytes - before.bytes)
            })
            .collect();
        let [(outcome, 1, bytes)] = moved[..] else {
            panic!("not one frame was counted but (outcome, packets, bytes) {moved:?}");
        };
        assert_eq!(bytes, frame.len() as u64, "bytes counted for {outcome:?}");
        if outcome.is_forwarded() {
            assert_eq!(ran.action, XDP_REDIRECT, "action for {outcome:?}");
        } else {
            assert_eq!(ran.action, XDP_PASS, "action for {outcome:?}");
            assert_eq!(
                ran.bytes, frame,
                "a frame that passes is the frame that came ({outcome:?})"
            );
        }
        (outcome, ran.bytes)
    }

    /// The frame must pass, for this reason.
    #[track_caller]
    pub(super) fn passes(&self, frame: &[u8], reason: Outcome) {
        assert_eq!(self.send(frame).0, reason);
    }

    /// The frame must leave for the gateway, found in the routes or in a clone.
    #[track_caller]
    pub(super) fn forwards(&self, frame: &[u8], how: Outcome) {
        let (outcome, bytes) = self.send(frame);
        assert_eq!(outcome, how);
        assert_eq!(bytes, model::forwarded(frame, GATEWAY_MAC, OUT_MAC));
    }

    /// The kernel's clock.
    pub(super) fn jiffies(&mut self) -> u64 {
        self.plane.clock_reader.read(&mut self.plane.ebpf).expect("readable").jiffies
    }

    /// All counters.
    pub(super) fn outcomes(&self) -> Vec<OutcomeCount> {
        let counters = &self.plane.counters;
        Outcome::ALL.iter().map(|outcome| counters.outcome(*outcome).expect("readable")).collect()
    }
}

/// The program under test.
pub(super) fn forwarder(ebpf: &Ebpf) -> &Xdp {
    match ebpf.program(programs::FORWARD) {
        Some(Program::Xdp(program)) => program,
        _ => panic!("the object has no XDP program {}", programs::FORWARD),
    }
}

/// The same next hop as somebody else's.
pub(super) fn version_with_id(version: NextHopVersion, id: u32) -> NextHopVersion {
    NextHopVersion { id, ..version }
}

/// Word of the ingress interface.
pub(super) fn port(flags: u16) -> u64 {
    Port { mac: IN_MAC, flags: Port::ACCELERATE4 | flags }.pack()
}

/// Runs a program on a frame received by an interface.
pub(super) fn run_on(program: &Xdp, ingress: u32, frame: &[u8]) -> Ran {
    let mut bytes = vec![0; frame.len()];
    let context = context(ingress, frame.len());
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut bytes),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })
        .expect("the kernel runs the program");
    bytes.truncate(result.data_size_out as usize);
    Ran { action: result.return_value, bytes }
}

/// `struct xdp_md` (include/uapi/linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index,
/// egress_ifindex.
pub(super) fn context(ingress: u32, len: usize) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ingress.to_ne_bytes());
    context
}
