//! RTM_NEWROUTE and RTM_DELROUTE. `fib_dump_info` in net/ipv4/fib_semantics.c.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::hop;
use super::wire::{Attribute, Malformed, Message, align, attributes};
use crate::fib::message::{Hop, KernelRoute, RouteTarget, Weighted};

/// include/uapi/linux/rtnetlink.h.
const RTA_NH_ID: u16 = 30;

/// In RTA_METRICS, include/uapi/linux/rtnetlink.h.
const RTAX_MTU: u16 = 2;

/// The RTNH_F_* bits of rtm_flags; above them stand RTM_F_*.
const RTNH_FLAGS: u32 = 0xff;

/// Size of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;

/// An IPv4 route; nothing for other families and for the kernel's own cached exceptions.
#[inline]
pub(super) fn parse(message: &Message<'_>) -> Result<Option<KernelRoute>, Malformed> {
    // struct rtmsg
    let (header, attributes) = message.split::<12>()?;
    let &[family, prefix_len, _, tos, table, protocol, _, kind, f0, f1, f2, f3] = header;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    if i32::from(family) != libc::AF_INET || flags & libc::RTM_F_CLONED != 0 {
        return Ok(None);
    }

    let mut destination = Ipv4Addr::UNSPECIFIED;
    let mut table = u32::from(table);
    let (mut metric, mut mtu) = (0, 0);
    let mut hop = Hop { flags: flags & RTNH_FLAGS, ..hop::UNSAID };
    let mut object = None;
    let mut several = None;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_DST => destination = attribute.ipv4()?,
            libc::RTA_TABLE => table = attribute.u32()?,
            libc::RTA_PRIORITY => metric = attribute.u32()?,
            libc::RTA_METRICS => mtu = route_mtu(&attribute)?,
            libc::RTA_MULTIPATH => several = Some(multipath(&attribute)?),
            RTA_NH_ID => object = Some(attribute.u32()?),
            _ => hop::absorb(&mut hop, &attribute)?,
        }
    }
    let target = match (object, several) {
        (Some(id), _) => RouteTarget::Object(id),
        (None, Some(target)) => target,
        (None, None) if leads_nowhere(&hop) => RouteTarget::None,
        (None, None) => RouteTarget::Hop(hop),
    };
    let prefix = Ipv4Net::new(destination, prefix_len)
        .map_err(|_| Malformed::PrefixLength(prefix_len))?
        .trunc();
    Ok(Some(KernelRoute { prefix, table, kind, tos, protocol, metric, mtu, target }))
}

fn leads_nowhere(hop: &Hop) -> bool {
    hop.ifindex == 0 && hop.gateway.is_none() && !hop.via_ipv6 && !hop.encap
}

fn route_mtu(metrics: &Attribute<'_>) -> Result<u32, Malformed> {
    let mut mtu = 0;
    for metric in metrics.nested() {
        let metric = metric?;
        if metric.kind == RTAX_MTU {
            mtu = metric.u32()?;
        }
    }
    Ok(mtu)
}

/// RTA_MULTIPATH: `struct rtnexthop`, each followed by attributes of its own.
fn multipath(attribute: &Attribute<'_>) -> Result<RouteTarget, Malformed> {
    let mut hops = Vec::new();
    let mut rest = attribute.value;
    while let Some(&[l0, l1, flags, more, i0, i1, i2, i3]) = rest.first_chunk::<RTNEXTHOP>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let inside = rest.get(RTNEXTHOP..length).ok_or(Malformed::NextHop)?;
        let ifindex = u32::from_ne_bytes([i0, i1, i2, i3]);
        let mut hop = Hop { ifindex, flags: u32::from(flags), ..hop::UNSAID };
        for attribute in attributes(inside) {
            hop::absorb(&mut hop, &attribute?)?;
        }
        hops.push(Weighted { hop, weight: u32::from(more) + 1 });
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    Ok(match *hops {
        [] => RouteTarget::None,
        [Weighted { hop, .. }] => RouteTarget::Hop(hop),
        _ => RouteTarget::Multipath(hops),
    })
}
