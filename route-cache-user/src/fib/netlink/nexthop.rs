//! RTM_NEWNEXTHOP and RTM_DELNEXTHOP. `nh_fill_node` in net/ipv4/nexthop.c.

use super::hop;
use super::wire::{Attribute, Malformed, Message};
use crate::fib::{
    family::IpFamily,
    message::{GroupMember, Hop, NextHopKind, NextHopObject},
};

// include/uapi/linux/nexthop.h
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;

/// NEXTHOP_GRP_TYPE_MPATH: hash-threshold.
const MPATH: u16 = 0;

/// Size of `struct nexthop_grp`.
const NEXTHOP_GRP: usize = 8;

/// A next-hop object of any family: an IPv4 route may use one with an IPv6 gateway, and a group has
/// no family at all.
pub(super) fn parse(message: &Message<'_>) -> Result<NextHopObject, Malformed> {
    // struct nhmsg
    let (&[family, _, _, _, f0, f1, f2, f3], attributes) = message.split::<8>()?;
    let mut id = None;
    let (mut blackhole, mut fdb, mut device) = (false, false, false);
    let (mut group, mut group_type) = (None, MPATH);
    let mut hop = Hop { flags: u32::from_ne_bytes([f0, f1, f2, f3]), ..hop::UNSAID };
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            NHA_ID => id = Some(attribute.u32()?),
            NHA_GROUP => group = Some(members(&attribute)),
            NHA_GROUP_TYPE => group_type = attribute.u16()?,
            NHA_BLACKHOLE => blackhole = true,
            NHA_FDB => fdb = true,
            NHA_OIF => {
                hop.ifindex = attribute.u32()?;
                device = true;
            }
            NHA_GATEWAY => match IpFamily::of_number(family) {
                Some(family) => hop.gateway = Some(attribute.ip(family)?),
                None => hop.encap = true,
            },
            NHA_ENCAP_TYPE | NHA_ENCAP => hop.encap = true,
            _ => {}
        }
    }
    let kind = if fdb {
        NextHopKind::Other
    } else if let Some(members) = group {
        if group_type == MPATH { NextHopKind::Group(members) } else { NextHopKind::OtherGroup }
    } else if blackhole {
        NextHopKind::Blackhole
    } else if device {
        NextHopKind::Hop(hop)
    } else {
        NextHopKind::Other
    };
    Ok(NextHopObject { id: id.ok_or(Malformed::Missing("NHA_ID"))?, kind })
}

/// NHA_GROUP: an array of `struct nexthop_grp`, whose third part is the upper byte of the weight since Linux 6.12, and
/// zero before.
fn members(group: &Attribute<'_>) -> Vec<GroupMember> {
    let (entries, _) = group.value.as_chunks::<NEXTHOP_GRP>();
    entries
        .iter()
        .map(|&[i0, i1, i2, i3, low, high, ..]| GroupMember {
            id: u32::from_ne_bytes([i0, i1, i2, i3]),
            weight: u32::from(u16::from_le_bytes([low, high])) + 1,
        })
        .collect()
}
