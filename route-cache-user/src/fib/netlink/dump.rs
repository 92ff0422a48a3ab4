//! Whole tables, read from the kernel on request.

use super::confirm;
use super::event::{self, RTM_GETNEXTHOP};
use super::exchange::{DumpError, Exchange};
use super::netdev::Family;
use super::request::Request;
use super::wire::{Malformed, Message};
use crate::fib::{
    family::IpFamily,
    message::{Event, Ifindex},
};

/// IFLA_EXT_MASK, include/uapi/linux/if_link.h.
const IFLA_EXT_MASK: u16 = 29;

/// What can be dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Interfaces.
    Links,
    /// Addresses.
    Addresses(IpFamily),
    /// Routes of all routing tables.
    Routes(IpFamily),
    /// Next-hop objects (Linux 5.3).
    NextHopObjects,
    /// Neighbours.
    Neighbours(IpFamily),
    /// Settings of `all`, `default` and every interface.
    Netconf(IpFamily),
    /// Policy rules.
    Rules(IpFamily),
    /// Queueing disciplines.
    Qdiscs,
    /// What XDP the devices can do (Linux 6.3).
    XdpFeatures,
}

impl Table {
    /// All of them, in the order in which they make sense of each other.
    pub(crate) const ALL: [Self; 14] = [
        Self::Links,
        Self::XdpFeatures,
        Self::Addresses(IpFamily::V4),
        Self::Addresses(IpFamily::V6),
        Self::Netconf(IpFamily::V4),
        Self::Netconf(IpFamily::V6),
        Self::Qdiscs,
        Self::Rules(IpFamily::V4),
        Self::Rules(IpFamily::V6),
        Self::NextHopObjects,
        Self::Neighbours(IpFamily::V4),
        Self::Neighbours(IpFamily::V6),
        Self::Routes(IpFamily::V4),
        Self::Routes(IpFamily::V6),
    ];
}

/// Reads tables of the network namespace in which it was opened. It blocks: not for an async task.
pub(crate) struct Dumper {
    pub(super) route: Exchange,
    generic: Exchange,
    /// Nothing on kernels without the family.
    netdev: Option<Family>,
}

impl Dumper {
    /// Opens the sockets in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, DumpError> {
        let route = Exchange::open(libc::NETLINK_ROUTE)?;
        let mut generic = Exchange::open(libc::NETLINK_GENERIC)?;
        let netdev = match Family::find(&mut generic) {
            Ok(family) => Some(family),
            Err(DumpError::Unsupported) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { route, generic, netdev })
    }

    /// Tells `sink` everything in a table.
    ///
    /// The kernel does not notice for every table that it changed while it was read; for routes it
    /// does not (`inet_dump_fib`). Whoever wants these whole subscribes first, and applies what was
    /// heard meanwhile.
    ///
    /// After an error what was told is not the whole of it: forget
    /// it, and ask again if it was [`DumpError::Interrupted`].
    pub(crate) fn dump(
        &mut self,
        what: Table,
        mut sink: impl FnMut(Event),
    ) -> Result<(), DumpError> {
        let mut tell = |event: Result<Option<Event>, Malformed>| -> Result<(), Malformed> {
            if let Some(event) = event? {
                sink(event);
            }
            Ok(())
        };
        match request(what) {
            Some(request) => {
                self.route.dump(request, |message: &Message<'_>| tell(event::parse(message)))
            }
            None => {
                let family = self.netdev.ok_or(DumpError::Unsupported)?;
                self.generic.dump(family.dump(), |message| tell(family.parse(message)))
            }
        }
    }

    /// Has the kernel find out whether a stale neighbour is still there, as if a packet had used it.
    /// Says whether it was asked: not if the neighbour is gone, or is not one the kernel probes.
    pub(crate) fn confirm_neighbour(
        &mut self,
        ifindex: Ifindex,
        address: std::net::IpAddr,
    ) -> Result<bool, DumpError> {
        confirm::confirm(&mut self.route, ifindex, address)
    }
}

/// The question on the rtnetlink socket; nothing for what is generic netlink.
///
/// The headers are zero but for the family: strict checking (Linux 4.20) refuses anything else.
fn request(what: Table) -> Option<Request> {
    let of_family = |family: IpFamily, kind: u16, size: usize| {
        let mut header = vec![0; size];
        header.splice(..1, [family.number()]);
        Some(Request::dump(kind, &header))
    };
    match what {
        Table::Links => {
            // Counters are most of a link message, and nobody here reads them (Linux 4.4).
            let mask = libc::RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
            Some(Request::dump(libc::RTM_GETLINK, &[0; 16]).attribute(IFLA_EXT_MASK, &mask))
        }
        Table::Addresses(family) => of_family(family, libc::RTM_GETADDR, 8),
        Table::Routes(family) => of_family(family, libc::RTM_GETROUTE, 12),
        Table::NextHopObjects => Some(Request::dump(RTM_GETNEXTHOP, &[0; 8])),
        Table::Neighbours(family) => of_family(family, libc::RTM_GETNEIGH, 12),
        Table::Netconf(family) => of_family(family, libc::RTM_GETNETCONF, 1),
        Table::Rules(family) => of_family(family, libc::RTM_GETRULE, 12),
        Table::Qdiscs => Some(Request::dump(libc::RTM_GETQDISC, &[0; 20])),
        Table::XdpFeatures => None,
    }
}
