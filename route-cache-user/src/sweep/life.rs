//! The life of the clones of all CPUs: who walks when, what expires, how the timeout follows the pressure.
//!
//! ```text
//!            due, called                    begin_walk ─► judge each clone ─► end_walk
//!   Idle ────────────────► Walking ──┐                                         │ more left than rtmaxcache:
//!    ▲  └─ drain ────────► Draining ─┤                                         │ shrink, walk again (S11)
//!    └── end_walk, break_off ────────┘                                         └ else next walk (S12)
//! ```
//!
//! No I/O and no clock: times are arguments, in jiffies. It does not know the address family either.

use super::{
    cpu::{Cpu, Purpose, WalkTicket},
    policy::{self, Fate, Reason, Walk},
    pressure::Pressure,
    settings::{OutOfRange, Seconds, Setting, Settings},
    timeout::Timeout,
};

/// Where the product does better than the seed. Tests switch it off, to hold the seed's own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Better {
    /// The timeout grows back when the pressure has gone.
    pub(crate) recovery: bool,
    /// The next walk is due within a timeout, so that a clone made after this walk expires at its second: else it waits
    /// for the sweep interval, which may be longer.
    pub(crate) punctual: bool,
}

impl Better {
    /// The product.
    pub(crate) const ALL: Self = Self { recovery: true, punctual: true };
}

/// A change of the timeout in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adjustment {
    /// Before.
    pub(crate) from: Seconds,
    /// After.
    pub(crate) to: Seconds,
}

/// What follows a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// When to walk again.
    pub(crate) at: u64,
    /// Whether it is the second walk of S11, which is due at once.
    pub(crate) updating: bool,
    /// Whether the timeout shrank or grew.
    pub(crate) adjusted: Option<Adjustment>,
}

/// What came of a word about pressure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Relief {
    /// Whether the timeout shrank.
    pub(crate) adjusted: Option<Adjustment>,
    /// The CPUs whose tables are to be drained.
    pub(crate) drained: Vec<usize>,
}

/// The policy, for all CPUs.
#[derive(Debug)]
pub(crate) struct Life {
    hz: u64,
    better: Better,
    settings: Settings,
    timeout: Timeout,
    cpus: Vec<Cpu>,
    last_shrink: Option<u64>,
    last_growth: Option<u64>,
    pressure: Pressure,
}

impl Life {
    /// A table for each CPU, whose first walk is due at once (S10).
    pub(crate) fn new(cpus: usize, hz: u64, settings: Settings, better: Better, now: u64) -> Self {
        Self {
            hz,
            better,
            settings,
            timeout: Timeout::new(settings.rtexpire, hz),
            cpus: (0..cpus).map(|_| Cpu::new(now)).collect(),
            last_shrink: None,
            last_growth: None,
            pressure: Pressure::None,
        }
    }

    /// The settings as the operator made them.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// `rtexpire` in force, which pressure may have shrunk.
    pub(crate) const fn rtexpire(&self) -> Seconds {
        self.timeout.in_force()
    }

    /// When a clone expires if no packet comes (S8, S9).
    pub(crate) fn expiry(&self, last_used: u64) -> u64 {
        self.timeout.expiry(last_used)
    }

    /// When to begin the next walk or drain of a CPU's table. None while one is under way.
    pub(crate) fn wake(&self, cpu: usize) -> Option<u64> {
        self.cpus.get(cpu)?.wake()
    }

    /// Begins what is due for a CPU, if anything is. None as well while its table is still walked (S19).
    pub(crate) fn begin_walk(&mut self, cpu: usize, now: u64) -> Option<WalkTicket> {
        self.timeout.forget(now);
        let purpose = self.cpus.get_mut(cpu)?.begin(now)?;
        Some(WalkTicket { cpu, purpose })
    }

    /// What becomes of a clone on a walk. `stale` says why the data plane does not use it any more, if so.
    pub(crate) fn judge(
        &self,
        purpose: Purpose,
        last_used: u64,
        stale: Option<Reason>,
        now: u64,
    ) -> Fate {
        policy::judge(self.expiry(last_used), now, purpose == Purpose::Drain, stale)
    }

    /// Takes in what a walk came to.
    pub(crate) fn end_walk(&mut self, ticket: WalkTicket, walk: Walk, now: u64) -> Next {
        let WalkTicket { cpu, purpose } = ticket;
        if purpose == Purpose::Drain {
            let at = self.cpus.get_mut(cpu).and_then(|cpu| {
                cpu.end_drain();
                cpu.wake()
            });
            return Next { at: at.unwrap_or(now), updating: false, adjusted: None };
        }
        self.note_quiet(cpu, walk.kept(), now);
        // The second walk of S11 is not judged again, or one flood would shrink the timeout as long as it finds more.
        if purpose == Purpose::Due
            && walk.kept() > self.settings.rtmaxcache
            && let Some(adjustment) = self.shrink(now)
        {
            if let Some(cpu) = self.cpus.get_mut(cpu) {
                cpu.end_walk_and_update(now);
            }
            return Next { at: now, updating: true, adjusted: Some(adjustment) };
        }
        let adjusted = self.recover(now);
        let next = policy::next_walk(walk.first_expiry, now, self.second(), self.longest_wait());
        let second = self.second();
        let at = self.cpus.get_mut(cpu).and_then(|cpu| {
            cpu.end_walk(next, now, second);
            cpu.wake()
        });
        Next { at: at.unwrap_or(next), updating: false, adjusted }
    }

    /// Takes back the ticket of a walk that broke off. It is due again in a second.
    pub(crate) fn break_off(&mut self, ticket: WalkTicket, now: u64) {
        let second = self.second();
        if let Some(cpu) = self.cpus.get_mut(ticket.cpu) {
            cpu.break_off(ticket.purpose, now, second);
        }
    }

    /// Walks the table of a CPU as soon as it may: there is something to clean up.
    pub(crate) fn call(&mut self, cpu: usize, now: u64) {
        let second = self.second();
        if let Some(cpu) = self.cpus.get_mut(cpu) {
            cpu.call(now, second);
        }
    }

    /// S13: drains the tables of all CPUs. Returns those that are not skipped.
    pub(crate) fn drain(&mut self, now: u64) -> Vec<usize> {
        (0..self.cpus.len()).filter(|&cpu| self.drain_cpu(cpu, now)).collect()
    }

    /// S13 for the table of one CPU. Whether it is not skipped.
    pub(crate) fn drain_cpu(&mut self, cpu: usize, now: u64) -> bool {
        let second = self.second();
        self.cpus.get_mut(cpu).is_some_and(|cpu| cpu.drain(now, second))
    }

    /// S16: sets a value, at once.
    ///
    /// # Errors
    ///
    /// The setting does not take it; nothing has changed.
    pub(crate) fn set(&mut self, setting: Setting, value: u64, now: u64) -> Result<(), OutOfRange> {
        setting.check(value)?;
        match setting {
            Setting::RtExpire => {
                let before = self.timeout.in_force();
                self.settings.rtexpire = Seconds(value);
                self.timeout.configure(Seconds(value), now);
                if self.timeout.in_force() < before {
                    self.call_for_the_clamped(now);
                }
            }
            Setting::RtMinExpire => self.settings.rtminexpire = Seconds(value),
            Setting::RtMaxCache => self.settings.rtmaxcache = value,
            Setting::SweepInterval => {
                self.settings.sweep_interval = Seconds(value);
                let latest = now.saturating_add(self.longest_wait());
                self.cpus.iter_mut().for_each(|cpu| cpu.call_by(latest));
            }
        }
        Ok(())
    }

    /// Does what the pressure calls for. A drain only when it begins: it is not repeated as long as the pressure lasts.
    pub(crate) fn note_pressure(&mut self, pressure: Pressure, now: u64) -> Relief {
        let before = std::mem::replace(&mut self.pressure, pressure);
        if pressure != Pressure::None || before != Pressure::None {
            self.cpus.iter_mut().for_each(|cpu| cpu.note_quiet(false, now));
        }
        match pressure {
            Pressure::None => Relief::default(),
            Pressure::Sweep => {
                self.call_all(now);
                Relief::default()
            }
            Pressure::Shrink => {
                let adjusted = self.shrink(now);
                self.call_all(now);
                Relief { adjusted, drained: Vec::new() }
            }
            Pressure::Drain if before == Pressure::Drain => Relief::default(),
            Pressure::Drain => Relief { adjusted: self.shrink(now), drained: self.drain(now) },
        }
    }

    fn call_all(&mut self, now: u64) {
        (0..self.cpus.len()).for_each(|cpu| self.call(cpu, now));
    }

    /// S11: shrinks the timeout, if the last shrink by any CPU is at least a sweep interval ago.
    fn shrink(&mut self, now: u64) -> Option<Adjustment> {
        let from = self.timeout.in_force();
        let is_early = |last| now.saturating_sub(last) < self.interval();
        if self.last_shrink.is_some_and(is_early)
            || !self.timeout.shrink(self.settings.rtminexpire, now)
        {
            return None;
        }
        self.last_shrink = Some(now);
        self.call_for_the_clamped(now);
        Some(Adjustment { from, to: self.timeout.in_force() })
    }

    /// Takes in what one CPU's walk left: little is less than half of `rtmaxcache`, or nothing.
    fn note_quiet(&mut self, cpu: usize, kept: u64, now: u64) {
        let is_little = kept == 0 || kept.saturating_mul(2) < self.settings.rtmaxcache;
        if let Some(cpu) = self.cpus.get_mut(cpu) {
            cpu.note_quiet(is_little, now);
        }
    }

    /// One step back to the configured timeout, when every CPU has been quiet for a whole sweep interval, and the last
    /// step in either direction is one ago.
    fn recover(&mut self, now: u64) -> Option<Adjustment> {
        let from = self.timeout.in_force();
        let is_an_interval_ago = |time: u64| now.saturating_sub(time) >= self.interval();
        let is_quiet = self.pressure == Pressure::None
            && self
                .cpus
                .iter()
                .all(|cpu| cpu.quiet_for().is_some_and(|time| time >= self.interval()))
            && self.last_shrink.is_none_or(is_an_interval_ago)
            && self.last_growth.is_none_or(is_an_interval_ago);
        if !self.better.recovery || !is_quiet || !self.timeout.grow(now) {
            return None;
        }
        self.last_growth = Some(now);
        Some(Adjustment { from, to: self.timeout.in_force() })
    }

    /// After the timeout shrank, every clone so far expires within it: the timer of no CPU may be later (S9, S12).
    fn call_for_the_clamped(&mut self, now: u64) {
        let wait = self.timeout.in_force().jiffies(self.hz).max(self.second());
        self.cpus.iter_mut().for_each(|cpu| cpu.call_by(now.saturating_add(wait)));
    }

    /// The longest that a table goes without a walk (S10), and no less than a second (S12).
    fn longest_wait(&self) -> u64 {
        if self.better.punctual {
            self.interval().min(self.timeout.in_force().jiffies(self.hz)).max(self.second())
        } else {
            self.interval()
        }
    }

    const fn interval(&self) -> u64 {
        self.settings.sweep_interval.jiffies(self.hz)
    }

    const fn second(&self) -> u64 {
        self.hz
    }
}
