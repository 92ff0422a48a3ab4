//! The timeout that pressure shrinks and quiet lets grow again (S11, S16).
//!
//! Steps are computed in the whole seconds that the operator sees, and turned into jiffies afterwards: computed in
//! jiffies, 1600 s would become 1066.666 s instead of 1066, and the staircase would end elsewhere for each HZ.

use super::{history::History, settings::Seconds};

/// `rtexpire`: as configured, as in force, and as it was.
#[derive(Debug)]
pub(crate) struct Timeout {
    hz: u64,
    configured: Seconds,
    in_force: Seconds,
    history: History,
}

impl Timeout {
    /// In force from the start.
    pub(crate) const fn new(configured: Seconds, hz: u64) -> Self {
        let history = History::new(configured.jiffies(hz));
        Self { hz, configured, in_force: configured, history }
    }

    /// What counts from the next packet on: at most what was configured.
    pub(crate) const fn in_force(&self) -> Seconds {
        self.in_force
    }

    /// When a clone expires if no packet comes (S8, S9).
    pub(crate) fn expiry(&self, last_used: u64) -> u64 {
        self.history.expiry(last_used)
    }

    /// Forgets what is of no consequence any more.
    pub(crate) fn forget(&mut self, now: u64) {
        self.history.forget(now);
    }

    /// S16: the operator's word is in force at once, shrunk before or not.
    pub(crate) fn configure(&mut self, value: Seconds, now: u64) {
        self.configured = value;
        self.put_in_force(value, now);
    }

    /// S11: two thirds, rounded down, but not below the minimum. Whether it shrank.
    pub(crate) fn shrink(&mut self, minimum: Seconds, now: u64) -> bool {
        if self.in_force <= minimum {
            return false;
        }
        // At most 2^33: the settings are bounded by 2^32.
        self.put_in_force(Seconds(2 * self.in_force.0 / 3).max(minimum), now);
        true
    }

    /// Undoes a shrink: half as much again, rounded down, but at least a second more and at most what was configured.
    /// From 10 back to 3600 seconds it takes as many steps as down. Whether it grew.
    pub(crate) fn grow(&mut self, now: u64) -> bool {
        if self.in_force >= self.configured {
            return false;
        }
        let grown = Seconds((self.in_force.0 * 3 / 2).max(self.in_force.0 + 1));
        self.put_in_force(grown.min(self.configured), now);
        true
    }

    fn put_in_force(&mut self, value: Seconds, now: u64) {
        if value != self.in_force {
            self.in_force = value;
            self.history.change(value.jiffies(self.hz), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(mut step: impl FnMut() -> Option<Seconds>) -> Vec<u64> {
        std::iter::from_fn(|| step().map(|value| value.0)).collect()
    }

    #[test]
    fn s11_the_steps_down_are_those_of_the_seed_for_every_hz() {
        for hz in [24, 100, 250, 300, 1000, 1024] {
            let mut timeout = Timeout::new(Seconds(3600), hz);
            let down = steps(|| timeout.shrink(Seconds(10), 0).then(|| timeout.in_force()));
            assert_eq!(
                down,
                [2400, 1600, 1066, 710, 473, 315, 210, 140, 93, 62, 41, 27, 18, 12, 10]
            );
            let up = steps(|| timeout.grow(0).then(|| timeout.in_force()));
            assert_eq!(
                up,
                [15, 22, 33, 49, 73, 109, 163, 244, 366, 549, 823, 1234, 1851, 2776, 3600]
            );
        }
    }

    #[test]
    fn it_grows_again_from_nothing() {
        let mut timeout = Timeout::new(Seconds(3), 1000);
        assert_eq!(steps(|| timeout.shrink(Seconds(0), 0).then(|| timeout.in_force())), [2, 1, 0]);
        assert_eq!(steps(|| timeout.grow(0).then(|| timeout.in_force())), [1, 2, 3]);
    }

    #[test]
    fn s16_the_operators_word_counts_at_once_and_ends_a_shrink() {
        let mut timeout = Timeout::new(Seconds(90), 10);
        assert!(timeout.shrink(Seconds(10), 1000));
        timeout.configure(Seconds(90), 1100);
        assert_eq!((timeout.in_force(), timeout.expiry(1200)), (Seconds(90), 2100));
        timeout.configure(Seconds(5), 1300);
        assert_eq!((timeout.in_force(), timeout.expiry(1200)), (Seconds(5), 1350));
        assert!(!timeout.grow(1300), "it is what was configured");
    }
}
