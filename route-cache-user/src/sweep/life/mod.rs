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

mod adjust;

pub(crate) use self::adjust::Adjustment;
use super::{
    cpu::{Cpu, Purpose, WalkTicket},
    policy::{self, Fate, Reason, Walk},
    pressure::Pressure,
    settings::{Seconds, Settings},
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
    #[expect(clippy::needless_pass_by_value, reason = "the ticket is given back")]
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
    #[expect(clippy::needless_pass_by_value, reason = "the ticket is given back")]
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
