//! Why a packet goes where it goes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use route_cache_common::Outcome;

use crate::{
    agent::State,
    fib::verdict::{HopKey, Verdict, Way},
};

/// What happens to a packet that reaches the route lookup.
pub(super) fn explain(
    state: &State,
    dst: Ipv4Addr,
    prefix: Option<Ipv4Net>,
    hop: Option<HopKey>,
    cloned: bool,
) -> (Outcome, String) {
    let reasons = state.fib.reasons();
    if !reasons.is_empty() {
        return (Outcome::PassDisabled, reasons.join("; "));
    }
    match dst.octets() {
        [0 | 127, ..] => {
            return (Outcome::PassMartianDestination, "0/8 and 127/8 are never forwarded".into());
        }
        [224..=239, ..] => {
            return (Outcome::PassMulticast, "multicast is left to the kernel".into());
        }
        [255, 255, 255, 255] => {
            return (Outcome::PassBroadcast, "the limited broadcast address".into());
        }
        _ => {}
    }
    let Some(prefix) = prefix else {
        return (Outcome::PassNoRoute, format!("no route covers {dst}"));
    };
    if let Some(Verdict { way: Way::Pass(outcome, reason), .. }) =
        state.fib.installed.get(&prefix).map(|known| &known.verdict)
    {
        let owner = state.fib.tables.addresses.iter().find(|address| address.local == dst);
        let whose =
            owner.map(|address| format!(" (of {})", state.fib.tables.link_name(address.ifindex)));
        return (*outcome, format!("{reason}{}", whose.unwrap_or_default()));
    }
    if let Some(Verdict { way: Way::Group(key), .. }) =
        state.fib.installed.get(&prefix).map(|known| &known.verdict)
    {
        let group = state.fib.groups.get(key);
        return match group.and_then(|group| group.reason.as_ref()) {
            Some(reason) => (Outcome::PassRoute, format!("of several next hops the kernel picks: {reason}")),
            None if cloned => {
                (Outcome::ForwardedClone, format!("it has a clone of {prefix}; each flow has one of its next hops"))
            }
            None => (Outcome::ForwardedRoute, format!("each flow has one of the next hops of {prefix}")),
        };
    }
    match hop.and_then(|key| state.fib.hops.get(&key)) {
        None => (
            Outcome::PassNeighbour,
            format!("the link-layer address of {dst} is not known: the kernel resolves it"),
        ),
        Some(hop) => match &hop.reason {
            Some(reason) => {
                let outcome =
                    Outcome::from_code(hop.version().pass as u8).unwrap_or(Outcome::PassNeighbour);
                (outcome, reason.clone())
            }
            None if cloned => (Outcome::ForwardedClone, format!("it has a clone of {prefix}")),
            None => {
                (Outcome::ForwardedRoute, format!("the first packet makes a clone of {prefix}"))
            }
        },
    }
}
