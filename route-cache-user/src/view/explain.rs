//! Why a packet goes where it goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use route_cache_common::Outcome;

use crate::{
    agent::State,
    fib::{
        family::NetFamily,
        verdict::{HopKey, Way},
    },
};

/// What happens to a packet that reaches the route lookup.
pub(super) fn explain<F: NetFamily>(
    state: &State,
    dst: IpAddr,
    prefix: Option<F::Net>,
    hop: Option<HopKey>,
    cloned: bool,
) -> (Outcome, String) {
    let reasons = state.fib.reasons::<F>();
    if !reasons.is_empty() {
        let reasons: Vec<_> = reasons.into_iter().map(|why| why.sentence).collect();
        return (Outcome::PassDisabled, reasons.join("; "));
    }
    let special = match dst {
        IpAddr::V4(dst) => special4(dst),
        IpAddr::V6(dst) => special6(dst),
    };
    if let Some((outcome, reason)) = special {
        return (outcome, reason.to_owned());
    }
    let Some(prefix) = prefix else {
        return (Outcome::PassNoRoute, format!("no route covers {dst}"));
    };
    let way = F::mirrored(&state.fib).installed.get(&prefix).map(|known| known.verdict.way);
    if let Some(Way::Group(key)) = &way {
        let group = state.fib.groups.get(key);
        return match group.and_then(|group| group.reason.as_ref()) {
            Some(reason) => {
                (Outcome::PassRoute, format!("the kernel picks one of the next hops: {reason}"))
            }
            None if cloned => (
                Outcome::ForwardedClone,
                format!("it has a clone of {prefix}; each flow has one of its next hops"),
            ),
            None => {
                (Outcome::ForwardedRoute, format!("each flow has one of the next hops of {prefix}"))
            }
        };
    }
    if let Some(Way::Pass(outcome, reason)) = way {
        let owner = state.fib.tables.addresses.iter().find(|address| address.local == dst);
        let whose =
            owner.map(|address| format!(" (of {})", state.fib.tables.link_name(address.ifindex)));
        return (outcome, format!("{reason}{}", whose.unwrap_or_default()));
    }
    match hop.and_then(|key| state.fib.hops.get(&key)) {
        None => (
            Outcome::PassNeighbour,
            format!("the link-layer address of {dst} is not known: the kernel resolves it"),
        ),
        Some(hop) => match &hop.reason {
            Some(reason) => {
                let outcome =
                    Outcome::from_code(hop.version().pass).unwrap_or(Outcome::PassNeighbour);
                (outcome, reason.clone())
            }
            None if cloned => (Outcome::ForwardedClone, format!("it has a clone of {prefix}")),
            None => {
                (Outcome::ForwardedRoute, format!("the first packet makes a clone of {prefix}"))
            }
        },
    }
}

/// Destinations that are never forwarded, whatever the routes (forwarding.md rows 13 to 15).
fn special4(dst: Ipv4Addr) -> Option<(Outcome, &'static str)> {
    match dst.octets() {
        [0 | 127, ..] => {
            Some((Outcome::PassMartianDestination, "0/8 and 127/8 are never forwarded"))
        }
        [224..=239, ..] => Some((Outcome::PassMulticast, "multicast is left to the kernel")),
        [255, 255, 255, 255] => Some((Outcome::PassBroadcast, "the limited broadcast address")),
        _ => None,
    }
}

/// The same of IPv6 (rows 15 and 26).
fn special6(dst: Ipv6Addr) -> Option<(Outcome, &'static str)> {
    if dst.is_multicast() {
        return Some((Outcome::PassMulticast, "multicast is left to the kernel"));
    }
    let is_martian = dst.is_unicast_link_local() || dst.is_loopback() || dst.is_unspecified();
    is_martian.then_some((
        Outcome::PassMartianDestination,
        "link-local addresses, :: and ::1 are never forwarded",
    ))
}
