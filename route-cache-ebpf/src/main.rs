//! The XDP data plane: forwards what it can prove to be forwardable, and passes everything else to the kernel.
//!
//! ```text
//! frame ─ freshness ─ parse ─ admit ─┬─ clone hit ─────────┐
//!                                    └─ route hit ─ clone ─┴─ next hop ─ redirect ─ rewrite
//! ```
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

mod admit;
mod clones;
mod freshness;
mod headers;
mod kernel;
mod maps;
mod next_hop;
mod packet;
mod parse;
mod redirect;
mod rewrite;
mod route;

use aya_ebpf::{
    bindings::xdp_action::{XDP_PASS, XDP_REDIRECT},
    macros::xdp,
    programs::XdpContext,
};
use route_cache_common::Outcome;

use crate::{clones::Way, packet::Packet};

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
    let now = kernel::jiffies();
    let outcome = match decide(kernel::ingress(ctx), &packet, now) {
        Ok((way, padding)) => send(ctx, packet, &way, padding, now),
        Err(pass) => pass,
    };
    maps::count(outcome, bytes);
    outcome
}

/// The steps that only look: the way the packet goes, and how much padding it carries. `Err` is the reason to leave the packet to the kernel.
#[inline(always)]
fn decide(ingress: u32, packet: &Packet, now: u64) -> Result<(Way, usize), Outcome> {
    let config = freshness::check(maps::config(), now)?;
    let port = admit::port(maps::port(ingress))?;
    let datagram = parse::ipv4(packet)?;
    admit::link(datagram.ethernet, port)?;
    admit::datagram(&datagram)?;
    admit::source(datagram.ip.source(), config)?;
    if port.flags & route_cache_common::Port::PARTIAL_CHECKSUMS != 0 {
        admit::complete_checksum(packet, &datagram)?;
    }
    let destination = datagram.ip.destination();
    let way = match clones::find(destination) {
        Some(found) => found?,
        None => route::find(destination)?,
    };
    admit::way(&datagram, &way, ingress)?;
    Ok((way, datagram.padding))
}

/// The steps that act. A redirect can be refused, so it is asked for first; from then on nothing can fail.
#[inline(always)]
fn send(ctx: &XdpContext, packet: Packet, way: &Way, padding: usize, now: u64) -> Outcome {
    if let Err(pass) = redirect::to(way.next_hop.ifindex) {
        return pass;
    }
    let packet = match redirect::trim(ctx, packet, padding) {
        Ok(packet) => packet,
        Err(pass) => return pass,
    };
    let bytes = packet.len() as u64;
    let Some(frame) = packet.into_frame() else {
        return Outcome::PassMalformed;
    };
    rewrite::ipv4(frame, &way.next_hop);
    clones::record(way, now, bytes)
}

/// The one place where an outcome becomes an XDP action.
#[inline(always)]
const fn verdict(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::ForwardedClone | Outcome::ForwardedRoute => XDP_REDIRECT,
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
        | Outcome::PassOtherHost
        | Outcome::PassLinkMulticast
        | Outcome::PassMartianSource
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
