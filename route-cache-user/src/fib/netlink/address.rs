//! RTM_NEWADDR and RTM_DELADDR. `inet_fill_ifaddr` in net/ipv4/devinet.c.

use super::wire::{Malformed, Message};
use crate::fib::message::Address;

/// An IPv4 address; nothing for other families.
pub(super) fn parse(message: &Message<'_>) -> Result<Option<Address>, Malformed> {
    // struct ifaddrmsg
    let (&[family, prefix_len, _, _, i0, i1, i2, i3], attributes) = message.split::<8>()?;
    if i32::from(family) != libc::AF_INET {
        return Ok(None);
    }
    if prefix_len > 32 {
        return Err(Malformed::PrefixLength(prefix_len));
    }
    let (mut local, mut peer) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFA_LOCAL => local = Some(attribute.ipv4()?),
            libc::IFA_ADDRESS => peer = Some(attribute.ipv4()?),
            _ => {}
        }
    }
    Ok(Some(Address {
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        local: local.or(peer).ok_or(Malformed::Missing("IFA_LOCAL"))?,
        prefix_len,
    }))
}
