//! The mirror: the kernel's tables, what of them is installed, and what has changed since.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use route_cache_common::{Clone4, NextHopId, Outcome, Route, route::RouteWords};

use super::{
    hops::Hops,
    interlock,
    message::{Event, Ifindex},
    slots::Slots,
    tables::{Cause, NeighbourKey, Tables, Touched},
    verdict::{Against, HopKey, Verdict},
};
use crate::sweep::policy::Reason;

/// A route as it was last written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installed {
    /// The judgement it came from.
    pub(crate) verdict: Verdict,
    /// What stands in the trie.
    pub(crate) words: RouteWords,
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

/// What has to be judged again.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) prefixes: HashSet<Ipv4Net>,
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
    /// Routes in the trie.
    pub(crate) installed: HashMap<Ipv4Net, Installed>,
    /// What stands against forwarding, found outside the tables.
    pub(crate) interlocks: interlock::Found,
    /// Why the tables are not to be used now, if they are not.
    pub(super) distrust: Option<Cause>,
    /// Something did not fit.
    pub(super) full: Option<&'static str>,
    /// Interfaces with the program on them.
    pub(crate) attached: BTreeSet<Ifindex>,
    pub(super) ports: BTreeMap<Ifindex, u64>,
    pub(super) egress: BTreeSet<Ifindex>,
    pub(super) locals: HashSet<Ipv4Addr>,
    /// Routes that go now go with an address.
    pub(super) address_gone: bool,
    pub(super) custom_locals: HashSet<Ipv4Net>,
    pub(super) dirty: Dirty,
    pub(super) limits: Limits,
}

impl Fib {
    /// Nothing known, nothing installed, nothing trusted.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            tables: Tables::default(),
            hops: Hops::new(limits.hops),
            slots: Slots::new(limits.routes),
            installed: HashMap::new(),
            interlocks: interlock::Found::default(),
            distrust: Some(Cause::Start),
            full: None,
            attached: BTreeSet::new(),
            ports: BTreeMap::new(),
            egress: BTreeSet::new(),
            locals: HashSet::new(),
            address_gone: false,
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
        reasons.extend(self.interlocks.everywhere.iter().cloned());
        reasons
    }

    /// What stands against forwarding what an interface receives.
    pub(crate) fn ingress(&self, ifindex: Ifindex) -> Vec<String> {
        let mut reasons = self.tables.ingress(ifindex, self.limits.bypass);
        reasons.extend(self.interlocks.by_interface.get(&ifindex).into_iter().flatten().cloned());
        reasons
    }

    /// Whether frames may be redirected out of an interface.
    pub(crate) fn egress(&self, ifindex: Ifindex) -> Result<(), Against> {
        self.tables.egress(ifindex, self.limits.bypass)?;
        match self.interlocks.by_interface.get(&ifindex).and_then(|reasons| reasons.first()) {
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

    /// Takes in what polling found. Interfaces whose answer changed are judged again.
    pub(crate) fn set_interlocks(&mut self, found: interlock::Found) {
        let known = std::mem::replace(&mut self.interlocks, found);
        for ifindex in known.by_interface.keys().chain(self.interlocks.by_interface.keys()) {
            if known.by_interface.get(ifindex) != self.interlocks.by_interface.get(ifindex) {
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
                self.tables.local_nets.contains(&route.prefix)
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
            Touched::Prefix(prefix) => self.touch_prefix(prefix, was_local_net),
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

    fn touch_prefix(&mut self, prefix: Ipv4Net, was_local_net: bool) {
        self.dirty.prefixes.insert(prefix);
        // Rare tables whose meaning depends on what covers them, see `Tables::verdict`.
        self.dirty
            .prefixes
            .extend(self.tables.default_nets.iter().filter(|net| prefix.contains(*net)));
        if self.tables.local_nets.contains(&prefix) != was_local_net {
            let inside = self.tables.routes.range(prefix..).map(|(net, _)| *net);
            self.dirty.prefixes.extend(
                inside
                    .take_while(|net| net.network() <= prefix.broadcast())
                    .filter(|net| prefix.contains(net)),
            );
        }
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
        self.full = None;
        self.dirty.replaced = true;
        self.dirty.locals = true;
        self.dirty.interfaces.extend(old.links.keys().chain(new.links.keys()));
        self.dirty.neighbours.extend(old.neighbours.keys().chain(new.neighbours.keys()));
        self.dirty
            .hops
            .extend(old.objects.keys().chain(new.objects.keys()).map(|id| HopKey::Object(*id)));
        for id in old.objects.keys().chain(new.objects.keys()) {
            if old.way_of_object(*id) != new.way_of_object(*id) {
                self.dirty.prefixes.extend(new.by_object.get(id).into_iter().flatten());
            }
        }
        if old.local_nets != new.local_nets {
            self.dirty.prefixes.extend(new.routes.keys());
        }
        self.dirty.prefixes.extend(&new.default_nets);
        self.dirty.prefixes.extend(
            new.routes
                .iter()
                .filter(|(net, all)| old.routes.get(net) != Some(all))
                .map(|(net, _)| *net),
        );
        // What is installed and has no route any more, and what did not fit the last time.
        self.dirty
            .prefixes
            .extend(self.installed.keys().filter(|net| !new.routes.contains_key(net)));
        self.dirty
            .prefixes
            .extend(new.routes.keys().filter(|net| !self.installed.contains_key(net)));
    }

    /// Why the data plane does not use a clone any more: its route has changed, its next hop is nobody's or not usable.
    /// `spares` names interfaces that go down without purging anything (S15).
    pub(crate) fn stale(&self, clone: &Clone4, spares: impl Fn(&str) -> bool) -> Option<Reason> {
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
        match Outcome::from_code(hop.version().pass as u8) {
            _ if hop.reason.is_none() => None,
            Some(Outcome::PassEgress) => (!is_spared()).then_some(Reason::LinkDown),
            // The kernel forgets the neighbours of a link that loses its carrier, and resolves them again afterwards.
            Some(Outcome::PassNeighbour) => (!is_spared()).then_some(Reason::Neighbour),
            _ => Some(Reason::Route),
        }
    }

    /// Whether what did not fit might fit now.
    pub(crate) fn may_fit_now(&self) -> bool {
        self.full.is_some() && self.slots.room() > self.limits.routes / 16
    }

    /// Something did not fit into a map of the kernel's: IPv4 stands aside until the next dump.
    pub(crate) fn set_full(&mut self, what: &'static str) {
        self.full = Some(what);
    }
}
