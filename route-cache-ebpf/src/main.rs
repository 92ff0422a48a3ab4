//! The XDP data plane: forwards what it can prove to be forwardable, and passes everything else to the kernel.
//!
//! ```text
//! frame ─ freshness ─ parse ─ admit ─┬─ flow hit ────────────────┐
//!                                    └─ way ─┬─ clone hit ───────┤
//!                                            └─ index, or trie ──┴─ next hop ─ redirect ─ rewrite
//! ```
//!
//! The steps are written once for both families: what differs is in `family.rs`, the headers and the maps.
//!
//! Nothing is written to the frame before the last step that can fail, so that a frame that is passed is the frame
//! that came. Built for the host, the steps run as ordinary tests.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code))]
#![allow(
    missing_docs,
    reason = "the xdp macro does not carry the doc comments of the programs along"
)]
#![deny(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "the xdp macro decides how a program takes its context"
)]

mod admission;
mod admit;
mod clones;
mod errors;
mod family;
mod flow_hash;
mod flows;
mod freshness;
mod headers;
mod kernel;
mod maps;
mod next_hop;
mod packet;
mod parse;
mod probe;
mod redirect;
mod rewrite;
mod route;
mod way;

use aya_ebpf::{
    bindings::xdp_action::{XDP_PASS, XDP_REDIRECT},
    macros::xdp,
    programs::XdpContext,
};
use route_cache_common::{Config, NextHopId, Outcome, V4, V6};

use crate::{
    family::Datapath,
    flows::Memo,
    headers::{Header as _, Ipv4, Ipv6, TAG_LEN},
    packet::Packet,
    way::Arrival,
};

/// The forwarder.
#[xdp]
pub fn route_cache(ctx: XdpContext) -> u32 {
    verdict(run(&ctx))
}

/// The forwarder, logging one packet in `trace_every`. A program of its own, so that tracing costs the other nothing.
#[xdp]
pub fn route_cache_traced(ctx: XdpContext) -> u32 {
    let bytes = kernel::frame(&ctx).len();
    let outcome = run(&ctx);
    if maps::config().is_some_and(|config| kernel::one_in(config.trace_every)) {
        aya_log_ebpf::info!(
            &ctx,
            "packet of {} bytes on interface {}: outcome {}",
            bytes,
            kernel::ingress(&ctx),
            outcome as u8
        );
    }
    verdict(outcome)
}

/// Reports the kernel's jiffies beside its monotonic clock. Run by the agent, never attached.
#[xdp]
pub fn route_cache_clock(_ctx: XdpContext) -> u32 {
    maps::report_clock(kernel::jiffies(), kernel::monotonic_ns());
    XDP_PASS
}

/// Takes one frame through all steps and counts how it ended.
#[inline(always)]
fn run(ctx: &XdpContext) -> Outcome {
    let packet = kernel::frame(ctx);
    let bytes = packet.len() as u64;
    let outcome = forward(ctx, &packet, kernel::jiffies()).unwrap_or_else(|pass| pass);
    maps::count(outcome, bytes);
    outcome
}

/// From the frame to its family.
#[inline(always)]
fn forward(ctx: &XdpContext, packet: &Packet<'_>, now: u64) -> Result<Outcome, Outcome> {
    let config = freshness::check(maps::config(), now)?;
    let link = parse::link(packet)?;
    let device = admit::device(kernel::ingress(ctx), link)?;
    // A function for each tag length: the plain frame, the most frequent one, has no sums to do with it.
    match (link.ethertype as u16, link.tag_len) {
        (Ipv4::ETHERTYPE, 0) => datagram::<V4, 0>(ctx, packet, config, device, now),
        (Ipv6::ETHERTYPE, 0) => datagram::<V6, 0>(ctx, packet, config, device, now),
        (Ipv4::ETHERTYPE, _) => datagram::<V4, TAG_LEN>(ctx, packet, config, device, now),
        (Ipv6::ETHERTYPE, _) => datagram::<V6, TAG_LEN>(ctx, packet, config, device, now),
        _ => Err(Outcome::PassEthertype),
    }
}

/// The steps of a datagram whose flow is known; one whose flow is not goes the longer way ([`way::explore`]). Up to the
/// redirect they only look; `Err` is the reason to leave the packet to the kernel.
#[inline(always)]
fn datagram<F: Datapath, const TAG: usize>(
    ctx: &XdpContext,
    packet: &Packet<'_>,
    config: &Config,
    device: u32,
    now: u64,
) -> Result<Outcome, Outcome> {
    freshness::family::<F>(config)?;
    // Before anything else is read, the port's word as well: what is older than a change must not be noted down as new.
    let epoch = config.flow_epoch as u32;
    let port = admit::port::<F>(maps::port(device))?;
    let untagged = packet.behind(TAG);
    let datagram = parse::datagram::<F>(&untagged)?;
    admit::link(packet, port)?;
    admit::intact(&datagram)?;
    let memo = flows::find::<F>(way::key::<F>(datagram.ip, device, port), config, epoch, now);
    let Memo::Known(flow) = memo else {
        let arrival = Arrival { config, device, now, epoch, port: port.pack() };
        return Ok(way::explore::<F>(ctx, &arrival, TAG, matches!(memo, Memo::Stale)));
    };
    admit::packet(&untagged, &datagram, port, config)?;
    let next_hop = next_hop::take(NextHopId(flow.id))?;
    // A route with an MTU of its own is no flow's.
    admit::way(&datagram, 0, &next_hop, device)?;
    let sent = redirect::send::<F>(ctx, TAG, datagram.padding, &next_hop)?;
    flows::count(flow, sent.len() as u64);
    Ok(Outcome::ForwardedFlow)
}

/// The one place where an outcome becomes an XDP action.
#[inline(always)]
const fn verdict(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::ForwardedFlow | Outcome::ForwardedClone | Outcome::ForwardedRoute => XDP_REDIRECT,
        Outcome::PassLocal
        | Outcome::PassBroadcast
        | Outcome::PassMulticast
        | Outcome::PassTtl
        | Outcome::PassNoRoute
        | Outcome::PassRoute
        | Outcome::PassNeighbour
        | Outcome::PassEgress
        | Outcome::PassSameInterface
        | Outcome::PassOptions
        | Outcome::PassChecksum
        | Outcome::PassPartialChecksum
        | Outcome::PassMtu
        | Outcome::PassMalformed
        | Outcome::PassEthertype
        | Outcome::PassVlan
        | Outcome::PassOtherHost
        | Outcome::PassLinkMulticast
        | Outcome::PassMartianSource
        | Outcome::PassReversePath
        | Outcome::PassMartianDestination
        | Outcome::PassInterface
        | Outcome::PassDisabled
        | Outcome::PassExpired
        | Outcome::PassRace => XDP_PASS,
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("this is a BPF program: `cargo xtask build` builds it and embeds it in route-cache");
    std::process::exit(2);
}

/// The whole object must declare a GPL-compatible licence to be allowed the helpers it calls.
#[cfg(target_arch = "bpf")]
#[allow(unsafe_code)]
// SAFETY: the section is read by the loader alone; the bytes are a NUL-terminated string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
