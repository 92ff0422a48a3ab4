//! Beside the way of a packet: redirects that the kernel accepted and that came to nothing.
//!
//! The kernel tells of them in tracepoints alone. These programs sit on the raw tracepoints, whose arguments are those
//! of `TP_PROTO` in include/trace/events/xdp.h, the same from Linux 5.13 to 6.18. Attaching takes no tracefs.
//!
//! A tracepoint fires for the whole machine: interfaces of other namespaces may have our indexes. So the device itself
//! is asked, at offsets that the agent took from the kernel's BTF, and only redirects from a port of the namespace that
//! is served count. A port has one native XDP program, and that is ours.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use route_cache_common::RedirectError;

use crate::{kernel, maps};

/// `xdp_redirect_err(dev, prog, target, err, map_type, map_id, index)`: the kernel refused a redirect. Since Linux 5.6
/// those through a map are told here as well, and no longer in `xdp_redirect_map_err`.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn route_cache_redirect_err(ctx: RawTracePointContext) -> u32 {
    let error: i32 = ctx.arg(3);
    if is_ours(ctx.arg(0)) {
        // The index in our device map is that of the interface.
        count(ctx.arg(6), error.unsigned_abs(), 1);
    }
    0
}

/// `xdp_devmap_xmit(from_dev, to_dev, sent, drops, err)`: a driver was given up to 16 frames. It fires also when all went
/// well, so the first thing is to leave.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
pub fn route_cache_devmap_xmit(ctx: RawTracePointContext) -> u32 {
    let drops: i32 = ctx.arg(3);
    if drops <= 0 || !is_ours(ctx.arg(0)) {
        return 0;
    }
    let error: i32 = ctx.arg(4);
    if let Some(egress) = ifindex_of(ctx.arg(1)) {
        let cause = if error < 0 { error.unsigned_abs() } else { RedirectError::DROPPED };
        count(egress, cause, drops as u64);
    }
    0
}

/// `xdp_exception(dev, prog, act)`: the driver could not do what the program asked for.
#[raw_tracepoint(tracepoint = "xdp_exception")]
pub fn route_cache_exception(ctx: RawTracePointContext) -> u32 {
    let device: u64 = ctx.arg(0);
    if is_ours(device)
        && let Some(ingress) = ifindex_of(device)
    {
        count(ingress, RedirectError::EXCEPTION, 1);
    }
    0
}

/// Whether a device receives for us: it is of the namespace served, and one of the ports there.
#[inline(always)]
fn is_ours(device: u64) -> bool {
    is_of_namespace(device)
        && ifindex_of(device).and_then(maps::port).is_some_and(|port| port.flags != 0)
}

/// Whether a device is of the namespace served.
#[inline(always)]
pub fn is_of_namespace(device: u64) -> bool {
    let layout = maps::device_layout();
    let netns = kernel::read::<u64>(device + u64::from(layout.net))
        .and_then(|net| kernel::read::<u32>(net + u64::from(layout.inum)));
    netns == Some(layout.netns)
}

/// The index of a device.
#[inline(always)]
pub fn ifindex_of(device: u64) -> Option<u32> {
    kernel::read(device + u64::from(maps::device_layout().ifindex))
}

#[inline(always)]
fn count(ifindex: u32, cause: u32, packets: u64) {
    maps::count_error(RedirectError { ifindex, cause }, packets);
}
