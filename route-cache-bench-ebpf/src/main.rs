//! The programs that Route Cache is measured with. None of them is part of the product.
//!
//! ```text
//! test run of live frames ─ generate ─ tail call ─┬─ the agent's own program ─┐
//!                                                 ├─ floor, fib_*, lpm ───────┼─ redirect ─ veth ─ sink
//!                                                 └─ pass ─ kernel forwarding ┘
//! ```
//!
//! The pages of a test run come back as they were left, so the generator restores the header of every frame before it
//! hands it on. All contenders bear its cost and that of the sink; the floor shows how much it is.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code))]
#![allow(
    missing_docs,
    reason = "the xdp macro does not carry the doc comments of the programs along"
)]
#![deny(unsafe_code)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "the xdp macro decides how a program takes its context"
)]

mod frame;
mod kernel;

use aya_ebpf::{
    bindings::{
        BPF_FIB_LOOKUP_DIRECT,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_REDIRECT},
    },
    macros::xdp,
    programs::XdpContext,
};
use route_cache_bench_ebpf::{FLOOD_OF, Hop, Position, Traffic};

/// Makes the next frame and hands it to the contender. A contender that is missing shows as frames that never arrive.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    let (Some(traffic), Some(position)) = (kernel::traffic(), kernel::position()) else {
        return XDP_ABORTED;
    };
    let destination = next_destination(traffic, position);
    let Some(frame) = kernel::frame(&ctx) else {
        return XDP_ABORTED;
    };
    frame.restore(&traffic.addresses, traffic.header_sum, destination);
    kernel::hand_over(&ctx, traffic.contender);
    XDP_ABORTED
}

/// Redirects everything to one next hop: what no forwarder can be faster than.
#[xdp]
pub fn floor(ctx: XdpContext) -> u32 {
    forward(&ctx, kernel::hop(0))
}

/// Forwards by the routes in a trie of its own, and nothing else.
#[xdp]
pub fn lpm(ctx: XdpContext) -> u32 {
    let Some(frame) = kernel::frame(&ctx) else {
        return XDP_ABORTED;
    };
    let hop = kernel::route(frame.destination());
    forward(&ctx, hop.and_then(kernel::hop))
}

/// Forwards by the kernel's own tables and policy rules (`bpf_fib_lookup`).
#[xdp]
pub fn fib_full(ctx: XdpContext) -> u32 {
    forward(&ctx, kernel::fib_lookup(&ctx, 0).as_ref())
}

/// Likewise, by the one table of the interface (`BPF_FIB_LOOKUP_DIRECT`).
#[xdp]
pub fn fib_direct(ctx: XdpContext) -> u32 {
    forward(&ctx, kernel::fib_lookup(&ctx, BPF_FIB_LOOKUP_DIRECT).as_ref())
}

/// Leaves everything to the kernel.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Counts what arrives at the far end, and ends it.
#[xdp]
pub fn sink(_ctx: XdpContext) -> u32 {
    kernel::count_arrival();
    XDP_DROP
}

#[inline(always)]
fn forward(ctx: &XdpContext, hop: Option<&Hop>) -> u32 {
    let (Some(hop), Some(frame)) = (hop, kernel::frame(ctx)) else {
        return XDP_PASS;
    };
    if !kernel::redirect(hop.ifindex) {
        return XDP_PASS;
    }
    frame.send_to(&hop.addresses);
    XDP_REDIRECT
}

#[inline(always)]
fn next_destination(traffic: &Traffic, position: &mut Position) -> u32 {
    let mut random = position.random;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    position.random = random;
    if (random >> 32) as u32 % FLOOD_OF < traffic.flood {
        position.flooded += 1;
        return anywhere(random as u32).to_be();
    }
    position.from_list += 1;
    let mut entry = position.next >> traffic.repeat_shift;
    if entry >= u64::from(traffic.listed) {
        position.next = 0;
        entry = 0;
    }
    position.next += 1;
    kernel::listed(entry as u32)
}

/// A unicast address, in host byte order, that is in none of the networks of the bench's own links.
#[inline(always)]
fn anywhere(random: u32) -> u32 {
    let first = 1 + (random >> 24) * 222 / 255;
    let first = if first == 10 || first == 127 { first + 1 } else { first };
    first << 24 | random & 0x00ff_ffff
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are BPF programs: `cargo xtask bench` builds and runs them");
    std::process::exit(2);
}

/// The whole object must declare a GPL-compatible licence to be allowed the helpers it calls.
#[cfg(target_arch = "bpf")]
#[allow(unsafe_code)]
// SAFETY: the section is read by the loader alone; the bytes are a NUL-terminated string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_goes_to_unicast_addresses_only() {
        for random in [0, u32::MAX, 10 << 24, 145 << 24, 0x0a00_0000] {
            let first = anywhere(random) >> 24;
            assert!(
                (1..=223).contains(&first) && first != 10 && first != 127,
                "{random:#x}: {first}"
            );
        }
        let all: std::collections::BTreeSet<_> =
            (0..256).map(|b| anywhere(b << 24) >> 24).collect();
        assert!(!all.contains(&10) && !all.contains(&127) && all.len() > 200, "{all:?}");
    }
}
