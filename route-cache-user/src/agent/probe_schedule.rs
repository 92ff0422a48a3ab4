//! When a probe frame is sent to which interface. Pure: told the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::fib::message::Ifindex;

/// An interface that takes frames is asked again after so long: what changes behind it, as at a veth's peer, is not told.
const AGAIN: Duration = Duration::from_secs(10);

/// One that does not, after so long, doubled while it goes on.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// Probe frames of a second, to all interfaces together.
const MOST: usize = 64;

/// The interfaces, and when each is asked.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    turns: BTreeMap<Ifindex, Turn>,
    /// The second that is under way, and the frames sent in it.
    second: Option<(Instant, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    /// When; nothing for at once.
    due: Option<Instant>,
    back_off: Duration,
}

impl Schedule {
    /// Which of the candidates to ask now: at once those of whom there is no answer. Those who are no candidates are forgotten.
    pub(super) fn due(
        &mut self,
        now: Instant,
        candidates: &BTreeSet<Ifindex>,
        has_answered: impl Fn(Ifindex) -> bool,
    ) -> Vec<Ifindex> {
        self.turns.retain(|ifindex, _| candidates.contains(ifindex));
        for ifindex in candidates {
            if !self.turns.contains_key(ifindex) || !has_answered(*ifindex) {
                self.hurry(*ifindex);
            }
        }
        let mut due: Vec<_> = self
            .turns
            .iter()
            .filter(|(_, turn)| turn.due.is_none_or(|due| due <= now))
            .map(|(ifindex, turn)| (turn.due, *ifindex))
            .collect();
        // Who waits longest comes first, and before all who is asked at once.
        due.sort_unstable();
        let sent = match self.second {
            Some((began, sent)) if now.duration_since(began) < Duration::from_secs(1) => sent,
            Some(_) | None => {
                self.second = Some((now, 0));
                0
            }
        };
        due.truncate(MOST - sent.min(MOST));
        self.second = self.second.map(|(began, sent)| (began, sent + due.len()));
        due.into_iter().map(|(_, ifindex)| ifindex).collect()
    }

    /// An interface has answered.
    pub(super) fn answered(&mut self, ifindex: Ifindex, now: Instant, is_taken: bool) {
        if let Some(turn) = self.turns.get_mut(&ifindex) {
            *turn = if is_taken {
                Turn { due: Some(now + AGAIN), back_off: FIRST_BACK_OFF }
            } else {
                let back_off = (turn.back_off * 2).min(LONGEST_BACK_OFF);
                Turn { due: Some(now + turn.back_off), back_off }
            };
        }
    }

    /// An interface is to be asked at once.
    pub(super) fn hurry(&mut self, ifindex: Ifindex) {
        self.turns.insert(ifindex, Turn { due: None, back_off: FIRST_BACK_OFF });
    }

    /// Whether one is.
    pub(super) fn is_hurried(&self) -> bool {
        self.turns.values().any(|turn| turn.due.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Ifindex = 7;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Asks every second for so long; gives the seconds in which `X` was asked, each answered like this.
    fn asked(schedule: &mut Schedule, from: Instant, count: u64, is_taken: bool) -> Vec<u64> {
        (0..count)
            .filter(|second| {
                let now = from + seconds(*second);
                let due = schedule.due(now, &[X].into(), |_| true);
                due.iter().for_each(|ifindex| schedule.answered(*ifindex, now, is_taken));
                !due.is_empty()
            })
            .collect()
    }

    #[test]
    fn row_37_one_that_takes_frames_is_asked_every_ten_seconds() {
        let (mut schedule, begin) = (Schedule::default(), Instant::now());
        assert_eq!(asked(&mut schedule, begin, 35, true), [0, 10, 20, 30]);
    }

    #[test]
    fn row_37_one_that_does_not_is_asked_ever_more_seldom_and_at_once_when_it_changes() {
        let (mut schedule, begin) = (Schedule::default(), Instant::now());
        let refused = asked(&mut schedule, begin, 250, false);
        assert_eq!(refused, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert!(!schedule.is_hurried());
        schedule.hurry(X);
        assert!(schedule.is_hurried());
        assert_eq!(asked(&mut schedule, begin + seconds(250), 4, false), [0, 1, 3]);
        // One that was no candidate meanwhile is another now.
        assert_eq!(schedule.due(begin + seconds(254), &[].into(), |_| true), [0; 0]);
        assert_eq!(asked(&mut schedule, begin + seconds(255), 2, true), [0]);
    }

    #[test]
    fn row_37_one_whose_answer_was_forgotten_is_asked_at_once() {
        let (mut schedule, begin) = (Schedule::default(), Instant::now());
        assert_eq!(asked(&mut schedule, begin, 2, false), [0, 1]);
        assert_eq!(schedule.due(begin + seconds(2), &[X].into(), |_| true), [0; 0]);
        assert_eq!(schedule.due(begin + seconds(2), &[X].into(), |_| false), [X]);
        assert!(schedule.is_hurried());
    }

    #[test]
    fn row_37_many_interfaces_take_turns() {
        let (mut schedule, begin) = (Schedule::default(), Instant::now());
        let many: BTreeSet<Ifindex> = (1..=100).collect();
        let mut asked = BTreeSet::new();
        let mut count = 0;
        for tenth in 0..20 {
            let now = begin + Duration::from_millis(100) * tenth;
            let due = schedule.due(now, &many, |_| true);
            assert!(count + due.len() <= MOST * (1 + tenth as usize / 10), "{tenth}: {due:?}");
            due.iter().for_each(|ifindex| schedule.answered(*ifindex, now, true));
            count += due.len();
            asked.extend(due);
        }
        assert_eq!((count, asked), (many.len(), many), "each was asked once");
    }
}
