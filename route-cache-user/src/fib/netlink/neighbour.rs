//! RTM_NEWNEIGH and RTM_DELNEIGH. `neigh_fill_info` in net/core/neighbour.c.

use super::wire::{Malformed, Message};
use crate::fib::{family::IpFamily, message::Neighbour};

/// An IPv4 or IPv6 neighbour; nothing for other families (bridge FDB entries among them) and for proxy entries.
#[inline]
pub(super) fn parse(message: &Message<'_>) -> Result<Option<Neighbour>, Malformed> {
    // struct ndmsg
    let (&[family, _, _, _, i0, i1, i2, i3, s0, s1, flags, _], attributes) =
        message.split::<12>()?;
    let family = match IpFamily::of_number(family) {
        Some(family) if flags & libc::NTF_PROXY == 0 => family,
        _ => return Ok(None),
    };
    let mut address = None;
    let mut lladdr = None;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::NDA_DST => address = Some(attribute.ip(family)?),
            libc::NDA_LLADDR => lladdr = attribute.mac(),
            _ => {}
        }
    }
    Ok(Some(Neighbour {
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        address: address.ok_or(Malformed::Missing("NDA_DST"))?,
        state: u16::from_ne_bytes([s0, s1]),
        lladdr,
    }))
}
