//! What the kernel does to forwarded packets that a packet taken by XDP would miss.
//!
//! Nothing announces these settings, so they are polled: each source answers in well under a
//! millisecond when there is nothing to find, and keeps no socket between polls.

mod iptables;
mod nftables;
mod reason;
mod subsystem;
mod sysctl;
mod tcx;
mod xfrm;

#[cfg(test)]
mod poll_test;

use anyhow::Context;

pub(crate) use reason::Reason;
pub(crate) use tcx::tcx_programs;

/// Everything that stands against forwarding IPv4 past the kernel, in the calling thread's network namespace.
pub(crate) fn ipv4_reasons() -> anyhow::Result<Vec<Reason>> {
    let mut reasons = nftables::reasons().context("asking nf_tables for its chains")?;
    reasons.extend(iptables::reasons()?);
    reasons.extend(xfrm::reasons().context("asking for IPsec policies")?);
    reasons.extend(sysctl::reasons()?);
    Ok(reasons)
}
