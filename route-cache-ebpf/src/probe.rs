//! Beside the way of a packet: whether an interface takes redirected frames (row 37), where the kernel does not tell.
//!
//! The agent has [`route_cache_probe`] run on a live frame of its own (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18), which is
//! redirected as any other and counts as received by the loopback interface. What the kernel and the driver make of it
//! is told in tracepoints, on the same CPU and before the run returns. Nothing but a test run redirects from there.

use aya_ebpf::{
    bindings::xdp_action::XDP_DROP,
    macros::{raw_tracepoint, xdp},
    programs::{RawTracePointContext, XdpContext},
};
use route_cache_common::Probe;

use crate::{
    errors::{ifindex_of, is_of_namespace},
    kernel, maps,
};

/// LOOPBACK_IFINDEX (include/net/flow.h).
const LOOPBACK: u32 = 1;

/// Sends the frame on. Run by the agent, never attached.
#[xdp]
pub fn route_cache_probe(_ctx: XdpContext) -> u32 {
    maps::probe().map_or(XDP_DROP, |probe| kernel::redirect(probe.ifindex))
}

/// On `xdp_redirect_err`, see `errors.rs`: the kernel refused it.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn route_cache_probe_refused(ctx: RawTracePointContext) -> u32 {
    if let Some(probe) = under_way() {
        let (to, error): (u32, i32) = (ctx.arg(6), ctx.arg(3));
        answer(probe, ctx.arg(0), Some(to), error.unsigned_abs());
    }
    0
}

/// On `xdp_devmap_xmit`, see `errors.rs`: the driver was given it.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn route_cache_probe_sent(ctx: RawTracePointContext) -> u32 {
    if let Some(probe) = under_way() {
        let (drops, error): (i32, i32) = (ctx.arg(3), ctx.arg(4));
        let answered = match (drops, error) {
            (..=0, _) => Probe::SENT,
            (_, ..0) => error.unsigned_abs(),
            (_, _) => Probe::DROPPED,
        };
        answer(probe, ctx.arg(0), ifindex_of(ctx.arg(1)), answered);
    }
    0
}

/// The probe that waits for an answer: these tracepoints fire for all redirects, and hardly ever is there one.
#[inline(always)]
fn under_way() -> Option<Probe> {
    maps::probe().filter(|probe| probe.ifindex != 0)
}

/// Puts the answer down if the redirect is the probe's.
#[inline(always)]
fn answer(probe: Probe, from: u64, to: Option<u32>, answer: u32) {
    if to == Some(probe.ifindex) && ifindex_of(from) == Some(LOOPBACK) && is_of_namespace(from) {
        maps::answer_probe(Probe { answer, ..probe });
    }
}
