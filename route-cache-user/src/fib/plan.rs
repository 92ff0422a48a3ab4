//! The plan: what has to be written to the data plane so that it says what the tables say.

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use route_cache_common::{
    Action, Config, MacAddresses, NextHop, NextHopId, Outcome, Port, Route, V4, V6,
    next_hop::NextHopVersion, route::RouteWords,
};

use super::{
    family::{IpFamily, NetFamily, ancestors},
    first::First,
    hashed::{HashedMap, HashedSet},
    install::AT_A_TIME,
    installed::InstalledRoute,
    interlock::Picking,
    message::{Ifindex, Link, Neighbour},
    mirror::{Fib, WaysBack},
    verdict::{Against, HopKey, Verdict, Way},
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
    /// IPv4 routes and on-link destinations.
    pub(crate) v4: RoutePlan<V4>,
    /// IPv6 routes and on-link destinations.
    pub(crate) v6: RoutePlan<V6>,
    /// What a flow was told may be wrong, though no route has changed.
    pub(crate) voids_flows: bool,
    /// Generations to raise, after all routes are written.
    pub(crate) generations: Vec<(u32, u32)>,
    /// Flags of the config line.
    pub(crate) flags: u64,
    /// The filter over own addresses.
    pub(crate) local_filter: [u64; 4],
}

/// The part of one family, each list in the order in which it must be written.
#[derive(Debug)]
pub(crate) struct RoutePlan<F: NetFamily> {
    /// On-link destinations to enter.
    pub(crate) neighbours_added: Vec<(F::OnLink, NextHopId)>,
    /// On-link destinations to remove.
    pub(crate) neighbours_removed: Vec<F::OnLink>,
    /// Routes to write, longest prefix first: what is more specific must be there before the route that covers it gets
    /// its new generation. Those of a length as they lie, which is several times as fast.
    pub(crate) routes: Vec<(F::Net, RouteWords)>,
    /// Routes to remove.
    pub(crate) routes_removed: Vec<F::Net>,
}

impl<F: NetFamily> Default for RoutePlan<F> {
    fn default() -> Self {
        Self {
            neighbours_added: Vec::new(),
            neighbours_removed: Vec::new(),
            routes: Vec::new(),
            routes_removed: Vec::new(),
        }
    }
}

impl<F: NetFamily> RoutePlan<F> {
    /// An on-link destination comes or goes.
    fn list(&mut self, on_link: F::OnLink, id: NextHopId, was_listed: bool, is_needed: bool) {
        if !is_needed {
            self.neighbours_removed.push(on_link);
        } else if !was_listed {
            self.neighbours_added.push((on_link, id));
        }
    }

    fn changes_routes(&self) -> bool {
        !(self.routes.is_empty() && self.routes_removed.is_empty())
    }
}

impl Plan {
    /// Whether it changes what a flow was told. A flow spares the program:
    ///
    /// - the generation of its clone: here;
    /// - its route in the trie or index, and the next hop of a destination on the link: clones name both, and a route that
    ///   comes or changes is here; so is a next hop that is nobody's any more. Until then its id, which the program
    ///   compares, has the packet passed;
    /// - the way back to the source (row 17), which depends on the routes, on what the interface asks for, and on the
    ///   interface a next hop leads to: all here. What is unusable and comes back leads the same way.
    ///
    /// All else is looked at for every packet: usability and MTU of the next hop, the interface, addresses and TTL.
    /// Routes with an MTU of their own and groups have no flows.
    pub(crate) fn voids_flows(&self) -> bool {
        let of_routes = self.v4.changes_routes() || self.v6.changes_routes();
        of_routes || !self.generations.is_empty() || self.voids_flows
    }
}

impl Fib {
    /// What has to be written, assuming that it will be.
    pub(crate) fn plan(&mut self) -> Plan {
        self.plan_routes_to(None)
    }

    /// The same at the start, when nothing is written yet. The routes are given away as they are planned, many at a time.
    pub(crate) fn plan_first(&mut self, first: &mut First<'_>) -> Plan {
        self.plan_routes_to(Some(first))
    }

    fn plan_routes_to(&mut self, mut first: Option<&mut First<'_>>) -> Plan {
        let mut plan = Plan::default();
        // The last plan is written: what led to the groups given back then is gone.
        self.groups.settle();
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut hops = dirty.hops;
        if !dirty.interfaces.is_empty() {
            dirty.interfaces.extend(self.vlans_above(&dirty.interfaces));
            self.plan_interfaces(&dirty.interfaces, &mut hops, &mut plan);
            self.plan_vlans(&mut plan);
        }
        for key in dirty.neighbours {
            if self.tables.neighbours.get(&key).is_some_and(is_resolved) {
                self.hops.take(HopKey::Neighbour(key));
            }
            hops.insert(HopKey::Neighbour(key));
        }
        self.plan_routes::<V4>(dirty.replaced, first.as_deref_mut(), &mut hops, &mut plan);
        self.plan_routes::<V6>(dirty.replaced, first, &mut hops, &mut plan);
        if dirty.groups || !dirty.interfaces.is_empty() {
            let keys: Vec<_> = self.groups.keys().cloned().collect();
            for key in keys {
                self.plan_group(&key, &mut hops, &mut plan);
            }
        }
        for key in hops {
            self.plan_hop(key, &mut plan);
        }
        if dirty.locals || std::mem::take(&mut self.dirty.locals) {
            self.plan_locals(&mut plan);
        }
        // Its routes vanish without a message: the dump that it asks for finds them gone.
        self.address_gone &= !dirty.replaced;
        for address in &self.locals {
            let (word, bit) = Config::local_filter_bit(address.octets());
            plan.local_filter[word] |= 1 << bit;
        }
        plan.flags |= self.flag::<V4>() | self.flag::<V6>();
        let are_checked = !self.v4.custom_locals.is_empty() || self.custom_rules;
        if are_checked {
            plan.flags |= Config::CHECK_SOURCE;
        }
        let may_doubt = dirty.groups || !dirty.interfaces.is_empty();
        self.plan_ways_back(may_doubt, are_checked, &mut plan);
        plan
    }

    fn flag<F: NetFamily>(&self) -> u64 {
        let accelerate = if self.reasons::<F>().is_empty() { F::ACCELERATE } else { 0 };
        let by_ports = self.interlocks.picking[F::FAMILY] == Picking::Ports;
        accelerate | if by_ports { F::HASH_PORTS } else { 0 }
    }

    /// The word of an ingress interface, 0 if nothing that it receives may be forwarded.
    fn port(&self, ifindex: Ifindex) -> u64 {
        let mac = self.tables.links.get(&ifindex).and_then(|link| link.mac);
        let Some(mac) = mac.filter(|_| self.is_attached(ifindex)) else {
            return 0;
        };
        let flag = |family, flag| if self.ingress(family, ifindex).is_empty() { flag } else { 0 };
        let accelerate =
            flag(IpFamily::V4, Port::ACCELERATE4) | flag(IpFamily::V6, Port::ACCELERATE6);
        let is_partial = self.tables.has_partial_checksums(ifindex);
        let partial = if is_partial { Port::PARTIAL_CHECKSUMS } else { 0 };
        let reverse = match self.tables.reverse_path(ifindex) {
            None => Port::REVERSE_STRICT,
            Some(Port::REVERSE_LOOSE) if self.ways_back.are_doubtful => Port::REVERSE_STRICT,
            Some(0) if self.ways_back == IN_DOUBT => Port::REVERSE_STRICT,
            Some(asked) => asked,
        };
        if accelerate == 0 { 0 } else { Port { mac, flags: accelerate | partial | reverse }.pack() }
    }

    fn plan_port(&mut self, ifindex: Ifindex, plan: &mut Plan) {
        let word = self.port(ifindex);
        let known =
            if word == 0 { self.ports.remove(&ifindex) } else { self.ports.insert(ifindex, word) };
        let known = known.unwrap_or(0);
        if known != word {
            plan.ports.push((ifindex, word));
            plan.voids_flows |= reverse_path(known) != reverse_path(word);
        }
    }

    /// While the tables may hold routes that are no ways back to a source, ports that look at them at all do so as strictly
    /// as can be: a way back through the interface that a packet came in by is not one of those.
    fn plan_ways_back(&mut self, may_doubt: bool, are_checked: bool, plan: &mut Plan) {
        let are_doubtful = if may_doubt {
            self.tables.has_doubtful_ways_back()
        } else {
            self.ways_back.are_doubtful
        };
        let now = WaysBack { are_doubtful, are_checked };
        if std::mem::replace(&mut self.ways_back, now) != now {
            let ports: Vec<_> = self.ports.keys().copied().collect();
            ports.into_iter().for_each(|ifindex| self.plan_port(ifindex, plan));
        }
    }

    fn plan_interfaces(
        &mut self,
        dirty: &BTreeSet<Ifindex>,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) {
        for &ifindex in dirty {
            self.plan_port(ifindex, plan);
            if IpFamily::ALL.iter().any(|family| self.egress(*family, ifindex).is_ok()) {
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

    fn plan_routes<F: NetFamily>(
        &mut self,
        replaced: bool,
        mut first: Option<&mut First<'_>>,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) {
        // In order: neighbours in the tables are neighbours in memory.
        let mut dirty = std::mem::take(&mut F::mirrored_mut(self).dirty);
        dirty.sort_unstable();
        dirty.dedup();
        // Only a dump makes all of them dirty.
        let unwritten = replaced && std::mem::take(&mut F::mirrored_mut(self).unwritten);
        let at_start = F::mirrored(self).installed.len() == 0;
        let mut covers = HashedMap::default();
        if at_start {
            F::mirrored_mut(self).installed.reserve(dirty.len());
            F::plan_mut(plan).routes.reserve(dirty.len().min(AT_A_TIME));
        }
        for net in &dirty {
            if self.tables.has_custom_local_route::<F>(net) {
                F::mirrored_mut(self).custom_locals.insert(*net);
            } else {
                F::mirrored_mut(self).custom_locals.remove(net);
            }
            let is_broadcast = self.tables.is_broadcast_address::<F>(net);
            let broadcasts = &mut F::mirrored_mut(self).broadcasts;
            let changed =
                if is_broadcast { broadcasts.insert(*net) } else { broadcasts.remove(net) };
            self.dirty.locals |= changed;
            let wanted = self.tables.verdict::<F>(net);
            let installed = &F::mirrored(self).installed;
            let known = if at_start { None } else { installed.get(net) };
            if wanted.as_ref() == known.as_ref().map(|known| &known.verdict) && !unwritten {
                continue;
            }
            let reason = known
                .as_ref()
                .map_or(Reason::Route, |known| self.reason(&known.verdict.way, wanted.as_ref()));
            let mut released = None;
            let slot = match (&wanted, known) {
                (None, None) => continue,
                (None, Some(InstalledRoute { verdict, slot })) => {
                    F::mirrored_mut(self).installed.remove(net);
                    self.release(&verdict.way, hops);
                    F::plan_mut(plan).routes_removed.push(*net);
                    plan.generations.push((slot, self.slots.raise(slot, reason)));
                    self.slots.give_back(slot);
                    continue;
                }
                (Some(_), Some(InstalledRoute { verdict, slot })) => {
                    released = Some(verdict.way);
                    plan.generations.push((slot, self.slots.raise(slot, reason)));
                    slot
                }
                (Some(_), None) => {
                    let Some(slot) = self.take_slot::<F>() else {
                        let what = "there are more routes than fit (--max-routes)";
                        F::mirrored_mut(self).full = Some(what);
                        continue;
                    };
                    if !at_start {
                        let installed = &F::mirrored(self).installed;
                        let cover = ancestors::<F>(net).find(|net| installed.contains(net));
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
            let Some(Verdict { way, mtu }) = wanted else { continue };
            let way = self.note_user::<F>(way, hops, plan);
            // Now, so that what both ways lead to keeps its id.
            if let Some(way) = released {
                self.release(&way, hops);
            }
            let route = InstalledRoute { verdict: Verdict { way, mtu }, slot };
            F::plan_mut(plan).routes.push((*net, self.words::<F>(net, &route)));
            F::mirrored_mut(self).installed.insert(*net, route);
            if let Some(first) = &mut first {
                first.take_many::<F>(&mut F::plan_mut(plan).routes);
            }
        }
        if let Some(first) = first {
            first.take_last::<F>(&mut F::plan_mut(plan).routes);
        }
        self.renew_covers::<F>(&covers, plan);
        let routes = &mut F::plan_mut(plan).routes;
        routes.sort_by_key(|(net, _)| std::cmp::Reverse(F::prefix_len(net)));
    }

    fn take_slot<F: NetFamily>(&mut self) -> Option<u32> {
        let has_room = F::mirrored(self).installed.len() < self.limits.routes as usize;
        if has_room { self.slots.take() } else { None }
    }

    /// What stands in the trie for a route.
    fn words<F: NetFamily>(&self, net: &F::Net, route: &InstalledRoute) -> RouteWords {
        Route {
            action: self.action(&route.verdict.way),
            slot: route.slot,
            generation: self.slots.generation(route.slot).unwrap_or(0),
            mtu: route.verdict.mtu,
            prefix_len: F::prefix_len(net),
        }
        .pack()
    }

    /// All installed IPv4 routes, shortest first.
    pub(crate) fn routes4(&self) -> Vec<(Ipv4Net, RouteWords)> {
        let installed = &self.v4.installed;
        let words = |net| installed.get(&net).map(|route| (net, self.words::<V4>(&net, &route)));
        let mut routes: Vec<_> = installed.nets().filter_map(words).collect();
        routes.sort_unstable_by_key(|(net, _)| (net.prefix_len(), net.network()));
        routes
    }

    /// Gives the routes that cover a new one new generations: what was cloned from them may belong to the new one now.
    fn renew_covers<F: NetFamily>(&mut self, covers: &HashedMap<F::Net, Reason>, plan: &mut Plan) {
        let written: HashedSet<F::Net> =
            F::plan_mut(plan).routes.iter().map(|(net, _)| *net).collect();
        for (net, reason) in covers.iter().filter(|(net, _)| !written.contains(net)) {
            let Some(route) = F::mirrored(self).installed.get(net) else {
                continue;
            };
            let generation = self.slots.raise(route.slot, *reason);
            F::plan_mut(plan).routes.push((*net, self.words::<F>(net, &route)));
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

    fn action(&self, way: &Way) -> Action {
        match way {
            Way::Pass(outcome, _) => Action::Pass(*outcome),
            Way::OnLink(ifindex) => Action::OnLink(*ifindex),
            // One that has no id did not fit.
            Way::Via(key) => match self.hops.get(key) {
                Some(hop) => Action::Via(hop.id),
                None => Action::Pass(Outcome::PassNeighbour),
            },
            Way::Group(key) => match self.groups.get(key) {
                Some(group) => Action::Group(group.number),
                None => Action::Pass(Outcome::PassRoute),
            },
        }
    }

    /// A route leads this way from now on. Gives the way as it is kept.
    fn note_user<F: NetFamily>(
        &mut self,
        way: Way,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) -> Way {
        match &way {
            Way::Via(key) => {
                hops.insert(*key);
                match self.hops.take(*key) {
                    Some(hop) => hop.routes += 1,
                    None => F::mirrored_mut(self).full = Some(NO_ROOM_FOR_HOPS),
                }
                way
            }
            Way::Group(key) => {
                let Some((held, group)) = self.groups.take(key) else {
                    let reason = "there are more next-hop groups than fit";
                    return Way::Pass(Outcome::PassRoute, reason);
                };
                group.routes += 1;
                if group.routes == 1 {
                    self.plan_group(&held, hops, plan);
                }
                Way::Group(held)
            }
            Way::OnLink(_) | Way::Pass(..) => way,
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

    pub(super) fn release_hop(&mut self, key: HopKey, hops: &mut BTreeSet<HopKey>) {
        if let Some(hop) = self.hops.get_mut(&key) {
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
                pass: against.outcome as u8,
                ..NextHopVersion::default()
            },
            Ok(_) | Err(_) => NextHopVersion { id: NextHopId::NONE.0, ..NextHopVersion::default() },
        };
        hop.reason = judged.err().map(|against| against.reason);
        if *hop.version() != version {
            // A neighbour's interface is part of its key; an object may change its own.
            plan.voids_flows |=
                matches!(key, HopKey::Object(_)) && hop.version().ifindex != version.ifindex;
            plan.voids_flows |= version.id == NextHopId::NONE.0;
            hop.element.current += 1;
            hop.element.versions[(hop.element.current & 1) as usize] = version;
            plan.hops.push((id.index(), hop.element));
        }
        if let HopKey::Neighbour((ifindex, address)) = key {
            let was_listed = std::mem::replace(&mut hop.listed, is_needed);
            match address {
                IpAddr::V4(address) => {
                    let on_link = V4::on_link(ifindex, address.octets());
                    plan.v4.list(on_link, id, was_listed, is_needed);
                }
                IpAddr::V6(address) => {
                    let on_link = V6::on_link(ifindex, address.octets());
                    plan.v6.list(on_link, id, was_listed, is_needed);
                }
            }
        }
        if !is_needed {
            self.hops.give_back(&key);
        }
    }

    /// The version of a next hop, its id left out, or what stands against using it.
    fn judge_hop(&self, key: HopKey) -> Result<NextHopVersion, Against> {
        if let HopKey::Object(id) = key
            && self.tables.is_sized(id)
        {
            let reason = format!(
                "routes with an MTU lead by next-hop object {id}: the kernel forwards all of its routes by the MTU of the \
                 one it used first"
            );
            return Err(Against { outcome: Outcome::PassRoute, reason });
        }
        let (ifindex, address) = self.tables.neighbour_of(key)?;
        let family = IpFamily::of(address);
        self.egress(family, ifindex)?;
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
            port: u16::try_from(self.tables.port_of(ifindex)).unwrap_or(0),
            vlan: link.vlan.map_or(0, |vlan| vlan.id),
            mtu: u16::try_from(self.mtu(family, link)).unwrap_or(u16::MAX),
            addresses: MacAddresses::new(destination, source),
            flags: NextHopVersion::USABLE | stale,
            pass: 0,
        })
    }

    /// The MTU of an interface for a family. An IPv4 route by an IPv6 gateway shares its next hop
    /// with IPv6 routes: the smaller holds for both.
    fn mtu(&self, family: IpFamily, link: &Link) -> u32 {
        let own = match family {
            IpFamily::V4 => None,
            IpFamily::V6 => self.interlocks.mtu6.get(&link.ifindex).copied(),
        };
        own.map_or(link.mtu, |own| own.min(link.mtu))
    }

    /// The MTU towards a neighbour, 0 where its interface is not known.
    pub(crate) fn mtu_of(&self, ifindex: Ifindex, neighbour: IpAddr) -> u32 {
        let link = self.tables.links.get(&ifindex);
        link.map_or(0, |link| self.mtu(IpFamily::of(neighbour), link))
    }

    fn plan_locals(&mut self, plan: &mut Plan) {
        // IPv6 does not care whether the source is an address of its own.
        let own4 = self.tables.addresses.iter().filter_map(|address| match address.local {
            IpAddr::V4(local) => Some(local),
            IpAddr::V6(_) => None,
        });
        // Once there was a local route of somebody's own, or a policy rule, the kernel drops these, too.
        let broadcasts = self.v4.broadcasts.iter().map(Ipv4Net::addr);
        let wanted: HashSet<Ipv4Addr> = own4.chain(broadcasts).collect();
        plan.locals_added.extend(wanted.difference(&self.locals));
        plan.locals_removed.extend(self.locals.difference(&wanted));
        self.locals = wanted;
    }
}

/// Why a family stands aside that needs more ids than there are.
pub(super) const NO_ROOM_FOR_HOPS: &str = "there are more next hops than fit (--max-next-hops)";

/// Looked at everywhere, and not to be relied on.
const IN_DOUBT: WaysBack = WaysBack { are_doubtful: true, are_checked: true };

/// What a port asks for of the way back.
fn reverse_path(word: u64) -> u16 {
    Port::unpack(word).flags & (Port::REVERSE_STRICT | Port::REVERSE_LOOSE)
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
