//! What is measured: routes, and traffic over them.

use serde::Serialize;

use crate::{
    random::{Random, Zipf},
    routes::{self, Family, Route, RouteSet},
};

/// How often the destinations of the list are used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Distribution {
    /// One after the other.
    Uniform,
    /// By Zipf's law with this exponent.
    Zipf(f64),
}

/// A measurement of all contenders.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Scenario {
    /// As in JSON.
    pub(crate) name: &'static str,
    /// The routes.
    pub(crate) routes: RouteSet,
    /// How many destinations there are.
    pub(crate) destinations: usize,
    /// How often each is used.
    pub(crate) distribution: Distribution,
    /// So many packets in 256 go to random destinations instead.
    pub(crate) flood: u32,
    /// CPUs that forward at the same time.
    pub(crate) cpus: usize,
    /// Whether every destination has a clone before the first round.
    pub(crate) warm: bool,
    /// Names of the contenders; none means all.
    pub(crate) only: &'static [&'static str],
}

/// Destinations that a cache has to hit, every one.
pub(crate) const FEW: usize = 1000;

/// Entries in a list by Zipf's law.
const DRAWS: usize = 1 << 18;

const UNIFORM: Scenario = Scenario {
    name: "",
    routes: RouteSet::Full(Family::V4),
    destinations: 1000,
    distribution: Distribution::Uniform,
    flood: 0,
    cpus: 1,
    warm: true,
    only: &[],
};

const UNIFORM6: Scenario = Scenario { routes: RouteSet::Full(Family::V6), ..UNIFORM };

/// 10 K destinations, as traffic is when it is not a benchmark's.
const ZIPF_10K: Scenario =
    Scenario { destinations: 10_000, distribution: Distribution::Zipf(1.0), ..UNIFORM };

const ZIPF_64K: Scenario = Scenario { destinations: 65_536, ..UNIFORM };

/// Nine packets in ten.
const MOST: u32 = 230;

/// Everything, with the routes in the order in which routers are built.
#[rustfmt::skip]
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "one/1k", routes: RouteSet::One, ..UNIFORM },
    Scenario { name: "1k/1k", routes: RouteSet::Made(1000), ..UNIFORM },
    Scenario { name: "100k/1k", routes: RouteSet::Made(100_000), ..UNIFORM },
    Scenario { name: "100k/64k", routes: RouteSet::Made(100_000), destinations: 65_536, ..UNIFORM },
    Scenario { name: "full/1k", ..UNIFORM },
    Scenario { name: "full/1k/2cpu", cpus: 2, only: &["floor", "cache", "fib_full"], ..UNIFORM },
    Scenario { name: "full/10k", destinations: 10_000, ..UNIFORM },
    Scenario { name: "full/64k", destinations: 65_536, ..UNIFORM },
    Scenario { name: "full/1m", destinations: 1 << 20, ..UNIFORM },
    Scenario { name: "full/zipf0.8", distribution: Distribution::Zipf(0.8), ..ZIPF_64K },
    Scenario { name: "full/zipf1.0", distribution: Distribution::Zipf(1.0), ..ZIPF_64K },
    Scenario { name: "full/zipf1.2", distribution: Distribution::Zipf(1.2), ..ZIPF_64K },
    Scenario { name: "full/zipf10k", ..ZIPF_10K },
    Scenario { name: "full/mixed", flood: MOST, ..ZIPF_10K },
    Scenario { name: "full/cold", warm: false, only: &["floor", "cache"], ..ZIPF_10K },
    Scenario { name: "full/mixed-cold", warm: false, flood: MOST, only: &["floor", "cache"], ..ZIPF_10K },
    Scenario { name: "full/flood", flood: 256, ..UNIFORM },
    Scenario { name: "full6/1k", ..UNIFORM6 },
    Scenario { name: "full6/10k", destinations: 10_000, ..UNIFORM6 },
    Scenario { name: "full6/64k", destinations: 65_536, ..UNIFORM6 },
    Scenario { name: "full6/flood", flood: 256, ..UNIFORM6 },
];

/// For every day.
pub(crate) const QUICK: &[Scenario] = &[
    Scenario { name: "1k/1k", routes: RouteSet::Made(1000), ..UNIFORM },
    Scenario { name: "1k/64k", routes: RouteSet::Made(1000), destinations: 65_536, ..UNIFORM },
    Scenario { name: "1k/flood", routes: RouteSet::Made(1000), flood: 256, ..UNIFORM },
];

impl Scenario {
    /// In words.
    pub(crate) fn title(&self) -> String {
        let mut title = format!("{}, {} destinations", self.routes.name(), self.destinations);
        match self.distribution {
            Distribution::Uniform => title += " in turn",
            Distribution::Zipf(alpha) => title += &format!(" by Zipf {alpha:.1}"),
        }
        title = match self.flood {
            0 => title,
            256 => format!("{}, random destinations", self.routes.name()),
            n => format!("{title} inside a flood of {:.0} %", f64::from(n) / 2.56),
        };
        if !self.warm {
            title += ", none of them cloned before";
        }
        if self.cpus > 1 { format!("{title}, {} CPUs", self.cpus) } else { title }
    }

    /// Whether a contender takes part.
    pub(crate) fn has(&self, contender: &str) -> bool {
        // Its table has a place for every destination only where these are few.
        if contender == "flow" && (self.destinations > FEW || self.flood > 0) {
            return false;
        }
        self.only.is_empty() || self.only.contains(&contender)
    }

    /// All destinations, and the order in which packets go to them.
    pub(crate) fn lists(&self, routes: &[Route], seed: u64) -> (Vec<u128>, Vec<u128>) {
        // Those that are to be cold must be nobody else's.
        let own = if self.warm { 0 } else { 1 + u64::from(self.flood) };
        let mut random = Random::new(seed ^ own << 32);
        let family = self.routes.family();
        let all = routes::destinations(family, routes, self.destinations, &mut random);
        let order = match self.distribution {
            Distribution::Uniform => all.clone(),
            Distribution::Zipf(alpha) => {
                let zipf = Zipf::new(all.len(), alpha);
                (0..DRAWS).map(|_| all[zipf.draw(&mut random)]).collect()
            }
        };
        (all, order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_built_once_for_each_set_of_routes() {
        for list in [ALL, QUICK] {
            let mut sets: Vec<_> = list.iter().map(|s| s.routes).collect();
            sets.dedup();
            let mut different = sets.clone();
            different.sort();
            different.dedup();
            assert_eq!(sets.len(), different.len(), "scenarios of the same routes stand together");
        }
    }

    #[test]
    fn a_list_by_zipf_has_the_destinations_of_the_scenario() {
        let scenario = ALL.iter().find(|s| s.name == "full/zipf1.0").unwrap();
        let routes = RouteSet::Made(1000).routes(1).unwrap();
        let (all, order) = scenario.lists(&routes, 1);
        assert_eq!((all.len(), order.len()), (65_536, DRAWS));
        assert!(order.iter().all(|address| all.contains(address) || all.len() > 1000));
    }
}
