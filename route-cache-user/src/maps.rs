//! The maps from the agent's side. Each has one writer here:
//!
//! - [`Writer`]: everything the program reads; owned by the task that owns the mirror.
//! - [`CloneTables`]: the clones, a [`CloneTable`] for each CPU and family, which the program makes and the sweeper deletes.
//! - [`FlowTables`]: the flows, read only.
//! - [`Counters`], [`Generations`]: read only.
//! - [`RedirectErrors`]: the tracepoint programs count, the agent deletes.
//! - the [`Prober`](crate::dataplane::probe::Prober)'s word: it asks, the tracepoint programs answer.

use std::{
    collections::{BTreeMap, HashMap as StdHashMap},
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering, fence},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    maps::{
        Array, ArrayOfMaps, HashMap, InnerMap, LpmTrie, Map, MapData, MapError, PerCpuArray,
        PerCpuHashMap, PerCpuValues, lpm_trie::Key, xdp::DevMap,
    },
};
use ipnet::Ipv4Net;
use route_cache_common::{
    Address4, ClonedRoute, Config, Family, Flow, FlowSet, NextHop, Outcome, RedirectError, Tally,
    V4, V6,
    clones::CloneWords,
    config::ClockReading,
    index::{ASK_TRIE, Code, INDEX_PREFIX_LEN},
    maps,
    outcome::OutcomeCount,
    route::RouteWords,
};

use crate::{
    fib::{
        family::{IpFamily, NetFamily},
        index::{Index, Target},
    },
    sys::{self, BatchResult},
};

/// BPF_F_NO_PREALLOC: memory follows the number of entries, up to the bound.
const NO_PREALLOC: u32 = 1;

/// Takes a map of the object by name and type.
fn take<M>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or_else(|| anyhow!("the BPF object has no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name} is not of the expected type"))
}

/// Puts a map into the slot of each CPU, and opens them again: aya keeps the descriptor of a typed map to itself, that
/// of an untyped one it gives.
fn fill_slots<V: InnerMap>(
    ebpf: &mut Ebpf,
    name: &str,
    cpus: u32,
    mut make: impl FnMut() -> Result<V, MapError>,
    shared: bool,
) -> Result<Vec<MapData>>
where
    for<'a> ArrayOfMaps<&'a mut MapData, V>: TryFrom<&'a mut Map, Error = MapError>,
{
    let outer = ebpf.map_mut(name).ok_or_else(|| anyhow!("the BPF object has no map {name}"))?;
    let what = |cpu| move || format!("cannot make {name} of CPU {cpu}");
    let mut slots = ArrayOfMaps::<_, V>::try_from(&mut *outer).with_context(what(0))?;
    let mut map = make().with_context(what(0))?;
    for cpu in 0..cpus {
        if cpu > 0 && !shared {
            map = make().with_context(what(cpu))?;
        }
        slots.set(cpu, &map, 0).with_context(what(cpu))?;
    }
    let slots = ArrayOfMaps::<_, MapData>::try_from(&*outer).with_context(what(0))?;
    (0..if shared { 1 } else { cpus })
        .map(|cpu| slots.get(&cpu, 0).with_context(what(cpu)))
        .collect()
}

/// What the program reads.
pub(crate) struct Writer {
    /// The config line.
    pub(crate) config: Array<MapData, Config>,
    /// Ingress interfaces.
    pub(crate) ports: Array<MapData, u64>,
    /// Own addresses.
    pub(crate) local_addresses: HashMap<MapData, Address4, u32>,
    /// Next hops.
    pub(crate) next_hops: Array<MapData, NextHop>,
    /// Marks on next hops used while stale.
    pub(crate) touched: Array<MapData, u32>,
    /// IPv4 routes and on-link destinations.
    pub(crate) v4: RouteMaps<V4>,
    /// IPv6 routes and on-link destinations.
    pub(crate) v6: RouteMaps<V6>,
    /// VLAN devices.
    pub(crate) vlans: HashMap<MapData, u32, u32>,
    /// Buckets of next-hop groups.
    pub(crate) groups: Array<MapData, u32>,
    /// The index of IPv4 routes.
    pub(crate) index: IndexMap,
    egress: Map,
    generations: MapData,
}

/// What the program reads of one family.
pub(crate) struct RouteMaps<F: NetFamily> {
    /// On-link destinations.
    pub(crate) neighbours: HashMap<MapData, F::OnLink, u32>,
    routes: MapData,
}

impl<F: NetFamily> RouteMaps<F> {
    /// Takes the maps out of the object, and puts one trie of up to `max_routes` prefixes into the slot of every CPU.
    fn take(ebpf: &mut Ebpf, max_routes: u32, cpus: u32) -> Result<Self> {
        let trie = || LpmTrie::<MapData, F::Address, RouteWords>::create(max_routes, NO_PREALLOC);
        let mut routes = fill_slots(ebpf, <F as Family>::ROUTES, cpus, trie, true)?;
        Ok(Self {
            neighbours: take(ebpf, F::NEIGHBOURS)?,
            routes: routes.pop().ok_or_else(|| anyhow!("this machine has no CPU"))?,
        })
    }

    /// Writes routes in the order given. The error tells how many were written.
    pub(crate) fn write_routes(
        &self,
        keys: &[Key<F::Address>],
        values: &[RouteWords],
    ) -> BatchResult {
        sys::update_batch(self.routes.fd().as_fd(), keys, values)
    }

    /// Removes routes. One that is not there is as good as removed.
    pub(crate) fn remove_routes(&self, keys: &[Key<F::Address>]) -> io::Result<()> {
        delete_all(self.routes.fd().as_fd(), keys).map(|_removed| ())
    }
}

impl Writer {
    /// Takes the maps out of the object; each family has room for `max_routes` prefixes.
    pub(crate) fn take(ebpf: &mut Ebpf, max_routes: u32, cpus: u32) -> Result<Self> {
        Ok(Self {
            v4: RouteMaps::take(ebpf, max_routes, cpus)?,
            v6: RouteMaps::take(ebpf, max_routes, cpus)?,
            config: take(ebpf, maps::CONFIG)?,
            ports: take(ebpf, maps::PORTS)?,
            local_addresses: take(ebpf, maps::LOCAL_ADDRESSES)?,
            next_hops: take(ebpf, maps::NEXT_HOPS)?,
            touched: take(ebpf, maps::NEXT_HOPS_TOUCHED)?,
            vlans: take(ebpf, maps::VLANS)?,
            groups: take(ebpf, maps::GROUPS)?,
            index: IndexMap::take(ebpf)?,
            egress: ebpf
                .take_map(maps::EGRESS)
                .ok_or_else(|| anyhow!("the BPF object has no map {}", maps::EGRESS))?,
            generations: match ebpf.take_map(maps::GENERATIONS) {
                Some(Map::Array(map)) => map,
                _ => return Err(anyhow!("the BPF object has no array {}", maps::GENERATIONS)),
            },
        })
    }

    /// A handle on the generations, to read them.
    pub(crate) fn generations(&self) -> io::Result<Generations> {
        self.generations.fd().as_fd().try_clone_to_owned().map(Generations)
    }

    /// Lets frames be redirected to an interface.
    pub(crate) fn open_egress(&mut self, ifindex: u32) -> Result<()> {
        DevMap::try_from(&mut self.egress)?.set(ifindex, ifindex, None, 0)?;
        Ok(())
    }

    /// Lets no frames be redirected to an interface. The kernel does so by itself when a device goes away.
    pub(crate) fn close_egress(&self, ifindex: u32) -> io::Result<()> {
        match &self.egress {
            Map::DevMap(map) => match sys::delete(map.fd().as_fd(), &ifindex) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
            _ => Err(io::Error::other("the egress map is not a device map")),
        }
    }

    /// Raises generations in the order given.
    pub(crate) fn write_generations(&self, slots: &[u32], generations: &[u32]) -> BatchResult {
        sys::update_batch(self.generations.fd().as_fd(), slots, generations)
    }
}

/// The index of IPv4 routes: codes by /24 in memory, and what they mean.
pub(crate) struct IndexMap {
    /// Open until the program is loaded, which names it.
    _codes: MapData,
    meanings: Array<MapData, RouteWords>,
    mapping: Option<sys::Mapping>,
    /// What it says, while it is complete.
    index: Option<Index>,
}

impl IndexMap {
    fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let codes = match ebpf.take_map(maps::INDEX4) {
            Some(Map::Array(map)) => map,
            _ => return Err(anyhow!("the BPF object has no array {}", maps::INDEX4)),
        };
        let meanings: Array<MapData, RouteWords> = take(ebpf, maps::INDEX4_ROUTES)?;
        let mapping = if meanings.len() > u32::from(Code::MAX) {
            let codes = codes.fd().as_fd();
            let mapping = sys::Mapping::new(codes, 1 << INDEX_PREFIX_LEN);
            Some(mapping.context("cannot map the index into memory")?)
        } else {
            None
        };
        Ok(Self { _codes: codes, meanings, mapping, index: None })
    }

    /// Whether there is room for it.
    pub(crate) const fn has_room(&self) -> bool {
        self.mapping.is_some()
    }

    /// [`Config::INDEX4`], if it is complete.
    pub(crate) const fn flag(&self) -> u64 {
        if self.index.is_some() { Config::INDEX4 } else { 0 }
    }

    /// It is not kept any more. The flag must not stand in the config line.
    pub(crate) fn forget(&mut self) {
        self.index = None;
    }

    /// Begins it in a map that was never written to, for about so many routes that [`IndexMap::change`] adds.
    pub(crate) fn begin(&mut self, routes: usize) {
        self.index = self.has_room().then(|| Index::with_capacity(routes));
    }

    /// Makes it of all routes.
    pub(crate) fn build(
        &mut self,
        routes: impl ExactSizeIterator<Item = (Ipv4Net, RouteWords)>,
    ) -> Result<()> {
        self.index = None;
        let Some(mapping) = &self.mapping else {
            return Ok(());
        };
        let table = mapping.values();
        table.iter().for_each(|code| code.store(ASK_TRIE, Ordering::Relaxed));
        let meanings = &mut self.meanings;
        let mut define = |code, words| define(meanings, code, words);
        self.index = Some(Index::build(routes, &mut Target { table, define: &mut define })?);
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Makes a change of the routes in it; what is wrong then is the whole of it.
    pub(crate) fn change(
        &mut self,
        routes: impl IntoIterator<Item = (Ipv4Net, RouteWords)>,
        removed: impl IntoIterator<Item = Ipv4Net>,
    ) -> Result<()> {
        let (Some(mapping), Some(mut index)) = (&self.mapping, self.index.take()) else {
            return Ok(());
        };
        let (table, meanings, now) = (mapping.values(), &mut self.meanings, Instant::now());
        let mut define = |code, words| define(meanings, code, words);
        let mut target = Target { table, define: &mut define };
        for (net, words) in routes {
            index.insert(net, words, now, &mut target)?;
        }
        for net in removed {
            index.remove(net, now, &target);
        }
        self.index = Some(index);
        // What is written next, generations above all, is seen after the codes.
        fence(Ordering::SeqCst);
        Ok(())
    }
}

fn define(meanings: &mut Array<MapData, RouteWords>, code: Code, words: RouteWords) -> Result<()> {
    meanings.set(code.into(), words, 0).context("cannot say what a code of the index means")
}

/// Removes keys, going on behind those that are not there. Returns how many were.
fn delete_all<K: aya::Pod>(map: BorrowedFd<'_>, mut keys: &[K]) -> io::Result<u64> {
    let mut removed = 0;
    loop {
        match sys::delete_batch(map, keys) {
            Ok(()) => return Ok(removed + keys.len() as u64),
            Err((done, error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                removed += done as u64;
                keys = keys.get(done + 1..).unwrap_or_default();
            }
            Err((_, error)) => return Err(error),
        }
    }
}

/// To be overwritten.
const NO_CLONE: ClonedRoute =
    ClonedRoute { route: [0; 4], last_used: 0, created: 0, packets: 0, bytes: 0 };

/// The generations, as the program sees them. Read only.
#[derive(Debug)]
pub(crate) struct Generations(OwnedFd);

impl Generations {
    /// The present generation of a slot.
    pub(crate) fn get(&self, slot: u32) -> io::Result<u32> {
        let mut generation = 0;
        sys::lookup(self.0.as_fd(), &slot, &mut generation).map(|()| generation)
    }
}

/// The clones of all CPUs.
pub(crate) struct CloneTables {
    /// IPv4, by CPU.
    pub(crate) v4: Vec<CloneTable<V4>>,
    /// IPv6, by CPU.
    pub(crate) v6: Vec<CloneTable<V6>>,
}

impl CloneTables {
    /// Makes two tables of up to `capacity` clones for every CPU.
    pub(crate) fn make(ebpf: &mut Ebpf, capacity: u32, cpus: u32) -> Result<Self> {
        Ok(Self {
            v4: CloneTable::make_all(ebpf, capacity, cpus)?,
            v6: CloneTable::make_all(ebpf, capacity, cpus)?,
        })
    }

    /// CPUs that have tables.
    pub(crate) const fn cpus(&self) -> usize {
        self.v4.len()
    }
}

/// The clones of one family on one CPU.
pub(crate) struct CloneTable<F> {
    /// The CPU.
    pub(crate) cpu: u32,
    /// Most clones it can hold.
    pub(crate) capacity: u32,
    map: MapData,
    /// Clones deleted since start.
    removed: AtomicU64,
    family: PhantomData<F>,
}

impl<F: NetFamily> CloneTable<F> {
    fn make_all(ebpf: &mut Ebpf, capacity: u32, cpus: u32) -> Result<Vec<Self>> {
        let hash = || HashMap::<MapData, F::Address, CloneWords>::create(capacity, NO_PREALLOC);
        let made = fill_slots(ebpf, F::CLONES, cpus, hash, false)?;
        let table = |(cpu, map)| {
            let (removed, family) = (AtomicU64::new(0), PhantomData);
            Self { cpu, capacity, map, removed, family }
        };
        Ok((0..cpus).zip(made).map(table).collect())
    }

    /// Visits every clone, `batch` at a time. Clones made meanwhile may be missed, clones deleted be seen.
    pub(crate) fn visit(
        &self,
        batch: usize,
        mut visit: impl FnMut(&[F::Address], &[ClonedRoute]),
    ) -> io::Result<()> {
        let map = self.map.fd().as_fd();
        let mut walk = sys::Walk::<F::Address, ClonedRoute>::new(map, batch, NO_CLONE);
        while let Some((keys, clones)) = walk.next()? {
            visit(keys, clones);
        }
        Ok(())
    }

    /// About `most` clones from `position` on, which is then where to go on; nothing at the end of the table.
    pub(crate) fn some(
        &self,
        position: &mut Option<u32>,
        most: usize,
    ) -> io::Result<Vec<(F::Address, ClonedRoute)>> {
        let map = self.map.fd().as_fd();
        let mut walk =
            sys::Walk::<F::Address, ClonedRoute>::resumed(map, most, NO_CLONE, *position);
        let some = walk
            .next()?
            .map(|(keys, clones)| keys.iter().copied().zip(clones.iter().copied()).collect());
        *position = walk.position();
        Ok(some.unwrap_or_default())
    }

    /// The clone of a destination.
    pub(crate) fn get(&self, destination: F::Address) -> io::Result<Option<ClonedRoute>> {
        let mut clone = NO_CLONE;
        match sys::lookup(self.map.fd().as_fd(), &destination, &mut clone) {
            Ok(()) => Ok(Some(clone)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts clones into the table, as only the program does otherwise.
    #[cfg(test)]
    pub(crate) fn put(&self, destinations: &[F::Address], clones: &[ClonedRoute]) -> BatchResult {
        sys::update_batch(self.map.fd().as_fd(), destinations, clones)
    }

    /// Deletes clones. Returns how many were there.
    pub(crate) fn delete(&self, destinations: &[F::Address]) -> io::Result<u64> {
        let removed = delete_all(self.map.fd().as_fd(), destinations)?;
        self.removed.fetch_add(removed, Ordering::Relaxed);
        Ok(removed)
    }

    /// Clones deleted since start.
    pub(crate) fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }
}

/// The flows of all CPUs.
pub(crate) struct FlowTables {
    v4: MapData,
    v6: MapData,
    sets: u32,
}

/// Flows with packets that their clones have not been told of, by destination.
pub(crate) struct Untold<F: NetFamily>(StdHashMap<F::Address, Vec<Flow>>);

impl FlowTables {
    /// Takes the maps out of the object; each CPU has so many sets in each.
    pub(crate) fn take(ebpf: &mut Ebpf, sets: u32) -> Result<Self> {
        let mut take = |name| match ebpf.take_map(name) {
            Some(Map::Array(map)) => Ok(map),
            _ => Err(anyhow!("the BPF object has no array {name}")),
        };
        Ok(Self { v4: take(V4::FLOWS)?, v6: take(V6::FLOWS)?, sets })
    }

    /// Whether there are any.
    pub(crate) const fn exist(&self) -> bool {
        self.sets > 0
    }

    /// What the clones of a CPU have not been told of.
    pub(crate) fn untold<F: NetFamily>(&self, cpu: u32) -> io::Result<Untold<F>> {
        let mut untold = StdHashMap::<F::Address, Vec<Flow>>::new();
        self.visit::<F>(cpu, |_, set| {
            for flow in set.ways.into_iter().filter(|flow| flow.packets() > 0) {
                untold.entry(F::flow_destination(flow.key)).or_default().push(flow);
            }
        })?;
        Ok(Untold(untold))
    }

    /// Visits the sets of a CPU.
    fn visit<F: NetFamily>(
        &self,
        cpu: u32,
        mut visit: impl FnMut(u32, &FlowSet),
    ) -> io::Result<()> {
        const BATCH: usize = 4096;
        let map = match F::FAMILY {
            IpFamily::V4 => &self.v4,
            IpFamily::V6 => &self.v6,
        };
        let (first, end) = (cpu * self.sets, (cpu + 1) * self.sets);
        let mut walk = sys::Walk::<u32, FlowSet>::new(map.fd().as_fd(), BATCH, FlowSet::default())
            .behind(first.checked_sub(1));
        while first < end
            && let Some((indexes, sets)) = walk.next()?
        {
            for (index, set) in indexes.iter().zip(sets) {
                if *index >= end {
                    return Ok(());
                }
                visit(*index, set);
            }
        }
        Ok(())
    }
}

impl<F: NetFamily> Untold<F> {
    /// A clone as it will be when it was told of all its packets.
    pub(crate) fn told(&self, to: F::Address, mut clone: ClonedRoute, now: u64) -> ClonedRoute {
        // The agent's clock may be a little late: both ages are taken from a moment that no flow is ahead of.
        let (created, now) = (clone.created, now + Flow::STAMP_JIFFIES);
        let flows = self.0.get(&to).into_iter().flatten();
        for flow in flows.filter(|flow| flow.is_of(created, now)) {
            clone.add(flow.packets().into(), flow.bytes.into());
        }
        clone
    }
}

/// What the program counts.
pub(crate) struct Counters {
    outcomes: PerCpuArray<MapData, OutcomeCount>,
    tallies: PerCpuArray<MapData, u64>,
}

impl Counters {
    /// Takes the maps out of the object.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self { outcomes: take(ebpf, maps::OUTCOMES)?, tallies: take(ebpf, maps::TALLIES)? })
    }

    /// Packets and bytes of an outcome, over all CPUs.
    pub(crate) fn outcome(&self, outcome: Outcome) -> Result<OutcomeCount> {
        let by_cpu = self.outcome_by_cpu(outcome)?;
        Ok(by_cpu.iter().fold(OutcomeCount::default(), |sum, count| OutcomeCount {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        }))
    }

    /// The same, CPU by CPU.
    pub(crate) fn outcome_by_cpu(&self, outcome: Outcome) -> Result<PerCpuValues<OutcomeCount>> {
        self.outcomes.get(&(outcome as u32), 0).context("cannot read the outcome counters")
    }

    /// A tally, CPU by CPU.
    pub(crate) fn tally(&self, tally: Tally) -> Result<Vec<u64>> {
        let by_cpu = self.tallies.get(&(tally as u32), 0).context("cannot read the tallies")?;
        Ok(by_cpu.iter().copied().collect())
    }
}

/// Redirects that came to nothing.
pub(crate) struct RedirectErrors(PerCpuHashMap<MapData, u64, u64>);

impl RedirectErrors {
    /// Takes the map out of the object.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        take(ebpf, maps::REDIRECT_ERRORS).map(Self)
    }

    /// Packets since start, over all CPUs.
    pub(crate) fn read(&self) -> Result<BTreeMap<RedirectError, u64>> {
        let counts = self.0.iter().map(|entry| {
            let (key, by_cpu) = entry.context("cannot read the counters of redirect errors")?;
            Ok((RedirectError::unpack(key), by_cpu.iter().sum()))
        });
        counts.collect()
    }

    /// Forgets what an interface had that is gone.
    pub(crate) fn forget(&mut self, error: RedirectError) -> Result<()> {
        self.0.remove(&error.pack()).context("cannot remove a counter of redirect errors")
    }
}

/// Where the prober asks and is answered.
pub(crate) fn take_probe(ebpf: &mut Ebpf) -> Result<Array<MapData, u64>> {
    take(ebpf, maps::PROBE)
}

/// Where the clock program leaves its readings.
pub(crate) fn take_clock(ebpf: &mut Ebpf) -> Result<Array<MapData, ClockReading>> {
    take(ebpf, maps::CLOCK)
}
