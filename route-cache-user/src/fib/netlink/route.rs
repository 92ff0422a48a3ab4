//! RTM_NEWROUTE and RTM_DELROUTE. `fib_dump_info` in net/ipv4/fib_semantics.c, `rt6_fill_node` in net/ipv6/route.c.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::hop;
use super::wire::{Attribute, Malformed, Message, align, attributes};
use crate::fib::{
    family::IpFamily,
    message::{Hop, KernelRoute, RouteInfo, RouteTarget},
};

/// include/uapi/linux/rtnetlink.h.
const RTA_NH_ID: u16 = 30;

/// In RTA_METRICS, include/uapi/linux/rtnetlink.h.
const RTAX_MTU: u16 = 2;

/// The RTNH_F_* bits of rtm_flags; above them stand RTM_F_*.
const RTNH_FLAGS: u32 = 0xff;

/// Size of `struct rtnexthop`.
const RTNEXTHOP: usize = 8;

/// An IPv4 or IPv6 route; nothing for other families and for the kernel's own cached exceptions.
#[inline]
pub(super) fn parse(message: &Message<'_>) -> Result<Option<KernelRoute>, Malformed> {
    // struct rtmsg
    let (header, attributes) = message.split::<12>()?;
    let &[family, prefix_len, source_len, tos, table, protocol, _, kind, f0, f1, f2, f3] = header;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let family = match IpFamily::of_number(family) {
        Some(family) if flags & libc::RTM_F_CLONED == 0 => family,
        _ => return Ok(None),
    };

    let mut destination = match family {
        IpFamily::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpFamily::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut limited = (source_len != 0).then_some("the prefix has routes for single sources");
    let mut table = u32::from(table);
    let (mut metric, mut mtu) = (0, 0);
    let mut hop = Hop { flags: flags & RTNH_FLAGS, ..hop::UNSAID };
    let mut object = None;
    let mut several = None;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_DST => destination = attribute.ip(family)?,
            libc::RTA_TABLE => table = attribute.u32()?,
            libc::RTA_PRIORITY => metric = attribute.u32()?,
            libc::RTA_METRICS => mtu = route_mtu(&attribute)?,
            libc::RTA_MULTIPATH => several = Some(multipath(&attribute, family)?),
            libc::RTA_CACHEINFO if expires(&attribute)? => {
                limited = limited.or(Some("the route expires"));
            }
            RTA_NH_ID => object = Some(attribute.u32()?),
            _ => hop::absorb(&mut hop, &attribute, family)?,
        }
    }
    let target = match (object, several) {
        (Some(id), _) => RouteTarget::Object(id),
        (None, Some(target)) => target,
        (None, None) if leads_nowhere(&hop) => RouteTarget::None,
        (None, None) => RouteTarget::Hop(hop),
    };
    let prefix = IpNet::new(destination, prefix_len)
        .map_err(|_| Malformed::PrefixLength(prefix_len))?
        .trunc();
    let info =
        RouteInfo { table, kind, tos, protocol, metric, mtu, limited, is_uneven: false, target };
    Ok(Some(KernelRoute { prefix, info }))
}

fn leads_nowhere(hop: &Hop) -> bool {
    hop.ifindex == 0 && hop.gateway.is_none() && !hop.encap
}

/// The time an IPv6 route has left. From its end on the kernel passes it by, long before it says that it is gone.
fn expires(attribute: &Attribute<'_>) -> Result<bool, Malformed> {
    // struct rta_cacheinfo: clntref, lastuse, expires, …
    let expires = attribute.value.get(8..).unwrap_or_default();
    Ok(Attribute { kind: attribute.kind, value: expires }.u32()? != 0)
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
fn multipath(attribute: &Attribute<'_>, family: IpFamily) -> Result<RouteTarget, Malformed> {
    let mut hops = Vec::new();
    let mut rest = attribute.value;
    while let Some(&[l0, l1, flags, more, i0, i1, i2, i3]) = rest.first_chunk::<RTNEXTHOP>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let inside = rest.get(RTNEXTHOP..length).ok_or(Malformed::NextHop)?;
        let ifindex = u32::from_ne_bytes([i0, i1, i2, i3]);
        let weight = u32::from(more) + 1;
        let mut hop = Hop { ifindex, weight, flags: u32::from(flags), ..hop::UNSAID };
        for attribute in attributes(inside) {
            hop::absorb(&mut hop, &attribute?, family)?;
        }
        hops.push(hop);
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    Ok(match *hops {
        [] => RouteTarget::None,
        [hop] => RouteTarget::Hop(hop),
        _ => RouteTarget::Multipath(hops),
    })
}
