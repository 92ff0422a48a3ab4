//! The maps: their definitions, and the only way to them. Who writes what:
//!
//! | map | written by |
//! |---|---|
//! | `CONFIG`, `PORTS`, `LOCAL_ADDRESSES`, `VLANS`, `INDEX4`, `INDEX4_ROUTES`, `ROUTES*`, `GENERATIONS`, `NEXT_HOPS`, `GROUPS`, `NEIGHBOURS*`, `EGRESS` | the agent |
//! | `FLOWS*` | the program of each CPU its own segment |
//! | `CLONES*` | the program inserts and counts, the agent deletes |
//! | `NEXT_HOPS_TOUCHED` | the program sets, the agent clears |
//! | `OUTCOMES`, `TALLIES`, `ADMISSION`, `SEEN`, `CLOCK` | the program |
//! | `REDIRECT_ERRORS` | the tracepoint programs insert and count, the agent deletes |
//! | `PROBE` | the agent asks, the tracepoint programs answer |
//!
//! The sizes here are placeholders where the agent sets them at load.

#![allow(unsafe_code)]

use core::ptr::NonNull;

use aya_ebpf::{
    bindings::{
        BPF_EXIST, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST,
        xdp_action::{XDP_PASS, XDP_REDIRECT},
    },
    btf_maps::{
        Array, ArrayOfMaps, DevMap, HashMap, LpmTrie, PerCpuArray, PerCpuHashMap, lpm_trie::Key,
    },
    helpers::generated::bpf_redirect_map,
    macros::btf_map,
};
use route_cache_common::{
    Action, Address4, ClonedRoute, Config, Family, FlowKey, FlowSet, MAX_IFINDEX, NextHop,
    NextHopId, Outcome, Port, Probe, RedirectError, Route, Tally, V4, V6,
    clones::{Admission, CloneWords},
    config::ClockReading,
    flows::flow_set,
    index::{self, ASK_TRIE, Chunk, Code},
    next_hop::{NeighbourKey, NextHopVersion},
    outcome::OutcomeCount,
    route::{BUCKETS, RouteWords},
    vlan_key,
};

use crate::kernel;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// An IPv6 address in network byte order, as words: a register holds four bytes as easily as one.
pub type Words6 = [u32; 4];

/// By CPU, clones by destination.
pub type CloneTables<A> = ArrayOfMaps<HashMap<A, CloneWords, 1, NO_PREALLOC>, 1>;
/// Segments of sets, one for each CPU.
pub type Flows = Array<FlowSet, 1>;
/// By CPU, routes by prefix.
pub type RouteTables<A> = ArrayOfMaps<LpmTrie<A, RouteWords, 1>, 1>;
/// Next-hop ids of on-link destinations.
pub type Neighbours<A> = HashMap<NeighbourKey<A>, u32, 1, NO_PREALLOC>;

/// The maps there is one of for each family, and what is done with them.
pub trait Tables: Family {
    /// An address, as it stands in the packet and is a key of the maps.
    type Key: Copy + Eq + 'static;

    /// The clones.
    fn clones() -> &'static CloneTables<Self::Key>;
    /// The flows.
    fn flows() -> &'static Flows;
    /// The routes.
    fn routes() -> &'static RouteTables<Self::Key>;
    /// The on-link destinations.
    fn neighbours() -> &'static Neighbours<Self::Key>;

    /// The same by the index; nothing if the trie has to be asked. The words have [`Route::NO_SLOT`].
    #[inline(always)]
    fn indexed_route(_destination: Self::Key, _config: &Config) -> Option<RouteWords> {
        None
    }

    /// The value of the longest prefix in this CPU's routes that covers the destination.
    #[inline(always)]
    fn route(destination: Self::Key) -> Option<RouteWords> {
        let key = Key { prefix_len: u32::from(Self::HOST_PREFIX_LEN), data: destination };
        Self::routes().get(kernel::cpu())?.get(&key).copied()
    }

    /// This CPU's clone of a destination.
    #[inline(always)]
    fn clone_of(destination: Self::Key) -> Option<CloneRef> {
        let words = Self::clones().get_value_ptr_mut(kernel::cpu(), &destination)?;
        NonNull::new(words.cast()).map(CloneRef)
    }

    /// Puts a clone into this CPU's table. The error is the kernel's (-E2BIG: full; -ENOMEM).
    #[inline(always)]
    fn insert_clone(destination: Self::Key, clone: ClonedRoute) -> Result<Inserted, i32> {
        let Some(table) = Self::clones().get(kernel::cpu()) else {
            return Err(0);
        };
        // SAFETY: same size and alignment, asserted where they are defined; both are plain integers.
        let words: &CloneWords = unsafe { &*(&raw const clone).cast() };
        if table.insert(destination, words, u64::from(BPF_NOEXIST)).is_ok() {
            return Ok(Inserted::New);
        }
        table.insert(destination, words, u64::from(BPF_EXIST)).map(|()| Inserted::Replaced)
    }

    /// The set a flow belongs to on this CPU, to be changed; nothing if there are no sets.
    #[inline(always)]
    fn flow_set(key: FlowKey) -> Option<&'static mut FlowSet> {
        let sets = constant(&FLOW_SETS);
        if sets == 0 {
            return None;
        }
        let [a, b, c, d] = &FLOW_SEED;
        let seed = [constant(a), constant(b), constant(c), constant(d)];
        let index = kernel::cpu().wrapping_mul(sets).wrapping_add(flow_set(key, seed, sets));
        // SAFETY: a checked element pointer of this CPU's segment; nothing else runs on this CPU until this run ends.
        Self::flows().get_ptr_mut(index).map(|set| unsafe { &mut *set })
    }

    /// The next hop of an on-link destination.
    #[inline(always)]
    fn neighbour(ifindex: u32, address: Self::Key) -> Option<NextHopId> {
        let id = Self::neighbours().get_ptr(NeighbourKey { ifindex, address })?;
        // SAFETY: a checked element pointer to one word.
        Some(NextHopId(unsafe { id.read() }))
    }
}

impl Tables for V4 {
    type Key = Address4;

    #[inline(always)]
    fn indexed_route(destination: Address4, config: &Config) -> Option<RouteWords> {
        if config.flags & Config::INDEX4 == 0 {
            return None;
        }
        let (chunk, position) = index::position(destination);
        let codes = INDEX4.get_ptr(chunk)?;
        // SAFETY: a checked element pointer; volatile, because the agent writes meanwhile, two bytes in one store.
        let code = unsafe { codes.cast::<Code>().add(position).read_volatile() };
        if code == ASK_TRIE {
            return None;
        }
        INDEX4_ROUTES.get(u32::from(code)).copied()
    }
    #[inline(always)]
    fn clones() -> &'static CloneTables<Address4> {
        &CLONES4
    }
    #[inline(always)]
    fn flows() -> &'static Flows {
        &FLOWS4
    }
    #[inline(always)]
    fn routes() -> &'static RouteTables<Address4> {
        &ROUTES4
    }
    #[inline(always)]
    fn neighbours() -> &'static Neighbours<Address4> {
        &NEIGHBOURS4
    }
}

impl Tables for V6 {
    type Key = Words6;
    #[inline(always)]
    fn clones() -> &'static CloneTables<Words6> {
        &CLONES6
    }
    #[inline(always)]
    fn flows() -> &'static Flows {
        &FLOWS6
    }
    #[inline(always)]
    fn routes() -> &'static RouteTables<Words6> {
        &ROUTES6
    }
    #[inline(always)]
    fn neighbours() -> &'static Neighbours<Words6> {
        &NEIGHBOURS6
    }
}

#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();
#[btf_map]
static PORTS: Array<u64, { MAX_IFINDEX as usize }> = Array::new();
#[btf_map]
static LOCAL_ADDRESSES: HashMap<Address4, u32, 65_536, NO_PREALLOC> = HashMap::new();
#[btf_map]
static VLANS: HashMap<u32, u32, 16_384, NO_PREALLOC> = HashMap::new();
#[btf_map]
static FLOWS4: Flows = Flows::new();
#[btf_map]
static FLOWS6: Flows = Flows::new();
#[btf_map]
static CLONES4: CloneTables<Address4> = CloneTables::new();
#[btf_map]
static CLONES6: CloneTables<Words6> = CloneTables::new();
#[btf_map]
static ROUTES4: RouteTables<Address4> = RouteTables::new();
#[btf_map]
static ROUTES6: RouteTables<Words6> = RouteTables::new();
#[btf_map]
static INDEX4: Array<Chunk, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
static INDEX4_ROUTES: Array<RouteWords, 1> = Array::new();
#[btf_map]
static GENERATIONS: Array<u32, 1> = Array::new();
#[btf_map]
static NEXT_HOPS: Array<NextHop, 1> = Array::new();
#[btf_map]
static NEXT_HOPS_TOUCHED: Array<u32, 1> = Array::new();
#[btf_map]
static GROUPS: Array<u32, { BUCKETS as usize }> = Array::new();
#[btf_map]
static NEIGHBOURS4: Neighbours<Address4> = Neighbours::new();
#[btf_map]
static NEIGHBOURS6: Neighbours<Words6> = Neighbours::new();
#[btf_map]
static EGRESS: DevMap<{ MAX_IFINDEX as usize }> = DevMap::new();
#[btf_map]
static OUTCOMES: PerCpuArray<OutcomeCount, { Outcome::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static TALLIES: PerCpuArray<u64, { Tally::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static ADMISSION: PerCpuArray<Admission, 1> = PerCpuArray::new();
#[btf_map]
static SEEN: PerCpuArray<u64, { Admission::SEEN as usize }> = PerCpuArray::new();
#[btf_map]
static CLOCK: Array<ClockReading, 1> = Array::new();
#[btf_map]
static REDIRECT_ERRORS: PerCpuHashMap<u64, u64, 1024> = PerCpuHashMap::new();
#[btf_map]
static PROBE: Array<u64, 1> = Array::new();

/// Set before the program is loaded; the verifier takes them as constants.
#[unsafe(no_mangle)]
static FLOW_SETS: u32 = 0;
#[unsafe(no_mangle)]
static FLOW_SEED: [u64; 4] = [1; 4];
#[unsafe(no_mangle)]
static NETNS: u32 = 0;
#[unsafe(no_mangle)]
static DEVICE_IFINDEX: u32 = 0;
#[unsafe(no_mangle)]
static DEVICE_NET: u32 = 0;
#[unsafe(no_mangle)]
static NET_INUM: u32 = 0;

/// The network namespace served, and where the running kernel keeps what tells a device's own.
#[inline(always)]
pub fn device_layout() -> DeviceLayout {
    DeviceLayout {
        netns: constant(&NETNS),
        ifindex: constant(&DEVICE_IFINDEX),
        net: constant(&DEVICE_NET),
        inum: constant(&NET_INUM),
    }
}

/// What [`device_layout`] tells.
pub struct DeviceLayout {
    /// Inode number of the namespace served.
    pub netns: u32,
    /// Offset of `net_device.ifindex`.
    pub ifindex: u32,
    /// Offset of `net_device.nd_net.net`.
    pub net: u32,
    /// Offset of `net.ns.inum`.
    pub inum: u32,
}

/// The value that was set, not the one that stands in the source.
#[inline(always)]
fn constant<T: Copy>(global: &'static T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { (&raw const *global).read_volatile() }
}

/// The config line.
#[inline(always)]
pub fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// What may be done for packets received on this interface.
#[inline(always)]
pub fn port(ifindex: u32) -> Option<Port> {
    PORTS.get(ifindex).map(|word| Port::unpack(*word))
}

/// Whether the address is one of the host's own.
#[inline(always)]
pub fn is_local_address(address: Address4) -> bool {
    LOCAL_ADDRESSES.get_ptr(address).is_some()
}

/// Whether the route back to a source is a unicast route, or there is none (`__fib_validate_source`).
#[inline(always)]
pub fn is_unicast_source(source: Address4) -> bool {
    let Some(words) = V4::route(source) else {
        return true;
    };
    match Route::unpack(words).action {
        Action::Via(_) | Action::OnLink(_) | Action::Group(_) => true,
        Action::Pass(outcome) => matches!(outcome, Outcome::PassNeighbour | Outcome::PassEgress),
    }
}

/// The VLAN device of a port.
#[inline(always)]
pub fn vlan_device(port: u32, vlan: u16) -> Option<u32> {
    if port >= MAX_IFINDEX {
        return None;
    }
    let ifindex = VLANS.get_ptr(vlan_key(port, vlan))?;
    // SAFETY: a checked element pointer to one word.
    Some(unsafe { ifindex.read() })
}

/// The member of a next-hop group that a flow with this hash goes by; nothing if the kernel is to choose. The upper bits
/// of the hash pick.
#[inline(always)]
pub fn group_member(group: u32, hash: u32) -> Option<NextHopId> {
    let bucket = group.wrapping_mul(BUCKETS).wrapping_add(hash >> (32 - BUCKETS.ilog2()));
    GROUPS.get(bucket).map(|id| NextHopId(*id)).filter(|id| *id != NextHopId::NONE)
}

/// Whether the slot still has the generation these words were stamped with.
#[inline(always)]
pub fn is_current(words: RouteWords) -> bool {
    let route = Route::unpack(words);
    GENERATIONS.get(route.slot).is_some_and(|generation| *generation == route.generation)
}

/// A clone in this CPU's table. No other CPU writes to it, and nothing removes it while this run lasts that would
/// give its memory to another destination: that takes a run of this CPU, or an RCU grace period.
pub struct CloneRef(NonNull<ClonedRoute>);

impl CloneRef {
    /// The route's words.
    #[inline(always)]
    pub fn route(&self) -> RouteWords {
        // SAFETY: a checked element pointer, valid for this run; see the type.
        unsafe { (*self.0.as_ptr()).route }
    }

    /// Counts packets that flows forwarded.
    #[inline(always)]
    pub fn add(&self, packets: u64, bytes: u64) {
        // SAFETY: as above; this CPU is the only writer.
        unsafe { (*self.0.as_ptr()).add(packets, bytes) }
    }

    /// Jiffies at which it was made.
    #[inline(always)]
    pub fn created(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).created }
    }

    /// Jiffies of the last packet.
    #[inline(always)]
    pub fn last_used(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).last_used }
    }

    /// Counts one more packet.
    #[inline(always)]
    pub fn touch(&self, now: u64, bytes: u64) {
        // SAFETY: as above; this CPU is the only writer.
        unsafe { (*self.0.as_ptr()).touch(now, bytes) }
    }
}

/// What became of an insertion.
pub enum Inserted {
    /// The destination had no clone.
    New,
    /// It had one that was no longer valid.
    Replaced,
}

/// This CPU's admission, to be changed.
#[inline(always)]
pub fn admission() -> Option<&'static mut Admission> {
    // SAFETY: a checked element pointer of this CPU's own copy; nothing else runs on this CPU until this run ends.
    ADMISSION.get_ptr_mut(0).map(|admission| unsafe { &mut *admission })
}

/// Where this CPU remembers that a destination with this hash was seen, to be changed.
#[inline(always)]
pub fn seen(hash: u32) -> Option<&'static mut u64> {
    // SAFETY: as above.
    SEEN.get_ptr_mut(hash & (Admission::SEEN - 1)).map(|seen| unsafe { &mut *seen })
}

/// A next hop that the agent may be writing to at this moment.
#[derive(Clone, Copy)]
pub struct NextHopRef(*const NextHop);

impl NextHopRef {
    /// Number of the current version.
    #[inline(always)]
    pub fn current(self) -> u64 {
        // SAFETY: a checked element pointer; volatile, because the agent writes meanwhile.
        unsafe { (&raw const (*self.0).current).read_volatile() }
    }

    /// A copy of the version with this number.
    #[inline(always)]
    pub fn version(self, number: u64) -> NextHopVersion {
        // SAFETY: as above.
        unsafe { self.at(number).read_volatile() }
    }

    /// The id in the version with this number.
    #[inline(always)]
    pub fn id(self, number: u64) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.at(number)).id).read_volatile() }
    }

    /// The interface in the version with this number.
    #[inline(always)]
    pub fn device(self, number: u64) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.at(number)).ifindex).read_volatile() }
    }

    #[inline(always)]
    fn at(self, number: u64) -> *const NextHopVersion {
        // SAFETY: the position is masked into the array.
        unsafe {
            (&raw const (*self.0).versions).cast::<NextHopVersion>().add((number & 1) as usize)
        }
    }
}

/// The next hop at the id's index.
#[inline(always)]
pub fn next_hop(id: NextHopId) -> Option<NextHopRef> {
    NEXT_HOPS.get_ptr(id.index()).map(NextHopRef)
}

/// Leaves a mark for the agent: this next hop is in use and stale. Written once, so that it costs a read.
#[inline(always)]
pub fn mark_touched(id: NextHopId) {
    if let Some(mark) = NEXT_HOPS_TOUCHED.get_ptr_mut(id.index()) {
        // SAFETY: a checked element pointer; a lost race writes the same value.
        unsafe {
            if mark.read_volatile() == 0 {
                mark.write_volatile(1);
            }
        }
    }
}

/// Asks for a redirect to an interface. False if it is not in the device map.
#[inline(always)]
pub fn redirect(ifindex: u32) -> bool {
    let map = (&raw const EGRESS).cast_mut().cast();
    // SAFETY: the address of a map, which the loader replaces by the map; the helper checks the rest.
    let action = unsafe { bpf_redirect_map(map, u64::from(ifindex), u64::from(XDP_PASS)) };
    action == i64::from(XDP_REDIRECT)
}

/// Counts one packet of an outcome.
#[inline(always)]
pub fn count(outcome: Outcome, bytes: u64) {
    if let Some(count) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: a checked element pointer of this CPU's own copy.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += bytes;
        }
    }
}

/// Counts one event.
#[inline(always)]
pub fn tally(tally: Tally) {
    if let Some(count) = TALLIES.get_ptr_mut(tally as u32) {
        // SAFETY: a checked element pointer of this CPU's own copy.
        unsafe { *count += 1 }
    }
}

/// Counts packets whose redirect failed. Nothing is counted if the map is full.
#[inline(always)]
pub fn count_error(error: RedirectError, packets: u64) {
    let key = error.pack();
    if let Some(count) = REDIRECT_ERRORS.get_ptr_mut(key) {
        // SAFETY: a checked element pointer of this CPU's own copy; the kernel redirects with softirqs off.
        unsafe { *count += packets }
    } else if REDIRECT_ERRORS.insert(key, packets, u64::from(BPF_NOEXIST)).is_err()
        // Another CPU was first.
        && let Some(count) = REDIRECT_ERRORS.get_ptr_mut(key)
    {
        // SAFETY: as above.
        unsafe { *count += packets }
    }
}

/// The probe that is under way.
#[inline(always)]
pub fn probe() -> Option<Probe> {
    PROBE.get(0).map(|word| Probe::unpack(*word))
}

/// Stores what became of a probe for the agent.
#[inline(always)]
pub fn answer_probe(probe: Probe) {
    if let Some(word) = PROBE.get_ptr_mut(0) {
        // SAFETY: a checked element pointer; the agent sends one probe at a time, and waits for it.
        unsafe { word.write(probe.pack()) }
    }
}

/// Stores a reading of the clocks for the agent.
#[inline(always)]
pub fn report_clock(jiffies: u64, monotonic_ns: u64) {
    if let Some(reading) = CLOCK.get_ptr_mut(0) {
        // SAFETY: a checked element pointer; only this program, run by the agent, writes it.
        unsafe { reading.write(ClockReading { jiffies, monotonic_ns }) }
    }
}
