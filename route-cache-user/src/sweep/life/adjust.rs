//! What changes the timeout: the operator, pressure, a full table, and quiet.

use super::Life;
use crate::sweep::{
    pressure::Pressure,
    settings::{OutOfRange, Seconds, Setting},
};

/// A change of the timeout in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adjustment {
    /// Before.
    pub(crate) from: Seconds,
    /// After.
    pub(crate) to: Seconds,
}

/// What came of a word about pressure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Relief {
    /// Whether the timeout shrank.
    pub(crate) adjusted: Option<Adjustment>,
    /// The CPUs whose tables are to be drained.
    pub(crate) drained: Vec<usize>,
}

impl Life {
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

    /// S11: shrinks the timeout, if the last shrink by any CPU is at least a sweep interval ago.
    pub(super) fn shrink(&mut self, now: u64) -> Option<Adjustment> {
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
    pub(super) fn note_quiet(&mut self, cpu: usize, kept: u64, now: u64) {
        let is_little = kept == 0 || kept.saturating_mul(2) < self.settings.rtmaxcache;
        if let Some(cpu) = self.cpus.get_mut(cpu) {
            cpu.note_quiet(is_little, now);
        }
    }

    /// One step back to the configured timeout, when every CPU has been quiet for a whole sweep interval, and the last
    /// step in either direction is one ago.
    pub(super) fn recover(&mut self, now: u64) -> Option<Adjustment> {
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

    fn call_all(&mut self, now: u64) {
        (0..self.cpus.len()).for_each(|cpu| self.call(cpu, now));
    }
}
