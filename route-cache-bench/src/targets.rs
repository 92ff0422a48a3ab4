//! What is to be reached, as ratios of what was measured in one run.

use std::fmt;

use serde::Serialize;

use crate::{measure::Measured, report::Results, start::Start, statistics::ratio};

/// Whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtMost,
    AtLeast,
}

/// How a ratio is made of two measurements.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// Nanoseconds for a packet.
    Ns,
    /// Packets a second.
    Mpps,
    /// Points of the hit rate that the first has lost to the second.
    LostHits,
    /// Nanoseconds for a packet above those of the floor in the same scenario: of the lookup alone.
    NsAboveFloor,
}

/// A measurement: scenario and contender.
type Cell = (&'static str, &'static str);

/// What a ratio must be, and what is aimed at.
struct Goal {
    id: &'static str,
    what: &'static str,
    bound: Bound,
    must: f64,
    aim: f64,
}

/// A goal for the ratio of two measurements of packets.
struct Target {
    goal: Goal,
    of: Of,
    cells: (Cell, Cell),
}

/// The table. R9 and R11 are measured by the tests.
#[rustfmt::skip]
const TARGETS: [Target; 13] = [
    most("R1", "ns, hit to the floor, 1 K", Of::Ns, (("full/1k", "cache"), ("full/1k", "floor")), 1.15, 1.05),
    least("R2", "Mpps, hit to bpf_fib_lookup, 1 K", Of::Mpps, (("full/1k", "cache"), ("full/1k", "fib_full")), 1.8, 2.3),
    least("R2", "Mpps, cache to bpf_fib_lookup, 64 K", Of::Mpps, (("full/64k", "cache"), ("full/64k", "fib_full")), 2.5, 4.0),
    least("R3", "Mpps, hit to LPM only, 1 K", Of::Mpps, (("full/1k", "cache"), ("full/1k", "lpm")), 3.0, 3.5),
    least("R3", "Mpps, cache to LPM only, 64 K", Of::Mpps, (("full/64k", "cache"), ("full/64k", "lpm")), 4.5, 8.0),
    least("R4", "Mpps, hit to kernel forwarding, 1 K", Of::Mpps, (("full/1k", "cache"), ("full/1k", "kernel")), 8.0, 13.0),
    least("R4", "Mpps, cache to kernel forwarding, 64 K", Of::Mpps, (("full/64k", "cache"), ("full/64k", "kernel")), 6.0, 9.0),
    most("R5", "ns of the lookup, IPv6, a table of flows to bpf_fib_lookup, 1 K", Of::NsAboveFloor, (("full6/1k", "flow"), ("full6/1k", "fib_full")), 0.033, 0.0125),
    least("R6", "Mpps in a random flood, cache to cache off", Of::Mpps, (("full/flood", "cache"), ("full/flood", "cache off")), 0.95, 0.99),
    least("R7", "Mpps in a random flood, cache to LPM only", Of::Mpps, (("full/flood", "cache"), ("full/flood", "lpm")), 1.0, 2.4),
    most("R8", "points of hit rate that Zipf traffic loses in a 90 % flood, cloned before", Of::LostHits, (("full/mixed", "cache"), ("full/zipf10k", "cache")), 5.0, 1.0),
    most("R8", "likewise, not cloned before", Of::LostHits, (("full/mixed-cold", "cache"), ("full/cold", "cache")), 5.0, 1.0),
    least("R12", "Mpps, two CPUs to one", Of::Mpps, (("full/1k/2cpu", "cache"), ("full/1k", "cache")), 1.8, 1.95),
];

/// Of a start of the agent.
const START: Goal = Goal {
    id: "R10",
    what: "agent ready with a full table, to a raw dump of it",
    bound: Bound::AtMost,
    must: 6.0,
    aim: 1.3,
};

const fn most(
    id: &'static str,
    what: &'static str,
    of: Of,
    cells: (Cell, Cell),
    must: f64,
    aim: f64,
) -> Target {
    Target { goal: Goal { id, what, bound: Bound::AtMost, must, aim }, of, cells }
}

const fn least(
    id: &'static str,
    what: &'static str,
    of: Of,
    cells: (Cell, Cell),
    must: f64,
    aim: f64,
) -> Target {
    Target { goal: Goal { id, what, bound: Bound::AtLeast, must, aim }, of, cells }
}

/// How a target was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mark {
    /// What was aimed at.
    Aim,
    /// What must be.
    Pass,
    /// Neither.
    Miss,
}

/// A target and what came of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judged {
    /// Its number.
    pub(crate) id: &'static str,
    /// In words.
    pub(crate) what: &'static str,
    /// What was measured.
    pub(crate) measured: f64,
    /// What must be reached, with the sign.
    pub(crate) must: String,
    /// What is aimed at.
    pub(crate) aim: String,
    /// How it was met.
    pub(crate) mark: Mark,
}

/// Judges the targets for which both sides were measured.
pub(crate) fn judge(results: &[Results], starts: &[Start]) -> Vec<Judged> {
    let find = |(scenario, contender): Cell| {
        results.iter().find(|r| r.scenario.name == scenario).and_then(|r| r.of(contender))
    };
    let judge = |target: &Target| {
        let floor = find((target.cells.0.0, "floor"));
        let measured = target.of.value(find(target.cells.0)?, find(target.cells.1)?, floor)?;
        Some(target.goal.judge(measured))
    };
    let mut judged: Vec<Judged> = TARGETS.iter().filter_map(judge).collect();
    // The worst of them.
    judged.extend(starts.iter().map(Start::ratio).max_by(f64::total_cmp).map(|r| START.judge(r)));
    judged
}

impl Of {
    fn value(self, first: &Measured, second: &Measured, floor: Option<&Measured>) -> Option<f64> {
        Some(match self {
            Self::Ns => ratio(&first.ns, &second.ns),
            Self::Mpps => ratio(&first.mpps, &second.mpps),
            Self::LostHits => (second.hit_rate? - first.hit_rate?) * 100.0,
            Self::NsAboveFloor => {
                let floor = &floor?.ns;
                let above = |ns: &[f64]| -> Vec<f64> {
                    ns.iter().zip(floor).map(|(ns, floor)| ns - floor).collect()
                };
                ratio(&above(&first.ns), &above(&second.ns))
            }
        })
    }
}

impl Goal {
    fn judge(&self, measured: f64) -> Judged {
        let meets = |bound: f64| match self.bound {
            Bound::AtMost => measured <= bound,
            Bound::AtLeast => measured >= bound,
        };
        let mark = match (meets(self.aim), meets(self.must)) {
            (true, _) => Mark::Aim,
            (_, true) => Mark::Pass,
            _ => Mark::Miss,
        };
        let sign = if self.bound == Bound::AtMost { "≤" } else { "≥" };
        let (must, aim) = (format!("{sign} {}", self.must), format!("{sign} {}", self.aim));
        Judged { id: self.id, what: self.what, measured, must, aim, mark }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aim => "aim",
            Self::Pass => "pass",
            Self::Miss => "MISS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contender, scenario};

    #[test]
    fn every_target_names_what_is_measured() {
        for target in &TARGETS {
            for (scenario, contender) in [target.cells.0, target.cells.1] {
                let scenario = scenario::ALL.iter().find(|s| s.name == scenario);
                assert!(scenario.is_some_and(|s| s.has(contender)), "{}", target.goal.what);
                assert!(contender::ALL.iter().any(|c| c.name == contender), "{}", target.goal.what);
            }
        }
    }

    #[test]
    fn a_bound_itself_is_met() {
        let judge = |id, measured| {
            TARGETS.iter().find(|t| t.goal.id == id).unwrap().goal.judge(measured).mark
        };
        assert_eq!(
            [judge("R1", 1.05), judge("R1", 1.15), judge("R1", 1.16)],
            [Mark::Aim, Mark::Pass, Mark::Miss]
        );
        assert_eq!(
            [judge("R7", 2.4), judge("R7", 1.0), judge("R7", 0.9)],
            [Mark::Aim, Mark::Pass, Mark::Miss]
        );
        assert_eq!(judge("R1", f64::NAN), Mark::Miss);
    }
}
