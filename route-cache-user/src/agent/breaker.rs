//! The circuit breaker: what stands in front of the routes is looked at only while that is worth it.
//!
//! A flow that is known costs less than any route. A clone costs more than a route that is cheap to find, by the index or
//! in a small trie; and looking for flows and clones that are not there costs more still. How many packets found what is
//! read once a second, and decides:
//!
//! - most of many packets find neither flow nor clone, a flood: few clones are looked for and made;
//! - next to none finds one, or flows answer too few because the destinations are too many, and routes are cheap: all
//!   packets go by the routes. Then the counters do not tell any more when that is over: it is tried, for a second, after
//!   ten seconds, and after up to a minute if it was in vain.

use std::time::Duration;

/// Packets a second that must find nothing before anything is done about it.
const MANY: f64 = 20_000.0;

/// Packets a second on a CPU that no flow answers, from which on the destinations are too many: a flow asks its clone
/// four times a second, and some 25,000 flows do not fit into what is near to a CPU.
const MANY_UNANSWERED: f64 = 100_000.0;

/// One packet of so many that no flow answers is much, too.
const MUCH: u64 = 10;

/// One packet of so many must find something to make looking worth it.
const WORTH: u64 = 50;

/// Seconds of calm before all clones are looked for again.
const CALM: u32 = 3;

/// How long it goes by the routes before it is tried anew, at first and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// A trial that lasted so many seconds was no failure.
const PROVEN: u32 = 10;

/// Packets forwarded since start, on one CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// By flows.
    pub(super) flows: u64,
    /// By clones.
    pub(super) clones: u64,
    /// By the routes.
    pub(super) routes: u64,
}

/// What is looked for before the routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Search {
    /// Flows and clones.
    #[default]
    All,
    /// Flows, and few clones.
    Few,
    /// Nothing where routes are cheap; else all, or few under a flood.
    Routes {
        /// Most packets found nothing.
        is_flood: bool,
    },
}

/// Decides from what was counted.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    last: Vec<Forwarded>,
    search: Search,
    calm: u32,
    /// Seconds in a row in which something spoke for going by the routes.
    against: u32,
    /// How long it has gone by the routes, or not.
    since: Duration,
    patience: Duration,
    is_trial: bool,
}

/// What went through in the time between two readings.
struct Seen {
    flows: u64,
    clones: u64,
    misses: u64,
    seconds: f64,
    /// CPUs that forwarded many.
    busy: f64,
}

impl Seen {
    const fn all(&self) -> u64 {
        self.flows + self.clones + self.misses
    }

    fn rate(&self, packets: u64) -> f64 {
        packets as f64 / self.seconds
    }

    fn is_flood(&self) -> bool {
        self.misses > self.all() / 2 && self.rate(self.misses) > MANY
    }

    /// Few clones make misses of what would be hits: so few of them as would not matter are calm as well.
    fn is_calm(&self) -> bool {
        self.misses < self.all() / 4 || self.is_little()
    }

    fn is_little(&self) -> bool {
        self.rate(self.misses) < MANY / 2.0
    }

    fn is_in_vain(&self) -> bool {
        self.flows + self.clones < self.all() / WORTH
    }

    fn has_many_destinations(&self) -> bool {
        let unanswered = self.clones + self.misses;
        let is_share = unanswered > self.all() / MUCH && self.rate(unanswered) > MANY * self.busy;
        is_share || self.rate(unanswered) > MANY_UNANSWERED * self.busy
    }
}

impl Breaker {
    /// Takes in the counters by CPU, so long after the last time; `is_cheap` says whether there are routes that are
    /// cheap to find. Returns what should be looked for.
    pub(super) fn read(
        &mut self,
        now: Vec<Forwarded>,
        since_last: Duration,
        is_cheap: bool,
    ) -> Search {
        let last = std::mem::replace(&mut self.last, now);
        if last.len() != self.last.len() {
            return self.search;
        }
        let seen = self.seen(&last, since_last.as_secs_f64().max(0.1));
        self.since += since_last;
        self.search = match self.search {
            Search::All => self.having_searched_all(&seen, is_cheap),
            Search::Few => self.having_searched_few(&seen, is_cheap),
            Search::Routes { .. } if !is_cheap || seen.is_little() => self.search_all(false),
            Search::Routes { .. } if self.since >= self.patience => self.search_all(true),
            by_routes @ Search::Routes { .. } => by_routes,
        };
        self.search
    }

    fn seen(&self, last: &[Forwarded], seconds: f64) -> Seen {
        let mut seen = Seen { flows: 0, clones: 0, misses: 0, seconds, busy: 0.0 };
        for (now, last) in self.last.iter().zip(last) {
            let before = seen.all();
            seen.flows += now.flows.saturating_sub(last.flows);
            seen.clones += now.clones.saturating_sub(last.clones);
            seen.misses += now.routes.saturating_sub(last.routes);
            if (seen.all() - before) as f64 > MANY * seconds {
                seen.busy += 1.0;
            }
        }
        seen.busy = seen.busy.max(1.0);
        seen
    }

    fn having_searched_all(&mut self, seen: &Seen, is_cheap: bool) -> Search {
        let is_flood = seen.is_flood();
        if is_cheap && self.is_trial && is_flood && seen.is_in_vain() {
            return self.go_by_routes(is_flood);
        }
        if is_flood {
            (self.calm, self.against) = (0, u32::from(is_cheap && seen.is_in_vain()));
            return Search::Few;
        }
        // The first second of a trial finds flows that are not believed any more.
        self.against = if is_cheap && seen.has_many_destinations() { self.against + 1 } else { 0 };
        if self.against > 1 {
            return self.go_by_routes(false);
        }
        if self.since > Duration::from_secs(PROVEN.into()) {
            self.is_trial = false;
        }
        Search::All
    }

    fn having_searched_few(&mut self, seen: &Seen, is_cheap: bool) -> Search {
        self.against = if is_cheap && seen.is_in_vain() { self.against + 1 } else { 0 };
        if self.against > 1 && !seen.is_calm() {
            return self.go_by_routes(true);
        }
        self.calm = if seen.is_calm() { self.calm + 1 } else { 0 };
        if self.calm < CALM { Search::Few } else { self.search_all(false) }
    }

    fn search_all(&mut self, is_trial: bool) -> Search {
        (self.calm, self.against, self.since, self.is_trial) = (0, 0, Duration::ZERO, is_trial);
        Search::All
    }

    fn go_by_routes(&mut self, is_flood: bool) -> Search {
        let (first, last) = PATIENCE;
        self.patience = if self.is_trial { last.min(self.patience * 2) } else { first };
        (self.calm, self.against, self.since) = (0, 0, Duration::ZERO);
        Search::Routes { is_flood }
    }

    /// Nothing is looked for at all: begins anew afterwards.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Packets of a second: by flows, by clones, by the routes.
    type Counted = (u64, u64, u64);

    const FLOOD: Counted = (0, 100, 100_000);
    const MIXED: Counted = (9_000, 1_000, 90_000);
    const CALM_TRAFFIC: Counted = (100_000, 5_000, 5_000);
    const MANY_DESTINATIONS: Counted = (900_000, 200_000, 0);
    const BY_ROUTES: Counted = (0, 0, 2_000_000);

    use Search::{All, Few};
    const ROUTES: Search = Search::Routes { is_flood: false };
    const FLOODED: Search = Search::Routes { is_flood: true };

    struct Agent {
        breaker: Breaker,
        sums: Vec<Forwarded>,
        is_cheap: bool,
    }

    impl Agent {
        fn new(cpus: usize, is_cheap: bool) -> Self {
            let sums = vec![Forwarded::default(); cpus];
            let mut agent = Self { breaker: Breaker::default(), sums, is_cheap };
            assert_eq!(agent.reads(&[], SECOND), All);
            agent
        }

        fn reads(&mut self, counted: &[Counted], time: Duration) -> Search {
            for (sum, (flows, clones, routes)) in self.sums.iter_mut().zip(counted) {
                sum.flows += flows;
                sum.clones += clones;
                sum.routes += routes;
            }
            self.breaker.read(self.sums.clone(), time, self.is_cheap)
        }

        /// What it says, second by second.
        fn says(&mut self, seconds: &[Counted]) -> Vec<Search> {
            seconds.iter().map(|counted| self.reads(&[*counted], SECOND)).collect()
        }

        /// Seconds until it says something else.
        fn lasts(&mut self, counted: Counted) -> usize {
            let before = self.breaker.search;
            let mut is_same = |_: &usize| self.reads(&[counted], SECOND) == before;
            (1..1000).find(|n| !is_same(n)).expect("it changes its mind")
        }
    }

    #[test]
    fn few_clones_are_looked_for_when_most_of_many_packets_find_nothing() {
        assert_eq!(Agent::new(1, false).says(&[(0, 0, 20_000), (0, 0, 20_001)]), [All, Few]);
        let halves = [(20_000, 10_000, 30_000), (20_000, 10_000, 30_100)];
        assert_eq!(Agent::new(1, false).says(&halves), [All, Few]);
        assert_eq!(Agent::new(1, false).says(&[(600_000, 400_000, 900_000)]), [All]);
    }

    #[test]
    fn all_are_looked_for_after_seconds_of_calm_in_a_row() {
        let so_so = (90_000, 10_000, 50_000);
        let mut agent = Agent::new(1, false);
        assert_eq!(
            agent.says(&[FLOOD, CALM_TRAFFIC, CALM_TRAFFIC, CALM_TRAFFIC]),
            [Few, Few, Few, All]
        );
        let calm_in_the_end =
            [FLOOD, CALM_TRAFFIC, so_so, CALM_TRAFFIC, CALM_TRAFFIC, CALM_TRAFFIC];
        assert_eq!(agent.says(&calm_in_the_end), [Few, Few, Few, Few, Few, All]);
        assert_eq!(agent.says(&[FLOOD, so_so, so_so, so_so, so_so]), [Few; 5]);
        assert_eq!(
            Agent::new(1, true).says(&[FLOOD, (0, 0, 5_000), (0, 0, 0), (0, 0, 0)]),
            [Few, Few, Few, All],
            "next to nothing comes"
        );
    }

    #[test]
    fn in_a_flood_that_finds_nothing_cheap_routes_are_all_that_is_looked_for() {
        assert_eq!(Agent::new(1, true).says(&[FLOOD; 4]), [Few, FLOODED, FLOODED, FLOODED]);
        assert_eq!(Agent::new(1, true).says(&[MIXED, FLOOD, FLOOD]), [Few, Few, FLOODED]);
        assert_eq!(Agent::new(1, false).says(&[FLOOD; 4]), [Few; 4], "routes that cost much");
        assert_eq!(Agent::new(1, true).says(&[MIXED; 9]), [Few; 9], "flows inside a flood");
    }

    #[test]
    fn with_too_many_destinations_cheap_routes_are_all_that_is_looked_for() {
        let many = [MANY_DESTINATIONS, MANY_DESTINATIONS, BY_ROUTES];
        assert_eq!(Agent::new(1, true).says(&many), [All, ROUTES, ROUTES]);
        assert_eq!(Agent::new(1, false).says(&[MANY_DESTINATIONS; 9]), [All; 9]);
        let share = [(160_000, 21_000, 0), (160_000, 21_000, 0), (0, 0, 181_000)];
        assert_eq!(Agent::new(1, true).says(&share), [All, ROUTES, ROUTES]);
        assert_eq!(Agent::new(1, true).says(&[(100_000, 19_000, 0); 9]), [All; 9]);
        let busy = (900_000, 90_000, 0);
        assert_eq!(Agent::new(1, true).says(&[busy; 9]), [All; 9]);
        // As many on each of two CPUs as one has room for; an idle one has no room to give.
        let mut two = Agent::new(3, true);
        assert_eq!([0; 5].map(|_| two.reads(&[busy, busy, (1, 0, 0)], SECOND)), [All; 5]);
    }

    #[test]
    fn whether_it_is_over_is_tried_now_and_then() {
        let mut agent = Agent::new(1, true);
        agent.says(&[FLOOD; 2]);
        for wanted in [10, 20, 40, 60, 60] {
            assert_eq!((agent.lasts(BY_ROUTES), agent.breaker.search), (wanted, All));
            assert_eq!((agent.lasts(FLOOD), agent.breaker.search), (1, FLOODED), "in vain");
        }
        assert_eq!((agent.lasts(BY_ROUTES), agent.breaker.search), (60, All));
        assert_eq!(agent.says(&[CALM_TRAFFIC; 20]), [All; 20]);
        agent.says(&[FLOOD; 2]);
        assert_eq!(agent.lasts(BY_ROUTES), 10, "another flood");
    }

    #[test]
    fn a_trial_that_finds_flows_inside_a_flood_keeps_them() {
        let mut agent = Agent::new(1, true);
        agent.says(&[FLOOD; 2]);
        agent.lasts(BY_ROUTES);
        assert_eq!(agent.says(&[MIXED; 4]), [Few; 4]);
    }

    #[test]
    fn all_are_looked_for_at_once_where_routes_are_not_cheap_any_more_or_little_comes() {
        let mut agent = Agent::new(1, true);
        assert_eq!(agent.says(&[MANY_DESTINATIONS, MANY_DESTINATIONS, BY_ROUTES])[2], ROUTES);
        agent.is_cheap = false;
        assert_eq!(agent.says(&[BY_ROUTES]), [All]);
        let mut agent = Agent::new(1, true);
        agent.says(&[FLOOD; 2]);
        assert_eq!(agent.says(&[(0, 0, 5_000)]), [All]);
    }

    #[test]
    fn it_goes_by_the_second() {
        let mut agent = Agent::new(1, false);
        assert_eq!(agent.reads(&[(0, 0, 50_000)], 5 * SECOND), All, "10,000 a second");
        assert_eq!(agent.reads(&[(0, 0, 15_000)], SECOND / 2), Few, "30,000 a second");
    }

    #[test]
    fn counters_that_go_back_are_no_packets() {
        let mut agent = Agent::new(1, true);
        agent.reads(&[(9, 0, 1)], SECOND);
        agent.sums = vec![Forwarded::default()];
        assert_eq!(agent.reads(&[(0, 0, 0)], SECOND), All);
    }
}
