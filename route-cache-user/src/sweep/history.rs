//! When a clone expires, given all the timeouts there have been (S9). All times are in jiffies.
//!
//! ```text
//!  timeout   period       period       now
//!   in force ├── 3600 ──┬── 2400 ──┬── 3600 ──►        a clone last used at u in a period of timeout T, with
//!                     shrink     raise                 shrinks to r at t behind it, expires at min(u + T, t + r, …)
//!                     to 2400
//! ```
//!
//! A period keeps the least `t + r` of the shrinks behind it, so that a lookup never walks over them: none at all for a
//! clone used since the last change, a binary search for others.

use std::collections::VecDeque;

/// Most past periods that are remembered.
///
/// Pressure alone stays below it: at most one change a sweep interval, and each is forgotten a timeout later. An
/// operator's script could exceed it; then the two oldest periods become one, whose clones may expire early, none late.
const MOST: usize = 4096;

/// The timeout in force, and those before it as far as they matter.
#[derive(Debug)]
pub(crate) struct History {
    since: u64,
    timeout: u64,
    /// Oldest first; a period ends where the next begins. The clamps rise from old to new.
    past: VecDeque<Period>,
}

#[derive(Debug)]
struct Period {
    since: u64,
    timeout: u64,
    /// The least `t + r` of the shrinks since its end.
    clamp: u64,
}

impl Period {
    /// Whether all its clones expire at the clamp, whenever they were used.
    const fn is_flat(&self) -> bool {
        self.since.saturating_add(self.timeout) >= self.clamp
    }
}

impl History {
    /// A timeout that has always been in force.
    pub(crate) const fn new(timeout: u64) -> Self {
        Self { since: 0, timeout, past: VecDeque::new() }
    }

    /// When a clone expires if no packet comes. Of one that expired so long ago that its period is forgotten, only that
    /// it has: the time of its last packet.
    pub(crate) fn expiry(&self, last_used: u64) -> u64 {
        if last_used >= self.since {
            return last_used.saturating_add(self.timeout);
        }
        let later = self.past.partition_point(|period| period.since <= last_used);
        match later.checked_sub(1).and_then(|index| self.past.get(index)) {
            Some(period) => last_used.saturating_add(period.timeout).min(period.clamp),
            None => last_used,
        }
    }

    /// Puts another timeout in force. A packet in this same jiffy counts as after it: the order is not known, and for
    /// a shrink it makes no difference.
    pub(crate) fn change(&mut self, timeout: u64, now: u64) {
        let now = now.max(self.since);
        if now > self.since {
            let (since, timeout) = (self.since, self.timeout);
            self.past.push_back(Period { since, timeout, clamp: u64::MAX });
        }
        if timeout < self.timeout {
            self.clamp(now.saturating_add(timeout));
        }
        (self.since, self.timeout) = (now, timeout);
        self.forget(now);
        self.merge_oldest();
    }

    /// Forgets the periods all of whose clones have expired. That is exact: the last that could be used in a period
    /// was so before the next began, which bounds their expiry; once that is past, the answer "expired" is all that
    /// was ever to be had of them. As every period passes within its timeout of its end, they do not add up.
    pub(crate) fn forget(&mut self, now: u64) {
        while let Some(oldest) = self.past.front() {
            let end = self.past.get(1).map_or(self.since, |next| next.since);
            let last_expiry = (end - 1).saturating_add(oldest.timeout).min(oldest.clamp);
            if last_expiry > now {
                break;
            }
            self.past.pop_front();
        }
    }

    /// How many past periods are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.past.len()
    }

    /// No clone used so far expires later than this. Flat neighbours with the same clamp become one, which is exact:
    /// both say the clamp, whatever the time.
    fn clamp(&mut self, clamp: u64) {
        for period in self.past.iter_mut().rev().take_while(|period| period.clamp > clamp) {
            period.clamp = clamp;
        }
        while let Some([older, newer]) = last_two(&self.past) {
            if !(older.is_flat() && newer.is_flat() && older.clamp == newer.clamp) {
                break;
            }
            let timeout = older.timeout.max(newer.timeout);
            self.past.pop_back();
            if let Some(older) = self.past.back_mut() {
                older.timeout = timeout;
            }
        }
    }

    fn merge_oldest(&mut self) {
        if self.past.len() > MOST
            && let Some(oldest) = self.past.pop_front()
            && let Some(next) = self.past.front_mut()
        {
            next.since = oldest.since;
            next.timeout = next.timeout.min(oldest.timeout);
            next.clamp = next.clamp.min(oldest.clamp);
        }
    }
}

fn last_two(past: &VecDeque<Period>) -> Option<[&Period; 2]> {
    let newer = past.len().checked_sub(1)?;
    Some([past.get(newer.checked_sub(1)?)?, past.get(newer)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_a_shrink_clamps_what_was_given_before_it_and_only_that() {
        let mut history = History::new(1000);
        history.change(100, 500);
        assert_eq!(history.expiry(0), 600, "the clamp");
        assert_eq!(history.expiry(499), 600, "the clamp");
        assert_eq!(history.expiry(500), 600, "given after it");
        assert_eq!(history.expiry(550), 650, "given after it");
    }

    #[test]
    fn s9_a_clamp_does_not_lengthen() {
        let mut history = History::new(1000);
        history.change(900, 500);
        assert_eq!(history.expiry(100), 1100);
        assert_eq!(history.expiry(450), 1400);
    }

    #[test]
    fn s9_raising_does_not_lengthen_what_was_given() {
        let mut history = History::new(100);
        history.change(1000, 50);
        assert_eq!(history.expiry(49), 149);
        assert_eq!(history.expiry(50), 1050);
        history.change(100, 60);
        history.change(1000, 60);
        assert_eq!(
            history.expiry(55),
            160,
            "shrunk and raised in one jiffy is shrunk for those before"
        );
    }

    #[test]
    fn s9_the_earliest_of_several_clamps_counts() {
        let mut history = History::new(1000);
        history.change(100, 500);
        history.change(2000, 510);
        history.change(300, 520);
        assert_eq!(history.expiry(400), 600);
        assert_eq!(history.expiry(515), 820);
    }

    #[test]
    fn what_is_forgotten_has_expired() {
        let mut history = History::new(100);
        history.change(50, 1000);
        assert_eq!(history.len(), 1);
        history.forget(1049);
        assert_eq!((history.len(), history.expiry(999)), (1, 1050));
        history.forget(1050);
        assert_eq!((history.len(), history.expiry(999)), (0, 999));
    }

    #[test]
    fn a_staircase_of_shrinks_is_one_period() {
        let mut history = History::new(3_600_000);
        for step in 1..1000 {
            history.change(3_600_000 - step * 3000, step * 1000);
        }
        assert_eq!(history.len(), 1);
    }

    #[test]
    fn a_script_that_changes_it_all_the_time_fills_no_memory_and_keeps_nothing_too_long() {
        let (mut history, mut exact) = (History::new(10_000_000), History::new(10_000_000));
        for step in 1..20_000 {
            let timeout = 10_000_000 - step % 2 * 10;
            history.change(timeout, step * 20);
            if step < 4000 {
                exact.change(timeout, step * 20);
            }
        }
        assert_eq!(history.len(), MOST);
        for last_used in (0..80_000).step_by(7) {
            assert!(history.expiry(last_used) <= exact.expiry(last_used));
        }
    }
}
