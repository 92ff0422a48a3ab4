//! The plan: what has to be written to the data plane so that it says what the tables say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use route_cache_common::{
    Action, Config, NextHop, NextHopId, Outcome, Port, Route,
    next_hop::{NeighbourKey4, NextHopVersion},
    route::RouteWords,
};

use super::{
    hops::Hops,
    message::{Event, Ifindex, Neighbour},
    slots::Slots,
    tables::{Cause, NeighbourKey, Tables, Touched},
    verdict::{Against, HopKey, Verdict, Way, ancestors},
};

/// A route as it was last written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installed {
    /// The judgement it came from.
    pub(crate) verdict: Verdict,
    /// What stands in the trie.
    pub(crate) words: RouteWords,
}

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

/// Limits and consents given by the operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most routes.
    pub(crate) routes: u32,
    /// Most next hops.
    pub(crate) hops: u32,
    /// `--bypass-netfilter`.
    pub(crate) bypass: bool,
}

#[derive(Debug, Default)]
struct Dirty {
    prefixes: HashSet<Ipv4Net>,
    hops: BTreeSet<HopKey>,
    neighbours: BTreeSet<NeighbourKey>,
    interfaces: BTreeSet<Ifindex>,
    locals: bool,
}

/// The kernel's tables, and what of them is installed.
#[derive(Debug)]
pub(crate) struct Fib {
    /// What the kernel has told.
    pub(crate) tables: Tables,
    /// Next hops with their ids.
    pub(crate) hops: Hops,
    /// Slots of routes.
    pub(crate) slots: Slots,
    /// Routes in the trie.
    pub(crate) installed: HashMap<Ipv4Net, Installed>,
    /// What stands against IPv4 as a whole, found outside the tables.
    pub(crate) interlocks: Vec<String>,
    /// What stands against single interfaces, found outside the tables.
    pub(crate) interface_interlocks: HashMap<Ifindex, Vec<String>>,
    /// Why the tables are not to be used now, if they are not.
    distrust: Option<Cause>,
    /// Something did not fit.
    full: Option<&'static str>,
    attached: BTreeSet<Ifindex>,
    ports: BTreeMap<Ifindex, u64>,
    egress: BTreeSet<Ifindex>,
    locals: HashSet<Ipv4Addr>,
    custom_locals: HashSet<Ipv4Net>,
    dirty: Dirty,
    limits: Limits,
}

impl Fib {
    /// Nothing known, nothing installed, nothing trusted.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            tables: Tables::default(),
            hops: Hops::new(limits.hops),
            slots: Slots::new(limits.routes),
            installed: HashMap::new(),
            interlocks: Vec::new(),
            interface_interlocks: HashMap::new(),
            distrust: Some(Cause::Start),
            full: None,
            attached: BTreeSet::new(),
            ports: BTreeMap::new(),
            egress: BTreeSet::new(),
            locals: HashSet::new(),
            custom_locals: HashSet::new(),
            dirty: Dirty::default(),
            limits,
        }
    }

    /// Why IPv4 stands aside; empty while it does not.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(cause) = self.distrust {
            reasons.push(format!("the kernel's tables are being read ({})", cause.name()));
        }
        reasons.extend(self.full.map(str::to_owned));
        reasons.extend(self.tables.against_rules());
        reasons.extend(self.interlocks.iter().cloned());
        reasons
    }

    /// What stands against forwarding what an interface receives.
    pub(crate) fn ingress(&self, ifindex: Ifindex) -> Vec<String> {
        let mut reasons = self.tables.ingress(ifindex, self.limits.bypass);
        reasons.extend(self.interface_interlocks.get(&ifindex).into_iter().flatten().cloned());
        reasons
    }

    /// Whether frames may be redirected out of an interface.
    pub(crate) fn egress(&self, ifindex: Ifindex) -> Result<(), Against> {
        self.tables.egress(ifindex, self.limits.bypass)?;
        match self.interface_interlocks.get(&ifindex).and_then(|reasons| reasons.first()) {
            Some(reason) => Err(Against { outcome: Outcome::PassEgress, reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// The program was attached to an interface, or let go of it.
    pub(crate) fn set_attached(&mut self, ifindex: Ifindex, attached: bool) {
        if attached {
            self.attached.insert(ifindex);
        } else {
            self.attached.remove(&ifindex);
        }
        self.dirty.interfaces.insert(ifindex);
    }

    /// What polling found. Interfaces whose answer changed are judged again.
    pub(crate) fn set_interlocks(&mut self, all: Vec<String>, by_interface: HashMap<Ifindex, Vec<String>>) {
        self.interlocks = all;
        for ifindex in by_interface.keys().chain(self.interface_interlocks.keys()) {
            if by_interface.get(ifindex) != self.interface_interlocks.get(ifindex) {
                self.dirty.interfaces.insert(*ifindex);
            }
        }
        self.interface_interlocks = by_interface;
    }

    /// Stops using the tables until [`Fib::replace`].
    pub(crate) fn distrust(&mut self, cause: Cause) {
        self.distrust.get_or_insert(cause);
    }

    /// Takes in one event. A cause asks for a new dump.
    pub(crate) fn apply(&mut self, event: Event) -> Option<Cause> {
        let was_on_link = match &event {
            Event::NextHopObject(object) => Some(self.tables.way_of_object(object.id)),
            Event::NextHopObjectGone(id) => Some(self.tables.way_of_object(*id)),
            _ => None,
        };
        let (touched, cause) = self.tables.apply(event);
        match touched {
            Touched::Nothing | Touched::Rules => {}
            Touched::Interface(ifindex) => {
                self.dirty.interfaces.insert(ifindex);
            }
            Touched::AllInterfaces => self.dirty.interfaces.extend(self.tables.links.keys()),
            Touched::Address(_) => self.dirty.locals = true,
            Touched::Prefix(prefix) => self.touch_prefix(prefix),
            Touched::Neighbour(key) => self.touch_neighbour(key),
            Touched::Object(id) => {
                self.dirty.hops.insert(HopKey::Object(id));
                if was_on_link != Some(self.tables.way_of_object(id)) {
                    let users = self.tables.by_object.get(&id);
                    self.dirty.prefixes.extend(users.into_iter().flatten());
                }
            }
        }
        cause
    }

    fn touch_prefix(&mut self, prefix: Ipv4Net) {
        self.dirty.prefixes.insert(prefix);
        // Rare tables whose meaning depends on what covers them, see `Tables::verdict`.
        self.dirty
            .prefixes
            .extend(self.tables.default_nets.iter().filter(|net| prefix.contains(*net)));
        let is_net = prefix.prefix_len() < prefix.max_prefix_len();
        if is_net && (self.tables.local_nets.contains(&prefix) || self.was_local(&prefix)) {
            let inside = self.tables.routes.range(prefix..).map(|(net, _)| *net);
            self.dirty.prefixes.extend(
                inside.take_while(|net| net.network() <= prefix.broadcast()).filter(|net| prefix.contains(net)),
            );
        }
    }

    fn was_local(&self, prefix: &Ipv4Net) -> bool {
        let way = self.installed.get(prefix).map(|installed| installed.verdict.way);
        matches!(way, Some(Way::Pass(Outcome::PassLocal | Outcome::PassBroadcast, _)))
    }

    fn touch_neighbour(&mut self, key: NeighbourKey) {
        self.dirty.neighbours.insert(key);
        let objects = self.tables.objects.keys().map(|id| HopKey::Object(*id));
        self.dirty.hops.extend(objects.filter(|hop| self.tables.neighbour_of(*hop).as_ref() == Ok(&key)));
    }

    /// Takes a complete dump in place of what was known, finding what was missed, deletions included.
    pub(crate) fn replace(&mut self, tables: Tables) {
        let old = std::mem::replace(&mut self.tables, tables);
        let new = &self.tables;
        self.distrust = None;
        self.full = None;
        self.dirty.locals = true;
        self.dirty.interfaces.extend(old.links.keys().chain(new.links.keys()));
        self.dirty.neighbours.extend(old.neighbours.keys().chain(new.neighbours.keys()));
        self.dirty.hops.extend(old.objects.keys().chain(new.objects.keys()).map(|id| HopKey::Object(*id)));
        for id in old.objects.keys().chain(new.objects.keys()) {
            if old.way_of_object(*id) != new.way_of_object(*id) {
                self.dirty.prefixes.extend(new.by_object.get(id).into_iter().flatten());
            }
        }
        if old.local_nets != new.local_nets || old.default_nets != new.default_nets {
            self.dirty.prefixes.extend(new.routes.keys());
        }
        self.dirty.prefixes.extend(
            new.routes.iter().filter(|(net, all)| old.routes.get(net) != Some(all)).map(|(net, _)| *net),
        );
        // What is installed and has no route any more, and what did not fit the last time.
        self.dirty.prefixes.extend(self.installed.keys().filter(|net| !new.routes.contains_key(net)));
        self.dirty.prefixes.extend(new.routes.keys().filter(|net| !self.installed.contains_key(net)));
    }

    /// Whether what did not fit might fit now.
    pub(crate) fn may_fit_now(&self) -> bool {
        self.full.is_some() && self.slots.room() > self.limits.routes / 16
    }

    /// Something did not fit into a map of the kernel's: IPv4 stands aside until the next dump.
    pub(crate) fn set_full(&mut self, what: &'static str) {
        self.full = Some(what);
    }

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

    fn plan_interfaces(&mut self, dirty: &BTreeSet<Ifindex>, hops: &mut BTreeSet<HopKey>, plan: &mut Plan) {
        for &ifindex in dirty {
            let word = match self.tables.links.get(&ifindex).and_then(|link| link.mac) {
                Some(mac) if self.attached.contains(&ifindex) && self.ingress(ifindex).is_empty() => {
                    let partial = if self.tables.has_partial_checksums(ifindex) { Port::PARTIAL_CHECKSUMS } else { 0 };
                    Port { mac, flags: Port::ACCELERATE4 | partial }.pack()
                }
                _ => 0,
            };
            let known = if word == 0 { self.ports.remove(&ifindex) } else { self.ports.insert(ifindex, word) };
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
            hops.extend(objects.filter(|key| matches!(self.tables.neighbour_of(*key), Ok((i, _)) if i == ifindex)));
        }
    }

    fn plan_routes(&mut self, dirty: &HashSet<Ipv4Net>, hops: &mut BTreeSet<HopKey>, plan: &mut Plan) {
        let at_start = self.installed.is_empty();
        let mut covers = HashSet::new();
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
            let slot = match (wanted, known) {
                (None, None) => continue,
                (None, Some(known)) => {
                    let slot = Route::unpack(known.words).slot;
                    self.installed.remove(prefix);
                    self.release_hop(known.verdict.way, hops);
                    plan.routes_removed.push(*prefix);
                    plan.generations.push((slot, self.slots.raise(slot)));
                    self.slots.give_back(slot);
                    continue;
                }
                (Some(_), Some(known)) => {
                    let slot = Route::unpack(known.words).slot;
                    self.release_hop(known.verdict.way, hops);
                    plan.generations.push((slot, self.slots.raise(slot)));
                    slot
                }
                (Some(_), None) => {
                    let Some(slot) = self.slots.take() else {
                        self.full = Some("there are more routes than fit (--max-routes)");
                        continue;
                    };
                    if !at_start {
                        covers.extend(ancestors(prefix).find(|net| self.installed.contains_key(net)));
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
        self.renew_covers(covers, plan);
        plan.routes.sort_unstable_by_key(|(prefix, _)| std::cmp::Reverse(prefix.prefix_len()));
    }

    /// Gives the routes that cover a new one new generations: what was cloned from them may belong to the new one now.
    fn renew_covers(&mut self, covers: HashSet<Ipv4Net>, plan: &mut Plan) {
        let written: HashSet<Ipv4Net> = plan.routes.iter().map(|(prefix, _)| *prefix).collect();
        for prefix in covers.difference(&written) {
            let Some(installed) = self.installed.get_mut(prefix) else {
                continue;
            };
            let route = Route::unpack(installed.words);
            let generation = self.slots.raise(route.slot);
            installed.words = Route { generation, ..route }.pack();
            plan.routes.push((*prefix, installed.words));
            plan.generations.push((route.slot, generation));
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
        let Some(hop) = self.hops.get_mut(&key) else {
            return;
        };
        let id = hop.id;
        let version = match &judged {
            Ok(version) => NextHopVersion { id: id.0, ..*version },
            Err(against) => {
                NextHopVersion { id: id.0, pass: against.outcome as u16, ..NextHopVersion::default() }
            }
        };
        hop.reason = judged.err().map(|against| against.reason);
        if *hop.version() != version {
            hop.element.current += 1;
            hop.element.versions[(hop.element.current & 1) as usize] = version;
            plan.hops.push((id.index(), hop.element));
        }
        let HopKey::Neighbour(neighbour) = key else {
            if hop.routes == 0 {
                self.hops.give_back(&key);
            }
            return;
        };
        let on_link = NeighbourKey4 { ifindex: neighbour.0, address: neighbour.1.octets() };
        if hop.routes == 0 && !self.tables.neighbours.get(&neighbour).is_some_and(is_resolved) {
            plan.neighbours_removed.push(on_link);
            self.hops.give_back(&key);
        } else if !std::mem::replace(&mut hop.listed, true) {
            plan.neighbours_added.push((on_link, id));
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
            return Err(against(format!("the link-layer address of {address} on {} is not known", link.name)));
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
        let wanted: HashSet<Ipv4Addr> = self.tables.addresses.iter().map(|address| address.local).collect();
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
