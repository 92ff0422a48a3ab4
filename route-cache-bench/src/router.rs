//! A router in a namespace: links, routes, the agent, and the programs of the bench beside it.
//!
//! ```text
//! (test run) ─ in ─ router ─ out ══ veth ══ out-far ─ sink
//! ```

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, DevMap, LpmTrie, Map, PerCpuArray, PerCpuValues, ProgramArray, lpm_trie::Key},
    programs::{ProgramFd, ProgramInfo, Xdp, XdpMode, loaded_programs},
};
use route_cache_bench_ebpf::{Hop, PAGE, PAGES, Position, Traffic};
use route_cache_common::MacAddresses;
use route_cache_lab::{Agent, Namespace, Snmp, wait_until};

use crate::{
    contender::{self, Program},
    frame, machine,
    routes::{self, GATEWAYS, Route},
    start::Start,
};

/// Clones that a CPU can hold: the longest list must fit in half of it, beyond which clones are made more reluctantly.
const CLONES_PER_CPU: &str = "262144";

/// For how long the agent may leave clones alone after a flood that is over.
const CALM: Duration = Duration::from_secs(15);

/// What is counted outside the programs of the bench, since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Frames that the sink got.
    pub(crate) arrived: u64,
    /// Packets that the kernel forwarded.
    pub(crate) by_kernel: u64,
    /// Packets by the outcome that the agent's program counted.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Packets that the generator took from the list.
    pub(crate) from_list: u64,
}

/// What a router is to be.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Gets into its name.
    pub(crate) label: &'a str,
    /// The binary of the agent.
    pub(crate) agent: &'a Path,
    /// The object with the bench's programs.
    pub(crate) object: &'a Path,
    /// Routes of the kernel, and of the contender that has a trie of its own.
    pub(crate) routes: &'a [Route],
    /// Whether the agent's clone tables stay.
    pub(crate) cached: bool,
}

/// A router that runs. It is gone when this is dropped.
pub(crate) struct Router {
    // Dropped in this order: what is attached, who attached it, where.
    pub(crate) ebpf: Ebpf,
    agent: Agent,
    pub(crate) namespace: Namespace,
    /// Index of the interface that frames come in by.
    pub(crate) ingress: u32,
    /// What the start of the agent took.
    pub(crate) start: Start,
}

impl Router {
    /// Builds it.
    pub(crate) fn new(plan: &Plan<'_>) -> Result<Self> {
        let namespace = Namespace::create(&format!("bench-{}", plan.label))?;
        links(&namespace)?;
        add_routes(&namespace, plan.routes)?;
        let mut ebpf = load(plan)?;
        let (ingress, egress) = (index(&namespace, "in")?, index(&namespace, "out")?);
        fill(&mut ebpf, &plan.routes[..room(plan)], egress)?;
        namespace.run_in(|| -> Result<()> {
            xdp(&mut ebpf, "sink")?.attach("out-far", XdpMode::Driver)?;
            let mut devices: DevMap<_> = map(&mut ebpf, "BENCH_EGRESS")?.try_into()?;
            Ok(devices.set(egress, egress, None, 0)?)
        })??;
        let (agent, start) = Start::measure(&namespace, || {
            Agent::setup(plan.agent)?
                .arguments(&["--netns", namespace.name(), "--interface", "in"])
                .arguments(&["--clones-per-cpu", CLONES_PER_CPU])
                .arguments(if plan.cached { &[] } else { &["--cache=off"] })
                .start()
        })?;
        let mut router = Self { ebpf, agent, namespace, ingress, start };
        router.enter_programs()?;
        Ok(router)
    }

    /// Puts the contenders where the generator finds them.
    fn enter_programs(&mut self) -> Result<()> {
        let attached = self.attached_program()?;
        let agent = attached.fd()?;
        for (index, contender) in contender::ALL.iter().enumerate() {
            let own;
            let program: &ProgramFd = match contender.program {
                Program::Agent => &agent,
                Program::Bench(name) => {
                    own = xdp(&mut self.ebpf, name)?.fd()?.try_clone()?;
                    &own
                }
            };
            let mut programs: ProgramArray<_> = map(&mut self.ebpf, "PROGRAMS")?.try_into()?;
            programs
                .set(index as u32, program, 0)
                .with_context(|| format!("the generator cannot call {}", contender.name))?;
        }
        Ok(())
    }

    /// The program that the agent has attached.
    pub(crate) fn attached_program(&self) -> Result<ProgramInfo> {
        let text = self.namespace.exec(&["ip", "-json", "link", "show", "dev", "in"])?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        let id = links[0]["xdp"]["prog"]["id"].as_u64().context("no program is attached to in")?;
        loaded_programs()
            .filter_map(Result::ok)
            .find(|program| u64::from(program.id()) == id)
            .with_context(|| format!("the attached program, id {id}, is not to be found"))
    }

    /// Sets what the generator makes.
    pub(crate) fn set_traffic(&mut self, traffic: Traffic) -> Result<()> {
        let mut map: Array<_, Traffic> = map(&mut self.ebpf, "TRAFFIC")?.try_into()?;
        let header_sum = frame::header_sum();
        let addresses = frame::addresses();
        Ok(map.set(0, Traffic { header_sum, addresses, ..traffic }, 0)?)
    }

    /// Sets the list that the generator walks, and begins it anew.
    pub(crate) fn set_list(&mut self, list: &[u32], seed: u64) -> Result<()> {
        if list.len() > PAGE * PAGES {
            bail!("a list of {} destinations does not fit", list.len());
        }
        let mut pages: Array<_, [u32; PAGE]> = map(&mut self.ebpf, "LIST")?.try_into()?;
        for (number, chunk) in list.chunks(PAGE).enumerate() {
            let mut page = [0; PAGE];
            for (entry, address) in page.iter_mut().zip(chunk) {
                *entry = address.to_be();
            }
            pages.set(number as u32, page, 0)?;
        }
        let mut map: PerCpuArray<_, Position> = map(&mut self.ebpf, "POSITION")?.try_into()?;
        let cpus = machine::possible_cpus()?;
        let position =
            |cpu| Position { random: (seed + cpu as u64) << 1 | 1, ..Position::default() };
        Ok(map.set(0, PerCpuValues::try_from((0..cpus).map(position).collect::<Vec<_>>())?, 0)?)
    }

    /// Waits until the agent looks for and makes all clones.
    pub(crate) fn await_calm(&self) -> Result<()> {
        let is_calm = || self.agent.status().is_ok_and(|status| status["tiers"]["clones"] == "all");
        wait_until("the agent to look for all clones again", CALM, is_calm)
    }

    /// All counters as they are.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let arrived: PerCpuArray<_, u64> = self.map("ARRIVED")?.try_into()?;
        let positions: PerCpuArray<_, Position> = self.map("POSITION")?.try_into()?;
        Ok(Counts {
            arrived: arrived.get(&0, 0)?.iter().sum(),
            by_kernel: Snmp::read(&self.namespace)?.forwarded(),
            outcomes: outcomes(&self.agent.metrics()?)?,
            from_list: positions.get(&0, 0)?.iter().map(|position| position.from_list).sum(),
        })
    }

    fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf.map(name).with_context(|| format!("the bench's object has no map {name}"))
    }
}

/// `route_cache_packets_total{outcome="forwarded_clone"} 12`.
fn outcomes(metrics: &str) -> Result<BTreeMap<String, u64>> {
    const PREFIX: &str = "route_cache_packets_total{outcome=\"";
    let parse = |line: &str| {
        let (name, value) = line.strip_prefix(PREFIX)?.split_once("\"} ")?;
        Some((name.to_owned(), value.parse::<f64>().ok()? as u64))
    };
    let found: BTreeMap<_, _> = metrics.lines().filter_map(parse).collect();
    if found.is_empty() {
        bail!("the agent's metrics have no route_cache_packets_total");
    }
    Ok(found)
}

/// The address of a gateway.
fn gateway(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 0, 2 + number as u8)
}

fn links(namespace: &Namespace) -> Result<()> {
    for scope in ["all", "default"] {
        namespace.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        namespace.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
    }
    namespace.sysctl("net/ipv4/ip_forward", "1")?;
    let queues = machine::possible_cpus()?;
    let queues = format!("numtxqueues {queues} numrxqueues {queues}");
    let mut script = String::new();
    for (name, number) in [("in", 1), ("out", 2)] {
        script += &format!(
            "ip link add {name} address 02:00:00:00:0{number}:01 {queues} type veth peer name {name}-far {queues}\n\
             ip link set {name} up\nip link set {name}-far up\nip address add 10.{number}.0.1/24 dev {name}\n"
        );
    }
    for number in 0..GATEWAYS {
        let address = gateway(number);
        script += &format!(
            "ip neighbour add {address} lladdr 02:00:00:00:02:{:02x} dev out nud permanent\n",
            frame::gateway_mac(number)[5]
        );
    }
    namespace.exec(&["sh", "-ec", &script])?;
    Ok(())
}

fn add_routes(namespace: &Namespace, list: &[Route]) -> Result<()> {
    let path = std::env::temp_dir().join(format!("{}-routes", namespace.name()));
    let file = Removed(path);
    fs::write(&file.0, routes::batch(list, gateway))
        .with_context(|| format!("cannot write {}", file.0.display()))?;
    let path = file.0.display().to_string();
    // Several times as fast from one process as from one for each.
    namespace.exec(&["ip", "-batch", &path]).context("the kernel does not take the routes")?;
    Ok(())
}

/// A file that goes with this.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Left behind at worst: a file below /tmp.
        let _ = fs::remove_file(&self.0);
    }
}

fn load(plan: &Plan<'_>) -> Result<Ebpf> {
    let bytes =
        fs::read(plan.object).with_context(|| format!("cannot read {}", plan.object.display()))?;
    let room = room(plan);
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("BENCH_ROUTES", room as u32)
        .load(&bytes)
        .context("the kernel refused the bench's BPF object")?;
    let names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        xdp(&mut ebpf, &name)?
            .load()
            .with_context(|| format!("the kernel's verifier refused the bench's program {name}"))?;
    }
    Ok(ebpf)
}

fn fill(ebpf: &mut Ebpf, list: &[Route], egress: u32) -> Result<()> {
    let mut hops: Array<_, Hop> = map(ebpf, "BENCH_HOPS")?.try_into()?;
    for number in 0..GATEWAYS {
        let addresses = MacAddresses::new(frame::gateway_mac(number), frame::OUT_MAC);
        hops.set(number, Hop { addresses, ifindex: egress }, 0)?;
    }
    let mut trie: LpmTrie<_, u32, u32> = map(ebpf, "BENCH_ROUTES")?.try_into()?;
    for route in list {
        let key = Key::new(u32::from(route.len), route.network.to_be());
        trie.insert(&key, route.gateway, 0)?;
    }
    Ok(())
}

/// Routes in the trie of the contender that has one of its own: it is measured in the cached router alone.
fn room(plan: &Plan<'_>) -> usize {
    if plan.cached { plan.routes.len() } else { 1 }
}

/// An interface's index.
fn index(namespace: &Namespace, interface: &str) -> Result<u32> {
    let found = namespace.run_in(|| nix::net::if_::if_nametoindex(interface))?;
    found.with_context(|| format!("there is no interface {interface} in {}", namespace.name()))
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).ok_or_else(|| anyhow!("the bench's object has no map {name}"))
}

/// A program of the bench.
pub(crate) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    let program = program.ok_or_else(|| anyhow!("the bench's object has no program {name}"))?;
    Ok(program.try_into()?)
}
