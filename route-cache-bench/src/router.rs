//! A router in a namespace: links, routes, the agent, and the programs of the bench beside it.
//!
//! ```text
//! (test run) ─ in ─ router ─ out ══ veth ══ out-far ─ sink
//! ```

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, DevMap, LpmTrie, Map, PerCpuArray, PerCpuValues, ProgramArray, lpm_trie::Key},
    programs::{ProgramFd, ProgramInfo, Xdp, XdpMode, loaded_programs},
};
use route_cache_bench_ebpf::{FLOW_SEED, FLOW_SETS, Hop, PAGE, PAGES, Position, Traffic};
use route_cache_common::{Flow, FlowKey, FlowSet, MacAddresses, flows::flow_set};
use route_cache_lab::{Agent, Namespace, Snmp, wait_until};

use crate::{
    contender::{self, Program},
    frame, machine,
    routes::{self, Family, GATEWAYS, OWN6, Route},
    start::Start,
};

/// Clones that a CPU can hold: the longest list must fit in half of it, beyond which clones are made more reluctantly.
pub(crate) const CLONES_PER_CPU: u32 = 262_144;

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
    /// Of the routes and of the traffic.
    pub(crate) family: Family,
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
    /// Of the traffic.
    pub(crate) family: Family,
    /// Index of the interface that frames come in by.
    pub(crate) ingress: u32,
    /// What the start of the agent took.
    pub(crate) start: Start,
}

impl Router {
    /// Builds it.
    pub(crate) fn new(plan: &Plan<'_>) -> Result<Self> {
        let namespace = Namespace::create(&format!("bench-{}", plan.label))?;
        links(&namespace, plan.family)?;
        add_routes(&namespace, plan.family, plan.routes)?;
        let mut ebpf = load(plan)?;
        let (ingress, egress) = (index(&namespace, "in")?, index(&namespace, "out")?);
        fill(&mut ebpf, plan, egress)?;
        namespace.run_in(|| -> Result<()> {
            xdp(&mut ebpf, "sink")?.attach("out-far", XdpMode::Driver)?;
            let mut devices: DevMap<_> = map(&mut ebpf, "BENCH_EGRESS")?.try_into()?;
            Ok(devices.set(egress, egress, None, 0)?)
        })??;
        let (agent, start) = Start::measure(&namespace, plan.family, || {
            Agent::setup(plan.agent)?
                .arguments(&["--netns", namespace.name(), "--interface", "in"])
                .arguments(&["--clones-per-cpu", &CLONES_PER_CPU.to_string()])
                .arguments(if plan.cached { &[] } else { &["--cache=off"] })
                .start()
        })?;
        let family = plan.family;
        let mut router = Self { ebpf, agent, namespace, family, ingress, start };
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
                // Passing is the same for both.
                Program::Bench(name) => {
                    let suffix = if name == "pass" { "" } else { self.family.suffix() };
                    own = xdp(&mut self.ebpf, &format!("{name}{suffix}"))?.fd()?.try_clone()?;
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
    pub(crate) fn set_list(&mut self, list: &[u128], seed: u64) -> Result<()> {
        let words = self.family.word_count();
        if list.len() * words > PAGE * PAGES {
            bail!("a list of {} destinations does not fit", list.len());
        }
        let mut pages: Array<_, [u32; PAGE]> = map(&mut self.ebpf, "LIST")?.try_into()?;
        for (number, chunk) in list.chunks(PAGE / words).enumerate() {
            let mut page = [0; PAGE];
            for (entry, address) in page.chunks_exact_mut(words).zip(chunk) {
                entry.copy_from_slice(&self.family.words(*address)[..words]);
            }
            pages.set(number as u32, page, 0)?;
        }
        let mut map: PerCpuArray<_, Position> = map(&mut self.ebpf, "POSITION")?.try_into()?;
        let cpus = machine::possible_cpus()?;
        let position =
            |cpu| Position { random: (seed + cpu as u64) << 1 | 1, ..Position::default() };
        Ok(map.set(0, PerCpuValues::try_from((0..cpus).map(position).collect::<Vec<_>>())?, 0)?)
    }

    /// Fills the table of flows that is measured alone. Of those that share a set the last two are in it, the others'
    /// packets pass.
    pub(crate) fn set_flows(&mut self, list: &[u128]) -> Result<()> {
        let mut sets = vec![FlowSet::default(); FLOW_SETS as usize];
        for address in list {
            let [a, b, c, d] = self.family.words(*address).map(u64::from);
            let key: FlowKey = [a | b << 32, c | d << 32];
            let [first, second] = &mut sets[flow_set(key, FLOW_SEED, FLOW_SETS) as usize].ways;
            (*first, *second) = (Flow { key, id: 0, epoch: 1, ..Flow::default() }, *first);
        }
        let mut map: Array<_, FlowSet> = map(&mut self.ebpf, "BENCH_FLOWS")?.try_into()?;
        for (index, set) in sets.into_iter().enumerate() {
            map.set(index as u32, set, 0)?;
        }
        Ok(())
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
            by_kernel: match self.family {
                Family::V4 => Snmp::read(&self.namespace)?.forwarded(),
                Family::V6 => Snmp::read(&self.namespace)?.get("Ip6", "OutForwDatagrams"),
            },
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

/// The address of host `number` on link 1, the ingress, or 2, the egress.
fn host(family: Family, link: u32, number: u32) -> IpAddr {
    let (link, number) = (u128::from(link), u128::from(number));
    family.address(match family {
        Family::V4 => 10 << 24 | link << 16 | number,
        Family::V6 => OWN6 << 112 | link << 96 | number,
    })
}

/// The address of a gateway.
fn gateway(family: Family, number: u32) -> IpAddr {
    host(family, 2, 2 + number)
}

fn links(namespace: &Namespace, family: Family) -> Result<()> {
    for scope in ["all", "default"] {
        let is_off = if family == Family::V6 { "0" } else { "1" };
        namespace.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), is_off)?;
        namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        namespace.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
    }
    match family {
        Family::V4 => namespace.sysctl("net/ipv4/ip_forward", "1")?,
        Family::V6 => {
            namespace.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            // By default it is smaller than a full table (Linux before 4.2 only, but there it is).
            namespace.sysctl("net/ipv6/route/max_size", "2147483647")?;
        }
    }
    let queues = machine::possible_cpus()?;
    let queues = format!("numtxqueues {queues} numrxqueues {queues}");
    let mut script = String::new();
    for (name, number) in [("in", 1), ("out", 2)] {
        script += &format!(
            "ip link add {name} address 02:00:00:00:0{number}:01 {queues} type veth peer name {name}-far {queues}\n\
             ip link set {name} up\nip link set {name}-far up\nip address add {}/{} dev {name}\n",
            host(family, number, 1),
            if family == Family::V4 { 24 } else { 64 },
        );
    }
    for number in 0..GATEWAYS {
        let address = gateway(family, number);
        script += &format!(
            "ip neighbour add {address} lladdr 02:00:00:00:02:{:02x} dev out nud permanent\n",
            frame::gateway_mac(number)[5]
        );
    }
    namespace.exec(&["sh", "-ec", &script])?;
    Ok(())
}

fn add_routes(namespace: &Namespace, family: Family, list: &[Route]) -> Result<()> {
    let path = std::env::temp_dir().join(format!("{}-routes", namespace.name()));
    let file = Removed(path);
    fs::write(&file.0, routes::batch(family, list, |number| gateway(family, number)))
        .with_context(|| format!("cannot write {}", file.0.display()))?;
    let path = file.0.display().to_string();
    // Several times as fast from one process as from one for each.
    let option = if family == Family::V4 { "-4" } else { "-6" };
    namespace
        .exec(&["ip", option, "-batch", &path])
        .context("the kernel does not take the routes")?;
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
        .map_max_entries(trie(plan.family), room as u32)
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

/// The trie of the contender that has one of its own.
const fn trie(family: Family) -> &'static str {
    match family {
        Family::V4 => "BENCH_ROUTES",
        Family::V6 => "BENCH_ROUTES6",
    }
}

fn fill(ebpf: &mut Ebpf, plan: &Plan<'_>, egress: u32) -> Result<()> {
    let list = &plan.routes[..room(plan)];
    let mut hops: Array<_, Hop> = map(ebpf, "BENCH_HOPS")?.try_into()?;
    for number in 0..GATEWAYS {
        let addresses = MacAddresses::new(frame::gateway_mac(number), frame::OUT_MAC);
        hops.set(number, Hop { addresses, ifindex: egress }, 0)?;
    }
    let map = map(ebpf, trie(plan.family))?;
    let words = |route: &Route| plan.family.words(route.network);
    match plan.family {
        Family::V4 => {
            let mut trie: LpmTrie<_, u32, u32> = map.try_into()?;
            for route in list {
                trie.insert(&Key::new(route.len.into(), words(route)[0]), route.gateway, 0)?;
            }
        }
        Family::V6 => {
            let mut trie: LpmTrie<_, [u32; 4], u32> = map.try_into()?;
            for route in list {
                trie.insert(&Key::new(route.len.into(), words(route)), route.gateway, 0)?;
            }
        }
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
