//! RTM_NEWNETCONF and RTM_DELNETCONF. `inet_netconf_fill_devconf` in net/ipv4/devinet.c,
//! `inet6_netconf_fill_devconf` in net/ipv6/addrconf.c.

use super::wire::{Malformed, Message};
use crate::fib::{family::IpFamily, message::Netconf};

// include/uapi/linux/netconf.h
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: u16 = 6;

/// Settings of IPv4 or IPv6; nothing for other families.
pub(super) fn parse(message: &Message<'_>) -> Result<Option<Netconf>, Malformed> {
    // struct netconfmsg
    let (&[family], attributes) = message.split::<1>()?;
    let Some(family) = IpFamily::of_number(family) else {
        return Ok(None);
    };
    let mut ifindex = None;
    let (mut forwarding, mut rp_filter, mut ignores_linkdown) = (None, None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            NETCONFA_IFINDEX => ifindex = Some(attribute.i32()?),
            NETCONFA_FORWARDING => forwarding = Some(attribute.i32()? != 0),
            // The sysctl takes any number; the kernel asks only for "1", "2" or "not 0". What does
            // not fit a byte becomes 1, which is strict.
            NETCONFA_RP_FILTER => rp_filter = Some(u8::try_from(attribute.i32()?).unwrap_or(1)),
            NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN => ignores_linkdown = Some(attribute.i32()? != 0),
            _ => {}
        }
    }
    let ifindex = ifindex.ok_or(Malformed::Missing("NETCONFA_IFINDEX"))?;
    Ok(Some(Netconf { family, ifindex, forwarding, rp_filter, ignores_linkdown }))
}
