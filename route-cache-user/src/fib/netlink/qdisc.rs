//! RTM_NEWQDISC and RTM_DELQDISC. `tc_fill_qdisc` in net/sched/sch_api.c.

use super::wire::{Malformed, Message};
use crate::fib::message::Qdisc;

/// A queueing discipline.
pub(super) fn parse(message: &Message<'_>) -> Result<Qdisc, Malformed> {
    // struct tcmsg
    let (header, attributes) = message.split::<20>()?;
    let &[_, _, _, _, i0, i1, i2, i3, h0, h1, h2, h3, p0, p1, p2, p3, ..] = header;
    let mut kind = None;
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == libc::TCA_KIND {
            kind = Some(attribute.text());
        }
    }
    Ok(Qdisc {
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        handle: u32::from_ne_bytes([h0, h1, h2, h3]),
        parent: u32::from_ne_bytes([p0, p1, p2, p3]),
        kind: kind.ok_or(Malformed::Missing("TCA_KIND"))?,
    })
}
