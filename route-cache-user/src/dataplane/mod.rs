//! The BPF object: checked for, loaded, attached, asked for the time.

pub(crate) mod attach;
mod btf;
pub(crate) mod clock;
mod errors;
pub(crate) mod probe;
mod requirements;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, anyhow};
use aya::{Ebpf, EbpfLoader, programs::Xdp};
use route_cache_common::{
    Family as _, FlowSet, V4, V6, globals, index::CHUNKS, maps, programs, route::BUCKETS,
};

use self::clock::{Clock, ClockReader};
use crate::maps::{CloneTables, Counters, FlowTables, RedirectErrors, Writer};

/// The object file, built by `cargo xtask build`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/route-cache.o"));

/// Most next-hop groups. Routes by further ones are left to the kernel.
pub(crate) const GROUPS: u32 = 1024;

/// Sizes of the maps, as the operator set them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Most clones of each family per CPU.
    pub(crate) clones_per_cpu: u32,
    /// Most routes of each family.
    pub(crate) routes: u32,
    /// Most next hops, and most neighbours.
    pub(crate) hops: u32,
    /// Flows of each family per CPU: a power of two, or 0.
    pub(crate) flows_per_cpu: u32,
    /// Whether there is room for the index.
    pub(crate) index: bool,
}

impl Sizes {
    /// Sets of flows, of each family per CPU.
    pub(crate) const fn flow_sets(&self) -> u32 {
        self.flows_per_cpu / FlowSet::WAYS as u32
    }
}

/// The loaded object, taken apart.
pub(crate) struct Dataplane {
    /// Programs, and the maps nobody took.
    pub(crate) ebpf: Ebpf,
    /// What the program reads.
    pub(crate) writer: Writer,
    /// The clones, by family and CPU.
    pub(crate) clones: CloneTables,
    /// The flows.
    pub(crate) flows: FlowTables,
    /// What it counts.
    pub(crate) counters: Counters,
    /// What came to nothing after it; or why that is not known.
    pub(crate) redirect_errors: Result<RedirectErrors>,
    /// Reads the kernel's clock.
    pub(crate) clock_reader: ClockReader,
    /// Tells jiffies.
    pub(crate) clock: Clock,
}

impl Dataplane {
    /// Checks what the kernel is able to do and the process is allowed to do.
    ///
    /// # Errors
    ///
    /// Says which privilege or kernel feature is missing.
    pub(crate) fn check_requirements() -> Result<()> {
        requirements::check()
    }

    /// Loads the object and verifies the forwarder.
    ///
    /// # Errors
    ///
    /// If the kernel refuses something, with what its verifier says.
    pub(crate) fn load(sizes: Sizes, traced: bool) -> Result<Self> {
        let cpus = possible_cpus()?;
        let (flow_sets, flow_seed) = (sizes.flow_sets(), flow_seed()?);
        let all_flow_sets = flow_sets.saturating_mul(cpus).max(1);
        let layout = errors::Layout::read();
        let mut loader = EbpfLoader::new();
        if let Ok(layout) = &layout {
            loader
                .override_global(globals::NETNS, &layout.netns, true)
                .override_global(globals::DEVICE_IFINDEX, &layout.ifindex, true)
                .override_global(globals::DEVICE_NET, &layout.net, true)
                .override_global(globals::NET_INUM, &layout.inum, true);
        }
        let mut ebpf = loader
            .override_global(globals::FLOW_SETS, &flow_sets, true)
            .override_global(globals::FLOW_SEED, &flow_seed[..], true)
            .map_max_entries(V4::FLOWS, all_flow_sets)
            .map_max_entries(V6::FLOWS, all_flow_sets)
            .map_max_entries(maps::INDEX4, if sizes.index { CHUNKS } else { 1 })
            .map_max_entries(maps::INDEX4_ROUTES, if sizes.index { INDEX_ROUTES } else { 1 })
            .map_max_entries(V4::CLONES, cpus)
            .map_max_entries(V6::CLONES, cpus)
            .map_max_entries(V4::ROUTES, cpus)
            .map_max_entries(V6::ROUTES, cpus)
            .map_max_entries(maps::GENERATIONS, sizes.routes.saturating_mul(2))
            .map_max_entries(maps::NEXT_HOPS, sizes.hops)
            .map_max_entries(maps::NEXT_HOPS_TOUCHED, sizes.hops)
            .map_max_entries(V4::NEIGHBOURS, sizes.hops)
            .map_max_entries(V6::NEIGHBOURS, sizes.hops)
            .map_max_entries(maps::GROUPS, GROUPS * BUCKETS)
            .load(OBJECT)
            .context("the kernel refused the BPF object")?;
        let writer = Writer::take(&mut ebpf, sizes.routes, cpus)?;
        let flows = FlowTables::take(&mut ebpf, flow_sets)?;
        let clones = CloneTables::make(&mut ebpf, sizes.clones_per_cpu, cpus)?;
        let counters = Counters::take(&mut ebpf)?;
        let clock_reader = ClockReader::new(&mut ebpf)?;
        let clock = Clock::calibrate(&clock_reader, &mut ebpf)?;
        program(&mut ebpf, forwarder(traced))?
            .load()
            .context("the kernel's verifier refused the forwarder")?;
        let redirect_errors = layout.and_then(|_known| {
            errors::attach(&mut ebpf, &programs::ON_TRACEPOINTS)?;
            RedirectErrors::take(&mut ebpf)
        });
        Ok(Self { ebpf, writer, clones, flows, counters, redirect_errors, clock_reader, clock })
    }
}

/// Elements of the map that says what the codes of the index mean: one for each code.
const INDEX_ROUTES: u32 = 1 << 16;

/// Secret and odd, see [`route_cache_common::flows::flow_set`].
fn flow_seed() -> Result<[u64; 4]> {
    let mut bytes = [[0; 8]; 4];
    for bytes in &mut bytes {
        getrandom::fill(bytes).context("cannot get random numbers from the kernel")?;
    }
    Ok(bytes.map(|bytes| u64::from_ne_bytes(bytes) | 1))
}

/// Name of the forwarder to use.
pub(crate) const fn forwarder(traced: bool) -> &'static str {
    if traced { programs::FORWARD_TRACED } else { programs::FORWARD }
}

/// A program of the object.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program =
        ebpf.program_mut(name).ok_or_else(|| anyhow!("the BPF object has no program {name}"))?;
    program.try_into().with_context(|| format!("program {name} is not an XDP program"))
}

/// CPUs that may ever come on-line: per-CPU tables are sized by these.
pub(crate) fn possible_cpus() -> Result<u32> {
    let cpus =
        aya::util::nr_cpus().map_err(|(path, error)| anyhow!("cannot read {path}: {error}"))?;
    u32::try_from(cpus).context("impossibly many CPUs")
}
