//! When an egress whose redirects fail is taken out of use, and when it is tried again. Pure: told the time.
//!
//! ```text
//! closed ── bad for two seconds ──► open ── back-off over ──► trial ── clean as long ──► closed
//!                                    ▲──── bad for one second ──┘        back-off: 10 s, doubled up to 5 min
//! ```

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::fib::message::Ifindex;

/// Failures a second from which on a second is bad.
const BAD: f64 = 10.0;

/// Bad seconds in a row that take an interface out of use.
const PATIENCE: u32 = 2;

/// Of all that is forwarded, how much has to be dropped without an error. A full queue drops some whoever fills it, the
/// kernel too; only where hardly anything gets through the kernel may do better.
const MOST: f64 = 0.9;

const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(5);

/// What became of the redirects to an interface, as packets a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// Failed with an error: nothing gets through.
    pub(super) failed: f64,
    /// Not taken, without an error.
    pub(super) dropped: f64,
    /// Redirects in all, to any interface.
    pub(super) forwarded: f64,
}

impl Rates {
    fn are_bad(&self) -> bool {
        self.failed >= BAD || self.dropped >= BAD && self.dropped >= MOST * self.forwarded
    }
}

/// What is to be done with an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Take it out of use, for so long.
    Open(Duration),
    /// Use it again, and see.
    Try,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { bad: u32 },
    Open { until: Instant },
    Trial { until: Instant },
}

#[derive(Debug, Clone, Copy)]
struct Circuit {
    state: State,
    back_off: Duration,
}

/// The interfaces that had failures.
#[derive(Debug, Default)]
pub(super) struct Breaker(BTreeMap<Ifindex, Circuit>);

impl Breaker {
    /// Judges the last second. `rates` has the interfaces with failures in it.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        rates: &BTreeMap<Ifindex, Rates>,
    ) -> Vec<(Ifindex, Step)> {
        for (ifindex, _) in rates.iter().filter(|(_, rates)| rates.are_bad()) {
            let fresh = Circuit { state: State::Closed { bad: 0 }, back_off: FIRST_BACK_OFF };
            self.0.entry(*ifindex).or_insert(fresh);
        }
        let mut steps = Vec::new();
        self.0.retain(|ifindex, circuit| {
            let is_bad = rates.get(ifindex).is_some_and(Rates::are_bad);
            let (next, step) = circuit.next(now, is_bad);
            steps.extend(step.map(|step| (*ifindex, step)));
            match next {
                Some(next) => *circuit = next,
                None => return false,
            }
            true
        });
        steps
    }

    /// Whether an interface is out of use.
    #[cfg(test)]
    fn is_open(&self, ifindex: Ifindex) -> bool {
        self.0.get(&ifindex).is_some_and(|circuit| matches!(circuit.state, State::Open { .. }))
    }

    /// The interface is another now, or gone.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.0.remove(&ifindex);
    }
}

impl Circuit {
    /// What it is after a second; nothing if it is as if nothing had happened.
    fn next(self, now: Instant, is_bad: bool) -> (Option<Self>, Option<Step>) {
        let Self { state, back_off } = self;
        let open = |back_off| {
            let state = State::Open { until: now + back_off };
            (Some(Self { state, back_off }), Some(Step::Open(back_off)))
        };
        match state {
            State::Closed { bad } if is_bad && bad + 1 >= PATIENCE => open(back_off),
            State::Closed { bad } if is_bad => {
                (Some(Self { state: State::Closed { bad: bad + 1 }, back_off }), None)
            }
            State::Closed { .. } => (None, None),
            State::Open { until } if now < until => (Some(self), None),
            State::Open { .. } => {
                let state = State::Trial { until: now + back_off };
                (Some(Self { state, back_off }), Some(Step::Try))
            }
            State::Trial { .. } if is_bad => open((back_off * 2).min(LONGEST_BACK_OFF)),
            State::Trial { until } if now < until => (Some(self), None),
            State::Trial { .. } => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Ifindex = 7;

    struct Story {
        breaker: Breaker,
        now: Instant,
    }

    impl Story {
        fn begin() -> Self {
            Self { breaker: Breaker::default(), now: Instant::now() }
        }

        fn second(&mut self, rates: Rates) -> Option<Step> {
            self.now += Duration::from_secs(1);
            let rates = BTreeMap::from([(X, rates)]);
            let steps = self.breaker.judge(self.now, &rates);
            assert!(steps.len() <= 1 && steps.iter().all(|(ifindex, _)| *ifindex == X));
            steps.first().map(|(_, step)| *step)
        }

        fn quiet(&mut self, seconds: u32) -> Vec<Step> {
            (0..seconds).filter_map(|_| self.second(Rates::default())).collect()
        }
    }

    fn failing(failed: f64) -> Rates {
        Rates { failed, forwarded: 1e6, ..Rates::default() }
    }

    #[test]
    fn two_bad_seconds_in_a_row_open_and_no_less() {
        let mut story = Story::begin();
        for _ in 0..5 {
            assert_eq!(story.second(failing(1000.0)), None);
            assert_eq!(story.second(failing(9.0)), None, "a few are no reason");
        }
        assert_eq!(story.second(failing(10.0)), None);
        assert!(!story.breaker.is_open(X));
        assert_eq!(story.second(failing(10.0)), Some(Step::Open(FIRST_BACK_OFF)));
        assert!(story.breaker.is_open(X));
    }

    #[test]
    fn the_back_off_doubles_up_to_its_bound_while_trials_fail() {
        let mut story = Story::begin();
        story.second(failing(10.0));
        let mut opened = story.second(failing(10.0));
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(opened, Some(Step::Open(Duration::from_secs(seconds))));
            let seconds = u32::try_from(seconds).unwrap();
            assert_eq!(story.quiet(seconds - 1), []);
            assert_eq!(story.second(Rates::default()), Some(Step::Try));
            assert!(!story.breaker.is_open(X));
            opened = story.second(failing(10.0));
        }
    }

    #[test]
    fn a_clean_trial_is_the_end_of_it() {
        let mut story = Story::begin();
        story.second(failing(10.0));
        story.second(failing(10.0));
        assert_eq!(story.quiet(10), [Step::Try]);
        assert_eq!(story.quiet(10), []);
        assert!(story.breaker.0.is_empty());
        // As patient as at first, and not out of use for longer.
        assert_eq!(story.second(failing(10.0)), None);
        assert_eq!(story.second(failing(10.0)), Some(Step::Open(FIRST_BACK_OFF)));
    }

    #[test]
    fn a_link_that_changes_begins_anew() {
        let mut story = Story::begin();
        story.second(failing(10.0));
        story.second(failing(10.0));
        story.breaker.forget(X);
        assert!(!story.breaker.is_open(X));
        assert_eq!(story.second(failing(10.0)), None);
    }

    #[test]
    fn a_full_queue_is_no_reason_and_one_that_takes_nothing_is() {
        let mut story = Story::begin();
        let congested = Rates { dropped: 4e5, forwarded: 1e6, ..Rates::default() };
        for _ in 0..5 {
            assert_eq!(story.second(congested), None);
        }
        let stuck = Rates { dropped: 95.0, forwarded: 100.0, ..Rates::default() };
        assert_eq!(story.second(stuck), None);
        assert_eq!(story.second(stuck), Some(Step::Open(FIRST_BACK_OFF)));
    }
}
