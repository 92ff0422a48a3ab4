//! The mirror: the kernel's tables, what of them is installed, and what has changed since.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::Ipv4Addr,
};

use ipnet::IpNet;
use route_cache_common::{Action, ClonedRoute, NextHopId, Outcome, Port, Route, V4, V6};

use super::{
    egress::Takers,
    family::{IpFamily, NetFamily},
    groups::Groups,
    hops::Hops,
    installed::Installed,
    interlock,
    message::{Event, Ifindex},
    slots::Slots,
    tables::{Cause, NeighbourKey, Tables, Touched},
    verdict::HopKey,
    why::{Code, Why},
};
use crate::sweep::policy::Reason;

/// Limits and consents given by the operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most routes of each family.
    pub(crate) routes: u32,
    /// Most next hops.
    pub(crate) hops: u32,
    /// Most next-hop groups.
    pub(crate) groups: u32,
    /// `--bypass-netfilter`.
    pub(crate) bypass: bool,
}

/// What of one family is installed.
#[derive(Debug)]
pub(crate) struct Mirrored<F: NetFamily> {
    /// Routes in the trie.
    pub(crate) installed: Installed<F>,
    /// Something did not fit.
    pub(super) full: Option<&'static str>,
    /// Not all of what counts as installed was written: the next dump writes all of it.
    pub(super) unwritten: bool,
    pub(super) custom_locals: HashSet<F::Net>,
    /// Broadcast addresses of IPv4.
    pub(super) broadcasts: HashSet<F::Net>,
    /// Prefixes to be judged again.
    pub(super) dirty: Vec<F::Net>,
}

impl<F: NetFamily> Default for Mirrored<F> {
    fn default() -> Self {
        Self {
            installed: Installed::default(),
            full: None,
            unwritten: false,
            custom_locals: HashSet::new(),
            broadcasts: HashSet::new(),
            dirty: Vec::new(),
        }
    }
}

/// What has to be judged again, besides prefixes.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) hops: BTreeSet<HopKey>,
    pub(super) neighbours: BTreeSet<NeighbourKey>,
    pub(super) interfaces: BTreeSet<Ifindex>,
    pub(super) locals: bool,
    /// How groups are used, or the members of some.
    pub(super) groups: bool,
    /// A dump took the place of what was known.
    pub(super) replaced: bool,
}

/// The kernel's tables, and what of them is installed.
#[derive(Debug)]
pub(crate) struct Fib {
    /// What the kernel has told.
    pub(crate) tables: Tables,
    /// Next hops with their ids.
    pub(crate) hops: Hops,
    /// Groups of them with their numbers.
    pub(crate) groups: Groups<HopKey>,
    /// Slots of routes.
    pub(crate) slots: Slots,
    /// What is IPv4's own.
    pub(crate) v4: Mirrored<V4>,
    /// What is IPv6's own.
    pub(crate) v6: Mirrored<V6>,
    /// What stands against forwarding, found outside the tables.
    pub(crate) interlocks: interlock::Found,
    /// Interfaces to which redirects fail, and the sentence about it.
    failing: BTreeMap<Ifindex, String>,
    /// Who says which interfaces take redirected frames.
    pub(super) takers: Takers,
    /// Why the tables are not to be used now, if they are not.
    pub(super) distrust: Option<Cause>,
    /// Interfaces the program is attached to, and whose frames it may forward there: those of all VLAN devices and of
    /// the interface itself, or of these VLAN devices alone.
    pub(super) attached: BTreeMap<Ifindex, Option<BTreeSet<Ifindex>>>,
    pub(super) ports: BTreeMap<Ifindex, u64>,
    pub(super) vlans: BTreeMap<u32, Ifindex>,
    pub(super) egress: BTreeSet<Ifindex>,
    pub(super) locals: HashSet<Ipv4Addr>,
    /// Routes that go now go with an address.
    pub(super) address_gone: bool,
    /// There were IPv4 policy rules beyond the default three: the kernel looks sources up ever since.
    pub(super) custom_rules: bool,
    /// What ports are asked to be strict about, see [`Fib::plan`].
    pub(super) ways_back: WaysBack,
    pub(super) dirty: Dirty,
    pub(super) limits: Limits,
}

/// What the program looks at of the way back to IPv4 sources, beyond what the interfaces ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WaysBack {
    /// Some routes may be none ([`Tables::has_doubtful_ways_back`]).
    pub(super) are_doubtful: bool,
    /// They are looked at everywhere ([`Config::CHECK_SOURCE`](route_cache_common::Config::CHECK_SOURCE)).
    pub(super) are_checked: bool,
}

impl Fib {
    /// Nothing known, nothing installed, nothing trusted.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            tables: Tables::default(),
            hops: Hops::new(limits.hops),
            groups: Groups::new(limits.groups),
            slots: Slots::new(limits.routes.saturating_mul(2)),
            v4: Mirrored::default(),
            v6: Mirrored::default(),
            interlocks: interlock::Found::default(),
            failing: BTreeMap::new(),
            takers: Takers::default(),
            distrust: Some(Cause::Start),
            attached: BTreeMap::new(),
            ports: BTreeMap::new(),
            vlans: BTreeMap::new(),
            egress: BTreeSet::new(),
            locals: HashSet::new(),
            address_gone: false,
            custom_rules: false,
            ways_back: WaysBack::default(),
            dirty: Dirty::default(),
            limits,
        }
    }

    /// Why a family stands aside; empty while it does not.
    pub(crate) fn reasons<F: NetFamily>(&self) -> Vec<Why> {
        let mut reasons = Vec::new();
        if let Some(cause) = self.distrust {
            let sentence = format!("the kernel's tables are being read ({})", cause.name());
            reasons.push(Why::new(Code::Resync, sentence));
        }
        let of = |code| move |sentence| Why { code, sentence };
        reasons.extend(F::mirrored(self).full.map(|sentence| Why::new(Code::Full, sentence)));
        reasons.extend(self.tables.against_rules::<F>().map(of(Code::Rules)));
        reasons.extend(self.tables.against_settings(F::FAMILY).map(of(Code::Forwarding)));
        reasons.extend(self.interlocks.everywhere[F::FAMILY].iter().cloned());
        reasons
    }

    /// What stands against forwarding what an interface receives of a family.
    pub(crate) fn ingress(&self, family: IpFamily, ifindex: Ifindex) -> Vec<Why> {
        let mut reasons = self.tables.ingress(family, ifindex, self.limits.bypass);
        let port = self.tables.port_of(ifindex);
        for ifindex in BTreeSet::from([ifindex, port]) {
            reasons.extend(self.against_interface(family, ifindex).iter().cloned());
            reasons.extend(self.interlocks.by_ingress.get(&ifindex).into_iter().flatten().cloned());
        }
        reasons
    }

    /// Whether frames of a family may be redirected out of an interface.
    pub(crate) fn egress(&self, family: IpFamily, ifindex: Ifindex) -> Result<(), Why> {
        self.tables.egress(ifindex, self.limits.bypass)?;
        self.takes_redirects(ifindex)?;
        let devices = [ifindex, self.tables.port_of(ifindex)];
        let failing = devices.iter().find_map(|i| self.failing.get(i));
        if let Some(sentence) = failing {
            return Err(Why::new(Code::RedirectsFail, sentence.as_str()));
        }
        let mut interlocks = devices.iter().flat_map(|i| self.against_interface(family, *i));
        interlocks.next().map_or(Ok(()), |why| Err(why.clone()))
    }

    fn against_interface(&self, family: IpFamily, ifindex: Ifindex) -> &[Why] {
        self.interlocks.by_interface.get(&ifindex).map_or(&[], |reasons| &reasons[family])
    }

    /// The program is attached for an interface that was asked for: at the interface itself, or below a VLAN device.
    pub(crate) fn set_attached(&mut self, ifindex: Ifindex, port: Ifindex) {
        if port == ifindex {
            self.attached.insert(port, None);
        } else if let Some(devices) =
            self.attached.entry(port).or_insert_with(|| Some(BTreeSet::new()))
        {
            devices.insert(ifindex);
        }
        self.dirty.interfaces.extend([ifindex, port]);
    }

    /// An interface is gone. Gives the interface that the program has nothing to do at any more.
    pub(crate) fn set_gone(&mut self, ifindex: Ifindex) -> Option<Ifindex> {
        self.dirty.interfaces.insert(ifindex);
        if self.attached.remove(&ifindex).is_some() {
            return Some(ifindex);
        }
        let port = self.tables.port_of(ifindex);
        let devices = self.attached.get_mut(&port)?.as_mut()?;
        devices.remove(&ifindex);
        if !devices.is_empty() {
            return None;
        }
        self.attached.remove(&port);
        self.dirty.interfaces.insert(port);
        Some(port)
    }

    /// Whether the program may forward what an interface receives, as far as the operator is asked.
    pub(crate) fn is_attached(&self, ifindex: Ifindex) -> bool {
        match self.attached.get(&self.tables.port_of(ifindex)) {
            None => false,
            Some(None) => true,
            Some(Some(devices)) => devices.contains(&ifindex),
        }
    }

    /// Flags of the word of an ingress interface, as it was last written; nothing if it forwards nothing.
    pub(crate) fn port_flags(&self, ifindex: Ifindex) -> Option<u16> {
        self.ports.get(&ifindex).map(|word| Port::unpack(*word).flags)
    }

    /// Whether an address is one of the host's own, or a broadcast address, so that nothing may come from it.
    pub(crate) fn is_own_source(&self, address: Ipv4Addr) -> bool {
        self.locals.contains(&address)
    }

    /// Whether every source is looked up in the routes.
    pub(crate) const fn checks_sources(&self) -> bool {
        self.ways_back.are_checked
    }

    /// Redirects to an interface fail, or may be tried again.
    pub(crate) fn set_failing(&mut self, ifindex: Ifindex, reason: Option<&str>) {
        let known = match reason {
            Some(reason) => self.failing.insert(ifindex, reason.to_owned()),
            None => self.failing.remove(&ifindex),
        };
        if known.as_deref() != reason {
            self.dirty.interfaces.insert(ifindex);
        }
    }

    /// Takes in what polling found. Interfaces whose answer changed are judged again.
    pub(crate) fn set_interlocks(&mut self, found: interlock::Found) {
        let known = std::mem::replace(&mut self.interlocks, found);
        let new = &self.interlocks;
        for ifindex in known.by_interface.keys().chain(new.by_interface.keys()) {
            if known.by_interface.get(ifindex) != new.by_interface.get(ifindex) {
                self.dirty.interfaces.insert(*ifindex);
            }
        }
        for ifindex in known.by_ingress.keys().chain(new.by_ingress.keys()) {
            if known.by_ingress.get(ifindex) != new.by_ingress.get(ifindex) {
                self.dirty.interfaces.insert(*ifindex);
            }
        }
        self.dirty.groups |= known.picking != new.picking;
        for ifindex in known.mtu6.keys().chain(new.mtu6.keys()) {
            if known.mtu6.get(ifindex) != new.mtu6.get(ifindex) {
                self.dirty.interfaces.insert(*ifindex);
            }
        }
    }

    /// Stops using the tables until [`Fib::replace`].
    pub(crate) fn distrust(&mut self, cause: Cause) {
        self.distrust.get_or_insert(cause);
    }

    /// Takes in one event. A cause asks for a new dump.
    pub(crate) fn apply(&mut self, event: Event) -> Option<Cause> {
        let was_on_link = match &event {
            Event::NextHopObject(object) => {
                Some(self.tables.way_of_object(IpFamily::V4, object.id))
            }
            Event::NextHopObjectGone(id) => Some(self.tables.way_of_object(IpFamily::V4, *id)),
            _ => None,
        };
        let was_local_net = match &event {
            Event::Route { route, .. } | Event::RouteGone(route) => {
                self.tables.is_local_net(route.prefix)
            }
            _ => false,
        };
        let takes_from = |tables: &Tables, ifindex| tables.links.get(&ifindex)?.takes_from;
        let took_from = match &event {
            Event::Link(link) => takes_from(&self.tables, link.ifindex),
            Event::LinkGone(ifindex) | Event::LinkMoved(ifindex) => {
                takes_from(&self.tables, *ifindex)
            }
            _ => None,
        };
        match &event {
            Event::Link(link) if self.tables.links.get(&link.ifindex) != Some(link) => {
                self.forget_probed(link.ifindex);
            }
            Event::LinkGone(ifindex) => self.forget_probed(*ifindex),
            _ => {}
        }
        let sized_changes = self.sized_changes();
        let (touched, cause) = self.tables.apply(event);
        if sized_changes != self.sized_changes() {
            self.touch_objects();
        }
        match touched {
            Touched::Nothing => {}
            Touched::Rules => {
                self.custom_rules |= self.tables.has_custom_rules();
                self.dirty.interfaces.extend(self.tables.links.keys());
            }
            Touched::Interface(ifindex) => {
                let below = took_from.into_iter().chain(takes_from(&self.tables, ifindex));
                self.dirty.interfaces.extend(below.chain([ifindex]));
            }
            Touched::AllInterfaces => self.dirty.interfaces.extend(self.tables.links.keys()),
            Touched::Address(address) => {
                self.dirty.locals = true;
                self.address_gone |= cause == Some(Cause::Address);
                // How its rp_filter is meant depends on whether it has any, and so may routes through it.
                self.dirty.interfaces.insert(address.ifindex);
            }
            Touched::Prefix(IpNet::V4(net)) => self.touch_prefix::<V4>(net, was_local_net),
            Touched::Prefix(IpNet::V6(net)) => self.touch_prefix::<V6>(net, was_local_net),
            Touched::Neighbour(key) => self.touch_neighbour(key),
            Touched::Object(id) => {
                self.dirty.groups = true;
                self.dirty.hops.insert(HopKey::Object(id));
                if was_on_link != Some(self.tables.way_of_object(IpFamily::V4, id)) {
                    self.touch_users::<V4>(id);
                    self.touch_users::<V6>(id);
                }
                // A group may have other members now.
                if self.tables.is_any_sized() {
                    self.touch_objects();
                }
            }
        }
        cause
    }

    fn touch_prefix<F: NetFamily>(&mut self, prefix: F::Net, was_local_net: bool) {
        let routes = &F::tables(&self.tables).routes;
        let mut dirty = vec![prefix];
        // Rare tables whose meaning depends on what covers them, see `Tables::verdict`.
        dirty.extend(routes.default_nets.iter().filter(|net| F::contains(&prefix, net)));
        if routes.local_nets.contains(&prefix) != was_local_net {
            dirty.extend(routes.range(prefix..).take_while(|net| F::contains(&prefix, net)));
        }
        F::mirrored_mut(self).dirty.extend(dirty);
    }

    fn sized_changes(&self) -> u64 {
        self.tables.v4.routes.sized_changes() + self.tables.v6.routes.sized_changes()
    }

    /// All next-hop objects, and the routes by them.
    fn touch_objects(&mut self) {
        let objects: Vec<u32> = self.tables.objects.keys().copied().collect();
        for id in objects {
            self.dirty.hops.insert(HopKey::Object(id));
            self.touch_users::<V4>(id);
            self.touch_users::<V6>(id);
        }
    }

    fn touch_users<F: NetFamily>(&mut self, object: u32) {
        let users = F::tables(&self.tables).routes.by_object.get(&object);
        let users: Vec<_> = users.into_iter().flatten().copied().collect();
        F::mirrored_mut(self).dirty.extend(users);
    }

    fn touch_neighbour(&mut self, key: NeighbourKey) {
        self.dirty.neighbours.insert(key);
        let objects = self.tables.objects.keys().map(|id| HopKey::Object(*id));
        self.dirty
            .hops
            .extend(objects.filter(|hop| self.tables.neighbour_of(*hop).as_ref() == Ok(&key)));
    }

    /// Takes a complete dump in place of what was known, finding what was missed, deletions included.
    pub(crate) fn replace(&mut self, mut tables: Tables) {
        if self.distrust.is_none() {
            tables.trust_the_dead(&self.tables);
        }
        tables.remember_moved(&self.tables);
        let old = std::mem::replace(&mut self.tables, tables);
        for (ifindex, link) in &old.links {
            if self.tables.links.get(ifindex) != Some(link) {
                self.forget_probed(*ifindex);
            }
        }
        let new = &self.tables;
        self.distrust = None;
        self.dirty.replaced = true;
        self.dirty.locals = true;
        self.dirty.groups = true;
        self.custom_rules |= new.has_custom_rules();
        self.dirty.interfaces.extend(old.links.keys().chain(new.links.keys()));
        self.dirty.neighbours.extend(old.neighbours.keys().chain(new.neighbours.keys()));
        let objects: BTreeSet<u32> =
            old.objects.keys().chain(new.objects.keys()).copied().collect();
        self.dirty.hops.extend(objects.iter().map(|id| HopKey::Object(*id)));
        let way = |tables: &Tables, id: u32| tables.way_of_object(IpFamily::V4, id);
        let other_way = |id: &u32| way(&old, *id) != way(new, *id);
        let changed: Vec<u32> = objects.into_iter().filter(other_way).collect();
        self.replace_routes::<V4>(&old, &changed);
        self.replace_routes::<V6>(&old, &changed);
    }

    fn replace_routes<F: NetFamily>(&mut self, old: &Tables, changed_objects: &[u32]) {
        let mirrored = F::mirrored(self);
        let (old, new) = (&F::tables(old).routes, &F::tables(&self.tables).routes);
        let mut dirty = Vec::new();
        for id in changed_objects {
            dirty.extend(new.by_object.get(id).into_iter().flatten().copied());
        }
        if old.local_nets != new.local_nets {
            dirty.extend(new.nets());
        }
        dirty.extend(&new.default_nets);
        // What has changed, and what did not fit the last time.
        let is_new =
            |(net, all): &(F::Net, &[_])| old.get(net) != *all || !mirrored.installed.contains(net);
        dirty.extend(new.iter().filter(is_new).map(|(net, _)| net));
        // What is installed and has no route any more.
        dirty.extend(mirrored.installed.nets().filter(|net| !new.contains(net)));
        if mirrored.unwritten {
            dirty.extend(new.nets());
        }
        let mirrored = F::mirrored_mut(self);
        mirrored.full = None;
        mirrored.dirty.extend(dirty);
    }

    /// Why the data plane does not use a clone any more: its route has changed, its next hop is nobody's or not usable.
    /// `spares` names interfaces that go down without purging anything (S15).
    pub(crate) fn stale(
        &self,
        clone: &ClonedRoute,
        spares: impl Fn(&str) -> bool,
    ) -> Option<Reason> {
        let route = Route::unpack(clone.route);
        if let Some(reason) = self.slots.stale(route.slot, route.generation) {
            return Some(reason);
        }
        // A group picks anew for every packet.
        if let Action::Group(_) = route.action {
            return None;
        }
        let Some((key, hop)) = self.hops.of(NextHopId(clone.route[0])) else {
            return Some(Reason::Neighbour);
        };
        let is_spared = || {
            let interface = self.tables.neighbour_of(*key).map(|(i, _)| self.tables.link_name(i));
            interface.is_ok_and(|name| spares(&name))
        };
        match Outcome::from_code(hop.version().pass) {
            _ if hop.reason.is_none() => None,
            Some(Outcome::PassEgress) => (!is_spared()).then_some(Reason::LinkDown),
            // The kernel forgets the neighbours of a link that loses its carrier, and resolves them again afterwards.
            Some(Outcome::PassNeighbour) => (!is_spared()).then_some(Reason::Neighbour),
            _ => Some(Reason::Route),
        }
    }

    /// Whether what did not fit might fit now.
    pub(crate) fn may_fit_now(&self) -> bool {
        self.may_fit::<V4>() || self.may_fit::<V6>()
    }

    fn may_fit<F: NetFamily>(&self) -> bool {
        let mirrored = F::mirrored(self);
        let room = (self.limits.routes as usize).saturating_sub(mirrored.installed.len());
        mirrored.full.is_some() && room > self.limits.routes as usize / 16
    }

    /// Something did not fit into a map of the kernel's: the family stands aside until the next dump.
    pub(crate) fn set_full(&mut self, family: IpFamily, what: &'static str) {
        match family {
            IpFamily::V4 => (self.v4.full, self.v4.unwritten) = (Some(what), true),
            IpFamily::V6 => (self.v6.full, self.v6.unwritten) = (Some(what), true),
        }
    }

    /// A plan was not written to its end. What it wrote is not known: the next dump writes everything anew.
    pub(crate) fn set_unwritten(&mut self) {
        (self.v4.unwritten, self.v6.unwritten) = (true, true);
        self.hops.set_unwritten();
        self.ports.clear();
        self.locals.clear();
    }
}
