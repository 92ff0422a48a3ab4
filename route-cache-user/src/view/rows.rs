//! Rows of the listings, in the words of `ip`.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use route_cache_common::{Action, ClonedRoute, Outcome, Route, next_hop::NextHopVersion};

use crate::{
    agent::{Shared, State},
    control::protocol::{CloneEntry, NextHopEntry, RouteEntry},
    fib::{
        family::NetFamily,
        groups::Group,
        verdict::{HopKey, Way, kind_name, table_name},
    },
};

/// A clone in words; nothing if the data plane does not use it any more.
pub(super) fn clone_entry<F: NetFamily>(
    shared: &Shared,
    state: &State,
    names: &HopNames,
    cpu: u32,
    destination: F::Address,
    clone: &ClonedRoute,
) -> Option<CloneEntry> {
    let clock = &shared.clock;
    let route = Route::unpack(clone.route);
    if state.fib.slots.generation(route.slot) != Some(route.generation) {
        return None;
    }
    let hop = match route.action {
        Action::Group(group) => names.groups.get(&group)?,
        Action::Via(_) | Action::OnLink(_) | Action::Pass(_) => names.hops.get(&clone.route[0])?,
    };
    let dst = F::ip(destination);
    let now = clock.now();
    let expiry = shared.policy.read().expiry(clone.last_used);
    let idle = clock.to_seconds(now.saturating_sub(clone.last_used));
    let route_mtu = Some(u32::from(route.mtu)).filter(|mtu| *mtu != 0);
    Some(CloneEntry {
        dst,
        family: F::FAMILY.name().into(),
        cpu,
        prefix: F::prefix(destination, route.prefix_len)?.into(),
        via: hop.address.filter(|via| *via != dst),
        dev: hop.dev.clone(),
        mtu: route_mtu.map_or(hop.mtu, |mtu| mtu.min(hop.mtu)),
        packets: clone.packets,
        bytes: clone.bytes,
        idle_seconds: idle,
        expires_in_seconds: clock.to_seconds(expiry.saturating_sub(now)),
        state: if idle < IN_USE.as_secs_f64() { "in-use" } else { "expiring" }.into(),
    })
}

/// A clone is in use while packets follow each other within this time.
const IN_USE: Duration = Duration::from_secs(1);

/// Next hops by id, in words.
pub(super) struct HopNames {
    hops: HashMap<u32, HopName>,
    groups: HashMap<u32, HopName>,
}

struct HopName {
    /// Of one next hop.
    address: Option<IpAddr>,
    dev: String,
    mtu: u32,
}

impl HopNames {
    pub(super) fn new(state: &State) -> Self {
        let tables = &state.fib.tables;
        let named = state.fib.hops.iter().filter_map(|(key, hop)| {
            let (ifindex, address) = tables.neighbour_of(*key).ok()?;
            let mtu = state.fib.mtu_of(ifindex, address);
            let name = HopName { address: Some(address), dev: tables.link_name(ifindex), mtu };
            Some((hop.id.0, name))
        });
        let hops: HashMap<u32, HopName> = named.collect();
        let of_group = |group: &Group<HopKey>| {
            let ids = group.members.iter().filter_map(|member| state.fib.hops.get(&member.key));
            let known: Vec<_> = ids.filter_map(|hop| hops.get(&hop.id.0)).collect();
            let devices: BTreeSet<_> = known.iter().map(|hop| hop.dev.as_str()).collect();
            let dev = devices.into_iter().collect::<Vec<_>>().join(",");
            let mtu = known.iter().map(|hop| hop.mtu).min().unwrap_or(0);
            (group.number, HopName { address: None, dev, mtu })
        };
        let groups = state.fib.groups.iter().map(of_group).collect();
        Self { hops, groups }
    }
}

/// The best route of a prefix.
pub(super) fn route_entry<F: NetFamily>(state: &State, net: &F::Net) -> Option<RouteEntry> {
    let tables = &state.fib.tables;
    let best = tables.candidates::<F>(net).next()?;
    let verdict = F::mirrored(&state.fib).installed.get(net).map(|known| known.verdict);
    let (ifindex, via, reason) = match verdict.map(|verdict| verdict.way) {
        None => (None, None, Some("not installed yet".to_owned())),
        Some(Way::Pass(_, reason)) => {
            (best.target.first_interface(), None, Some(reason.to_owned()))
        }
        Some(Way::OnLink(ifindex)) => (
            Some(ifindex),
            None,
            state.fib.egress(F::FAMILY, ifindex).err().map(|why| why.sentence),
        ),
        Some(Way::Group(key)) => {
            let reason = state.fib.groups.get(&key).and_then(|group| group.reason.clone());
            (best.target.first_interface(), None, reason)
        }
        Some(Way::Via(key)) => {
            let neighbour = tables.neighbour_of(key).ok();
            let reason = state.fib.hops.get(&key).and_then(|hop| hop.reason.clone());
            (neighbour.map(|(ifindex, _)| ifindex), neighbour.map(|(_, address)| address), reason)
        }
    };
    Some(RouteEntry {
        prefix: (*net).into(),
        family: F::FAMILY.name().into(),
        table: table_name(best.table),
        kind: kind_name(best.kind).into(),
        via,
        dev: ifindex.map(|ifindex| tables.link_name(ifindex)),
        metric: best.metric,
        mtu: Some(best.mtu).filter(|mtu| *mtu != 0),
        accelerated: reason.is_none(),
        reason,
    })
}

/// The next hop of a key.
pub(super) fn hop_entry(state: &State, key: HopKey) -> Option<NextHopEntry> {
    let hop = state.fib.hops.get(&key)?;
    let tables = &state.fib.tables;
    let at = tables.neighbour_of(key).ok();
    let neighbour = at.and_then(|at| tables.neighbours.get(&at));
    Some(NextHopEntry {
        id: hop.id.index(),
        address: at.map_or(Ipv4Addr::UNSPECIFIED.into(), |(_, address)| address),
        dev: at.map_or_else(|| "-".into(), |(ifindex, _)| tables.link_name(ifindex)),
        lladdr: neighbour
            .and_then(|neighbour| neighbour.lladdr)
            .map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
        neighbour: neighbour.map_or("none", |neighbour| neighbour_state(neighbour.state)).into(),
        vlan: at.and_then(|(i, _)| tables.links.get(&i)?.vlan).map(|vlan| vlan.id),
        port: at
            .map(|(ifindex, _)| (ifindex, tables.port_of(ifindex)))
            .filter(|(ifindex, port)| ifindex != port)
            .map(|(_, port)| tables.link_name(port)),
        mtu: at.map_or(0, |(ifindex, address)| state.fib.mtu_of(ifindex, address)),
        routes: hop.routes,
        usable: hop.reason.is_none(),
        reason: hop.reason.clone(),
    })
}

/// States of next hops, as the metric names them.
pub(super) const HOP_STATES: [&str; 4] = ["usable", "neighbour", "egress", "unsupported"];

/// The state of a next hop.
pub(super) fn hop_state(version: &NextHopVersion) -> &'static str {
    if version.flags & NextHopVersion::USABLE != 0 {
        return "usable";
    }
    match Outcome::from_code(version.pass) {
        Some(Outcome::PassEgress) => "egress",
        Some(Outcome::PassRoute) => "unsupported",
        _ => "neighbour",
    }
}

/// The name of a neighbour's state, as `ip neigh` prints it.
pub(super) fn neighbour_state(state: u16) -> &'static str {
    match state {
        0x01 => "incomplete",
        0x02 => "reachable",
        0x04 => "stale",
        0x08 => "delay",
        0x10 => "probe",
        0x20 => "failed",
        0x40 => "noarp",
        0x80 => "permanent",
        _ => "none",
    }
}
