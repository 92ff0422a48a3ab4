//! RTM_NEWLINK and RTM_DELLINK. `rtnl_fill_ifinfo` in net/core/rtnetlink.c.

use super::wire::{Attribute, Attributes, Malformed, Message};
use crate::fib::message::{Event, Ifindex, Link, Vlan};

// Nested in IFLA_XDP, include/uapi/linux/if_link.h
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;

/// IFLA_LINK_NETNSID, include/uapi/linux/if_link.h.
const IFLA_LINK_NETNSID: u16 = 37;

// include/uapi/linux/if_link.h
const IFLA_NEW_NETNSID: u16 = 45;
const IFLA_NEW_IFINDEX: u16 = 49;

// Nested in IFLA_INFO_DATA of a VLAN device, include/uapi/linux/if_link.h
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_FLAGS: u16 = 2;
const IFLA_VLAN_EGRESS_QOS: u16 = 3;
const IFLA_VLAN_PROTOCOL: u16 = 5;

// Nested in IFLA_INFO_DATA of a macvlan device, include/uapi/linux/if_link.h
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_PASSTHRU: u32 = 8;
const MACVLAN_MODE_SOURCE: u32 = 16;

/// VLAN_FLAG_REORDER_HDR, include/uapi/linux/if_vlan.h.
const REORDER_HEADER: u32 = 1;

/// An interface; nothing for a bridge port's or another family's view of one.
pub(super) fn parse(message: &Message<'_>) -> Result<Option<Link>, Malformed> {
    let Some((header, attributes)) = interface(message)? else { return Ok(None) };
    let mut name = None;
    let mut link = Link {
        ifindex: header.ifindex,
        name: String::new(),
        hardware: header.hardware,
        flags: header.flags,
        mac: None,
        mtu: 0,
        kind: None,
        bus: None,
        master: None,
        xdp_program: None,
        vlan: None,
        takes_from: None,
    };
    let mut takes = false;
    let (mut lower, mut is_elsewhere) = (None, false);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFLA_IFNAME => name = Some(attribute.text()),
            libc::IFLA_ADDRESS => link.mac = attribute.mac(),
            libc::IFLA_MTU => link.mtu = attribute.u32()?,
            libc::IFLA_LINKINFO => (link.kind, link.vlan, takes) = link_info(&attribute)?,
            libc::IFLA_LINK => lower = Some(attribute.u32()?),
            IFLA_LINK_NETNSID => is_elsewhere = true,
            libc::IFLA_PARENT_DEV_BUS_NAME => link.bus = Some(attribute.text()),
            libc::IFLA_MASTER => link.master = Some(attribute.u32()?),
            IFLA_XDP => link.xdp_program = xdp_program(&attribute)?,
            _ => {}
        }
    }
    let lower = lower.filter(|_| !is_elsewhere);
    if let Some(vlan) = &mut link.vlan {
        vlan.lower = lower;
    }
    link.takes_from = lower.filter(|_| takes);
    // Events of wireless drivers come as RTM_NEWLINK with nothing but IFLA_WIRELESS
    // (net/wireless/wext-core.c); they are not about the link.
    Ok(name.map(|name| Link { name, ..link }))
}

/// An interface that is gone, or that has moved to another network namespace (`dev_change_net_namespace`).
pub(super) fn parse_gone(message: &Message<'_>) -> Result<Option<Event>, Malformed> {
    let Some((header, attributes)) = interface(message)? else { return Ok(None) };
    let mut has_moved = false;
    for attribute in attributes {
        has_moved |= matches!(attribute?.kind, IFLA_NEW_NETNSID | IFLA_NEW_IFINDEX);
    }
    let gone = if has_moved { Event::LinkMoved } else { Event::LinkGone };
    Ok(Some(gone(header.ifindex)))
}

struct Header {
    hardware: u16,
    ifindex: Ifindex,
    flags: u32,
}

/// `struct ifinfomsg`, where it speaks of the interface itself: a bridge sends the same messages with
/// AF_BRIDGE when a port joins or leaves.
fn interface<'a>(message: &Message<'a>) -> Result<Option<(Header, Attributes<'a>)>, Malformed> {
    let (header, attributes) = message.split::<16>()?;
    let &[family, _, t0, t1, i0, i1, i2, i3, f0, f1, f2, f3, ..] = header;
    if i32::from(family) != libc::AF_UNSPEC {
        return Ok(None);
    }
    let header = Header {
        hardware: u16::from_ne_bytes([t0, t1]),
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
    };
    Ok(Some((header, attributes)))
}

/// IFLA_LINKINFO: the kind, what it says of a VLAN device, and whether the device takes frames of the one below first.
fn link_info(info: &Attribute<'_>) -> Result<(Option<String>, Option<Vlan>, bool), Malformed> {
    let (mut kind, mut data) = (None, None);
    for attribute in info.nested() {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFLA_INFO_KIND => kind = Some(attribute.text()),
            libc::IFLA_INFO_DATA => data = Some(attribute),
            _ => {}
        }
    }
    let (mut of_vlan, mut takes) = (None, false);
    match (kind.as_deref(), data) {
        (Some("vlan"), Some(data)) => of_vlan = Some(vlan(&data)?),
        (Some("macvlan" | "macvtap"), Some(data)) => takes = macvlan_takes(&data)?,
        // Beside the addresses of its own it has the interface's link-layer address.
        (Some("ipvlan" | "ipvtap"), _) => takes = true,
        _ => {}
    }
    Ok((kind, of_vlan, takes))
}

/// In all other modes a device is handed what is sent to a link-layer address of its own (`macvlan_handle_frame`).
fn macvlan_takes(data: &Attribute<'_>) -> Result<bool, Malformed> {
    let mut takes = false;
    for attribute in data.nested() {
        let attribute = attribute?;
        if attribute.kind == IFLA_MACVLAN_MODE {
            takes = attribute.u32()? & (MACVLAN_MODE_PASSTHRU | MACVLAN_MODE_SOURCE) != 0;
        }
    }
    Ok(takes)
}

/// `vlan_fill_info` in net/8021q/vlan_netlink.c.
fn vlan(data: &Attribute<'_>) -> Result<Vlan, Malformed> {
    let mut vlan = Vlan { lower: None, id: 0, protocol: 0, maps_priority: false, reorders: true };
    for attribute in data.nested() {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_VLAN_ID => vlan.id = attribute.u16()?,
            IFLA_VLAN_PROTOCOL => vlan.protocol = u16::from_be(attribute.u16()?),
            // struct ifla_vlan_flags begins with the flags.
            IFLA_VLAN_FLAGS => vlan.reorders = attribute.u32()? & REORDER_HEADER != 0,
            IFLA_VLAN_EGRESS_QOS => vlan.maps_priority = attribute.nested().next().is_some(),
            _ => {}
        }
    }
    Ok(vlan)
}

/// IFLA_XDP_PROG_ID is absent where programs of several modes are attached; then any of theirs will do.
fn xdp_program(xdp: &Attribute<'_>) -> Result<Option<u32>, Malformed> {
    let mut program = None;
    for attribute in xdp.nested() {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_XDP_PROG_ID => program = Some(attribute.u32()?),
            IFLA_XDP_DRV_PROG_ID | IFLA_XDP_SKB_PROG_ID | IFLA_XDP_HW_PROG_ID => {
                program = program.or(Some(attribute.u32()?));
            }
            _ => {}
        }
    }
    Ok(program.filter(|id| *id != 0))
}
