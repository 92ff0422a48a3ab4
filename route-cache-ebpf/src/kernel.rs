//! What the kernel offers a program besides maps: the frame, the clocks, the CPU, chance.

#![allow(unsafe_code)]

use aya_ebpf::{helpers, programs::XdpContext};

use crate::packet::Packet;

/// The frame of this run. Any earlier cursor over it is void after [`cut_tail`] and [`move_head`].
#[inline(always)]
pub fn frame(ctx: &XdpContext) -> Packet<'_> {
    // SAFETY: the kernel hands the bytes between the two to this run alone; drivers align frames for the stack.
    unsafe { Packet::new(ctx.data(), ctx.data_end()) }
}

/// Index of the interface the frame came in by.
///
/// Volatile, because a load that is moved to where it is needed is made with an address that the verifier refuses.
#[inline(always)]
pub fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is valid for this run.
    unsafe { (&raw const (*ctx.ctx).ingress_ifindex).read_volatile() }
}

/// Cuts `bytes` bytes off the end of the frame.
#[inline(always)]
pub fn cut_tail(ctx: &XdpContext, bytes: usize) -> Result<(), i64> {
    // SAFETY: the helper checks its arguments; the context is this run's.
    match unsafe { helpers::bpf_xdp_adjust_tail(ctx.ctx, -(bytes as i32)) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Moves the start of the frame by `bytes` bytes: back to make room, forward to give it up.
#[inline(always)]
pub fn move_head(ctx: &XdpContext, bytes: i32) -> Result<(), i64> {
    // SAFETY: the helper checks its arguments; the context is this run's.
    match unsafe { helpers::bpf_xdp_adjust_head(ctx.ctx, bytes) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Asks for a redirect without a map. Returns the action to leave with.
#[inline(always)]
pub fn redirect(ifindex: u32) -> u32 {
    // SAFETY: a helper that checks its arguments.
    unsafe { helpers::generated::bpf_redirect(ifindex, 0) as u32 }
}

/// Jiffies: ticks of the kernel's own clock, 1/HZ seconds each. The JIT inlines it.
#[inline(always)]
pub fn jiffies() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { helpers::generated::bpf_jiffies64() }
}

/// The monotonic clock in nanoseconds.
#[inline(always)]
pub fn monotonic_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { helpers::generated::bpf_ktime_get_ns() }
}

/// The CPU this runs on.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { helpers::generated::bpf_get_smp_processor_id() }
}

/// What lies at an address of the kernel's; nothing if it cannot be read.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { helpers::bpf_probe_read_kernel(address as *const T) }.ok()
}

/// True once in `n` times on average; never if `n` is 0.
#[inline(always)]
pub fn one_in(n: u32) -> bool {
    // SAFETY: a helper without arguments.
    n != 0 && unsafe { helpers::generated::bpf_get_prandom_u32() }.is_multiple_of(n)
}
