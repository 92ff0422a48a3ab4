//! How long an answer to what XDP would bypass may take: while a poll hangs, as behind somebody who holds RTNL, what was
//! found before is believed no longer than this. Pure.

use std::time::{Duration, Instant};

use super::event_loop::STALL;

/// The answer to a change that was heard takes no longer.
pub(super) const RING: Duration = Duration::from_secs(1);

/// What was asked for, and since when it is waited for.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The first change heard that nobody has asked about yet.
    rung: Option<Instant>,
    /// The first change heard that the poll under way will tell of.
    asked_for: Option<Instant>,
    /// When the poll under way began.
    began: Option<Instant>,
    is_late: bool,
}

impl Asking {
    /// A change was heard.
    pub(super) fn ring(&mut self, now: Instant) {
        self.rung.get_or_insert(now);
    }

    /// A poll begins: it tells of all changes that were heard.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
        self.asked_for = self.rung.take();
    }

    /// The poll has answered. Whether its answer may be believed: not if what was heard since it began is late as well.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        (self.began, self.asked_for) = (None, None);
        self.is_late = self.rung.is_some_and(|rung| now >= rung + RING);
        !self.is_late
    }

    /// The poll under way is given up.
    pub(super) fn give_up(&mut self) {
        (self.began, self.asked_for) = (None, None);
    }

    /// A change was heard that the poll under way does not tell of.
    pub(super) const fn has_rung(&self) -> bool {
        self.rung.is_some()
    }

    /// When what was found before is no longer to be believed; nothing if it is not believed already.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let rings = self.asked_for.or(self.rung).map(|rung| rung + RING);
        let stalls = self.began.map(|began| began + STALL);
        rings.into_iter().chain(stalls).min().filter(|_| !self.is_late)
    }

    /// What was found before is not believed any more.
    pub(super) fn set_late(&mut self) {
        self.is_late = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_40_a_poll_is_waited_for_a_second_after_a_change_and_else_as_long_as_an_agent_may_stand_still()
     {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut asking = Asking::default();
        assert_eq!(asking.deadline(), None);
        asking.begin(at(0));
        assert_eq!(asking.deadline(), Some(at(0) + STALL));
        assert!(asking.answered(at(1)) && asking.deadline().is_none());

        // It began before the change, and hangs: the answer that counts is the next one.
        asking.begin(at(2));
        asking.ring(at(4));
        asking.ring(at(5));
        assert_eq!(asking.deadline(), Some(at(14)));
        assert!(asking.answered(at(6)), "the change is not late yet");
        assert!(asking.has_rung());
        asking.begin(at(6));
        assert!(!asking.has_rung());
        assert_eq!(asking.deadline(), Some(at(14)), "asked anew, the change is no younger");
        asking.set_late();
        assert_eq!(asking.deadline(), None, "it is said once");
        asking.ring(at(20));
        assert!(!asking.answered(at(30)), "by now the second change is late as well");
        asking.begin(at(30));
        assert_eq!(asking.deadline(), None);
        assert!(asking.answered(at(31)) && asking.deadline().is_none());
    }
}
