//! Step: hand the frame to the egress interface, as the next hop's.

use aya_ebpf::programs::XdpContext;
use route_cache_common::{Outcome, next_hop::NextHopVersion};

use crate::{family::Datapath, headers::TAG_LEN, kernel, maps, packet::Packet, rewrite};

/// Sends a frame with `tag_len` bytes of VLAN tag and `padding` bytes behind its datagram, and returns what was sent.
///
/// The redirect is asked for first, because it can be refused: nothing is sent before the program returns, so that the
/// frame may still be written to.
#[inline(always)]
pub fn send<'a, F: Datapath>(
    ctx: &'a XdpContext,
    tag_len: usize,
    padding: usize,
    next_hop: &NextHopVersion,
) -> Result<Packet<'a>, Outcome> {
    if !maps::redirect(u32::from(next_hop.port)) {
        return Err(Outcome::PassEgress);
    }
    trim(ctx, padding)?;
    make_room(ctx, tag_len != 0, next_hop.vlan != 0)?;
    let mut packet = kernel::frame(ctx);
    rewrite::frame::<F::Header>(&mut packet, next_hop).ok_or(Outcome::PassMalformed)?;
    Ok(packet)
}

/// Row 5: cuts link-layer padding off, as the kernel does (`pskb_trim_rcsum` in `ip_rcv_core`).
#[inline(always)]
fn trim(ctx: &XdpContext, padding: usize) -> Result<(), Outcome> {
    if padding == 0 {
        return Ok(());
    }
    kernel::cut_tail(ctx, padding).map_err(|_| Outcome::PassMalformed)
}

/// Makes room for a VLAN tag, or closes the gap of one, so that the frame begins where the outgoing one will.
#[inline(always)]
fn make_room(ctx: &XdpContext, is_tagged: bool, will_be_tagged: bool) -> Result<(), Outcome> {
    const TAG: i32 = TAG_LEN as i32;
    let shift = match (is_tagged, will_be_tagged) {
        (false, false) | (true, true) => return Ok(()),
        (true, false) => TAG,
        (false, true) => -TAG,
    };
    kernel::move_head(ctx, shift).map_err(|_| Outcome::PassEgress)
}
