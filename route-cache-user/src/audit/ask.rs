//! Asks the kernel where it would send a packet (RTM_GETROUTE), for both families. `inet_rtm_getroute` in
//! net/ipv4/route.c, `inet6_rtm_getroute` in net/ipv6/route.c.

use std::net::IpAddr;

use nix::errno::Errno;

use super::compare::{Answer, Hop, Resolved};
use crate::fib::{
    message::Ifindex,
    netlink::{Attribute, DumpError, Exchange, Malformed, Message, Request},
};

/// Show the route as it stands in the table, with all its next hops (include/uapi/linux/rtnetlink.h, Linux 4.13).
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTM_GETNEXTHOP: u16 = 106;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;

/// The kernel does not choose such a member. One without carrier is dead if `ignore_routes_with_linkdown` says so.
const RTNH_F_DEAD: u8 = 1;

/// include/uapi/linux/nexthop.h.
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

/// Where the packet asked about comes from: an interface that packets are forwarded from, and a host there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ingress {
    /// The interface.
    pub(crate) ifindex: Ifindex,
    /// The host.
    pub(crate) source: IpAddr,
}

/// A socket to ask on, in the network namespace of the thread that opened it. It blocks.
pub(crate) struct Asker {
    route: Exchange,
}

impl Asker {
    /// Opens the socket.
    pub(crate) fn open() -> Result<Self, DumpError> {
        Exchange::open(libc::NETLINK_ROUTE).map(|route| Self { route })
    }

    /// Where the kernel would forward a packet that comes in so; without that, where it would send one of its own.
    pub(crate) fn resolve(
        &mut self,
        dst: IpAddr,
        ingress: Option<Ingress>,
    ) -> Result<Answer, DumpError> {
        match (self.resolve_once(dst, ingress)?, ingress) {
            // It may be the source that it does not like, and nobody sent that; or the interface is gone.
            (Answer::Refused(Errno::EINVAL | Errno::ENODEV), Some(_)) => {
                self.resolve_once(dst, None)
            }
            (answer, _) => Ok(answer),
        }
    }

    fn resolve_once(&mut self, dst: IpAddr, ingress: Option<Ingress>) -> Result<Answer, DumpError> {
        let mut resolved = None;
        let asked = self.route.ask(question(dst, ingress, 0), |message| {
            resolved = Some(parse(message, dst)?);
            Ok(())
        });
        match (asked, resolved) {
            (Ok(()), Some(resolved)) => Ok(Answer::Route(resolved)),
            (Ok(()), None) => Err(Malformed::Missing("the answer about a route").into()),
            (Err(DumpError::Refused(errno)), _) => Ok(Answer::Refused(errno)),
            (Err(error), _) => Err(error),
        }
    }

    /// All next hops of the route that covers a destination, but for those that are dead.
    pub(crate) fn members(
        &mut self,
        dst: IpAddr,
        ingress: Option<Ingress>,
    ) -> Result<Vec<Hop>, DumpError> {
        let (mut members, mut object) = (Vec::new(), None);
        let asked = self.route.ask(question(dst, ingress, RTM_F_FIB_MATCH), |message| {
            let (_, attributes) = message.split::<12>()?;
            for attribute in attributes {
                let attribute = attribute?;
                match attribute.kind {
                    libc::RTA_MULTIPATH => members = multipath(&attribute, dst)?,
                    RTA_NH_ID => object = Some(attribute.u32()?),
                    _ => {}
                }
            }
            Ok(())
        });
        match (asked, object) {
            // With nexthop_compat_mode off the route does not tell what its object leads to.
            (Ok(()), Some(id)) if members.is_empty() => self.members_of_object(id, dst),
            (Ok(()), _) => Ok(members),
            // It was there a moment ago; or this kernel cannot show it.
            (Err(DumpError::Refused(_) | DumpError::Unsupported), _) => Ok(members),
            (Err(error), _) => Err(error),
        }
    }

    fn members_of_object(&mut self, id: u32, dst: IpAddr) -> Result<Vec<Hop>, DumpError> {
        let mut group = Vec::new();
        self.object(id, |attribute| {
            if attribute.kind == NHA_GROUP {
                // struct nexthop_grp
                let ids = attribute.value.chunks_exact(8).filter_map(|member| member.first_chunk());
                group = ids.map(|id| u32::from_ne_bytes(*id)).collect();
            }
            Ok(())
        })?;
        let mut members = Vec::new();
        for member in group {
            let (mut ifindex, mut address) = (0, dst);
            self.object(member, |attribute| {
                match attribute.kind {
                    NHA_OIF => ifindex = attribute.u32()?,
                    NHA_GATEWAY => address = parse_address(attribute)?,
                    _ => {}
                }
                Ok(())
            })?;
            members.push(Hop { ifindex, address });
        }
        Ok(members)
    }

    fn object(
        &mut self,
        id: u32,
        mut each: impl FnMut(&Attribute<'_>) -> Result<(), Malformed>,
    ) -> Result<(), DumpError> {
        let question = Request::get(RTM_GETNEXTHOP, &[0; 8]).attribute(NHA_ID, &id.to_ne_bytes());
        let asked = self.route.ask(question, |message| {
            let (_, mut attributes) = message.split::<8>()?;
            attributes.try_for_each(|attribute| each(&attribute?))
        });
        match asked {
            Err(DumpError::Refused(_)) => Ok(()),
            other => other,
        }
    }
}

fn question(dst: IpAddr, ingress: Option<Ingress>, flags: u32) -> Request {
    let (family, bits) = match dst {
        IpAddr::V4(_) => (libc::AF_INET, 32),
        IpAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let ingress = ingress.filter(|ingress| ingress.source.is_ipv4() == dst.is_ipv4());
    let source_bits = if ingress.is_some() { bits } else { 0 };
    let [f0, f1, f2, f3] = flags.to_ne_bytes();
    // struct rtmsg
    let header = [family as u8, bits, source_bits, 0, 0, 0, 0, 0, f0, f1, f2, f3];
    let question = Request::get(libc::RTM_GETROUTE, &header);
    let question = with_address(question, libc::RTA_DST, dst);
    match ingress {
        None => question,
        Some(Ingress { ifindex, source }) => with_address(question, libc::RTA_SRC, source)
            .attribute(libc::RTA_IIF, &ifindex.to_ne_bytes()),
    }
}

fn with_address(request: Request, kind: u16, address: IpAddr) -> Request {
    match address {
        IpAddr::V4(address) => request.attribute(kind, &address.octets()),
        IpAddr::V6(address) => request.attribute(kind, &address.octets()),
    }
}

fn parse(message: &Message<'_>, dst: IpAddr) -> Result<Resolved, Malformed> {
    // struct rtmsg
    let (&[_, _, _, _, _, _, _, kind, ..], attributes) = message.split::<12>()?;
    let mut hop = Hop { ifindex: 0, address: dst };
    let (mut mtu, mut expires, mut encapsulated) = (0, 0, false);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_METRICS => mtu = route_mtu(&attribute)?,
            libc::RTA_CACHEINFO => expires = expiry(&attribute)?,
            libc::RTA_ENCAP | libc::RTA_ENCAP_TYPE => encapsulated = true,
            _ => absorb(&mut hop, &attribute)?,
        }
    }
    // What has an end was learned (path MTU discovery) and counts for the kernel's own packets alone.
    let mtu = (mtu == 0 || expires == 0).then_some(mtu);
    Ok(Resolved { kind, encapsulated, hop, others: Vec::new(), mtu })
}

fn absorb(hop: &mut Hop, attribute: &Attribute<'_>) -> Result<(), Malformed> {
    match attribute.kind {
        libc::RTA_OIF => hop.ifindex = attribute.u32()?,
        libc::RTA_GATEWAY => hop.address = parse_address(attribute)?,
        // struct rtvia
        libc::RTA_VIA => {
            let value = attribute.value.get(2..).unwrap_or_default();
            hop.address = parse_address(&Attribute { value, ..*attribute })?;
        }
        _ => {}
    }
    Ok(())
}

fn multipath(attribute: &Attribute<'_>, dst: IpAddr) -> Result<Vec<Hop>, Malformed> {
    let mut members = Vec::new();
    let mut rest = attribute.value;
    // struct rtnexthop
    while let Some(&[l0, l1, flags, _weight, i0, i1, i2, i3]) = rest.first_chunk::<8>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(8..length).ok_or(Malformed::NextHop)?;
        let mut hop = Hop { ifindex: u32::from_ne_bytes([i0, i1, i2, i3]), address: dst };
        for inside in (Attribute { value, ..*attribute }).nested() {
            absorb(&mut hop, &inside?)?;
        }
        if flags & RTNH_F_DEAD == 0 {
            members.push(hop);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(members)
}

fn route_mtu(metrics: &Attribute<'_>) -> Result<u32, Malformed> {
    let mut mtu = 0;
    for metric in metrics.nested() {
        let metric = metric?;
        if metric.kind == RTAX_MTU {
            mtu = metric.u32()?;
        }
    }
    Ok(mtu)
}

/// rta_expires of `struct rta_cacheinfo`.
fn expiry(attribute: &Attribute<'_>) -> Result<i32, Malformed> {
    let value = attribute.value.get(8..).unwrap_or_default();
    Attribute { value, ..*attribute }.i32()
}

fn parse_address(attribute: &Attribute<'_>) -> Result<IpAddr, Malformed> {
    let four = <[u8; 4]>::try_from(attribute.value).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(attribute.value).map(IpAddr::from));
    address.map_err(|_| Malformed::Value(attribute.kind))
}
