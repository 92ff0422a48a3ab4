//! Step: hand the frame to the egress interface.

use aya_ebpf::programs::XdpContext;
use route_cache_common::Outcome;

use crate::{kernel, maps, packet::Packet};

/// Row 5: cuts link-layer padding off, as the kernel does (`pskb_trim_rcsum` in `ip_rcv_core`).
#[inline(always)]
pub fn trim<'a>(
    ctx: &'a XdpContext,
    packet: Packet<'a>,
    padding: usize,
) -> Result<Packet<'a>, Outcome> {
    if padding == 0 {
        return Ok(packet);
    }
    kernel::cut_tail(ctx, padding).map_err(|_| Outcome::PassMalformed)?;
    Ok(kernel::frame(ctx))
}

/// Asks for the redirect. Nothing is sent before the program returns, so the frame may still be written to.
#[inline(always)]
pub fn to(ifindex: u32) -> Result<(), Outcome> {
    maps::redirect(ifindex).map_err(|_| Outcome::PassEgress)
}
