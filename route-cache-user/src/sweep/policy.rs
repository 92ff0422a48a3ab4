//! When a clone expires: pure functions of the clone, the time and the timeout. All times are in jiffies.

use route_cache_common::Clone4;

/// Why a clone is removed. The label of `route_cache_clones_expired_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No packet for as long as the timeout.
    Timeout,
    /// The route it was cloned from changed or went away, so that the data plane does not use it any more.
    Route,
}

impl Reason {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Self; 2] = [Self::Timeout, Self::Route];

    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Route => "route",
        }
    }
}

/// What becomes of a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays, and expires at this time if no packet comes.
    Keep(u64),
    /// It goes.
    Expire(Reason),
}

/// When a clone expires if no packet comes (S8: the expiry counts from the last packet).
pub(crate) const fn expiry(clone: &Clone4, timeout: u64) -> u64 {
    clone.last_used.saturating_add(timeout)
}

/// S9: a clone goes when its expiry is not in the future. One that the data plane does not use any more goes at once.
pub(crate) const fn judge(clone: &Clone4, now: u64, timeout: u64, is_current: bool) -> Fate {
    let expiry = expiry(clone, timeout);
    if !is_current {
        Fate::Expire(Reason::Route)
    } else if expiry <= now {
        Fate::Expire(Reason::Timeout)
    } else {
        Fate::Keep(expiry)
    }
}

/// S12: the next walk is due when the first clone expires, but in no less than a second and no more than the interval.
pub(crate) fn until_next_walk(first_expiry: Option<u64>, now: u64, second: u64, interval: u64) -> u64 {
    let due = first_expiry.map_or(interval, |expiry| expiry.saturating_sub(now));
    due.min(interval).max(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used_at(last_used: u64) -> Clone4 {
        Clone4 { last_used, ..Clone4::new([0; 4], 0, 0) }
    }

    #[test]
    fn s9_a_clone_expires_when_its_time_has_come_and_not_before() {
        assert_eq!(judge(&used_at(100), 1099, 1000, true), Fate::Keep(1100));
        assert_eq!(judge(&used_at(100), 1100, 1000, true), Fate::Expire(Reason::Timeout));
    }

    #[test]
    fn s7_a_packet_revives_an_idle_clone() {
        let mut clone = used_at(100);
        clone.touch(1099, 60);
        assert_eq!(judge(&clone, 1100, 1000, true), Fate::Keep(2099));
    }

    #[test]
    fn s8_a_timeout_of_zero_keeps_nothing() {
        assert_eq!(judge(&used_at(100), 100, 0, true), Fate::Expire(Reason::Timeout));
    }

    #[test]
    fn a_clone_of_a_route_that_changed_goes_whatever_its_expiry() {
        assert_eq!(judge(&used_at(100), 100, 1000, false), Fate::Expire(Reason::Route));
    }

    #[test]
    fn s12_the_next_walk_is_due_within_a_second_and_the_interval() {
        assert_eq!(until_next_walk(None, 50, 250, 150_000), 150_000);
        assert_eq!(until_next_walk(Some(50), 50, 250, 150_000), 250);
        assert_eq!(until_next_walk(Some(1050), 50, 250, 150_000), 1000);
        assert_eq!(until_next_walk(Some(900_050), 50, 250, 150_000), 150_000);
    }

    #[test]
    fn a_clone_used_after_the_walk_began_is_kept() {
        assert_eq!(judge(&used_at(101), 100, 1000, true), Fate::Keep(1101));
        assert_eq!(judge(&used_at(u64::MAX), 100, 1000, true), Fate::Keep(u64::MAX));
    }
}
