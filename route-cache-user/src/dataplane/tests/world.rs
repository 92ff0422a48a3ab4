//! The whole decision as a plain model: tables as lists, headers as bytes, one `if` for each reason.

use std::collections::HashSet;

use ipnet::Ipv4Net;
use route_cache_common::Outcome;

use super::{bench::IN_MAC, model};

/// What the model knows of a next hop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gateway {
    /// Its MAC address.
    pub(super) mac: [u8; 6],
    /// MTU of its interface.
    pub(super) mtu: usize,
    /// Why it cannot be used, if it cannot.
    pub(super) against: Option<Outcome>,
}

/// Where a route leads.
#[derive(Debug, Clone)]
pub(super) enum Leads {
    /// To a gateway, with the route's own MTU or 0.
    To(Gateway, usize),
    /// To the destinations themselves, as far as these are known.
    OnLink(Vec<([u8; 4], Gateway)>),
    /// To the kernel.
    Pass(Outcome),
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Routes, in any order.
    pub(super) routes: Vec<(Ipv4Net, Leads)>,
    /// Addresses of the host.
    pub(super) own: Vec<[u8; 4]>,
    /// Sources are looked up.
    pub(super) check_source: bool,
    /// Partial checksums are looked for.
    pub(super) guard: bool,
    /// Destinations that have a clone.
    pub(super) cloned: HashSet<[u8; 4]>,
    /// Those whose clone was used: they may have a flow.
    pub(super) noted: HashSet<[u8; 4]>,
    /// Packets of those.
    pub(super) of_flows: u64,
}

impl World {
    fn route(&self, address: [u8; 4]) -> Option<&Leads> {
        let covering =
            self.routes.iter().filter(|(net, _)| net.contains(&std::net::Ipv4Addr::from(address)));
        covering.max_by_key(|(net, _)| net.prefix_len()).map(|(_, leads)| leads)
    }

    /// How a frame ends, and the gateway it leaves for.
    pub(super) fn judge(&mut self, frame: &[u8]) -> Result<(Outcome, Gateway), Outcome> {
        use Outcome as O;
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let address = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
        match word(12) {
            0x0800 => {}
            // The family is switched off.
            0x86dd => return Err(O::PassDisabled),
            0x8100 if frame.len() < 18 => return Err(O::PassMalformed),
            0x8100 => return Err(O::PassVlan),
            _ => return Err(O::PassEthertype),
        }
        if frame.len() < 34 {
            return Err(O::PassMalformed);
        }
        if frame[14] / 16 == 4 && frame[14] % 16 > 5 {
            return Err(O::PassOptions);
        }
        let total_len = usize::from(word(16));
        if frame[14] != 0x45 || total_len < 20 || total_len > frame.len() - 14 {
            return Err(O::PassMalformed);
        }
        if frame[0] % 2 == 1 {
            return Err(O::PassLinkMulticast);
        }
        if frame[..6] != IN_MAC {
            return Err(O::PassOtherHost);
        }
        if model::sum(&frame[14..34]) != 0xffff {
            return Err(O::PassChecksum);
        }
        let (source, destination) = (address(26), address(30));
        if destination[0] == 0 || destination[0] == 127 {
            return Err(O::PassMartianDestination);
        }
        if (224..240).contains(&destination[0]) {
            return Err(O::PassMulticast);
        }
        if destination == [255; 4] {
            return Err(O::PassBroadcast);
        }
        if frame[22] < 2 {
            return Err(O::PassTtl);
        }
        if !self.may_be_source(source) {
            return Err(O::PassMartianSource);
        }
        if self.guard && !is_complete(frame, total_len - 20) {
            return Err(O::PassPartialChecksum);
        }
        let (gateway, mtu) = match self.route(destination) {
            None => return Err(O::PassNoRoute),
            Some(Leads::Pass(reason)) => return Err(*reason),
            Some(Leads::To(gateway, mtu)) => (*gateway, *mtu),
            Some(Leads::OnLink(hosts)) => {
                let found = hosts.iter().find(|(host, _)| *host == destination);
                (found.ok_or(O::PassNeighbour)?.1, 0)
            }
        };
        // An interface without an entry in the device map is found out last.
        if let Some(reason) = gateway.against.filter(|reason| *reason != O::PassEgress) {
            return Err(reason);
        }
        if total_len > gateway.mtu || (mtu != 0 && total_len > mtu) {
            return Err(O::PassMtu);
        }
        if let Some(reason) = gateway.against {
            return Err(reason);
        }
        let is_first = self.cloned.insert(destination);
        // A route with an MTU of its own has no flows.
        if !is_first && mtu == 0 && !self.noted.insert(destination) {
            self.of_flows += 1;
        }
        Ok((if is_first { O::ForwardedRoute } else { O::ForwardedClone }, gateway))
    }

    fn may_be_source(&self, source: [u8; 4]) -> bool {
        let martian = matches!(source[0], 0 | 127 | 224..=239) || source == [255; 4];
        let unusable = [Outcome::PassNeighbour, Outcome::PassEgress];
        let not_unicast = match self.route(source) {
            Some(Leads::Pass(reason)) => !unusable.contains(reason),
            Some(Leads::To(..) | Leads::OnLink(_)) | None => false,
        };
        !(martian || self.own.contains(&source) || self.check_source && not_unicast)
    }
}

/// Row 39a.
fn is_complete(frame: &[u8], payload: usize) -> bool {
    let (protocol, fragment) = (frame[23], u16::from_be_bytes([frame[20], frame[21]]) & 0x3fff);
    let Some(offset) = [(6, 16), (17, 6)].iter().find(|(p, _)| *p == protocol).map(|(_, o)| 34 + o)
    else {
        return protocol == 1;
    };
    if fragment != 0 {
        return true;
    }
    let Some(checksum) = frame.get(offset..offset + 2) else {
        return false;
    };
    let tunnel =
        [4789, 8472, 6081, 6080, 5555].contains(&u16::from_be_bytes([frame[36], frame[37]]));
    let mut pseudo = frame[26..34].to_vec();
    pseudo.extend([0, protocol]);
    pseudo.extend((payload as u16).to_be_bytes());
    !(protocol == 17 && tunnel) && checksum != model::sum(&pseudo).to_be_bytes()
}
