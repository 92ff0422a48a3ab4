//! The plan: what has to be written to the data plane so that it says what the tables say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use route_cache_common::{
    Action, Config, MAX_IFINDEX, NextHop, NextHopId, Outcome, Port, Route,
    next_hop::{NeighbourKey, NextHopVersion},
    route::{BUCKETS, RouteWords},
    vlan_key,
};

use super::{
    groups::{GroupKey, Member},
    interlock::Picking,
    message::{Ifindex, Link, Neighbour},
    mirror::{Fib, Installed},
    verdict::{Against, HopKey, Judged, Verdict, Way, ancestors},
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
    /// VLAN devices to enter: key of the map, and interface index.
    pub(crate) vlans_added: Vec<(u32, Ifindex)>,
    /// VLAN devices to remove.
    pub(crate) vlans_removed: Vec<u32>,
    /// Interfaces to close for redirects.
    pub(crate) egress_closed: Vec<Ifindex>,
    /// Interfaces to open for redirects.
    pub(crate) egress_opened: Vec<Ifindex>,
    /// Next hops: index, and the element with its new version current.
    pub(crate) hops: Vec<(u32, NextHop)>,
    /// Buckets of groups: element of the map, and next hop.
    pub(crate) buckets: Vec<(u32, NextHopId)>,
    /// On-link destinations to enter.
    pub(crate) neighbours_added: Vec<(NeighbourKey<route_cache_common::Address4>, NextHopId)>,
    /// On-link destinations to remove.
    pub(crate) neighbours_removed: Vec<NeighbourKey<route_cache_common::Address4>>,
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
        // The last plan is written: what led to the groups given back then is gone.
        self.groups.settle();
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut hops = dirty.hops;
        if !dirty.interfaces.is_empty() {
            let on_them = |link: &&Link| {
                link.vlan.and_then(|vlan| vlan.lower).is_some_and(|lower| dirty.interfaces.contains(&lower))
            };
            let on_them: Vec<_> = self.tables.links.values().filter(on_them).map(|link| link.ifindex).collect();
            dirty.interfaces.extend(on_them);
            self.plan_interfaces(&dirty.interfaces, &mut hops, &mut plan);
            self.plan_vlans(&mut plan);
        }
        for key in dirty.neighbours {
            if self.tables.neighbours.get(&key).is_some_and(is_resolved) {
                self.hops.take(HopKey::Neighbour(key));
            }
            hops.insert(HopKey::Neighbour(key));
        }
        self.plan_routes(&dirty.prefixes, &mut hops, &mut plan);
        if dirty.groups || !dirty.interfaces.is_empty() {
            let keys: Vec<_> = self.groups.keys().cloned().collect();
            for key in keys {
                self.plan_group(&key, &mut hops, &mut plan);
            }
        }
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
        if self.interlocks.picking == Picking::Ports {
            plan.flags |= Config::HASH_PORTS4;
        }
        if !self.custom_locals.is_empty() || self.custom_rules {
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
                    if self.is_attached(ifindex) && self.ingress(ifindex).is_empty() =>
                {
                    let partial = if self.tables.has_partial_checksums(ifindex) {
                        Port::PARTIAL_CHECKSUMS
                    } else {
                        0
                    };
                    let reverse = self.tables.reverse_path(ifindex).unwrap_or(Port::REVERSE_STRICT);
                    Port { mac, flags: Port::ACCELERATE4 | partial | reverse }.pack()
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
            let known = self.installed.get(prefix).cloned();
            if wanted.as_ref() == known.as_ref().map(|known| &known.verdict) {
                continue;
            }
            let reason = known.as_ref().map_or(Reason::Route, |known| {
                self.reason(&known.verdict.way, wanted.as_ref())
            });
            let mut released = None;
            let slot = match (&wanted, known) {
                (None, None) => continue,
                (None, Some(known)) => {
                    let slot = Route::unpack(known.words).slot;
                    self.installed.remove(prefix);
                    self.release(&known.verdict.way, hops);
                    plan.routes_removed.push(*prefix);
                    plan.generations.push((slot, self.slots.raise(slot, reason)));
                    self.slots.give_back(slot);
                    continue;
                }
                (Some(_), Some(known)) => {
                    let slot = Route::unpack(known.words).slot;
                    released = Some(known.verdict.way);
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
                        let is_local = wanted.as_ref().is_some_and(|wanted| {
                            matches!(wanted.way, Way::Pass(Outcome::PassLocal, _))
                        });
                        let reason = if is_local { Reason::Address } else { Reason::Route };
                        covers.extend(cover.map(|cover| (cover, reason)));
                    }
                    slot
                }
            };
            let Some(verdict) = wanted else { continue };
            let Verdict { way, mtu } = verdict;
            let (action, way) = self.action(way, hops, plan);
            let verdict = Verdict { way, mtu };
            // Now, so that a next hop of both ways keeps its id.
            if let Some(way) = released {
                self.release(&way, hops);
            }
            let words = Route {
                action,
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
    fn reason(&self, way: &Way, wanted: Option<&Verdict>) -> Reason {
        let ifindex = match way {
            Way::OnLink(ifindex) => Some(*ifindex),
            Way::Via(key) => self.tables.neighbour_of(*key).ok().map(|(ifindex, _)| ifindex),
            Way::Group(_) | Way::Pass(..) => None,
        };
        let is_running = |ifindex| self.tables.links.get(&ifindex).is_some_and(Link::is_running);
        match wanted.map(|wanted| &wanted.way) {
            Some(Way::Pass(Outcome::PassLocal, _)) => Reason::Address,
            Some(_) => Reason::Route,
            None if ifindex.is_some_and(|ifindex| !is_running(ifindex)) => Reason::LinkDown,
            // A route that goes with an address of its interface (S14).
            None if self.address_gone => Reason::Address,
            None => Reason::Route,
        }
    }

    /// What to write for a way, and the way as it is kept.
    fn action(
        &mut self,
        way: Way,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) -> (Action, Way) {
        match &way {
            Way::Pass(outcome, _) => (Action::Pass(*outcome), way),
            Way::OnLink(ifindex) => (Action::OnLink(*ifindex), way),
            Way::Via(key) => {
                hops.insert(*key);
                match self.hops.take(*key) {
                    Some(hop) => {
                        hop.routes += 1;
                        (Action::Via(hop.id), way)
                    }
                    None => {
                        self.full = Some("there are more next hops than fit (--max-next-hops)");
                        (Action::Pass(Outcome::PassNeighbour), way)
                    }
                }
            }
            Way::Group(key) => match self.groups.take(key) {
                Some((held, group)) => {
                    group.routes += 1;
                    let (number, is_new) = (group.number, group.routes == 1);
                    if is_new {
                        self.plan_group(&held, hops, plan);
                    }
                    (Action::Group(number), Way::Group(held))
                }
                None => {
                    let outcome = Outcome::PassRoute;
                    (Action::Pass(outcome), Way::Pass(outcome, "there are more next-hop groups than fit"))
                }
            },
        }
    }

    /// A route does not lead this way any more.
    fn release(&mut self, way: &Way, hops: &mut BTreeSet<HopKey>) {
        match way {
            Way::Via(key) => self.release_hop(*key, hops),
            Way::Group(key) => {
                let Some(group) = self.groups.get_mut(key) else { return };
                group.routes = group.routes.saturating_sub(1);
                if group.routes == 0 {
                    for member in self.groups.give_back(key).unwrap_or_default() {
                        self.release_hop(member.key, hops);
                    }
                }
            }
            Way::OnLink(_) | Way::Pass(..) => {}
        }
    }

    fn release_hop(&mut self, key: HopKey, hops: &mut BTreeSet<HopKey>) {
        if let Some(hop) = self.hops.get_mut(&key) {
            hop.routes = hop.routes.saturating_sub(1);
            hops.insert(key);
        }
    }

    /// Who the members of a group are, and where its buckets lead.
    fn plan_group(
        &mut self,
        key: &GroupKey<HopKey>,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) {
        let judged = self.judge_group(key);
        let none = Judged { all: Vec::new(), usable: Vec::new() };
        let (Judged { all, usable }, reason) = match judged {
            Ok(judged) => (judged, None),
            Err(reason) => (none, Some(reason)),
        };
        let mut all_have_ids = true;
        for Member { key, .. } in &all {
            hops.insert(*key);
            match self.hops.take(*key) {
                Some(hop) => hop.routes += 1,
                None => all_have_ids = false,
            }
        }
        if !all_have_ids {
            self.full = Some("there are more next hops than fit (--max-next-hops)");
        }
        let ids: Vec<_> = usable
            .iter()
            .filter_map(|member| Some((self.hops.get(&member.key)?.id, member.weight)))
            .collect();
        let Some(group) = self.groups.get_mut(key) else { return };
        let first = group.number * BUCKETS;
        let changed = group.buckets.deal(&ids);
        plan.buckets.extend(changed.into_iter().map(|(bucket, id)| (first + bucket, id)));
        group.reason = reason;
        // After the new ones were taken: who stays keeps its id.
        for member in std::mem::replace(&mut group.members, all) {
            self.release_hop(member.key, hops);
        }
    }

    fn judge_group(&self, key: &GroupKey<HopKey>) -> Result<Judged, String> {
        match self.interlocks.picking {
            Picking::Kernel(reason) => Err(reason.into()),
            Picking::Addresses | Picking::Ports => self.tables.members_of(key),
        }
    }

    /// Which VLAN devices there are on which interface.
    fn plan_vlans(&mut self, plan: &mut Plan) {
        let mut wanted = BTreeMap::new();
        for link in self.tables.links.values() {
            let lower = link.vlan.and_then(|vlan| self.tables.below(link, vlan).ok());
            if let (Some(vlan), Some(lower)) = (link.vlan, lower)
                && lower < MAX_IFINDEX
            {
                wanted.insert(vlan_key(lower, vlan.id), link.ifindex);
            }
        }
        let gone = self.vlans.keys().filter(|key| !wanted.contains_key(key));
        plan.vlans_removed.extend(gone);
        let new = wanted.iter().filter(|(key, ifindex)| self.vlans.get(key) != Some(ifindex));
        plan.vlans_added.extend(new.map(|(key, ifindex)| (*key, *ifindex)));
        self.vlans = wanted;
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
                pass: against.outcome as u8,
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
            let on_link = NeighbourKey { ifindex, address: address.octets() };
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
            port: self.tables.port_of(ifindex) as u16,
            vlan: link.vlan.map_or(0, |vlan| vlan.id),
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
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
