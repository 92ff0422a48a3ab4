//! Asks the kernel where it would send a packet (RTM_GETROUTE), for both families. `inet_rtm_getroute` in
//! net/ipv4/route.c, `inet6_rtm_getroute` in net/ipv6/route.c.

use std::net::IpAddr;

use nix::errno::Errno;

use super::compare::{Answer, Hop, Resolved};
use crate::fib::{
    message::{Event, Hop as Way, Ifindex, NextHopKind, RouteTarget},
    netlink::{
        Attribute, DumpError, Exchange, Malformed, Message, RTM_F_FIB_MATCH, RTM_GETNEXTHOP,
        Request, parse_event, route_question,
    },
};

/// The kernel does not choose such a next hop. One without carrier is dead if `ignore_routes_with_linkdown` says so.
const RTNH_F_DEAD: u32 = 1;
const RTAX_MTU: u16 = 2;
/// include/uapi/linux/nexthop.h.
const NHA_ID: u16 = 1;

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
        let answer = self.look_up(dst, ingress, 0, |message| parse(message, dst))?;
        Ok(answer.map_or_else(Answer::Refused, Answer::Route))
    }

    /// Where the route to a destination leads as it stands in the table: all its next hops but for those that are dead.
    pub(crate) fn ways(
        &mut self,
        dst: IpAddr,
        ingress: Option<Ingress>,
    ) -> Result<Vec<Hop>, DumpError> {
        let found =
            self.look_up(dst, ingress, RTM_F_FIB_MATCH, |message| match parse_event(message)? {
                Some(Event::Route { route, .. }) => Ok(route.info.target),
                _ => Err(NO_ANSWER),
            })?;
        let ways = match found {
            Ok(RouteTarget::Hop(way)) => vec![way],
            Ok(RouteTarget::Multipath(ways)) => ways,
            Ok(RouteTarget::Object(id)) => self.ways_of_object(id)?,
            // It was there a moment ago.
            Ok(RouteTarget::None) | Err(_) => Vec::new(),
        };
        let lives = ways.into_iter().filter(|way| way.flags & RTNH_F_DEAD == 0);
        let hop = |way: Way| Hop { ifindex: way.ifindex, address: way.gateway.unwrap_or(dst) };
        Ok(lives.map(hop).collect())
    }

    fn ways_of_object(&mut self, id: u32) -> Result<Vec<Way>, DumpError> {
        let members = match self.object(id)? {
            Some(NextHopKind::Hop(way)) => return Ok(vec![way]),
            Some(NextHopKind::Group(members)) => members,
            _ => return Ok(Vec::new()),
        };
        let mut ways = Vec::with_capacity(members.len());
        for member in members {
            if let Some(NextHopKind::Hop(way)) = self.object(member.id)? {
                ways.push(way);
            }
        }
        Ok(ways)
    }

    fn object(&mut self, id: u32) -> Result<Option<NextHopKind>, DumpError> {
        // struct nhmsg
        let question = Request::get(RTM_GETNEXTHOP, &[0; 8]).attribute(NHA_ID, &id.to_ne_bytes());
        let answer = self.ask(question, |message| match parse_event(message)? {
            Some(Event::NextHopObject(object)) => Ok(object.kind),
            _ => Err(NO_ANSWER),
        });
        Ok(answer?.ok())
    }

    fn look_up<T>(
        &mut self,
        dst: IpAddr,
        ingress: Option<Ingress>,
        flags: u32,
        parse: impl Fn(&Message<'_>) -> Result<T, Malformed>,
    ) -> Result<Result<T, Errno>, DumpError> {
        match (self.ask(question(dst, ingress, flags), &parse)?, ingress) {
            // It may be the source that it does not like, and nobody sent that; or the interface is gone.
            (Err(Errno::EINVAL | Errno::ENODEV), Some(_)) => {
                self.ask(question(dst, None, flags), parse)
            }
            (answer, _) => Ok(answer),
        }
    }

    /// What the kernel answers, or why it refuses.
    pub(super) fn ask<T>(
        &mut self,
        question: Request,
        parse: impl Fn(&Message<'_>) -> Result<T, Malformed>,
    ) -> Result<Result<T, Errno>, DumpError> {
        let mut answer = None;
        let asked = self.route.ask(question, |message| {
            answer = Some(parse(message)?);
            Ok(())
        });
        match (asked, answer) {
            (Ok(()), Some(answer)) => Ok(Ok(answer)),
            (Ok(()), None) => Err(NO_ANSWER.into()),
            (Err(DumpError::Refused(errno)), _) => Ok(Err(errno)),
            (Err(error), _) => Err(error),
        }
    }
}

const NO_ANSWER: Malformed = Malformed::Missing("the answer about a route");

fn question(dst: IpAddr, ingress: Option<Ingress>, flags: u32) -> Request {
    let ingress = ingress.filter(|ingress| ingress.source.is_ipv4() == dst.is_ipv4());
    let question = route_question(dst, ingress.map(|ingress| ingress.source), flags);
    match ingress {
        None => question,
        Some(Ingress { ifindex, .. }) => question.attribute(libc::RTA_IIF, &ifindex.to_ne_bytes()),
    }
}

pub(super) fn parse(message: &Message<'_>, dst: IpAddr) -> Result<Resolved, Malformed> {
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
    Ok(Resolved { kind, encapsulated, hop, ways: Vec::new(), mtu })
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

pub(super) fn parse_address(attribute: &Attribute<'_>) -> Result<IpAddr, Malformed> {
    let four = <[u8; 4]>::try_from(attribute.value).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(attribute.value).map(IpAddr::from));
    address.map_err(|_| Malformed::Value(attribute.kind))
}
