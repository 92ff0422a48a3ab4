//! Where a packet goes: what is looked for first, the route, the next hop, and how it would leave.

use route_cache_common::{Config, Outcome};

use super::{Judged, Ours, Steps, addresses};
use crate::{
    agent::State,
    audit::compare::Hop,
    control::protocol::CloneEntry,
    fib::{
        family::{IpFamily, NetFamily},
        groups::{Group, GroupKey},
        message::Ifindex,
        verdict::{HopKey, Way, kind_name, table_name},
    },
};

/// A destination, and what the data plane has for it.
pub(in crate::view) struct Destination<'a, F: NetFamily> {
    /// Its address.
    pub(in crate::view) dst: F::Address,
    /// The route that covers it.
    pub(in crate::view) net: Option<F::Net>,
    /// What that says.
    pub(in crate::view) way: Option<Way>,
    /// Its clones that are current.
    pub(in crate::view) clones: &'a [CloneEntry],
    /// Flags of the config line.
    pub(in crate::view) flags: u64,
}

/// Whether a destination may be forwarded to at all.
pub(in crate::view) fn admit<F: NetFamily>(dst: F::Address, steps: &mut Steps) {
    steps.judge("destination", addresses::destination(F::ip(dst)));
}

/// The steps that find the way. Returns how the packet ends, and where a packet that is forwarded goes.
pub(in crate::view) fn follow<F: NetFamily>(
    state: &State,
    to: &Destination<'_, F>,
    iif: Option<Ifindex>,
    steps: &mut Steps,
) -> (Outcome, String, Option<Ours>) {
    let is_cloned = to.tell_tiers(steps);
    let ours = match &to.way {
        Some(Way::Group(key)) => to.by_group(state, key, iif, steps),
        Some(Way::Via(key)) => to.by_hop(state, *key, iif, steps),
        Some(Way::OnLink(ifindex)) => {
            let key = HopKey::Neighbour((*ifindex, F::ip(to.dst)));
            to.by_hop(state, key, iif, steps)
        }
        Some(Way::Pass(outcome, reason)) => {
            steps.judge("route", Err((*outcome, to.passes(state, reason))));
            None
        }
        None => {
            let reason = format!("no route covers {}", F::ip(to.dst));
            steps.judge("route", Err((Outcome::PassNoRoute, reason)));
            None
        }
    };
    if let Some((outcome, reason)) = steps.ended() {
        return (*outcome, reason.clone(), None);
    }
    let net = to.net.map_or_else(String::new, |net| net.to_string());
    let (outcome, reason) = match (&to.way, is_cloned) {
        (Some(Way::Group(_)), true) => (
            Outcome::ForwardedClone,
            format!("it has a clone of {net}; each flow has one of its next hops"),
        ),
        (Some(Way::Group(_)), false) => {
            (Outcome::ForwardedRoute, format!("each flow has one of the next hops of {net}"))
        }
        (_, true) => (Outcome::ForwardedClone, format!("it has a clone of {net}")),
        (_, false) if !to.makes_clones() => {
            (Outcome::ForwardedRoute, format!("it goes by {net}, without a clone"))
        }
        (_, false) => (Outcome::ForwardedRoute, format!("the first packet makes a clone of {net}")),
    };
    (outcome, reason, ours)
}

impl<F: NetFamily> Destination<'_, F> {
    /// Whether clones are looked for and made at the moment.
    const fn makes_clones(&self) -> bool {
        self.flags & (Config::NO_CLONES | F::BY_ROUTES) == 0
    }

    /// What stands in front of the routes. Returns whether the packet finds a clone there.
    fn tell_tiers(&self, steps: &mut Steps) -> bool {
        let is = |flag: u64| self.flags & flag != 0;
        let reason = if is(F::BY_ROUTES) {
            "by the routes alone: flows and clones are not worth looking for at the moment"
                .to_owned()
        } else {
            let flows = if is(Config::FLOWS) { "flows" } else { "no flows" };
            let clones = match (is(Config::NO_CLONES), is(Config::FEW_CLONES)) {
                (true, _) => "no clones",
                (false, true) => "clones of few destinations, under a flood",
                (false, false) => "clones",
            };
            let is_indexed = F::FAMILY == IpFamily::V4 && is(Config::INDEX4);
            let index = if is_indexed { ", the index" } else { "" };
            format!("looked for before the routes: {flows}, {clones}{index}")
        };
        steps.ok("tiers", reason);
        let cpus: Vec<_> = self.clones.iter().map(|clone| clone.cpu.to_string()).collect();
        let reason = match (cpus.is_empty(), self.makes_clones()) {
            (true, true) => "none yet".to_owned(),
            (true, false) => "none, and none is made".to_owned(),
            (false, true) => format!("on CPU {}", cpus.join(", ")),
            (false, false) => format!("on CPU {}, not looked for", cpus.join(", ")),
        };
        steps.ok("clones", reason);
        !cpus.is_empty() && self.makes_clones()
    }

    /// The route in the words of `ip route`.
    fn describe(&self, state: &State) -> String {
        let Some(net) = &self.net else { return String::new() };
        match state.fib.tables.candidates::<F>(net).next() {
            Some(best) => {
                let (kind, table) = (kind_name(best.kind), table_name(best.table));
                format!("{kind} {net}, table {table}, metric {}", best.metric)
            }
            None => net.to_string(),
        }
    }

    /// Why the route is left to the kernel; with the owner of an address of this host.
    fn passes(&self, state: &State, reason: &str) -> String {
        let tables = &state.fib.tables;
        let dst = F::ip(self.dst);
        let owner = tables.addresses.iter().find(|address| address.local == dst);
        let whose = owner.map(|address| format!(" (of {})", tables.link_name(address.ifindex)));
        format!("{}: {reason}{}", self.describe(state), whose.unwrap_or_default())
    }

    /// Through one next hop.
    fn by_hop(
        &self,
        state: &State,
        key: HopKey,
        iif: Option<Ifindex>,
        steps: &mut Steps,
    ) -> Option<Ours> {
        let tables = &state.fib.tables;
        steps.ok("route", self.describe(state));
        let at = match tables.neighbour_of(key) {
            Ok(at) => at,
            Err(against) => {
                steps.judge("next_hop", Err((against.outcome, against.reason)));
                return None;
            }
        };
        let (ifindex, address) = at;
        let name = tables.link_name(ifindex);
        let hop = state.fib.hops.get(&key);
        let next_hop: Judged = match hop {
            None => Err((
                Outcome::PassNeighbour,
                format!("the link-layer address of {address} is not known: the kernel resolves it"),
            )),
            Some(hop) => match (&hop.reason, Outcome::from_code(hop.version().pass)) {
                (None, _) | (Some(_), Some(Outcome::PassEgress)) => {
                    Ok(format!("{address} on {name}, {}", state_of(state, at)))
                }
                (Some(reason), outcome) => {
                    Err((outcome.unwrap_or(Outcome::PassNeighbour), reason.clone()))
                }
            },
        };
        steps.judge("next_hop", next_hop);
        let egress = state.fib.egress(IpFamily::of(address), ifindex).err();
        let fine = format!("{name} takes redirected frames");
        steps.stand_aside("egress", Outcome::PassEgress, egress.as_slice(), fine);
        self.leave(state, &[ifindex], iif, steps);
        self.tell_mtu(state, &[at], steps);
        Some(self.ours(state, vec![Hop { ifindex, address }]))
    }

    /// Through one of several.
    fn by_group(
        &self,
        state: &State,
        key: &GroupKey<HopKey>,
        iif: Option<Ifindex>,
        steps: &mut Steps,
    ) -> Option<Ours> {
        let Some(group) = state.fib.groups.get(key) else {
            let reason = format!("{}: its next hops are being read", self.describe(state));
            steps.judge("route", Err((Outcome::PassRoute, reason)));
            return None;
        };
        if let Some(reason) = &group.reason {
            let reason = format!("the kernel picks one of the next hops: {reason}");
            steps.judge("route", Err((Outcome::PassRoute, reason)));
            return None;
        }
        let count = group.members.len();
        steps.ok("route", format!("{}, {count} next hops", self.describe(state)));
        let (usable, unusable) = members(state, group);
        let next_hops: Judged = match (usable.is_empty(), unusable.into_iter().next()) {
            (true, Some(against)) => Err(against),
            (true, None) => Err((Outcome::PassRoute, "the kernel skips all of them".to_owned())),
            (false, Some((_, reason))) => Ok(format!(
                "{} of {count} are usable, the share of the others passes: {reason}",
                usable.len()
            )),
            (false, None) => Ok(format!("{} of {count} are usable", usable.len())),
        };
        steps.judge("next_hop", next_hops);
        if usable.is_empty() {
            return None;
        }
        let devices: Vec<_> = usable.iter().map(|hop| hop.ifindex).collect();
        let mut names: Vec<_> = devices.iter().map(|i| state.fib.tables.link_name(*i)).collect();
        names.sort_unstable();
        names.dedup();
        let verb = if names.len() == 1 { "takes" } else { "take" };
        steps.ok("egress", format!("{} {verb} redirected frames", names.join(" and ")));
        self.leave(state, &devices, iif, steps);
        let at: Vec<_> = usable.iter().map(|hop| (hop.ifindex, hop.address)).collect();
        self.tell_mtu(state, &at, steps);
        Some(self.ours(state, usable))
    }

    /// Row 42: not out of the interface it came in by.
    fn leave(&self, state: &State, devices: &[Ifindex], iif: Option<Ifindex>, steps: &mut Steps) {
        let Some(iif) = iif else {
            return steps.not_asked("same_interface", "give `iif NAME`");
        };
        let name = state.fib.tables.link_name(iif);
        let back = devices.iter().filter(|device| **device == iif).count();
        let judged = if back == devices.len() {
            Err((Outcome::PassSameInterface, format!("it would leave by {name}, where it came in")))
        } else if back > 0 {
            Ok(format!("flows that would leave by {name}, where they came in, pass"))
        } else {
            Ok(format!("it leaves by another interface than {name}"))
        };
        steps.judge("same_interface", judged);
    }

    fn tell_mtu(&self, state: &State, at: &[(Ifindex, std::net::IpAddr)], steps: &mut Steps) {
        let of_devices = at.iter().map(|(i, address)| state.fib.mtu_of(*i, *address)).min();
        let of_route = u32::from(self.route_mtu(state));
        let least = of_devices.into_iter().chain((of_route != 0).then_some(of_route)).min();
        let least = least.unwrap_or(0);
        steps.ok("mtu", format!("larger packets than {least} bytes pass (pass_mtu)"));
    }

    fn route_mtu(&self, state: &State) -> u16 {
        let installed = &F::mirrored(&state.fib).installed;
        let route = self.net.as_ref().and_then(|net| installed.get(net));
        route.map_or(0, |route| route.verdict.mtu)
    }

    fn ours(&self, state: &State, hops: Vec<Hop>) -> Ours {
        Ours { dst: F::ip(self.dst), hops, mtu: self.route_mtu(state).into() }
    }
}

/// The state of a neighbour, as `ip neigh` names it.
fn state_of(state: &State, at: (Ifindex, std::net::IpAddr)) -> &'static str {
    let neighbour = state.fib.tables.neighbours.get(&at);
    neighbour.map_or("none", |neighbour| crate::view::rows::neighbour_state(neighbour.state))
}

/// The members of a group that its buckets lead to: those that are usable, and what stands against the others.
fn members(state: &State, group: &Group<HopKey>) -> (Vec<Hop>, Vec<(Outcome, String)>) {
    let (mut usable, mut unusable) = (Vec::new(), Vec::new());
    for member in &group.members {
        let Some(hop) = state.fib.hops.get(&member.key) else { continue };
        if group.buckets.count(hop.id) == 0 {
            continue;
        }
        match (&hop.reason, state.fib.tables.neighbour_of(member.key)) {
            (None, Ok((ifindex, address))) => usable.push(Hop { ifindex, address }),
            (Some(reason), _) => {
                let outcome = Outcome::from_code(hop.version().pass);
                unusable.push((outcome.unwrap_or(Outcome::PassNeighbour), reason.clone()));
            }
            (None, Err(against)) => unusable.push((against.outcome, against.reason)),
        }
    }
    (usable, unusable)
}
