//! The BPF object: checked for, loaded, attached, asked for the time.

pub(crate) mod attach;
mod btf;
pub(crate) mod clock;
mod errors;
mod requirements;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, anyhow};
use aya::{Ebpf, EbpfLoader, programs::Xdp};
use route_cache_common::{Family as _, V4, V6, globals, maps, programs};

use self::clock::{Clock, ClockReader};
use crate::maps::{CloneTables, Counters, RedirectErrors, Writer};

/// The object file, built by `cargo xtask build`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/route-cache.o"));

/// Sizes of the maps, as the operator set them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Most clones of each family per CPU.
    pub(crate) clones_per_cpu: u32,
    /// Most routes of each family.
    pub(crate) routes: u32,
    /// Most next hops, and most neighbours.
    pub(crate) hops: u32,
}

/// The loaded object, taken apart.
pub(crate) struct Dataplane {
    /// Programs, and the maps nobody took.
    pub(crate) ebpf: Ebpf,
    /// What the program reads.
    pub(crate) writer: Writer,
    /// The clones, by family and CPU.
    pub(crate) clones: CloneTables,
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
    /// Checks what the kernel and the process are allowed, loads the object and verifies the forwarder.
    ///
    /// # Errors
    ///
    /// Says which privilege or kernel feature is missing.
    pub(crate) fn load(sizes: Sizes, traced: bool) -> Result<Self> {
        requirements::check()?;
        let cpus = possible_cpus()?;
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
            .map_max_entries(V4::CLONES, cpus)
            .map_max_entries(V6::CLONES, cpus)
            .map_max_entries(V4::ROUTES, cpus)
            .map_max_entries(V6::ROUTES, cpus)
            .map_max_entries(maps::GENERATIONS, sizes.routes.saturating_mul(2))
            .map_max_entries(maps::NEXT_HOPS, sizes.hops)
            .map_max_entries(maps::NEXT_HOPS_TOUCHED, sizes.hops)
            .map_max_entries(V4::NEIGHBOURS, sizes.hops)
            .map_max_entries(V6::NEIGHBOURS, sizes.hops)
            .load(OBJECT)
            .context("the kernel refused the BPF object")?;
        let writer = Writer::take(&mut ebpf, sizes.routes, cpus)?;
        let clones = CloneTables::make(&mut ebpf, sizes.clones_per_cpu, cpus)?;
        let counters = Counters::take(&mut ebpf)?;
        let clock_reader = ClockReader::new(&mut ebpf)?;
        let clock = Clock::calibrate(&clock_reader, &mut ebpf)?;
        program(&mut ebpf, forwarder(traced))?
            .load()
            .context("the kernel's verifier refused the forwarder")?;
        let redirect_errors = layout.and_then(|_known| {
            errors::attach(&mut ebpf)?;
            RedirectErrors::take(&mut ebpf)
        });
        Ok(Self { ebpf, writer, clones, counters, redirect_errors, clock_reader, clock })
    }
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
