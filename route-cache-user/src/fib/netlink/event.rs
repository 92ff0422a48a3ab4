//! Which object a message of the rtnetlink family is about. net/core/rtnetlink.c.

use super::wire::{Malformed, Message};
use super::{address, link, neighbour, netconf, nexthop, qdisc, route, rule};
use crate::fib::message::Event;

/// include/uapi/linux/rtnetlink.h.
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
/// include/uapi/linux/rtnetlink.h.
pub(super) const RTM_DELNEXTHOP: u16 = 105;
/// include/uapi/linux/rtnetlink.h.
pub(crate) const RTM_GETNEXTHOP: u16 = 106;

/// What the message says; nothing if it is about something the mirror does not hold.
#[inline]
pub(crate) fn parse(message: &Message<'_>) -> Result<Option<Event>, Malformed> {
    let carries = |flag: i32| message.flags & flag as u16 != 0;
    match message.kind {
        libc::RTM_NEWROUTE => Ok(route::parse(message)?.map(|route| Event::Route {
            route,
            replace: carries(libc::NLM_F_REPLACE),
            append: carries(libc::NLM_F_APPEND),
        })),
        libc::RTM_DELROUTE => Ok(route::parse(message)?.map(Event::RouteGone)),
        libc::RTM_NEWNEIGH => Ok(neighbour::parse(message)?.map(Event::Neighbour)),
        libc::RTM_DELNEIGH => Ok(neighbour::parse(message)?
            .map(|gone| Event::NeighbourGone { ifindex: gone.ifindex, address: gone.address })),
        libc::RTM_NEWLINK => Ok(link::parse(message)?.map(Event::Link)),
        libc::RTM_DELLINK => link::parse_gone(message),
        libc::RTM_NEWADDR => Ok(address::parse(message)?.map(Event::Address)),
        libc::RTM_DELADDR => Ok(address::parse(message)?.map(Event::AddressGone)),
        RTM_NEWNEXTHOP => Ok(Some(Event::NextHopObject(nexthop::parse(message)?))),
        RTM_DELNEXTHOP => Ok(Some(Event::NextHopObjectGone(nexthop::parse(message)?.id))),
        libc::RTM_NEWNETCONF => Ok(netconf::parse(message)?.map(Event::Netconf)),
        libc::RTM_DELNETCONF => Ok(netconf::parse(message)?.and_then(|gone| {
            // `all` and `default` have no index of their own and never go.
            let ifindex = u32::try_from(gone.ifindex).ok()?;
            Some(Event::NetconfGone(gone.family, ifindex))
        })),
        libc::RTM_NEWRULE => Ok(rule::parse(message)?.map(Event::Rule)),
        libc::RTM_DELRULE => Ok(rule::parse(message)?.map(Event::RuleGone)),
        libc::RTM_NEWQDISC => Ok(Some(Event::Qdisc(qdisc::parse(message)?))),
        libc::RTM_DELQDISC => Ok(Some(Event::QdiscGone(qdisc::parse(message)?))),
        _ => Ok(None),
    }
}
