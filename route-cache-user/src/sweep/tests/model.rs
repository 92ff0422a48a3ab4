//! The seed's rules, as its table says them: one thread, an explicit `expire` and flags on every entry. Nothing here is
//! shared with the product but the names of the settings. Times are in jiffies, settings in seconds.

use std::collections::{BTreeMap, BTreeSet};

use crate::sweep::{
    pressure::Pressure,
    settings::{Setting, Settings},
};

pub(super) type Destination = u8;
pub(super) type Interface = u8;

/// Interfaces: two plain ones, and one that is exempt from S14 (S15).
pub(super) const INTERFACES: u8 = 3;
pub(super) const EXEMPT: Interface = 2;
/// A host route of the operator's own, in every table. It is not managed.
pub(super) const STATIC: Destination = 255;
/// A destination seen twice within this many seconds is cloned, where scans are resisted.
const WINDOW: u64 = 2;

pub(super) const fn interface_of(destination: Destination) -> Interface {
    destination % INTERFACES
}

/// Where the product does better than the seed, switched on or off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switches {
    pub(super) recovery: bool,
    pub(super) punctual: bool,
    pub(super) drain_reaches_all: bool,
    pub(super) hard_cap: Option<usize>,
    pub(super) scan_resistance: bool,
}

impl Switches {
    pub(super) const SEED: Self = Self {
        recovery: false,
        punctual: false,
        drain_reaches_all: false,
        hard_cap: None,
        scan_resistance: false,
    };
    pub(super) const PRODUCT: Self = Self {
        recovery: true,
        punctual: true,
        drain_reaches_all: true,
        hard_cap: Some(4),
        scan_resistance: true,
    };
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) is_managed: bool,
    is_expiring: bool,
    pub(super) expire: u64,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<Destination, Entry>,
    seen: BTreeMap<Destination, u64>,
    pub(super) timer: u64,
    last_walk: Option<u64>,
    drained_in: Option<u64>,
    quiet_since: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) hz: u64,
    switches: Switches,
    pub(super) tables: Vec<Table>,
    /// Clones that cannot be deleted for now.
    pub(super) stuck: BTreeSet<Destination>,
    pub(super) rtexpire: u64,
    configured: u64,
    rtminexpire: u64,
    rtmaxcache: u64,
    interval: u64,
    last_shrink: Option<u64>,
    last_growth: Option<u64>,
    pressure: Pressure,
}

impl Model {
    pub(super) fn new(
        cpus: usize,
        hz: u64,
        settings: &Settings,
        switches: Switches,
        now: u64,
    ) -> Self {
        let operators = Entry { is_managed: false, is_expiring: false, expire: 0 };
        let table = || Table {
            entries: BTreeMap::from([(STATIC, operators.clone())]),
            timer: now, // S10: first at start
            ..Table::default()
        };
        Self {
            hz,
            switches,
            tables: (0..cpus).map(|_| table()).collect(),
            stuck: BTreeSet::new(),
            rtexpire: settings.rtexpire.0,
            configured: settings.rtexpire.0,
            rtminexpire: settings.rtminexpire.0,
            rtmaxcache: settings.rtmaxcache,
            interval: settings.sweep_interval.0,
            last_shrink: None,
            last_growth: None,
            pressure: Pressure::None,
        }
    }

    /// S1, S7, S8: a reference that is gone again at once.
    pub(super) fn packet(&mut self, cpu: usize, destination: Destination, now: u64) {
        let table = &mut self.tables[cpu];
        if !table.entries.contains_key(&destination) {
            if self.switches.scan_resistance {
                let last = table.seen.insert(destination, now);
                if last.is_none_or(|last| now - last > WINDOW * self.hz) {
                    return;
                }
            }
            let clones = table.entries.values().filter(|entry| entry.is_managed).count();
            if self.switches.hard_cap.is_some_and(|most| clones >= most) {
                return;
            }
            let clone = Entry { is_managed: true, is_expiring: false, expire: 0 };
            table.entries.insert(destination, clone);
        }
        let entry = table.entries.get_mut(&destination).unwrap();
        if entry.is_expiring {
            entry.is_expiring = false;
            entry.expire = 0;
        }
        if entry.is_managed {
            if self.rtexpire == 0 {
                table.entries.remove(&destination);
            } else {
                entry.is_expiring = true;
                entry.expire = now + self.rtexpire * self.hz;
            }
        }
    }

    /// S9 to S12: the timer of a CPU fires.
    pub(super) fn walk(&mut self, cpu: usize, now: u64) {
        let (mut kept, mut nextstop) = self.visit(cpu, false, false, now);
        if kept > self.rtmaxcache && self.shrink(now) {
            // Whatever the second walk leaves: a table that made the timeout shrink was not quiet.
            self.tables[cpu].quiet_since = None;
            (kept, nextstop) = self.visit(cpu, false, true, now);
        }
        let table = &mut self.tables[cpu];
        table.last_walk = Some(now);
        if kept == 0 || 2 * kept < self.rtmaxcache {
            table.quiet_since = table.quiet_since.or(Some(now));
        } else {
            table.quiet_since = None;
        }
        self.recover(now);
        let latest = now + self.longest_wait();
        self.tables[cpu].timer = nextstop.min(latest).max(now + self.hz);
    }

    /// S9. Returns found − killed, and nextstop.
    fn visit(&mut self, cpu: usize, draining: bool, updating: bool, now: u64) -> (u64, u64) {
        let (mut found, mut killed, mut nextstop) = (0, 0, u64::MAX);
        let rtexpire = self.rtexpire * self.hz;
        let stuck = &self.stuck;
        self.tables[cpu].entries.retain(|destination, entry| {
            if !entry.is_expiring {
                return true;
            }
            found += 1;
            if draining || entry.expire <= now {
                if !stuck.contains(destination) {
                    killed += 1;
                    return false;
                }
            } else if updating && entry.expire - now > rtexpire {
                entry.expire = now + rtexpire;
            }
            nextstop = nextstop.min(entry.expire);
            true
        });
        (found - killed, nextstop)
    }

    /// S11.
    fn shrink(&mut self, now: u64) -> bool {
        let too_early = self.last_shrink.is_some_and(|last| now - last < self.interval * self.hz);
        if too_early || self.rtexpire <= self.rtminexpire {
            return false;
        }
        self.rtexpire = (2 * self.rtexpire / 3).max(self.rtminexpire);
        self.last_shrink = Some(now);
        self.clamp(now);
        true
    }

    /// S9, right column: a shrink at `now` counts for the clones of every CPU, and so the timers follow.
    fn clamp(&mut self, now: u64) {
        let latest = now + self.rtexpire * self.hz;
        for table in &mut self.tables {
            for entry in table.entries.values_mut().filter(|entry| entry.is_expiring) {
                entry.expire = entry.expire.min(latest);
            }
            table.timer = table.timer.min(latest.max(now + self.hz));
        }
    }

    fn recover(&mut self, now: u64) {
        let interval = self.interval * self.hz;
        let long_ago = |time: Option<u64>| time.is_none_or(|time| now - time >= interval);
        // What happened after its last walk is not known of any CPU.
        let all_quiet =
            self.tables.iter().all(|table| match (table.quiet_since, table.last_walk) {
                (Some(since), Some(last)) => last - since >= interval,
                _ => false,
            });
        if self.switches.recovery
            && all_quiet
            && self.pressure == Pressure::None
            && long_ago(self.last_shrink)
            && long_ago(self.last_growth)
            && self.rtexpire < self.configured
        {
            let grown = (self.rtexpire * 3 / 2).max(self.rtexpire + 1);
            self.rtexpire = grown.min(self.configured);
            self.last_growth = Some(now);
        }
    }

    fn longest_wait(&self) -> u64 {
        let seconds =
            if self.switches.punctual { self.interval.min(self.rtexpire) } else { self.interval };
        seconds * self.hz
    }

    /// S13, called on a CPU.
    pub(super) fn drain(&mut self, caller: usize, now: u64) {
        if self.switches.drain_reaches_all {
            self.drain_all(now);
        } else {
            self.drain_one(caller, now);
        }
    }

    fn drain_all(&mut self, now: u64) {
        (0..self.tables.len()).for_each(|cpu| self.drain_one(cpu, now));
    }

    fn drain_one(&mut self, cpu: usize, now: u64) {
        let second = now / self.hz;
        if self.tables[cpu].drained_in != Some(second) {
            self.tables[cpu].drained_in = Some(second);
            self.visit(cpu, true, false, now);
        }
    }

    /// S14, S15: what goes through the interface goes from all tables, but what the operator put there.
    pub(super) fn link_down(&mut self, interface: Interface, is_forced: bool, now: u64) {
        if interface == EXEMPT && !is_forced {
            return;
        }
        for table in &mut self.tables {
            table.entries.retain(|destination, entry| {
                !entry.is_managed || interface_of(*destination) != interface
            });
        }
        self.call(now);
    }

    /// Tables are to be walked soon, but a second lies between two walks.
    fn call(&mut self, now: u64) {
        for table in &mut self.tables {
            let soonest = table.last_walk.map_or(now, |last| now.max(last + self.hz));
            table.timer = table.timer.min(soonest);
        }
    }

    /// S16.
    pub(super) fn set(&mut self, setting: Setting, value: u64, now: u64) {
        match setting {
            Setting::RtExpire => {
                let shrinks = value < self.rtexpire;
                (self.rtexpire, self.configured) = (value, value);
                if shrinks {
                    self.clamp(now);
                }
            }
            Setting::RtMinExpire => self.rtminexpire = value,
            Setting::RtMaxCache => self.rtmaxcache = value,
            Setting::SweepInterval => {
                self.interval = value;
                let latest = now + self.longest_wait().max(self.hz);
                for table in &mut self.tables {
                    table.timer = table.timer.min(latest);
                }
            }
        }
    }

    pub(super) fn pressure(&mut self, pressure: Pressure, now: u64) {
        let before = std::mem::replace(&mut self.pressure, pressure);
        if (before, pressure) != (Pressure::None, Pressure::None) {
            self.tables.iter_mut().for_each(|table| table.quiet_since = None);
        }
        match pressure {
            Pressure::None => {}
            Pressure::Sweep => self.call(now),
            Pressure::Shrink => {
                self.shrink(now);
                self.call(now);
            }
            Pressure::Drain => {
                if before != Pressure::Drain {
                    self.shrink(now);
                    self.drain_all(now);
                }
            }
        }
    }
}
