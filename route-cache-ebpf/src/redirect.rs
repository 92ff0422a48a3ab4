//! Step: hand the frame to the egress interface.

use aya_ebpf::programs::XdpContext;
use route_cache_common::Outcome;

use crate::{headers::TAG_LEN, kernel, maps};

/// Row 5: cuts link-layer padding off, as the kernel does (`pskb_trim_rcsum` in `ip_rcv_core`).
#[inline(always)]
pub fn trim(ctx: &XdpContext, padding: usize) -> Result<(), Outcome> {
    if padding == 0 {
        return Ok(());
    }
    kernel::cut_tail(ctx, padding).map_err(|_| Outcome::PassMalformed)
}

/// Makes room for a VLAN tag, or closes the gap of one, so that the frame begins where the outgoing one will.
#[inline(always)]
pub fn make_room(ctx: &XdpContext, is_tagged: bool, will_be_tagged: bool) -> Result<(), Outcome> {
    const TAG: i32 = TAG_LEN as i32;
    let shift = match (is_tagged, will_be_tagged) {
        (false, false) | (true, true) => return Ok(()),
        (true, false) => TAG,
        (false, true) => -TAG,
    };
    kernel::move_head(ctx, shift).map_err(|_| Outcome::PassEgress)
}

/// Asks for the redirect. Nothing is sent before the program returns, so the frame may still be written to.
#[inline(always)]
pub fn to(port: u16) -> Result<(), Outcome> {
    maps::redirect(u32::from(port)).map_err(|_| Outcome::PassEgress)
}
