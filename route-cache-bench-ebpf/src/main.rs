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

use crate::{
    frame::{Header, Ipv4, Ipv6},
    kernel::Tables,
};

/// Programs for IPv4, and for IPv6 under the same name with a 6.
macro_rules! programs {
    ($($v4:ident, $v6:ident: $body:ident;)+) => {
        $(
            #[xdp]
            pub fn $v4(ctx: XdpContext) -> u32 {
                bodies::$body::<Ipv4>(&ctx)
            }

            #[xdp]
            pub fn $v6(ctx: XdpContext) -> u32 {
                bodies::$body::<Ipv6>(&ctx)
            }
        )+
    };
}

programs! {
    generate, generate6: generate;
    floor, floor6: floor;
    flow, flow6: flow;
    lpm, lpm6: lpm;
    fib_full, fib_full6: fib_full;
    fib_direct, fib_direct6: fib_direct;
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

mod bodies {
    use super::*;

    /// Makes the next frame and hands it to the contender. A contender that is missing shows as frames that never arrive.
    #[inline(always)]
    pub fn generate<H: Header>(ctx: &XdpContext) -> u32 {
        let (Some(traffic), Some(position)) = (kernel::traffic(), kernel::position()) else {
            return XDP_ABORTED;
        };
        let destination = next_destination::<H>(traffic, position);
        let Some(frame) = kernel::frame::<H>(ctx) else {
            return XDP_ABORTED;
        };
        frame.restore(&traffic.addresses, traffic.header_sum, destination);
        kernel::hand_over(ctx, traffic.contender);
        XDP_ABORTED
    }

    /// Redirects everything to one next hop: what no forwarder can be faster than.
    #[inline(always)]
    pub fn floor<H: Header>(ctx: &XdpContext) -> u32 {
        forward::<H>(ctx, kernel::hop(0))
    }

    /// Forwards by a table of flows laid out as the agent's is, and nothing else: what that tier alone costs.
    #[inline(always)]
    pub fn flow<H: Header>(ctx: &XdpContext) -> u32 {
        let Some(frame) = kernel::frame::<H>(ctx) else {
            return XDP_ABORTED;
        };
        let hop = kernel::flow(H::flow_key(frame.ip.destination()));
        forward::<H>(ctx, hop.and_then(kernel::hop))
    }

    /// Forwards by the routes in a trie of its own, and nothing else.
    #[inline(always)]
    pub fn lpm<H: Tables>(ctx: &XdpContext) -> u32 {
        let Some(frame) = kernel::frame::<H>(ctx) else {
            return XDP_ABORTED;
        };
        let hop = kernel::route::<H>(frame.ip.destination());
        forward::<H>(ctx, hop.and_then(kernel::hop))
    }

    /// Forwards by the kernel's own tables and policy rules (`bpf_fib_lookup`).
    #[inline(always)]
    pub fn fib_full<H: Header>(ctx: &XdpContext) -> u32 {
        forward::<H>(ctx, kernel::fib_lookup::<H>(ctx, 0).as_ref())
    }

    /// Likewise, by the one table of the interface (`BPF_FIB_LOOKUP_DIRECT`).
    #[inline(always)]
    pub fn fib_direct<H: Header>(ctx: &XdpContext) -> u32 {
        forward::<H>(ctx, kernel::fib_lookup::<H>(ctx, BPF_FIB_LOOKUP_DIRECT).as_ref())
    }
}

#[inline(always)]
fn forward<H: Header>(ctx: &XdpContext, hop: Option<&Hop>) -> u32 {
    let (Some(hop), Some(frame)) = (hop, kernel::frame::<H>(ctx)) else {
        return XDP_PASS;
    };
    if !kernel::redirect(hop.ifindex) {
        return XDP_PASS;
    }
    frame.send_to(&hop.addresses);
    XDP_REDIRECT
}

#[inline(always)]
fn next_destination<H: Header>(traffic: &Traffic, position: &mut Position) -> H::Address {
    let mut random = position.random;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    position.random = random;
    if (random >> 32) as u32 % FLOOD_OF < traffic.flood {
        position.flooded += 1;
        return H::address(H::anywhere(random));
    }
    position.from_list += 1;
    let mut entry = position.next >> traffic.repeat_shift;
    if entry >= u64::from(traffic.listed) {
        position.next = 0;
        entry = 0;
    }
    position.next += 1;
    kernel::listed::<H>(entry as u32)
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
        let first = |random: u64| Ipv4::anywhere(random)[0].to_ne_bytes()[0];
        for random in [0, u64::MAX, 10 << 24, 145 << 24, 0x0a00_0000] {
            let first = first(random);
            assert!(
                (1..=223).contains(&first) && first != 10 && first != 127,
                "{random:#x}: {first}"
            );
        }
        let all: std::collections::BTreeSet<_> = (0..256).map(|b| first(b << 24)).collect();
        assert!(!all.contains(&10) && !all.contains(&127) && all.len() > 200, "{all:?}");
        for random in [0, u64::MAX, 1 << 31] {
            let first = Ipv6::anywhere(random)[0].to_ne_bytes()[0];
            assert!((0x24..0x28).contains(&first), "{random:#x}: {first:#x}");
        }
    }
}
