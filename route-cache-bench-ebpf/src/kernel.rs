//! The maps and the helpers.

#![allow(unsafe_code)]

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_NO_PREALLOC, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup,
        xdp_action::{XDP_PASS, XDP_REDIRECT},
    },
    btf_maps::{Array, DevMap, LpmTrie, PerCpuArray, ProgramArray, lpm_trie::Key},
    helpers,
    macros::btf_map,
    programs::XdpContext,
};
use route_cache_bench_ebpf::{
    CONTENDERS, FLOW_SEED, FLOW_SETS, HOPS, Hop, PAGE, PAGES, Position, Traffic,
};
use route_cache_common::{FlowKey, FlowSet, MacAddresses, flows::flow_set};

use crate::frame::{Frame, Header, Ipv4, Ipv6};

#[btf_map]
static TRAFFIC: Array<Traffic, 1> = Array::new();
#[btf_map]
static LIST: Array<[u32; PAGE], PAGES> = Array::new();
#[btf_map]
static POSITION: PerCpuArray<Position, 1> = PerCpuArray::new();
#[btf_map]
static PROGRAMS: ProgramArray<CONTENDERS> = ProgramArray::new();
#[btf_map]
static BENCH_HOPS: Array<Hop, HOPS> = Array::new();
#[btf_map]
static BENCH_ROUTES: LpmTrie<u32, u32, 1, { BPF_F_NO_PREALLOC as usize }> = LpmTrie::new();
#[btf_map]
static BENCH_ROUTES6: LpmTrie<[u32; 4], u32, 1, { BPF_F_NO_PREALLOC as usize }> = LpmTrie::new();
#[btf_map]
static BENCH_FLOWS: Array<FlowSet, { FLOW_SETS as usize }> = Array::new();
#[btf_map]
static BENCH_EGRESS: DevMap<65_536> = DevMap::new();
#[btf_map]
static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// What is to be made.
#[inline(always)]
pub fn traffic() -> Option<&'static Traffic> {
    TRAFFIC.get(0)
}

/// Where this CPU's generator is.
#[inline(always)]
pub fn position() -> Option<&'static mut Position> {
    // SAFETY: a checked element pointer of this CPU's own copy; nothing else runs here until this run ends.
    POSITION.get_ptr_mut(0).map(|position| unsafe { &mut *position })
}

/// A destination of the list.
#[inline(always)]
pub fn listed<H: Header>(entry: u32) -> H::Address {
    let entries = (PAGE / H::WORDS) as u32;
    let Some(page) = LIST.get_ptr(entry / entries) else {
        return H::address([0; 4]);
    };
    let first = (entry % entries) as usize * H::WORDS;
    let mut words = [0; 4];
    let mut word = 0;
    while word < H::WORDS {
        // SAFETY: a checked element pointer; the words of an entry are within the page.
        words[word] = unsafe { *page.cast::<u32>().add(first + word) };
        word += 1;
    }
    H::address(words)
}

/// The headers of this run's frame. To be asked for anew rather than kept beside another.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the context stands for the frame, it does not hold it")]
pub fn frame<H: Header>(ctx: &XdpContext) -> Option<&mut Frame<H>> {
    let start = ctx.data();
    if start + size_of::<Frame<H>>() > ctx.data_end() {
        return None;
    }
    // SAFETY: within the frame, which is this run's alone; plain words at an even address.
    Some(unsafe { &mut *(start as *mut Frame<H>) })
}

/// Lets another program go on with the frame; returns only if there is none.
#[inline(always)]
pub fn hand_over(ctx: &XdpContext, contender: u32) {
    // SAFETY: nothing here waits to be dropped.
    unsafe { PROGRAMS.tail_call(ctx, contender) }
}

/// A next hop.
#[inline(always)]
pub fn hop(index: u32) -> Option<&'static Hop> {
    BENCH_HOPS.get(index)
}

/// A trie for each family.
pub trait Tables: Header {
    /// The routes.
    fn routes() -> &'static LpmTrie<Self::Address, u32, 1, { BPF_F_NO_PREALLOC as usize }>;
}

impl Tables for Ipv4 {
    #[inline(always)]
    fn routes() -> &'static LpmTrie<u32, u32, 1, { BPF_F_NO_PREALLOC as usize }> {
        &BENCH_ROUTES
    }
}

impl Tables for Ipv6 {
    #[inline(always)]
    fn routes() -> &'static LpmTrie<[u32; 4], u32, 1, { BPF_F_NO_PREALLOC as usize }> {
        &BENCH_ROUTES6
    }
}

/// The next hop of the longest prefix that covers a destination.
#[inline(always)]
pub fn route<H: Tables>(destination: H::Address) -> Option<u32> {
    let prefix_len = H::WORDS as u32 * 32;
    H::routes().get(&Key { prefix_len, data: destination }).copied()
}

/// The next hop of a flow.
#[inline(always)]
pub fn flow(key: FlowKey) -> Option<u32> {
    let set = BENCH_FLOWS.get(flow_set(key, FLOW_SEED, FLOW_SETS))?;
    let [first, second] = &set.ways;
    if first.key == key {
        Some(first.id)
    } else if second.key == key {
        Some(second.id)
    } else {
        None
    }
}

/// Asks for a redirect.
#[inline(always)]
pub fn redirect(ifindex: u32) -> bool {
    let map = (&raw const BENCH_EGRESS).cast_mut().cast();
    // SAFETY: the address of a map, which the loader replaces by the map; the helper checks the rest.
    let action = unsafe {
        helpers::generated::bpf_redirect_map(map, u64::from(ifindex), u64::from(XDP_PASS))
    };
    action == i64::from(XDP_REDIRECT)
}

/// The next hop that the kernel's tables have for the frame.
#[inline(always)]
pub fn fib_lookup<H: Header>(ctx: &XdpContext, flags: u32) -> Option<Hop> {
    let frame = frame::<H>(ctx)?;
    // Zeros that the compiler knows of become a call of `memset`, a loop over bytes: no peer would do that.
    let zero = core::hint::black_box(0u64);
    // SAFETY: plain integers, as large as the words, for which zero is valid.
    let mut params: bpf_fib_lookup = unsafe { core::mem::transmute([zero; 8]) };
    params.family = H::FAMILY;
    params.l4_protocol = 17;
    params.__bindgen_anon_1.tot_len = frame.ip.total_len();
    // An IPv4 address stands in the first word.
    let [source, destination] = frame.ip.endpoints();
    params.__bindgen_anon_3.ipv6_src = source;
    params.__bindgen_anon_4.ipv6_dst = destination;
    params.ifindex = ctx.ingress_ifindex() as u32;
    let size = size_of::<bpf_fib_lookup>() as i32;
    // SAFETY: the helper checks its arguments; the struct is a local of the size given.
    let found = unsafe { helpers::bpf_fib_lookup(ctx.as_ptr(), &raw mut params, size, flags) };
    if found != i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
        return None;
    }
    // The last two words, in which they stand: other than in maps and packets, the verifier wants aligned loads here.
    // SAFETY: as large as the struct; plain integers.
    let words: [u64; 8] = unsafe { core::mem::transmute(params) };
    let words = [words[6], words[7]].map(core::hint::black_box);
    let ([_, _, _, _, a, b, c, d], [e, f, to @ ..]) =
        (words[0].to_ne_bytes(), words[1].to_ne_bytes());
    let addresses = MacAddresses::new(to, [a, b, c, d, e, f]);
    Some(Hop { addresses, ifindex: params.ifindex })
}

/// Counts one frame that arrived.
#[inline(always)]
pub fn count_arrival() {
    if let Some(count) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: a checked element pointer of this CPU's own copy.
        unsafe { *count += 1 }
    }
}
