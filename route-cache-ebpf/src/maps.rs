//! The maps: their definitions, and the only way to them. Who writes what:
//!
//! | map | written by |
//! |---|---|
//! | `CONFIG`, `PORTS`, `LOCAL_ADDRESSES`, `ROUTES4`, `GENERATIONS`, `NEXT_HOPS`, `NEIGHBOURS4`, `EGRESS` | the agent |
//! | `CLONES4` | the program inserts and counts, the agent deletes |
//! | `NEXT_HOPS_TOUCHED` | the program sets, the agent clears |
//! | `OUTCOMES`, `TALLIES`, `ADMISSION`, `SEEN4`, `CLOCK` | the program |
//!
//! The sizes here are placeholders where the agent sets them at load.

#![allow(unsafe_code)]

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_F_NO_PREALLOC, BPF_NOEXIST, xdp_action::XDP_PASS},
    btf_maps::{Array, ArrayOfMaps, DevMap, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    macros::btf_map,
};
use route_cache_common::{
    Action, Address4, Clone4, Config, HOST_PREFIX_LEN4, MAX_IFINDEX, NextHop, NextHopId, Outcome,
    Port, Route, Tally,
    clones::{Admission, CloneWords},
    config::ClockReading,
    next_hop::{NeighbourKey4, NextHopVersion},
    outcome::OutcomeCount,
    route::RouteWords,
};

use crate::kernel;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();
#[btf_map]
static PORTS: Array<u64, { MAX_IFINDEX as usize }> = Array::new();
#[btf_map]
static LOCAL_ADDRESSES: HashMap<Address4, u32, 65_536, NO_PREALLOC> = HashMap::new();
#[btf_map]
static CLONES4: ArrayOfMaps<HashMap<Address4, CloneWords, 1, NO_PREALLOC>, 1> = ArrayOfMaps::new();
#[btf_map]
static ROUTES4: ArrayOfMaps<LpmTrie<Address4, RouteWords, 1>, 1> = ArrayOfMaps::new();
#[btf_map]
static GENERATIONS: Array<u32, 1> = Array::new();
#[btf_map]
static NEXT_HOPS: Array<NextHop, 1> = Array::new();
#[btf_map]
static NEXT_HOPS_TOUCHED: Array<u32, 1> = Array::new();
#[btf_map]
static NEIGHBOURS4: HashMap<NeighbourKey4, u32, 1, NO_PREALLOC> = HashMap::new();
#[btf_map]
static EGRESS: DevMap<{ MAX_IFINDEX as usize }> = DevMap::new();
#[btf_map]
static OUTCOMES: PerCpuArray<OutcomeCount, { Outcome::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static TALLIES: PerCpuArray<u64, { Tally::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static ADMISSION: PerCpuArray<Admission, 1> = PerCpuArray::new();
#[btf_map]
static SEEN4: PerCpuArray<u64, { Admission::SEEN as usize }> = PerCpuArray::new();
#[btf_map]
static CLOCK: Array<ClockReading, 1> = Array::new();

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
    match route(source).map(|words| Route::unpack(words).action) {
        None | Some(Action::Via(_) | Action::OnLink(_)) => true,
        Some(Action::Pass(outcome)) => {
            matches!(outcome, Outcome::PassNeighbour | Outcome::PassEgress)
        }
    }
}

/// The value of the longest prefix in this CPU's routes that covers the destination.
#[inline(always)]
pub fn route(destination: Address4) -> Option<RouteWords> {
    let key = Key { prefix_len: u32::from(HOST_PREFIX_LEN4), data: destination };
    ROUTES4.get(kernel::cpu())?.get(&key).copied()
}

/// Whether the slot still has the generation these words were stamped with.
#[inline(always)]
pub fn is_current(words: RouteWords) -> bool {
    let route = Route::unpack(words);
    GENERATIONS.get(route.slot).is_some_and(|generation| *generation == route.generation)
}

/// A clone in this CPU's table. No other CPU writes to it, and nothing removes it while this run lasts that would
/// give its memory to another destination: that takes a run of this CPU, or an RCU grace period.
pub struct CloneRef(*mut Clone4);

impl CloneRef {
    /// The route's words.
    #[inline(always)]
    pub fn route(&self) -> RouteWords {
        // SAFETY: a checked element pointer, valid for this run; see the type.
        unsafe { (*self.0).route }
    }

    /// Counts one more packet.
    #[inline(always)]
    pub fn touch(&self, now: u64, bytes: u64) {
        // SAFETY: as above; this CPU is the only writer.
        unsafe { (*self.0).touch(now, bytes) }
    }
}

/// This CPU's clone of a destination.
#[inline(always)]
pub fn clone(destination: Address4) -> Option<CloneRef> {
    let words = CLONES4.get_value_ptr_mut(kernel::cpu(), &destination)?;
    Some(CloneRef(words.cast()))
}

/// What became of an insertion.
pub enum Inserted {
    /// The destination had no clone.
    New,
    /// It had one that was no longer valid.
    Replaced,
}

/// Puts a clone into this CPU's table. The error is the kernel's (-E2BIG: full; -ENOMEM).
#[inline(always)]
pub fn insert_clone(destination: Address4, clone: Clone4) -> Result<Inserted, i32> {
    let Some(table) = CLONES4.get(kernel::cpu()) else {
        return Err(0);
    };
    // SAFETY: same size and alignment, asserted where they are defined; both are plain integers.
    let words: &CloneWords = unsafe { &*(&raw const clone).cast() };
    if table.insert(destination, words, u64::from(BPF_NOEXIST)).is_ok() {
        return Ok(Inserted::New);
    }
    table.insert(destination, words, u64::from(BPF_EXIST)).map(|()| Inserted::Replaced)
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
    SEEN4.get_ptr_mut(hash & (Admission::SEEN - 1)).map(|seen| unsafe { &mut *seen })
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

    /// A copy of one of the two versions.
    #[inline(always)]
    pub fn version(self, position: usize) -> NextHopVersion {
        // SAFETY: as above; the position is masked into the array.
        unsafe {
            (&raw const (*self.0).versions)
                .cast::<NextHopVersion>()
                .add(position & 1)
                .read_volatile()
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

/// The next hop of an on-link destination.
#[inline(always)]
pub fn neighbour(ifindex: u32, address: Address4) -> Option<u32> {
    let id = NEIGHBOURS4.get_ptr(NeighbourKey4 { ifindex, address })?;
    // SAFETY: a checked element pointer to one word.
    Some(unsafe { id.read() })
}

/// Asks for a redirect to an interface; refused if it is not in the device map.
#[inline(always)]
pub fn redirect(ifindex: u32) -> Result<(), u32> {
    EGRESS.redirect(ifindex, u64::from(XDP_PASS)).map(|_redirect| ())
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

/// Stores a reading of the clocks for the agent.
#[inline(always)]
pub fn report_clock(jiffies: u64, monotonic_ns: u64) {
    if let Some(reading) = CLOCK.get_ptr_mut(0) {
        // SAFETY: a checked element pointer; only this program, run by the agent, writes it.
        unsafe { reading.write(ClockReading { jiffies, monotonic_ns }) }
    }
}
