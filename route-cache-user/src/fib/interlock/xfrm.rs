//! IPsec: policies for forwarded or outgoing packets. net/xfrm/xfrm_user.c, `__xfrm_policy_check2` in
//! include/net/xfrm.h.

use nix::errno::Errno;

use super::reason::Reason;
use super::subsystem::Subsystem;
use crate::fib::netlink::{DumpError, Exchange, Request};
use crate::fib::why::Code;

static XFRM_USER: Subsystem = Subsystem::of_module("xfrm_user");

// include/uapi/linux/xfrm.h
const XFRM_MSG_GETSPDINFO: u16 = 0x25;
/// Linux 5.14.
const XFRM_MSG_GETDEFAULT: u16 = 0x28;
const XFRMA_SPD_INFO: u16 = 1;
const XFRM_USERPOLICY_BLOCK: u8 = 1;

/// Policies of both address families: the kernel counts them together.
pub(super) fn reasons() -> Result<Vec<Reason>, DumpError> {
    if !XFRM_USER.may_be_there() {
        return Ok(Vec::new());
    }
    let mut xfrm = match Exchange::open(libc::NETLINK_XFRM) {
        Err(DumpError::Unsupported) => {
            XFRM_USER.is_missing();
            return Ok(Vec::new());
        }
        other => other?,
    };
    let (forward, out) = policies(&mut xfrm)?;
    let blocks = blocks_by_default(&mut xfrm)?;
    let mut reasons = Vec::new();
    if forward > 0 || out > 0 {
        reasons.push(Reason::everywhere(
            Code::Xfrm,
            format!(
                "IPsec: {forward} policies for forwarded and {out} for outgoing packets \
                 (`ip xfrm policy`)"
            ),
        ));
    }
    if blocks {
        reasons.push(Reason::everywhere(
            Code::Xfrm,
            "IPsec: packets without a policy are blocked (`ip xfrm policy getdefault`)",
        ));
    }
    Ok(reasons)
}

/// How many policies there are for forwarded and for outgoing packets.
fn policies(xfrm: &mut Exchange) -> Result<(u32, u32), DumpError> {
    let mut counts = (0, 0);
    xfrm.ask(Request::get(XFRM_MSG_GETSPDINFO, &[0; 4]), |answer| {
        let (_, attributes) = answer.split::<4>()?;
        for attribute in attributes {
            let attribute = attribute?;
            // struct xfrmu_spdinfo: in, out, forward, and the same for sockets
            if attribute.kind == XFRMA_SPD_INFO
                && let Some(&[_, _, _, _, o0, o1, o2, o3, f0, f1, f2, f3]) =
                    attribute.value.first_chunk::<12>()
            {
                let number = u32::from_ne_bytes;
                counts = (number([f0, f1, f2, f3]), number([o0, o1, o2, o3]));
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

fn blocks_by_default(xfrm: &mut Exchange) -> Result<bool, DumpError> {
    let mut blocks = false;
    // struct xfrm_userpolicy_default: in, forward, out
    let answer = xfrm.ask(Request::get(XFRM_MSG_GETDEFAULT, &[0; 4]), |answer| {
        let (&[_, forward, out], _) = answer.split::<3>()?;
        blocks = forward == XFRM_USERPOLICY_BLOCK || out == XFRM_USERPOLICY_BLOCK;
        Ok(())
    });
    match answer {
        Ok(()) => Ok(blocks),
        Err(DumpError::Refused(Errno::EINVAL) | DumpError::Unsupported) => Ok(false),
        Err(error) => Err(error),
    }
}
