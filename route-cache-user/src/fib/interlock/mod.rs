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

use std::collections::HashMap;

use anyhow::Context;

use self::tcx::tcx_programs;
use super::message::Ifindex;

use reason::Reason;

/// What polling found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Against IPv4 as a whole.
    pub(crate) everywhere: Vec<String>,
    /// Against single interfaces.
    pub(crate) by_interface: HashMap<Ifindex, Vec<String>>,
}

/// Asks for everything that XDP would bypass, in the calling thread's network namespace. `bypass` is the operator's
/// consent to bypass netfilter, tc and XFRM; settings that change where packets go are found all the same.
pub(crate) fn poll(interfaces: &[(Ifindex, String)], bypass: bool) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let reasons = if bypass { sysctl::reasons()? } else { ipv4_reasons()? };
    let (single, everywhere): (Vec<_>, Vec<_>) =
        reasons.into_iter().partition(|reason| reason.interface.is_some());
    found.everywhere = everywhere.into_iter().map(|reason| reason.sentence).collect();
    for (ifindex, name) in interfaces {
        let mut against: Vec<_> = single
            .iter()
            .filter(|reason| reason.concerns(name))
            .map(|reason| reason.sentence.clone())
            .collect();
        if !bypass && !tcx_programs(name)?.is_empty() {
            against.push(format!("{name} has tc programs (tcx), which XDP would bypass"));
        }
        if !against.is_empty() {
            found.by_interface.insert(*ifindex, against);
        }
    }
    Ok(found)
}

/// Everything that stands against forwarding IPv4 past the kernel, in the calling thread's network namespace.
fn ipv4_reasons() -> anyhow::Result<Vec<Reason>> {
    let mut reasons = nftables::reasons().context("asking nf_tables for its chains")?;
    reasons.extend(iptables::reasons()?);
    reasons.extend(xfrm::reasons().context("asking for IPsec policies")?);
    reasons.extend(sysctl::reasons()?);
    Ok(reasons)
}
