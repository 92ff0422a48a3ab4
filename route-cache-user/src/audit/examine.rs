//! What a clone in a table says, and what the kernel says to that. Written once for both families.

use std::{io, net::IpAddr};

use ipnet::IpNet;
use route_cache_common::{Action, ClonedRoute, NextHopId, Route, route::RouteWords};

use super::{
    ask::{Asker, Ingress},
    compare::{Answer, Difference, Hop, Ours, compare},
};
use crate::{
    fib::{
        family::{IpFamily, NetFamily},
        message::Address,
        mirror::Fib,
        netlink::DumpError,
        tables::Tables,
        verdict::HopKey,
    },
    maps::Generations,
};

/// A clone as it was seen, and what it said then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen<F: NetFamily> {
    /// Index of its table.
    pub(crate) table: usize,
    /// Its key there.
    pub(crate) key: F::Address,
    /// What it was cloned from.
    pub(crate) route: RouteWords,
    /// Which versions its next hops were at.
    pub(crate) versions: Vec<u64>,
    /// What it said.
    pub(crate) ours: Ours,
}

impl<F: NetFamily> Seen<F> {
    /// Looks at a clone; nothing if the data plane does not use it. Whether it does, its own generations decide, not what
    /// the mirror meant to write there.
    pub(crate) fn new(
        (fib, generations): (&Fib, &Generations),
        table: usize,
        key: F::Address,
        clone: &ClonedRoute,
    ) -> io::Result<Option<Self>> {
        let route = Route::unpack(clone.route);
        if !fib.reasons::<F>().is_empty() || generations.get(route.slot)? != route.generation {
            return Ok(None);
        }
        Ok(Self::by_next_hops(fib, table, key, clone))
    }

    fn by_next_hops(fib: &Fib, table: usize, key: F::Address, clone: &ClonedRoute) -> Option<Self> {
        let route = Route::unpack(clone.route);
        let keys: Vec<HopKey> = match route.action {
            Action::Group(number) => usable_members(fib, number)?,
            Action::Via(_) | Action::OnLink(_) | Action::Pass(_) => {
                vec![*fib.hops.of(NextHopId(clone.route[0]))?.0]
            }
        };
        let hops = keys.iter().map(|key| fib.hops.get(key)).collect::<Option<Vec<_>>>()?;
        // A group is used while one of its members is: the share of the others passes.
        if hops.iter().all(|hop| hop.reason.is_some()) {
            return None;
        }
        let versions = hops.iter().map(|hop| hop.element.current).collect();
        let neighbours = keys.iter().map(|key| {
            let (ifindex, address) = fib.tables.neighbour_of(*key).ok()?;
            Some(Hop { ifindex, address })
        });
        let hops = neighbours.collect::<Option<_>>()?;
        let ours = Ours { dst: F::ip(key), hops, mtu: route.mtu.into() };
        Some(Self { table, key, route: clone.route, versions, ours })
    }
}

/// The members of a group that its buckets lead to; nothing if it is left to the kernel.
fn usable_members(fib: &Fib, number: u32) -> Option<Vec<HopKey>> {
    let group = fib.groups.of(number).filter(|group| group.reason.is_none())?;
    let has_buckets =
        |key: &HopKey| fib.hops.get(key).is_some_and(|hop| group.buckets.count(hop.id) > 0);
    let members = group.members.iter().map(|member| member.key);
    Some(members.filter(has_buckets).collect())
}

/// Where packets to forward may come from: the interfaces that accelerate and have an address.
pub(crate) fn ingresses(fib: &Fib) -> Vec<Ingress> {
    let tables = &fib.tables;
    let mut ingresses: Vec<_> = tables
        .addresses
        .iter()
        .filter(|address| fib.is_attached(address.ifindex))
        .filter(|address| fib.ingress(IpFamily::of(address.local), address.ifindex).is_empty())
        .filter_map(|address| {
            let source = host_on(tables, address)?;
            Some(Ingress { ifindex: address.ifindex, source })
        })
        .collect();
    ingresses.sort_unstable_by_key(|ingress| (ingress.ifindex, ingress.source));
    ingresses
}

/// A host on the link of an address, whose packets may be forwarded.
pub(crate) fn host_on(tables: &Tables, address: &Address) -> Option<IpAddr> {
    if is_link_local(address.local) {
        return None;
    }
    let net = IpNet::new(address.local, address.prefix_len).ok()?;
    let is_own = |host| tables.addresses.iter().any(|own| own.local == host);
    // The subnet-router anycast address is no source.
    let is_anycast = |host| net.addr().is_ipv6() && host == net.network();
    net.hosts().find(|host| !is_own(*host) && !is_anycast(*host))
}

/// Nothing that comes from such an address is forwarded.
const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// A packet does not leave by XDP where it came in; so this is not how it came.
fn ingress_for(ours: &Ours, ingresses: &[Ingress]) -> Option<Ingress> {
    let leaves_by = |ifindex| ours.hops.iter().any(|hop| hop.ifindex == ifindex);
    let is_like_it = |ingress: &&Ingress| ingress.source.is_ipv4() == ours.dst.is_ipv4();
    let mut of_family = ingresses.iter().filter(is_like_it);
    of_family.find(|ingress| !leaves_by(ingress.ifindex)).copied()
}

/// Asks the kernel about a clone. Nothing if it says the same; else what it says, and what is different.
pub(crate) fn ask(
    asker: &mut Asker,
    ours: &Ours,
    ingresses: &[Ingress],
) -> Result<Option<(Difference, Answer)>, DumpError> {
    let ingress = ingress_for(ours, ingresses);
    let mut answer = asker.resolve(ours.dst, ingress)?;
    // What the kernel chose says nothing of the ways that it did not choose.
    if let (Answer::Route(kernel), [_, _, ..]) = (&mut answer, &*ours.hops) {
        kernel.ways = asker.ways(ours.dst, ingress)?;
    }
    Ok(compare(ours, &answer).map(|difference| (difference, answer)))
}
