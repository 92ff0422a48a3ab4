//! Clone tables as the XDP program fills them, and a sweeper that asks the policy.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;

use super::model::{Destination, EXEMPT, INTERFACES, Interface, STATIC, Switches, interface_of};
use crate::sweep::{
    cpu::WalkTicket,
    exempt::Exempt,
    life::{Better, Life, Next},
    policy::{Fate, Reason, Walk},
    settings::Settings,
};

/// As in the model; the program has its own.
const WINDOW: u64 = 2;

#[derive(Debug, Clone, Copy)]
struct Clone {
    last_used: u64,
    generation: u32,
    /// Used under `rtexpire` 0: for the seed it is gone with its last packet (S8), here with the next walk.
    is_gone: bool,
}

pub(super) struct DataPlane {
    pub(super) life: Life,
    hz: u64,
    switches: Switches,
    tables: Vec<BTreeMap<Destination, Clone>>,
    seen: BTreeMap<(usize, Destination), u64>,
    /// By interface: one route goes through each.
    generations: [u32; INTERFACES as usize],
    exempt: Exempt,
}

impl DataPlane {
    pub(super) fn new(
        cpus: usize,
        hz: u64,
        settings: Settings,
        switches: Switches,
        now: u64,
    ) -> Self {
        let better = Better { recovery: switches.recovery, punctual: switches.punctual };
        Self {
            life: Life::new(cpus, hz, settings, better, now),
            hz,
            switches,
            tables: vec![BTreeMap::new(); cpus],
            seen: BTreeMap::new(),
            generations: [0; INTERFACES as usize],
            exempt: Exempt::new(vec![Pattern::new(&name(EXEMPT)).unwrap()]),
        }
    }

    /// The clones of a CPU that the seed would have as well, and when each expires.
    pub(super) fn live(&self, cpu: usize) -> BTreeMap<Destination, u64> {
        let is_live = |(destination, clone): &(&Destination, &Clone)| {
            self.is_current(**destination, **clone) && !clone.is_gone
        };
        self.tables[cpu]
            .iter()
            .filter(is_live)
            .map(|(destination, clone)| (*destination, self.life.expiry(clone.last_used)))
            .collect()
    }

    fn is_current(&self, destination: Destination, clone: Clone) -> bool {
        self.generations[usize::from(interface_of(destination))] == clone.generation
    }

    pub(super) fn packet(&mut self, cpu: usize, destination: Destination, now: u64) {
        if destination == STATIC {
            return; // the longest match is a host route: there is nothing to clone
        }
        let live = self.live(cpu);
        if !live.contains_key(&destination) {
            if self.switches.scan_resistance {
                let last = self.seen.insert((cpu, destination), now);
                if last.is_none_or(|last| now > last + WINDOW * self.hz) {
                    return;
                }
            }
            if self.switches.hard_cap.is_some_and(|most| live.len() >= most) {
                return;
            }
        }
        let generation = self.generations[usize::from(interface_of(destination))];
        let is_gone = self.life.rtexpire().0 == 0;
        assert!(!is_gone || self.life.expiry(now) == now, "S8: it expires with its last packet");
        self.tables[cpu].insert(destination, Clone { last_used: now, generation, is_gone });
    }

    /// The generation first, then the walk.
    pub(super) fn link_down(&mut self, interface: Interface, is_forced: bool, now: u64) {
        if !self.exempt.spares(&name(interface), is_forced) {
            self.generations[usize::from(interface)] += 1;
            (0..self.tables.len()).for_each(|cpu| self.life.call(cpu, now));
        }
    }

    /// Walks a table as the ticket says. Of the live clones, the stuck cannot be deleted.
    pub(super) fn walk(
        &mut self,
        cpu: usize,
        ticket: WalkTicket,
        stuck: &BTreeSet<Destination>,
        now: u64,
    ) -> Next {
        let mut walk = Walk::default();
        let live = self.live(cpu);
        let table = self.tables[cpu].clone();
        for (destination, clone) in table {
            walk.found += 1;
            let stale = (!self.is_current(destination, clone)).then_some(Reason::LinkDown);
            match self.life.judge(ticket.purpose(), clone.last_used, stale, now) {
                Fate::Keep(expiry) => walk.note_expiry(expiry),
                Fate::Expire(_)
                    if stuck.contains(&destination) && live.contains_key(&destination) =>
                {
                    walk.note_expiry(now);
                }
                Fate::Expire(_) => {
                    walk.killed += 1;
                    self.tables[cpu].remove(&destination);
                }
            }
        }
        self.life.end_walk(ticket, walk, now)
    }
}

fn name(interface: Interface) -> String {
    format!("if{interface}")
}
