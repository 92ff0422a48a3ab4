//! IPv6 routes that were added one by one and share a prefix and a metric are siblings: the kernel tells them as one route with
//! several next hops and the MTU of one of them, and forwards by each with its own (`rt6_fill_node`, net/ipv6/route.c). A dump
//! does not show the others; asking where single packets would go does.

use std::{collections::BTreeSet, net::Ipv6Addr};

use anyhow::{Context as _, Result};
use ipnet::Ipv6Net;
use route_cache_common::V6;

use super::{
    message::{Ifindex, RouteInfo, RouteTarget},
    netlink::Dumper,
    routes::Routes,
    tables::Tables,
};

/// Sources for which nobody has routes, of the discard prefix (RFC 6666). Which sibling a packet takes is a hash of them.
const SOURCES: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0);

/// Questions for each next hop: with even weights one of two is missed once in 2^31 times, one of sixteen once in ten million.
const QUESTIONS: u128 = 16;

/// Marks the routes with next hops that differ from what the dump says of the whole, or that cannot be told.
pub(super) fn examine(dumper: &mut Dumper, tables: &mut Tables) -> Result<()> {
    let mut uneven = Vec::new();
    for net in tables.v6.routes.nets() {
        for route in tables.candidates::<V6>(&net) {
            if let RouteTarget::Multipath(_) = route.target
                && !is_even(dumper, &tables.v6.routes, net, route)?
            {
                uneven.push((net, route.clone()));
            }
        }
    }
    for (net, route) in uneven {
        tables.v6.routes.mark_uneven(net, &route);
    }
    Ok(())
}

fn is_even(
    dumper: &mut Dumper,
    routes: &Routes<V6>,
    net: Ipv6Net,
    route: &RouteInfo,
) -> Result<bool> {
    let key = |ifindex: Ifindex, gateway| (ifindex, gateway);
    let hops = route.target.hops();
    let mut unseen: BTreeSet<_> = hops.iter().map(|hop| key(hop.ifindex, hop.gateway)).collect();
    let Some(inside) = uncovered(routes, net) else {
        return Ok(false);
    };
    for number in 0..QUESTIONS * unseen.len() as u128 {
        let source = Ipv6Addr::from_bits(SOURCES.to_bits() + number + 1);
        let answer = dumper
            .route_of(inside, source)
            .with_context(|| format!("cannot ask the kernel for its route to {inside}"))?;
        let Some(answer) = answer.filter(|answer| answer.prefix == net.into()) else {
            return Ok(false);
        };
        let said = &answer.info;
        if (said.table, said.metric, said.mtu, said.limited)
            != (route.table, route.metric, route.mtu, route.limited)
        {
            return Ok(false);
        }
        if let Some(hop) = said.target.hops().first() {
            unseen.remove(&key(hop.ifindex, hop.gateway));
        }
        if unseen.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
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
