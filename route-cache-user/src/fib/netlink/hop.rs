//! The attributes of one next hop, which a route, a part of a multipath route and a next-hop object
//! share. `fib_nexthop_info` in net/ipv4/fib_semantics.c.

use super::wire::{Attribute, Malformed};
use crate::fib::{family::IpFamily, message::Hop};

/// A next hop of which nothing was said yet.
pub(super) const UNSAID: Hop = Hop { ifindex: 0, gateway: None, encap: false, weight: 1, flags: 0 };

/// Takes over what a route's RTA_* attribute says of its next hop; others are left alone.
#[inline]
pub(super) fn absorb(
    hop: &mut Hop,
    attribute: &Attribute<'_>,
    family: IpFamily,
) -> Result<(), Malformed> {
    match attribute.kind {
        libc::RTA_OIF => hop.ifindex = attribute.u32()?,
        libc::RTA_GATEWAY => hop.gateway = Some(attribute.ip(family)?),
        libc::RTA_VIA => via(hop, attribute)?,
        libc::RTA_ENCAP_TYPE | libc::RTA_ENCAP => hop.encap = true,
        _ => {}
    }
    Ok(())
}

/// `struct rtvia`: the address family, then the address.
fn via(hop: &mut Hop, attribute: &Attribute<'_>) -> Result<(), Malformed> {
    let inside = attribute.value.get(2..).unwrap_or_default();
    match IpFamily::of_number(attribute.u16()? as u8) {
        Some(family) => {
            hop.gateway = Some(Attribute { kind: attribute.kind, value: inside }.ip(family)?);
        }
        // A family yet to come: a next hop that this product cannot address.
        None => hop.encap = true,
    }
    Ok(())
}
