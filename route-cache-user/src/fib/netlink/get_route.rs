//! The question where a packet would go. `inet_rtm_getroute` in net/ipv4/route.c, `inet6_rtm_getroute` in net/ipv6/route.c.

use std::net::{IpAddr, Ipv6Addr};

use super::dump::Dumper;
use super::event;
use super::exchange::DumpError;
use super::request::Request;
use crate::fib::{
    family::IpFamily,
    message::{Event, KernelRoute},
};

/// Show the route as it stands in the table, with all its next hops (include/uapi/linux/rtnetlink.h, Linux 4.13).
pub(crate) const RTM_F_FIB_MATCH: u32 = 0x2000;

/// RTM_GETROUTE for a destination, from a source of the same family.
pub(crate) fn route_question(dst: IpAddr, source: Option<IpAddr>, flags: u32) -> Request {
    let bits = if dst.is_ipv4() { 32 } else { 128 };
    let source_bits = if source.is_some() { bits } else { 0 };
    let [f0, f1, f2, f3] = flags.to_ne_bytes();
    // struct rtmsg
    let header = [IpFamily::of(dst).number(), bits, source_bits, 0, 0, 0, 0, 0, f0, f1, f2, f3];
    let question = Request::get(libc::RTM_GETROUTE, &header);
    let question = with_address(question, libc::RTA_DST, dst);
    match source {
        None => question,
        Some(source) => with_address(question, libc::RTA_SRC, source),
    }
}

fn with_address(request: Request, kind: u16, address: IpAddr) -> Request {
    match address {
        IpAddr::V4(address) => request.attribute(kind, &address.octets()),
        IpAddr::V6(address) => request.attribute(kind, &address.octets()),
    }
}

impl Dumper {
    /// The IPv6 route that a packet of the host's own would take; of several next hops the first is the one it would take, and
    /// what the route says besides (its MTU, whether it expires) is of that one. Nothing if the kernel has none.
    pub(crate) fn route_of(
        &mut self,
        dst: Ipv6Addr,
        source: Ipv6Addr,
    ) -> Result<Option<KernelRoute>, DumpError> {
        let mut found = None;
        let question = route_question(dst.into(), Some(source.into()), RTM_F_FIB_MATCH);
        let asked = self.route.ask(question, |message| {
            if let Some(Event::Route { route, .. }) = event::parse(message)? {
                found = Some(route);
            }
            Ok(())
        });
        match asked {
            Ok(()) => Ok(found),
            Err(DumpError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
