//! What the kernel does to forwarded packets that a packet taken by XDP would miss.
//!
//! Nothing announces these settings, so they are polled: each source answers in well under a
//! millisecond when there is nothing to find, and keeps no socket between polls.

mod iptables;
mod multipath;
mod nftables;
mod offload;
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

pub(crate) use multipath::Picking;
use reason::Reason;

/// What polling found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Against IPv4 as a whole.
    pub(crate) everywhere: Vec<String>,
    /// Against single interfaces.
    pub(crate) by_interface: HashMap<Ifindex, Vec<String>>,
    /// Against forwarding what single interfaces receive.
    pub(crate) by_ingress: HashMap<Ifindex, Vec<String>>,
    /// How one of several next hops is picked.
    pub(crate) picking: Picking,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            everywhere: Vec::new(),
            by_interface: HashMap::new(),
            by_ingress: HashMap::new(),
            picking: Picking::Addresses,
        }
    }
}

/// An interface to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Its index.
    pub(crate) ifindex: Ifindex,
    /// Its name.
    pub(crate) name: String,
    /// It may hand over VLAN tags out of sight of XDP.
    pub(crate) may_hide_tags: bool,
    /// It is no physical interface.
    pub(crate) is_virtual: bool,
}

/// Asks for everything that XDP would bypass, in the calling thread's network namespace. `bypass` is the operator's
/// consent to bypass netfilter, tc and XFRM; settings that change where packets go are found all the same.
pub(crate) fn poll(subjects: &[Subject], bypass: bool) -> anyhow::Result<Found> {
    let mut found = Found { picking: multipath::picking()?, ..Found::default() };
    let reasons = if bypass { sysctl::reasons()? } else { ipv4_reasons()? };
    let (single, everywhere): (Vec<_>, Vec<_>) =
        reasons.into_iter().partition(|reason| reason.interface.is_some());
    found.everywhere = everywhere.into_iter().map(|reason| reason.sentence).collect();
    for Subject { ifindex, name, .. } in subjects {
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
    for (ifindex, sentence) in offload::reasons(subjects)? {
        found.by_ingress.entry(ifindex).or_default().push(sentence);
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
