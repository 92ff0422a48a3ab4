//! Asks the kernel where it would send a packet (RTM_GETROUTE), for both families. `inet_rtm_getroute` in
//! net/ipv4/route.c, `inet6_rtm_getroute` in net/ipv6/route.c.

use std::net::IpAddr;

use nix::errno::Errno;

use super::compare::{Answer, Hop, Resolved};
use crate::fib::{
    message::Ifindex,
    netlink::{Attribute, DumpError, Exchange, Malformed, Message, Request},
};

const RTAX_MTU: u16 = 2;

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
        let asked = self.route.ask(question(dst, ingress), |message| {
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
}

fn question(dst: IpAddr, ingress: Option<Ingress>) -> Request {
    let (family, bits) = match dst {
        IpAddr::V4(_) => (libc::AF_INET, 32),
        IpAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let ingress = ingress.filter(|ingress| ingress.source.is_ipv4() == dst.is_ipv4());
    let source_bits = if ingress.is_some() { bits } else { 0 };
    // struct rtmsg
    let header = [family as u8, bits, source_bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
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
    Ok(Resolved { kind, encapsulated, hop, mtu })
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

fn parse_address(attribute: &Attribute<'_>) -> Result<IpAddr, Malformed> {
    let four = <[u8; 4]>::try_from(attribute.value).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(attribute.value).map(IpAddr::from));
    address.map_err(|_| Malformed::Value(attribute.kind))
}
