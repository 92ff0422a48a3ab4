//! IPv6 routes that were added one by one and share a prefix and a metric are siblings: the kernel tells them as one route with
//! several next hops and the MTU of one of them, and forwards by each with its own (`rt6_fill_node`, net/ipv6/route.c). A dump
//! does not show the others; asking where single packets would go does.

use std::{collections::BTreeSet, net::Ipv6Addr};

use anyhow::{Context as _, Result};
use ipnet::Ipv6Net;
use route_cache_common::V6;

use super::{
    message::{Hop, RouteInfo, RouteTarget},
    netlink::Dumper,
    routes::Routes,
    tables::Tables,
};

/// Sources for which nobody has routes, of the discard prefix (RFC 6666). Which sibling a packet takes is a hash of them.
const SOURCES: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0);

/// Questions for each next hop: with even weights one of two is missed once in 2^31 times, one of sixteen once in ten million.
const QUESTIONS: u128 = 16;

/// RTNH_F_DEAD (include/uapi/linux/rtnetlink.h): no packet goes there.
const DEAD: u32 = 1;

/// What is known of the next hops of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Each is as the dump says of the whole.
    Even,
    /// One differs, or cannot be told.
    Uneven,
    /// Each that packets take is as the dump says; the others are dead and cannot be asked for.
    OfTheLiving,
}

/// Marks the routes with next hops that differ from what the dump says of the whole, or that cannot be told. Those of which
/// the dead next hops alone are in doubt are remembered: see [`Tables::trust_the_dead`].
pub(super) fn examine(dumper: &mut Dumper, tables: &mut Tables) -> Result<()> {
    let (mut uneven, mut doubtful) = (Vec::new(), Vec::new());
    for net in tables.v6.routes.nets() {
        for route in tables.candidates::<V6>(&net) {
            if let RouteTarget::Multipath(_) = route.target {
                match ask(dumper, &tables.v6.routes, net, route)? {
                    Told::Even => {}
                    Told::Uneven => uneven.push((net, route.clone())),
                    Told::OfTheLiving => {
                        uneven.push((net, route.clone()));
                        doubtful.push((net, route.clone()));
                    }
                }
            }
        }
    }
    tables.doubtful_dead = doubtful;
    for (net, route) in uneven {
        tables.v6.routes.mark_uneven(net, &route);
    }
    Ok(())
}

impl Tables {
    /// Takes next hops that are dead now for what they were before, where no message about them can have been missed: a route
    /// that was even and has the same next hops still is.
    pub(super) fn trust_the_dead(&mut self, known: &Self) {
        for (net, route) in std::mem::take(&mut self.doubtful_dead) {
            if known.v6.routes.get(&net).iter().any(|known| known.is_evenly(&route)) {
                self.v6.routes.mark_even(net, &route);
            }
        }
    }
}

fn ask(dumper: &mut Dumper, routes: &Routes<V6>, net: Ipv6Net, route: &RouteInfo) -> Result<Told> {
    let key = |hop: &Hop| (hop.ifindex, hop.gateway);
    let hops = route.target.hops();
    let living = hops.iter().filter(|hop| hop.flags & DEAD == 0);
    let mut unseen: BTreeSet<_> = living.map(key).collect();
    let told = if unseen.len() == hops.len() { Told::Even } else { Told::OfTheLiving };
    let Some(inside) = uncovered(routes, net) else {
        return Ok(Told::Uneven);
    };
    for number in 0..QUESTIONS * unseen.len() as u128 {
        let source = Ipv6Addr::from_bits(SOURCES.to_bits() + number + 1);
        let answer = dumper
            .route_of(inside, source)
            .with_context(|| format!("cannot ask the kernel for its route to {inside}"))?;
        let Some(answer) = answer.filter(|answer| answer.prefix == net.into()) else {
            return Ok(Told::Uneven);
        };
        let said = &answer.info;
        if (said.table, said.metric, said.mtu, said.limited)
            != (route.table, route.metric, route.mtu, route.limited)
        {
            return Ok(Told::Uneven);
        }
        if let Some(hop) = said.target.hops().first() {
            unseen.remove(&key(hop));
        }
        if unseen.is_empty() {
            return Ok(told);
        }
    }
    Ok(if unseen.is_empty() { told } else { Told::Uneven })
}

/// An address of a prefix that no longer prefix covers. Not its first, which may be the anycast address of the routers.
fn uncovered(routes: &Routes<V6>, net: Ipv6Net) -> Option<Ipv6Addr> {
    let mut address = net.network().to_bits();
    if net.prefix_len() < 128 {
        address += 1;
    }
    for longer in routes.range(net..).filter(|longer| *longer != net) {
        if longer.network().to_bits() > address {
            break;
        }
        if longer.broadcast().to_bits() >= address {
            address = longer.broadcast().to_bits().checked_add(1)?;
        }
    }
    net.contains(&Ipv6Addr::from_bits(address)).then(|| Ipv6Addr::from_bits(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::message::{Event, KernelRoute};

    const NET: &str = "2001:db8:9::/48";

    fn hop(last: u16, flags: u32) -> Hop {
        let gateway = Some([0x2001, 0xdb8, 2, 0, 0, 0, 0, last].into());
        Hop { ifindex: last.into(), gateway, encap: false, weight: 1, flags }
    }

    fn route(mtu: u32, hops: &[Hop]) -> KernelRoute {
        let info = RouteInfo {
            table: 254,
            kind: 1,
            tos: 0,
            protocol: 3,
            metric: 1024,
            mtu,
            limited: None,
            is_uneven: false,
            target: RouteTarget::Multipath(hops.to_vec()),
        };
        KernelRoute { prefix: NET.parse().unwrap(), info }
    }

    fn tables(route: KernelRoute) -> Tables {
        let mut tables = Tables::default();
        tables.apply(Event::Route { route, replace: false, append: false });
        tables
    }

    /// What a dump says when the second next hop is dead: nobody can ask for that one.
    fn dumped() -> Tables {
        let told = route(1400, &[hop(1, 0), hop(2, DEAD)]);
        let (net, info) = (NET.parse().unwrap(), told.info.clone());
        let mut tables = tables(told);
        tables.v6.routes.mark_uneven(net, &info);
        tables.doubtful_dead.push((net, info));
        tables
    }

    #[test]
    fn row_22_a_dead_next_hop_is_what_it_was_before() {
        let net = NET.parse().unwrap();
        let stands = |known: KernelRoute| {
            let (known, mut new) = (tables(known), dumped());
            new.trust_the_dead(&known);
            assert!(new.doubtful_dead.is_empty());
            let route = &new.v6.routes.get(&net)[0];
            (!route.is_uneven).then_some(route.mtu)
        };
        let both = [hop(1, 0), hop(2, 0)];
        assert_eq!(stands(route(1400, &both)), Some(1400));
        assert_eq!(stands(route(1500, &both)), None, "another MTU");
        assert_eq!(stands(route(1400, &both[..1])), None, "it was none of them");
        let mut uneven = route(1400, &both);
        uneven.info.is_uneven = true;
        assert_eq!(stands(uneven), None);
    }
}
