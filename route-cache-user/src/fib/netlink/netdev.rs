//! The generic netlink family `netdev`, which tells what XDP a device can do (Linux 6.3).
//! net/core/netdev-genl.c, and net/netlink/genetlink.c for the question where to find it.

use nix::errno::Errno;

use super::exchange::{DumpError, Exchange};
use super::request::Request;
use super::wire::{Attribute, Malformed, Message};
use crate::fib::message::Event;

// include/uapi/linux/netdev.h
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_CMD_DEV_ADD_NTF: u8 = 2;
const NETDEV_CMD_DEV_CHANGE_NTF: u8 = 4;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_FAMILY_VERSION: u8 = 1;

/// Where this kernel has the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    /// The message type of the family, given out at boot.
    pub(super) id: u16,
    /// The multicast group `mgmt`.
    pub(super) group: u32,
}

impl Family {
    /// Asks the kernel; `Unsupported` where it has no such family.
    pub(super) fn find(generic: &mut Exchange) -> Result<Self, DumpError> {
        let question =
            Request::get(libc::GENL_ID_CTRL as u16, &[libc::CTRL_CMD_GETFAMILY as u8, 1, 0, 0])
                .attribute(libc::CTRL_ATTR_FAMILY_NAME as u16, b"netdev\0");
        let mut family = None;
        match generic.ask(question, |answer| {
            family = parse_family(answer)?;
            Ok(())
        }) {
            Err(DumpError::Refused(Errno::ENOENT)) => Err(DumpError::Unsupported),
            Err(error) => Err(error),
            Ok(()) => family.ok_or(DumpError::Unsupported),
        }
    }

    /// A request for the features of all devices.
    pub(super) fn dump(&self) -> Request {
        Request::dump(self.id, &[NETDEV_CMD_DEV_GET, NETDEV_FAMILY_VERSION, 0, 0])
    }

    /// What a message of the family says; nothing if it is not about a device's features.
    pub(super) fn parse(&self, message: &Message<'_>) -> Result<Option<Event>, Malformed> {
        if message.kind != self.id {
            return Ok(None);
        }
        // struct genlmsghdr
        let (&[command, ..], attributes) = message.split::<4>()?;
        match command {
            NETDEV_CMD_DEV_GET | NETDEV_CMD_DEV_ADD_NTF | NETDEV_CMD_DEV_CHANGE_NTF => {}
            _ => return Ok(None),
        }
        let (mut ifindex, mut features) = (None, None);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                NETDEV_A_DEV_IFINDEX => ifindex = Some(attribute.u32()?),
                NETDEV_A_DEV_XDP_FEATURES => features = Some(attribute.u64()?),
                _ => {}
            }
        }
        let ifindex = ifindex.ok_or(Malformed::Missing("NETDEV_A_DEV_IFINDEX"))?;
        Ok(features.map(|features| Event::XdpFeatures { ifindex, features }))
    }
}

/// What the kernel answers to the question where the family is.
pub(super) fn parse_family(message: &Message<'_>) -> Result<Option<Family>, Malformed> {
    let (_, attributes) = message.split::<4>()?;
    let (mut id, mut group) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match i32::from(attribute.kind) {
            libc::CTRL_ATTR_FAMILY_ID => id = Some(attribute.u16()?),
            libc::CTRL_ATTR_MCAST_GROUPS => group = management_group(&attribute)?,
            _ => {}
        }
    }
    Ok(id.zip(group).map(|(id, group)| Family { id, group }))
}

fn management_group(groups: &Attribute<'_>) -> Result<Option<u32>, Malformed> {
    for group in groups.nested() {
        let (mut name, mut id) = (None, None);
        for attribute in group?.nested() {
            let attribute = attribute?;
            match i32::from(attribute.kind) {
                libc::CTRL_ATTR_MCAST_GRP_NAME => name = Some(attribute.text()),
                libc::CTRL_ATTR_MCAST_GRP_ID => id = Some(attribute.u32()?),
                _ => {}
            }
        }
        if name.as_deref() == Some("mgmt") {
            return Ok(id);
        }
    }
    Ok(None)
}
