//! The plan: what has to be written to the data plane so that it says what the tables say.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use route_cache_common::{
    Action, Config, NextHop, NextHopId, Outcome, Port, Route,
    next_hop::{NeighbourKey4, NextHopVersion},
    route::RouteWords,
};

use super::{
    message::{Ifindex, Link, Neighbour},
    mirror::{Fib, Installed},
    verdict::{Against, HopKey, Verdict, Way, ancestors},
};
use crate::sweep::policy::Reason;

/// Writes to the data plane, each list in the order in which it must be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Own addresses to enter.
    pub(crate) locals_added: Vec<Ipv4Addr>,
    /// Own addresses to remove.
    pub(crate) locals_removed: Vec<Ipv4Addr>,
    /// Words of ingress interfaces.
    pub(crate) ports: Vec<(Ifindex, u64)>,
    /// Interfaces to close for redirects.
    pub(crate) egress_closed: Vec<Ifindex>,
    /// Interfaces to open for redirects.
    pub(crate) egress_opened: Vec<Ifindex>,
    /// Next hops: index, and the element with its new version current.
    pub(crate) hops: Vec<(u32, NextHop)>,
    /// On-link destinations to enter.
    pub(crate) neighbours_added: Vec<(NeighbourKey4, NextHopId)>,
    /// On-link destinations to remove.
    pub(crate) neighbours_removed: Vec<NeighbourKey4>,
    /// Routes to write, longest prefix first: what is more specific must be there before the route that covers it gets
    /// its new generation.
    pub(crate) routes: Vec<(Ipv4Net, RouteWords)>,
    /// Routes to remove.
    pub(crate) routes_removed: Vec<Ipv4Net>,
    /// Generations to raise, after all routes are written.
    pub(crate) generations: Vec<(u32, u32)>,
    /// Flags of the config line.
    pub(crate) flags: u64,
    /// The filter over own addresses.
    pub(crate) local_filter: [u64; 4],
}

impl Plan {
    /// Whether it changes what a flow was told.
    pub(crate) fn changes_routes(&self) -> bool {
        !(self.routes.is_empty() && self.routes_removed.is_empty() && self.generations.is_empty())
    }
}

impl Fib {
    /// What has to be written, assuming that it will be.
    pub(crate) fn plan(&mut self) -> Plan {
        let mut plan = Plan::default();
        let dirty = std::mem::take(&mut self.dirty);
        let mut hops = dirty.hops;
        self.plan_interfaces(&dirty.interfaces, &mut hops, &mut plan);
        for key in dirty.neighbours {
            if self.tables.neighbours.get(&key).is_some_and(is_resolved) {
                self.hops.take(HopKey::Neighbour(key));
            }
            hops.insert(HopKey::Neighbour(key));
        }
        self.plan_routes(&dirty.prefixes, &mut hops, &mut plan);
        for key in hops {
            self.plan_hop(key, &mut plan);
        }
        if dirty.locals {
            self.plan_locals(&mut plan);
        }
        // Its routes vanish without a message: the dump that it asks for finds them gone.
        self.address_gone &= !dirty.replaced;
        for address in &self.locals {
            let (word, bit) = Config::local_filter_bit(address.octets());
            plan.local_filter[word] |= 1 << bit;
        }
        if self.reasons().is_empty() {
            plan.flags |= Config::ACCELERATE4;
        }
        if !self.custom_locals.is_empty() {
            plan.flags |= Config::CHECK_SOURCE;
        }
        plan
    }

    fn plan_interfaces(
        &mut self,
        dirty: &BTreeSet<Ifindex>,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) {
        for &ifindex in dirty {
            let word = match self.tables.links.get(&ifindex).and_then(|link| link.mac) {
                Some(mac)
                    if self.attached.contains(&ifindex) && self.ingress(ifindex).is_empty() =>
                {
                    let partial = if self.tables.has_partial_checksums(ifindex) {
                        Port::PARTIAL_CHECKSUMS
                    } else {
                        0
                    };
                    Port { mac, flags: Port::ACCELERATE4 | partial }.pack()
                }
                _ => 0,
            };
            let known = if word == 0 {
                self.ports.remove(&ifindex)
            } else {
                self.ports.insert(ifindex, word)
            };
            if known.unwrap_or(0) != word {
                plan.ports.push((ifindex, word));
            }
            if self.egress(ifindex).is_ok() {
                // Entered again even if known: an index that changed hands lost its entry in the kernel.
                self.egress.insert(ifindex);
                plan.egress_opened.push(ifindex);
            } else if self.egress.remove(&ifindex) {
                plan.egress_closed.push(ifindex);
            }
            hops.extend(self.hops.on_interface(ifindex));
            let objects = self.tables.objects.keys().map(|id| HopKey::Object(*id));
            hops.extend(objects.filter(
                |key| matches!(self.tables.neighbour_of(*key), Ok((i, _)) if i == ifindex),
            ));
        }
    }

    fn plan_routes(
        &mut self,
        dirty: &HashSet<Ipv4Net>,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) {
        let at_start = self.installed.is_empty();
        let mut covers = HashMap::new();
        for prefix in dirty {
            if self.tables.has_custom_local_route(prefix) {
                self.custom_locals.insert(*prefix);
            } else {
                self.custom_locals.remove(prefix);
            }
            let wanted = self.tables.verdict(prefix);
            let known = self.installed.get(prefix).copied();
            if wanted == known.map(|known| known.verdict) {
                continue;
            }
            let reason =
                known.map_or(Reason::Route, |known| self.reason(known.verdict.way, wanted));
            let slot = match (wanted, known) {
                (None, None) => continue,
                (None, Some(known)) => {
                    let slot = Route::unpack(known.words).slot;
                    self.installed.remove(prefix);
                    self.release_hop(known.verdict.way, hops);
                    plan.routes_removed.push(*prefix);
                    plan.generations.push((slot, self.slots.raise(slot, reason)));
                    self.slots.give_back(slot);
                    continue;
                }
                (Some(_), Some(known)) => {
                    let slot = Route::unpack(known.words).slot;
                    self.release_hop(known.verdict.way, hops);
                    plan.generations.push((slot, self.slots.raise(slot, reason)));
                    slot
                }
                (Some(_), None) => {
                    let Some(slot) = self.slots.take() else {
                        self.full = Some("there are more routes than fit (--max-routes)");
                        continue;
                    };
                    if !at_start {
                        let cover = ancestors(prefix).find(|net| self.installed.contains_key(net));
                        // S3: an address that was added is a route to itself.
                        let is_local = wanted.is_some_and(|wanted| {
                            matches!(wanted.way, Way::Pass(Outcome::PassLocal, _))
                        });
                        let reason = if is_local { Reason::Address } else { Reason::Route };
                        covers.extend(cover.map(|cover| (cover, reason)));
                    }
                    slot
                }
            };
            let Some(verdict) = wanted else { continue };
            let words = Route {
                action: self.action(verdict.way, hops),
                slot,
                generation: self.slots.generation(slot).unwrap_or(0),
                mtu: verdict.mtu,
                prefix_len: prefix.prefix_len(),
            }
            .pack();
            self.installed.insert(*prefix, Installed { verdict, words });
            plan.routes.push((*prefix, words));
        }
        self.renew_covers(&covers, plan);
        plan.routes.sort_unstable_by_key(|(prefix, _)| std::cmp::Reverse(prefix.prefix_len()));
    }

    /// Gives the routes that cover a new one new generations: what was cloned from them may belong to the new one now.
    fn renew_covers(&mut self, covers: &HashMap<Ipv4Net, Reason>, plan: &mut Plan) {
        let written: HashSet<Ipv4Net> = plan.routes.iter().map(|(prefix, _)| *prefix).collect();
        for (prefix, reason) in covers.iter().filter(|(prefix, _)| !written.contains(prefix)) {
            let Some(installed) = self.installed.get_mut(prefix) else {
                continue;
            };
            let route = Route::unpack(installed.words);
            let generation = self.slots.raise(route.slot, *reason);
            installed.words = Route { generation, ..route }.pack();
            plan.routes.push((*prefix, installed.words));
            plan.generations.push((route.slot, generation));
        }
    }

    /// Why the clones of a route go that led this way and now is what it is wanted to be.
    fn reason(&self, way: Way, wanted: Option<Verdict>) -> Reason {
        let ifindex = match way {
            Way::OnLink(ifindex) => Some(ifindex),
            Way::Via(key) => self.tables.neighbour_of(key).ok().map(|(ifindex, _)| ifindex),
            Way::Pass(..) => None,
        };
        let is_running = |ifindex| self.tables.links.get(&ifindex).is_some_and(Link::is_running);
        match wanted.map(|wanted| wanted.way) {
            Some(Way::Pass(Outcome::PassLocal, _)) => Reason::Address,
            Some(_) => Reason::Route,
            None if ifindex.is_some_and(|ifindex| !is_running(ifindex)) => Reason::LinkDown,
            // A route that goes with an address of its interface (S14).
            None if self.address_gone => Reason::Address,
            None => Reason::Route,
        }
    }

    fn action(&mut self, way: Way, hops: &mut BTreeSet<HopKey>) -> Action {
        match way {
            Way::Pass(outcome, _) => Action::Pass(outcome),
            Way::OnLink(ifindex) => Action::OnLink(ifindex),
            Way::Via(key) => {
                hops.insert(key);
                match self.hops.take(key) {
                    Some(hop) => {
                        hop.routes += 1;
                        Action::Via(hop.id)
                    }
                    None => {
                        self.full = Some("there are more next hops than fit (--max-next-hops)");
                        Action::Pass(Outcome::PassNeighbour)
                    }
                }
            }
        }
    }

    fn release_hop(&mut self, way: Way, hops: &mut BTreeSet<HopKey>) {
        if let Way::Via(key) = way
            && let Some(hop) = self.hops.get_mut(&key)
        {
            hop.routes = hop.routes.saturating_sub(1);
            hops.insert(key);
        }
    }

    fn plan_hop(&mut self, key: HopKey, plan: &mut Plan) {
        let judged = self.judge_hop(key);
        let is_known = match key {
            HopKey::Neighbour(key) => self.tables.neighbours.get(&key).is_some_and(is_resolved),
            HopKey::Object(_) => false,
        };
        let Some(hop) = self.hops.get_mut(&key) else {
            return;
        };
        let id = hop.id;
        let is_needed = hop.routes > 0 || is_known;
        let version = match &judged {
            Ok(version) if is_needed => NextHopVersion { id: id.0, ..*version },
            Err(against) if is_needed => NextHopVersion {
                id: id.0,
                pass: against.outcome as u16,
                ..NextHopVersion::default()
            },
            Ok(_) | Err(_) => NextHopVersion { id: NextHopId::NONE.0, ..NextHopVersion::default() },
        };
        hop.reason = judged.err().map(|against| against.reason);
        if *hop.version() != version {
            hop.element.current += 1;
            hop.element.versions[(hop.element.current & 1) as usize] = version;
            plan.hops.push((id.index(), hop.element));
        }
        if let HopKey::Neighbour((ifindex, address)) = key {
            let on_link = NeighbourKey4 { ifindex, address: address.octets() };
            if !is_needed {
                plan.neighbours_removed.push(on_link);
            } else if !std::mem::replace(&mut hop.listed, true) {
                plan.neighbours_added.push((on_link, id));
            }
        }
        if !is_needed {
            self.hops.give_back(&key);
        }
    }

    /// The version of a next hop, its id left out, or what stands against using it.
    fn judge_hop(&self, key: HopKey) -> Result<NextHopVersion, Against> {
        let (ifindex, address) = self.tables.neighbour_of(key)?;
        self.egress(ifindex)?;
        let link = self.tables.egress(ifindex, self.limits.bypass)?;
        let against = |reason| Against { outcome: Outcome::PassNeighbour, reason };
        let neighbour = self.tables.neighbours.get(&(ifindex, address));
        let Some(neighbour) = neighbour.filter(|neighbour| is_resolved(neighbour)) else {
            return Err(against(format!(
                "the link-layer address of {address} on {} is not known",
                link.name
            )));
        };
        let (Some(destination), Some(source)) = (neighbour.lladdr, link.mac) else {
            return Err(against(format!("{address} on {} has no Ethernet address", link.name)));
        };
        let stale = if neighbour.state & NUD_STALE != 0 { NextHopVersion::STALE } else { 0 };
        Ok(NextHopVersion {
            id: 0,
            ifindex,
            mtu: link.mtu,
            addresses: NextHopVersion::addresses(destination, source),
            flags: NextHopVersion::USABLE | stale,
            pass: 0,
        })
    }

    fn plan_locals(&mut self, plan: &mut Plan) {
        let wanted: HashSet<Ipv4Addr> =
            self.tables.addresses.iter().map(|address| address.local).collect();
        plan.locals_added.extend(wanted.difference(&self.locals));
        plan.locals_removed.extend(self.locals.difference(&wanted));
        self.locals = wanted;
    }
}

/// NUD_STALE (include/uapi/linux/neighbour.h).
const NUD_STALE: u16 = 0x04;
/// NUD_VALID without NUD_NOARP, whose address is nobody's.
const NUD_RESOLVED: u16 = 0x80 | 0x02 | 0x10 | NUD_STALE | 0x08;

/// Whether frames can be addressed to a neighbour: permanent, reachable, or being confirmed while it is used on.
fn is_resolved(neighbour: &Neighbour) -> bool {
    const GROUP_BIT: u8 = 1;
    neighbour.state & NUD_RESOLVED != 0
        && neighbour.lladdr.is_some_and(|mac| mac[0] & GROUP_BIT == 0 && mac != [0; 6])
}
