//! The mirror: the kernel's tables, what of them is installed, and what has changed since.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::Ipv4Addr,
};

use ipnet::IpNet;
use route_cache_common::{ClonedRoute, NextHopId, Outcome, Route, V4, V6};

use super::{
    family::{IpFamily, NetFamily},
    hops::Hops,
    installed::Installed,
    interlock,
    message::{Event, Ifindex},
    slots::Slots,
    tables::{Cause, NeighbourKey, Tables, Touched},
    verdict::{Against, HopKey},
};
use crate::sweep::policy::Reason;

/// Limits and consents given by the operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most routes of each family.
    pub(crate) routes: u32,
    /// Most next hops.
    pub(crate) hops: u32,
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
    pub(super) custom_locals: HashSet<F::Net>,
    /// Prefixes to be judged again.
    pub(super) dirty: HashSet<F::Net>,
}

impl<F: NetFamily> Default for Mirrored<F> {
    fn default() -> Self {
        Self {
            installed: Installed::default(),
            full: None,
            custom_locals: HashSet::new(),
            dirty: HashSet::new(),
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
    /// Why the tables are not to be used now, if they are not.
    pub(super) distrust: Option<Cause>,
    pub(super) attached: BTreeSet<Ifindex>,
    pub(super) ports: BTreeMap<Ifindex, u64>,
    pub(super) egress: BTreeSet<Ifindex>,
    pub(super) locals: HashSet<Ipv4Addr>,
    /// Routes that go now go with an address.
    pub(super) address_gone: bool,
    pub(super) dirty: Dirty,
    pub(super) limits: Limits,
}

impl Fib {
    /// Nothing known, nothing installed, nothing trusted.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            tables: Tables::default(),
            hops: Hops::new(limits.hops),
            slots: Slots::new(limits.routes.saturating_mul(2)),
            v4: Mirrored::default(),
            v6: Mirrored::default(),
            interlocks: interlock::Found::default(),
            failing: BTreeMap::new(),
            distrust: Some(Cause::Start),
            attached: BTreeSet::new(),
            ports: BTreeMap::new(),
            egress: BTreeSet::new(),
            locals: HashSet::new(),
            address_gone: false,
            dirty: Dirty::default(),
            limits,
        }
    }

    /// Why a family stands aside; empty while it does not.
    pub(crate) fn reasons<F: NetFamily>(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(cause) = self.distrust {
            reasons.push(format!("the kernel's tables are being read ({})", cause.name()));
        }
        reasons.extend(F::mirrored(self).full.map(str::to_owned));
        reasons.extend(self.tables.against_rules::<F>());
        reasons.extend(self.tables.against_settings(F::FAMILY));
        reasons.extend(self.interlocks.everywhere[F::FAMILY].iter().cloned());
        reasons
    }

    /// What stands against forwarding what an interface receives of a family.
    pub(crate) fn ingress(&self, family: IpFamily, ifindex: Ifindex) -> Vec<String> {
        let mut reasons = self.tables.ingress(family, ifindex, self.limits.bypass);
        reasons.extend(self.against_interface(family, ifindex).iter().cloned());
        reasons
    }

    /// Whether frames of a family may be redirected out of an interface.
    pub(crate) fn egress(&self, family: IpFamily, ifindex: Ifindex) -> Result<(), Against> {
        self.tables.egress(ifindex, self.limits.bypass)?;
        let against = self.failing.get(&ifindex);
        match against.or_else(|| self.against_interface(family, ifindex).first()) {
            Some(reason) => Err(Against { outcome: Outcome::PassEgress, reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn against_interface(&self, family: IpFamily, ifindex: Ifindex) -> &[String] {
        self.interlocks.by_interface.get(&ifindex).map_or(&[], |reasons| &reasons[family])
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
            Event::NextHopObject(object) => Some(self.tables.way_of_object(object.id)),
            Event::NextHopObjectGone(id) => Some(self.tables.way_of_object(*id)),
            _ => None,
        };
        let was_local_net = match &event {
            Event::Route { route, .. } | Event::RouteGone(route) => {
                self.tables.is_local_net(route.prefix)
            }
            _ => false,
        };
        let (touched, cause) = self.tables.apply(event);
        match touched {
            Touched::Nothing | Touched::Rules => {}
            Touched::Interface(ifindex) => {
                self.dirty.interfaces.insert(ifindex);
            }
            Touched::AllInterfaces => self.dirty.interfaces.extend(self.tables.links.keys()),
            Touched::Address(address) => {
                self.dirty.locals = true;
                self.address_gone |= cause == Some(Cause::Address);
                if self.tables.unsure.contains(&address.ifindex) {
                    self.dirty.interfaces.insert(address.ifindex);
                }
            }
            Touched::Prefix(IpNet::V4(net)) => self.touch_prefix::<V4>(net, was_local_net),
            Touched::Prefix(IpNet::V6(net)) => self.touch_prefix::<V6>(net, was_local_net),
            Touched::Neighbour(key) => self.touch_neighbour(key),
            Touched::Object(id) => {
                self.dirty.hops.insert(HopKey::Object(id));
                if was_on_link != Some(self.tables.way_of_object(id)) {
                    self.touch_users::<V4>(id);
                    self.touch_users::<V6>(id);
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
    pub(crate) fn replace(&mut self, tables: Tables) {
        let old = std::mem::replace(&mut self.tables, tables);
        let new = &self.tables;
        self.distrust = None;
        self.dirty.replaced = true;
        self.dirty.locals = true;
        self.dirty.interfaces.extend(old.links.keys().chain(new.links.keys()));
        self.dirty.neighbours.extend(old.neighbours.keys().chain(new.neighbours.keys()));
        let objects: BTreeSet<u32> =
            old.objects.keys().chain(new.objects.keys()).copied().collect();
        self.dirty.hops.extend(objects.iter().map(|id| HopKey::Object(*id)));
        let other_way = |id: &u32| old.way_of_object(*id) != new.way_of_object(*id);
        let changed: Vec<u32> = objects.into_iter().filter(other_way).collect();
        self.replace_routes::<V4>(&old, &changed);
        self.replace_routes::<V6>(&old, &changed);
    }

    fn replace_routes<F: NetFamily>(&mut self, old: &Tables, changed_objects: &[u32]) {
        let mirrored = F::mirrored(self);
        let (old, new) = (&F::tables(old).routes, &F::tables(&self.tables).routes);
        let mut dirty = HashSet::new();
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
            IpFamily::V4 => self.v4.full = Some(what),
            IpFamily::V6 => self.v6.full = Some(what),
        }
    }
}
