//! Makes the kernel probe a neighbour. `neigh_add` and `__neigh_update` in net/core/neighbour.c.

use std::net::IpAddr;

use nix::errno::Errno;

use super::exchange::{DumpError, Exchange};
use super::request::Request;
use super::wire::{Malformed, Message};
use crate::fib::{family::IpFamily, message::Ifindex};

/// include/uapi/linux/neighbour.h.
const NDA_FLAGS_EXT: u16 = 15;

/// Sends RTM_NEWNEIGH with NTF_USE, if the neighbour is one that the kernel itself learned.
///
/// NTF_USE is not as gentle as it looks: it turns a permanent neighbour into one that ages, and a
/// neighbour learned or managed by somebody else loses the mark. So the neighbour is looked at first.
pub(super) fn confirm(
    route: &mut Exchange,
    ifindex: Ifindex,
    address: IpAddr,
) -> Result<bool, DumpError> {
    let family = IpFamily::of(address);
    let with_address = |request: Request| match address {
        IpAddr::V4(address) => request.attribute(libc::NDA_DST, &address.octets()),
        IpAddr::V6(address) => request.attribute(libc::NDA_DST, &address.octets()),
    };
    let question = with_address(Request::get(libc::RTM_GETNEIGH, &header(family, ifindex, 0)));
    let mut learned = false;
    let known = route.ask(question, |answer| {
        learned = is_learned(answer)?;
        Ok(())
    });
    if !exists(known)? || !learned {
        return Ok(false);
    }
    // Neither NLM_F_CREATE nor NLM_F_REPLACE: what is gone stays gone, what is known stays as it is.
    let order = Request::change(libc::RTM_NEWNEIGH, &header(family, ifindex, libc::NTF_USE));
    exists(route.ask(with_address(order), |_| Ok(())))
}

fn header(family: IpFamily, ifindex: Ifindex, flags: u8) -> [u8; 12] {
    let [i0, i1, i2, i3] = ifindex.to_ne_bytes();
    [family.number(), 0, 0, 0, i0, i1, i2, i3, 0, 0, flags, 0]
}

fn exists(answer: Result<(), DumpError>) -> Result<bool, DumpError> {
    match answer {
        Ok(()) => Ok(true),
        Err(DumpError::Refused(Errno::ENOENT | Errno::ENODEV)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_learned(message: &Message<'_>) -> Result<bool, Malformed> {
    let (&[_, _, _, _, _, _, _, _, s0, s1, flags, _], attributes) = message.split::<12>()?;
    let mut extended = 0;
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == NDA_FLAGS_EXT {
            extended = attribute.u32()?;
        }
    }
    let fixed = libc::NUD_PERMANENT | libc::NUD_NOARP;
    Ok(u16::from_ne_bytes([s0, s1]) & fixed == 0 && flags == 0 && extended == 0)
}
