//! RTM_NEWADDR and RTM_DELADDR. `inet_fill_ifaddr` in net/ipv4/devinet.c,
//! `inet6_fill_ifaddr` in net/ipv6/addrconf.c.

use super::wire::{Malformed, Message};
use crate::fib::{family::IpFamily, message::Address};

/// An IPv4 or IPv6 address; nothing for other families.
pub(super) fn parse(message: &Message<'_>) -> Result<Option<Address>, Malformed> {
    // struct ifaddrmsg
    let (&[family, prefix_len, _, _, i0, i1, i2, i3], attributes) = message.split::<8>()?;
    let Some(family) = IpFamily::of_number(family) else {
        return Ok(None);
    };
    let most = match family {
        IpFamily::V4 => 32,
        IpFamily::V6 => 128,
    };
    if prefix_len > most {
        return Err(Malformed::PrefixLength(prefix_len));
    }
    let (mut local, mut peer) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFA_LOCAL => local = Some(attribute.ip(family)?),
            libc::IFA_ADDRESS => peer = Some(attribute.ip(family)?),
            _ => {}
        }
    }
    Ok(Some(Address {
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        local: local.or(peer).ok_or(Malformed::Missing("IFA_LOCAL"))?,
        prefix_len,
    }))
}
