//! What a clone in a table says, and what the kernel says to that. The only part of the audit that knows families.

use std::io;

use ipnet::Ipv4Net;
use route_cache_common::{Address4, Clone4, NextHopId, Route, route::RouteWords};

use super::{
    ask::{Asker, Ingress},
    compare::{Answer, Difference, Hop, Ours, compare},
};
use crate::{
    fib::{mirror::Fib, netlink::DumpError},
    maps::Generations,
};

/// A clone as it was seen, and what it said then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Index of its table.
    pub(crate) table: usize,
    /// Its key there.
    pub(crate) key: Address4,
    /// What it was cloned from.
    pub(crate) route: RouteWords,
    /// Which versions its next hops were at.
    pub(crate) versions: Vec<u64>,
    /// What it said.
    pub(crate) ours: Ours,
}

impl Seen {
    /// Looks at a clone; nothing if the data plane does not use it. Whether it does, its own generations decide, not what
    /// the mirror meant to write there.
    pub(crate) fn new(
        (fib, generations): (&Fib, &Generations),
        table: usize,
        key: Address4,
        clone: &Clone4,
    ) -> io::Result<Option<Self>> {
        let route = Route::unpack(clone.route);
        if !fib.reasons().is_empty() || generations.get(route.slot)? != route.generation {
            return Ok(None);
        }
        Ok(Self::by_next_hop(fib, table, key, clone))
    }

    fn by_next_hop(fib: &Fib, table: usize, key: Address4, clone: &Clone4) -> Option<Self> {
        let route = Route::unpack(clone.route);
        let (hop_key, hop) = fib.hops.of(NextHopId(clone.route[0]))?;
        if hop.reason.is_some() {
            return None;
        }
        let (ifindex, address) = fib.tables.neighbour_of(*hop_key).ok()?;
        let ours = Ours {
            dst: key.into(),
            hops: vec![Hop { ifindex, address: address.into() }],
            mtu: route.mtu.into(),
        };
        let versions = vec![hop.element.current];
        Some(Self { table, key, route: clone.route, versions, ours })
    }
}

/// Where packets to forward may come from: the interfaces that accelerate and have an address.
pub(crate) fn ingresses(fib: &Fib) -> Vec<Ingress> {
    let tables = &fib.tables;
    let mut ingresses: Vec<_> = tables
        .addresses
        .iter()
        .filter(|address| fib.attached.contains(&address.ifindex))
        .filter(|address| fib.ingress(address.ifindex).is_empty())
        .filter_map(|address| {
            let net = Ipv4Net::new(address.local, address.prefix_len).ok()?;
            let is_own = |host| tables.addresses.iter().any(|own| own.local == host);
            let source = net.hosts().find(|host| !is_own(*host))?;
            Some(Ingress { ifindex: address.ifindex, source: source.into() })
        })
        .collect();
    ingresses.sort_unstable_by_key(|ingress| (ingress.ifindex, ingress.source));
    ingresses
}

/// A packet does not leave by XDP where it came in; so this is not how it came.
fn ingress_for(ours: &Ours, ingresses: &[Ingress]) -> Option<Ingress> {
    let leaves_by = |ifindex| ours.hops.iter().any(|hop| hop.ifindex == ifindex);
    ingresses.iter().find(|ingress| !leaves_by(ingress.ifindex)).copied()
}

/// Asks the kernel about a clone. Nothing if it says the same; else what it says, and what is different.
pub(crate) fn ask(
    asker: &mut Asker,
    ours: &Ours,
    ingresses: &[Ingress],
) -> Result<Option<(Difference, Answer)>, DumpError> {
    let ingress = ingress_for(ours, ingresses);
    let mut answer = asker.resolve(ours.dst, ingress)?;
    let mut difference = compare(ours, &answer);
    if difference == Some(Difference::NextHop)
        && let Answer::Route(resolved) = &mut answer
    {
        let members = asker.members(ours.dst, ingress)?;
        // What the kernel chose is a member, unless something else than the table decided.
        if members.contains(&resolved.hop) {
            resolved.others = members;
        }
        difference = compare(ours, &answer);
    }
    Ok(difference.map(|difference| (difference, answer)))
}
