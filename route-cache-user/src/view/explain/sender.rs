//! Where a packet comes from: its source, and the way back there (forwarding.md rows 12, 17 and 26).

use std::net::IpAddr;

use route_cache_common::{Outcome, Port};

use super::{Judged, Steps, addresses};
use crate::{
    agent::State,
    fib::{
        family::{IpFamily, NetFamily},
        message::Ifindex,
        verdict::{HopKey, Way},
    },
};

/// The steps that look at the source.
pub(in crate::view) fn send<F: NetFamily>(
    state: &State,
    from: Option<F::Address>,
    iif: Option<Ifindex>,
    steps: &mut Steps,
) {
    match from {
        None => steps.not_asked("source", "give `from ADDR`"),
        Some(from) => steps.judge("source", source::<F>(state, from)),
    }
    match (from, iif) {
        _ if F::FAMILY == IpFamily::V6 => steps.ok("reverse_path", "IPv6 has no rp_filter"),
        (Some(from), Some(iif)) => steps.judge("reverse_path", way_back::<F>(state, from, iif)),
        _ => steps.not_asked("reverse_path", "give `from ADDR` and `iif NAME`"),
    }
}

fn source<F: NetFamily>(state: &State, from: F::Address) -> Judged {
    let martian = |reason: String| Err((Outcome::PassMartianSource, reason));
    let fine = addresses::source(F::ip(from))?;
    let IpAddr::V4(own) = F::ip(from) else {
        // The kernel does not look for its own IPv6 addresses here.
        return Ok(fine);
    };
    if state.fib.is_own_source(own) {
        return martian(format!("{own} is an address of this host, or a broadcast address"));
    }
    match way_to::<F>(state, from) {
        Some((net, Way::Pass(outcome, reason)))
            if state.fib.checks_sources()
                && !matches!(outcome, Outcome::PassNeighbour | Outcome::PassEgress) =>
        {
            martian(format!("the route {net} to {own} is no unicast route: {reason}"))
        }
        _ => Ok(fine),
    }
}

fn way_to<F: NetFamily>(state: &State, to: F::Address) -> Option<(F::Net, Way)> {
    let installed = &F::mirrored(&state.fib).installed;
    let net = installed.longest_match(to)?;
    Some((net, installed.get(&net)?.verdict.way))
}

/// `rp_filter`, by the routes.
fn way_back<F: NetFamily>(state: &State, from: F::Address, iif: Ifindex) -> Judged {
    let asked = state.fib.port_flags(iif).or_else(|| state.fib.tables.reverse_path(iif));
    let is_strict = asked.is_none_or(|asked| asked & Port::REVERSE_STRICT != 0);
    let is_loose = asked.is_some_and(|asked| asked & Port::REVERSE_LOOSE != 0);
    let mode = match (is_strict, is_loose) {
        (true, _) => "strict",
        (false, true) => "loose",
        (false, false) => return Ok("rp_filter is off".to_owned()),
    };
    let source = F::ip(from);
    let drops =
        |why: String| Err((Outcome::PassReversePath, format!("rp_filter is {mode}: {why}")));
    let Some((net, way)) = way_to::<F>(state, from) else {
        return drops(format!("no route leads back to {source}"));
    };
    let back = match way {
        Way::OnLink(ifindex) => ifindex,
        Way::Via(key) => match device(state, key) {
            Some(ifindex) => ifindex,
            None => {
                return drops(format!("the next hop of {net}, back to {source}, is not usable"));
            }
        },
        Way::Group(_) => return drops(format!("{net}, back to {source}, has several next hops")),
        Way::Pass(_, reason) => return drops(format!("{net}, back to {source}, is {reason}")),
    };
    let name = state.fib.tables.link_name(back);
    if is_strict && back != iif {
        return drops(format!("{net}, back to {source}, leads by {name}"));
    }
    Ok(format!("rp_filter is {mode}: {net}, back to {source}, leads by {name}"))
}

/// The interface that the data plane knows of a next hop: none while it is not usable.
fn device(state: &State, key: HopKey) -> Option<Ifindex> {
    state.fib.hops.get(&key).map(|hop| hop.version().ifindex).filter(|ifindex| *ifindex != 0)
}
