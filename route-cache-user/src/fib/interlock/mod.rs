//! What the kernel does to forwarded packets that a packet taken by XDP would miss.
//!
//! Some of these settings nothing announces, so all are polled: each source answers in well under a
//! millisecond when there is nothing to find, and keeps no socket between polls. What is announced ([`Bell`](super::netlink::Bell))
//! is asked for at once.

mod bpf_links;
mod hooks;
mod iptables;
mod multipath;
mod nftables;
mod offload;
mod reason;
mod subsystem;
mod sysctl;
mod tcx;
mod tracking;
mod xfrm;

#[cfg(test)]
mod poll_test;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;

use self::tcx::tcx_programs;
use super::{
    family::{IpFamily, PerFamily},
    message::Ifindex,
    why::{Code, Why},
};

pub(crate) use multipath::Picking;
use reason::Reason;

/// What polling found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Against a family as a whole.
    pub(crate) everywhere: PerFamily<Vec<Why>>,
    /// Against single interfaces.
    pub(crate) by_interface: HashMap<Ifindex, PerFamily<Vec<Why>>>,
    /// Against forwarding what single interfaces receive.
    pub(crate) by_ingress: HashMap<Ifindex, Vec<Why>>,
    /// How one of several next hops is picked.
    pub(crate) picking: PerFamily<Picking>,
    /// The IPv6 MTU of interfaces, which may be smaller than that of the device.
    pub(crate) mtu6: HashMap<Ifindex, u32>,
}

impl Found {
    /// What stands against both families while it cannot be told what else does.
    pub(crate) fn unknown(sentence: String) -> Self {
        let why = vec![Why { code: Code::Unknown, sentence }];
        Self { everywhere: PerFamily { v4: why.clone(), v6: why }, ..Self::default() }
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
    /// Its hardware may merge frames.
    pub(crate) may_merge: bool,
    /// It is no physical interface.
    pub(crate) is_virtual: bool,
}

/// Asks, and remembers what is dear to ask for.
#[derive(Debug, Default)]
pub(crate) struct Poller {
    rules: Mutex<tracking::Read>,
}

impl Poller {
    /// Asks for everything that XDP would bypass, in the calling thread's network namespace. `bypass` is the operator's
    /// consent to bypass netfilter, tc and XFRM; settings that change where packets go are found all the same.
    pub(crate) fn poll(&self, subjects: &[Subject], bypass: bool) -> anyhow::Result<Found> {
        let mut found = Found {
            picking: multipath::picking()?,
            by_ingress: offload::reasons(subjects)?,
            ..Found::default()
        };
        let reasons = if bypass { sysctl::reasons()? } else { self.all_reasons()? };
        let (single, everywhere): (Vec<_>, Vec<_>) =
            reasons.into_iter().partition(|reason| reason.interface.is_some());
        for family in IpFamily::ALL {
            let of_family = everywhere.iter().filter(|reason| reason.is_of(family));
            found.everywhere[family] = of_family.map(Reason::why).collect();
        }
        for Subject { ifindex, name, .. } in subjects {
            let mut against = PerFamily::<Vec<Why>>::default();
            let is_tcx = !bypass && !tcx_programs(name)?.is_empty();
            for family in IpFamily::ALL {
                let concerned = single.iter().filter(|r| r.is_of(family) && r.concerns(name));
                against[family].extend(concerned.map(Reason::why));
                let tcx = || {
                    let sentence = format!("{name} has tc programs (tcx), which XDP would bypass");
                    Why::new(Code::Tc, sentence)
                };
                against[family].extend(is_tcx.then(tcx));
            }
            let (against6, mtu6) = sysctl::ipv6_of(name)?;
            against.v6.extend(against6);
            found.mtu6.extend(mtu6.map(|mtu| (*ifindex, mtu)));
            if against != PerFamily::default() {
                found.by_interface.insert(*ifindex, against);
            }
        }
        Ok(found)
    }

    /// Everything that stands against forwarding past the kernel, in the calling thread's network namespace.
    fn all_reasons(&self) -> anyhow::Result<Vec<Reason>> {
        let mut reasons = nftables::reasons().context("asking nf_tables for its chains")?;
        reasons.extend(self.conntrack_and_others()?);
        reasons.extend(iptables::reasons()?);
        reasons.extend(xfrm::reasons().context("asking for IPsec policies")?);
        reasons.extend(sysctl::reasons()?);
        Ok(reasons)
    }

    /// What is on the hooks of netfilter besides chains and tables; on kernels that do not tell, what follows from the rules.
    fn conntrack_and_others(&self) -> anyhow::Result<Vec<Reason>> {
        if let Some(told) =
            hooks::reasons().context("asking for the functions on netfilter's hooks")?
        {
            return Ok(told);
        }
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons =
            tracking::reasons(&mut rules).context("asking nf_tables for its rules")?;
        reasons.extend(bpf_links::reason());
        Ok(reasons)
    }
}
