//! What becomes of a clone, and when to look again: pure functions. All times are in jiffies.

/// Why a clone is removed. The label of `route_cache_clones_expired_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No packet for as long as the timeout.
    Timeout,
    /// Every clone had to go (S13).
    Drain,
    /// The route it was cloned from changed or went away, so that the data plane does not use it any more.
    Route,
    /// The interface it goes through went down or lost its carrier (S14).
    LinkDown,
    /// An address was deleted, or became local (S3, S14).
    Address,
    /// The next hop was lost.
    Neighbour,
    /// The operator said so.
    Flush,
    /// The kernel says else.
    Audit,
}

impl Reason {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Drain,
        Self::Route,
        Self::LinkDown,
        Self::Address,
        Self::Neighbour,
        Self::Flush,
        Self::Audit,
    ];

    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Drain => "drain",
            Self::Route => "route",
            Self::LinkDown => "link_down",
            Self::Address => "address",
            Self::Neighbour => "neighbour",
            Self::Flush => "flush",
            Self::Audit => "audit",
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

/// What a walk came to (S9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Clones seen.
    pub(crate) found: u64,
    /// Clones deleted. One that could not be deleted is not counted.
    pub(crate) killed: u64,
    /// When the first of those that are still there expires; one that could not be deleted has.
    pub(crate) first_expiry: Option<u64>,
}

impl Walk {
    /// Takes the expiry of a clone into account that stays.
    pub(crate) fn note_expiry(&mut self, expiry: u64) {
        self.first_expiry = Some(self.first_expiry.map_or(expiry, |first| first.min(expiry)));
    }

    /// What is left in the table.
    pub(super) const fn kept(&self) -> u64 {
        self.found.saturating_sub(self.killed)
    }
}

/// S9: a clone goes when its expiry is not in the future, S13: or whatever its expiry in a drain. One that the data
/// plane does not use any more (`stale`, and why) goes at once.
pub(super) fn judge(expiry: u64, now: u64, is_draining: bool, stale: Option<Reason>) -> Fate {
    match stale {
        Some(reason) => Fate::Expire(reason),
        None if expiry <= now => Fate::Expire(Reason::Timeout),
        None if is_draining => Fate::Expire(Reason::Drain),
        None => Fate::Keep(expiry),
    }
}

/// S12: the next walk is due when the first clone expires, but in no less than a second and no more than the interval.
pub(super) fn next_walk(first_expiry: Option<u64>, now: u64, second: u64, interval: u64) -> u64 {
    let wait = first_expiry.map_or(interval, |expiry| expiry.saturating_sub(now));
    now.saturating_add(wait.min(interval).max(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_a_clone_expires_when_its_time_has_come_and_not_before() {
        assert_eq!(judge(1100, 1099, false, None), Fate::Keep(1100));
        assert_eq!(judge(1100, 1100, false, None), Fate::Expire(Reason::Timeout));
    }

    #[test]
    fn s13_in_a_drain_a_clone_goes_whatever_its_expiry() {
        assert_eq!(judge(1100, 0, true, None), Fate::Expire(Reason::Drain));
        assert_eq!(judge(1100, 1100, true, None), Fate::Expire(Reason::Timeout));
    }

    #[test]
    fn a_clone_that_is_not_current_goes_for_the_reason_given() {
        for reason in Reason::ALL {
            assert_eq!(judge(1100, 0, false, Some(reason)), Fate::Expire(reason));
            assert_eq!(judge(1100, 1100, true, Some(reason)), Fate::Expire(reason));
        }
    }

    #[test]
    fn s12_the_next_walk_is_due_within_a_second_and_the_interval() {
        assert_eq!(next_walk(None, 50, 250, 150_000), 150_050);
        assert_eq!(next_walk(Some(50), 50, 250, 150_000), 300);
        assert_eq!(next_walk(Some(1050), 50, 250, 150_000), 1050);
        assert_eq!(next_walk(Some(900_050), 50, 250, 150_000), 150_050);
    }

    #[test]
    fn a_clone_used_after_the_walk_began_is_kept() {
        assert_eq!(judge(1101, 100, false, None), Fate::Keep(1101));
        assert_eq!(judge(u64::MAX, 100, false, None), Fate::Keep(u64::MAX));
    }
}
