//! Running the cases: all of them without the cache first, then all of them with it, in the same lab.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use route_cache_lab::{Agent, RawSocket, wait_until};

use crate::{
    case::{Allowance, Case, Plane, Station},
    compare::{self, Capture},
    counts::{self, Growth},
    need::Lacking,
    pinned::pinned,
    place::Place,
    progress::Progress,
    settle,
    tiers::Tiers,
};

/// What must happen soon happens within this.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// For how long a case is sent again for the data plane to settle on the outcome that is expected, for example while the
/// agent reads the tables anew, which it does once a second at most. What arrives has to be right each time.
const SETTLING: Duration = Duration::from_secs(4);

/// Time between two attempts: of some answers the kernel gives only a few in a second (`ip_error`).
const SPACE: Duration = Duration::from_millis(300);

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With the cache everything is as without.
    Equal,
    /// It differs as is allowed.
    Allowed(Allowance),
    /// It differs, or the data plane did not do what is expected.
    Different(Vec<String>),
    /// This kernel lacks something, or the data plane has nothing to show for it.
    NotHere(String),
}

/// A case and how it ended.
#[derive(Debug)]
pub struct Verdict {
    /// The case.
    pub case: &'static Case,
    /// Outcomes that the data plane gave, in the order of the rounds.
    pub outcomes: Vec<Growth>,
    /// How it ended.
    pub ending: Ending,
}

impl Verdict {
    /// Whether XDP forwarded the frames.
    pub fn is_accelerated(&self) -> bool {
        let forwarded = |name: &String| name.starts_with("forwarded");
        self.outcomes.last().is_some_and(|round| round.keys().any(forwarded))
    }
}

/// What came of the frames of a case.
struct Seen {
    capture: Capture,
    kernel: Growth,
}

/// How cases are run.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The agent's binary.
    pub agent: &'a Path,
    /// What it is told besides.
    pub arguments: &'a [String],
    /// What it is to put in front of the routes.
    pub tiers: Tiers,
    /// How long to wait for a frame that should not come.
    pub linger: Duration,
    /// Not to tell how far it has come.
    pub is_quiet: bool,
}

/// The lab with its sockets open.
struct Bench<'a> {
    place: &'a Place,
    sockets: BTreeMap<Station, RawSocket>,
    options: &'a Options<'a>,
}

/// Runs cases.
pub fn run(cases: &[&'static Case], options: &Options<'_>) -> Result<Vec<Verdict>> {
    let lacking = Lacking::probe()?;
    let place = Place::new().context("cannot build the lab")?;
    let mut sockets = BTreeMap::new();
    for station in Station::ALL {
        sockets.insert(station, place.socket(station)?);
    }
    let bench = Bench { place: &place, sockets, options };
    let mut results = Vec::new();
    let mut todo = Vec::new();
    let mut progress = Progress::begin(options.is_quiet);
    for &case in cases {
        progress.tell(results.len() + 1, cases.len(), case, "without the cache");
        let ending = match lacking.first(case.needs) {
            Some(reason) => Ending::NotHere(reason),
            None => match bench.kernel_alone(case) {
                Ok(seen) => {
                    todo.push((results.len(), seen));
                    Ending::Equal
                }
                Err(wrong) => Ending::Different(wrong),
            },
        };
        results.push(Verdict { case, outcomes: Vec::new(), ending });
    }
    let told = options
        .tiers
        .arguments()
        .iter()
        .copied()
        .chain(options.arguments.iter().map(String::as_str));
    let agent = place.start_agent(options.agent, &told.collect::<Vec<_>>())?;
    let can_redirect = settle::can_redirect(&agent)?;
    for (index, kernel) in todo {
        let result = &mut results[index];
        let case = result.case;
        progress.tell(index + 1, cases.len(), case, "with the cache");
        if case.agent_stopped && !can_redirect {
            // The kernel forwards all the time: it does not show when the promise has run out.
            let why = "this kernel does not tell which interfaces take redirected frames";
            result.ending = Ending::NotHere(why.to_owned());
            continue;
        }
        let expectation = case.expectation(can_redirect);
        let wrong = bench
            .with_cache(case, expectation, &agent, &kernel, &mut result.outcomes)
            .unwrap_or_else(|error| vec![format!("{error:#}")]);
        result.ending = match (wrong.is_empty(), case.allowed) {
            (true, Some(allowance)) if expectation == Plane::Forwarded => {
                Ending::Allowed(allowance)
            }
            (true, _) => Ending::Equal,
            (false, _) => Ending::Different(wrong),
        };
    }
    Ok(results)
}

impl Bench<'_> {
    fn kernel_alone(&self, case: &Case) -> Result<Seen, Vec<String>> {
        let told = |error: anyhow::Error| vec![format!("{error:#}")];
        let seen = self.set_up(case).and_then(|()| {
            let seen = self.send(case)?;
            if case.setup.is_empty() || seen.capture.against_kernel(case).is_empty() {
                return Ok(seen);
            }
            // Some settings take effect a little later: an IPv6 address gets its route from a work queue.
            thread::sleep(SPACE);
            self.send(case)
        });
        self.undo(case).map_err(told)?;
        let seen = seen.map_err(told)?;
        let mut wrong = seen.capture.against_kernel(case);
        let frames = (case.frames)().len() as u64;
        if let Some((protocol, name)) = case.counter {
            let grown = seen.kernel.get(&format!("{protocol} {name}")).copied().unwrap_or(0);
            if grown != frames {
                wrong
                    .push(format!("kernel alone: {protocol} {name} grew by {grown}, not {frames}"));
            }
        }
        if wrong.is_empty() { Ok(seen) } else { Err(wrong) }
    }

    fn with_cache(
        &self,
        case: &Case,
        expectation: Plane,
        agent: &Agent,
        kernel: &Seen,
        rounds: &mut Vec<Growth>,
    ) -> Result<Vec<String>> {
        let before = counts::outcomes(agent)?;
        let mut judged = self
            .clone_first(case, agent)
            .and_then(|()| self.set_up(case))
            .and_then(|()| self.settle(case, expectation, agent))
            .and_then(|()| self.rounds(case, expectation, agent, kernel, rounds));
        if case.agent_stopped {
            agent.signal(Signal::SIGCONT)?;
            let outcomes = counts::grown(&before, &counts::outcomes(agent)?);
            // The frame that told that the promise has run out, and those of the case.
            let expired = outcomes.get("pass_expired").copied().unwrap_or_default();
            if expired <= (case.frames)().len() as u64 {
                judged = judged.map(|mut wrong| {
                    wrong.push(format!("the frames were to expire, and ended in {outcomes:?}"));
                    wrong
                });
            }
            rounds.push(Growth::from([("pass_expired".to_owned(), expired)]));
        }
        self.undo(case)?;
        if !case.undo.is_empty() || case.agent_stopped {
            settle::fence(self.place, agent)?;
        }
        judged
    }

    fn settle(&self, case: &Case, expectation: Plane, agent: &Agent) -> Result<()> {
        if !case.setup.is_empty() {
            settle::fence(self.place, agent)?;
            settle::stands_aside(expectation, agent)?;
        }
        if !case.cloned {
            agent.cli(&["flush"])?;
        }
        if case.agent_stopped {
            settle::accelerates(agent)?;
            agent.signal(Signal::SIGSTOP)?;
            settle::kernel_forwards(self.place)?;
        }
        Ok(())
    }

    /// Sends the frames until they are forwarded by clones, if the case wants that.
    fn clone_first(&self, case: &Case, agent: &Agent) -> Result<()> {
        let has_clones = self.options.tiers.has_clones();
        if !case.cloned || !has_clones || case.expectation(true) != case.plane {
            return Ok(());
        }
        let frames = (case.frames)();
        let sender = &self.sockets[&case.sender];
        let cloned = || -> Result<bool> {
            let before = counts::outcomes(agent)?;
            pinned(|| frames.iter().try_for_each(|frame| sender.send(frame)))??;
            let outcomes = self.counted(agent, &before, case.plane, frames.len() as u64)?;
            let is_cloned = ["forwarded_clone", "forwarded_flow", "pass_egress"];
            Ok(is_cloned.iter().any(|name| outcomes.contains_key(*name)))
        };
        wait_until("frames to be forwarded by clones", PATIENCE, || cloned().unwrap_or(false))
    }

    /// Sends the frames until the data plane did as expected; if it forwards, by each tier.
    fn rounds(
        &self,
        case: &Case,
        expectation: Plane,
        agent: &Agent,
        kernel: &Seen,
        rounds: &mut Vec<Growth>,
    ) -> Result<Vec<String>> {
        let frames = (case.frames)().len() as u64;
        let stages = match expectation {
            Plane::Forwarded => self.options.tiers.outcomes(case),
            Plane::Passed(_) | Plane::Unseen => &[],
        };
        let mut begun = Instant::now();
        let mut stage = 0;
        loop {
            if stages.get(stage) == Some(&"forwarded_flow") {
                self.warm_up(case, agent)?;
            }
            let before = if case.agent_stopped { Growth::new() } else { counts::outcomes(agent)? };
            let seen = self.send_expecting(case, &kernel.capture)?;
            let mut wrong = kernel.capture.differences(&seen.capture, case.allowed);
            if case.agent_stopped {
                wrong.extend(counts::differences(&kernel.kernel, &seen.kernel));
                return Ok(wrong);
            }
            let outcomes = self.counted(agent, &before, expectation, frames)?;
            // What XDP forwards the kernel neither sees nor counts (row 43); what it passes is counted as ever.
            let is_forwarded = |name: &String| name.starts_with("forwarded");
            if !outcomes.keys().any(is_forwarded) {
                wrong.extend(counts::differences(&kernel.kernel, &seen.kernel));
            } else if outcomes.keys().all(is_forwarded) {
                wrong.extend(counts::differences(&Growth::new(), &seen.kernel));
            }
            rounds.push(outcomes.clone());
            if !wrong.is_empty() {
                return Ok(wrong);
            }
            match unexpected(expectation, &stages[..stages.len().min(stage + 1)], frames, &outcomes)
            {
                None if stage + 1 >= stages.len() => return Ok(Vec::new()),
                None => {
                    stage += 1;
                    begun = Instant::now();
                }
                Some(wrong) if begun.elapsed() > SETTLING => return Ok(vec![wrong]),
                // A flow is believed for a quarter of a second.
                Some(_) if stages.get(stage) == Some(&"forwarded_flow") => {}
                Some(_) => {
                    // From the beginning: what was not settled yet may have left a clone.
                    agent.cli(&["flush"])?;
                    rounds.clear();
                    stage = 0;
                    thread::sleep(SPACE);
                }
            }
        }
    }

    /// Hits the clones of the frames twice in a row, so that their flows are noted down.
    fn warm_up(&self, case: &Case, agent: &Agent) -> Result<()> {
        let before = counts::outcomes(agent)?;
        let frames = [(case.frames)(), (case.frames)()].concat();
        let sender = &self.sockets[&case.sender];
        pinned(|| frames.iter().try_for_each(|frame| sender.send(frame)))??;
        self.counted(agent, &before, Plane::Forwarded, frames.len() as u64).map(drop)
    }

    /// The outcomes, when as many packets have ended as were sent.
    fn counted(
        &self,
        agent: &Agent,
        before: &Growth,
        expectation: Plane,
        frames: u64,
    ) -> Result<Growth> {
        let mut outcomes = Growth::new();
        if expectation == Plane::Unseen {
            return Ok(counts::grown(before, &counts::outcomes(agent)?));
        }
        let mut failed = None;
        wait_until("the frames to be counted", PATIENCE, || match counts::outcomes(agent) {
            Ok(after) => {
                outcomes = counts::grown(before, &after);
                outcomes.values().sum::<u64>() >= frames
            }
            Err(error) => failed.insert(error).to_string().is_empty(),
        })
        .with_context(|| failed.map(|error| format!("{error:#}")).unwrap_or_default())?;
        Ok(outcomes)
    }

    fn set_up(&self, case: &Case) -> Result<()> {
        case.setup.iter().try_for_each(|command| self.place.command(command))
    }

    /// Undoes all that can be undone; the first failure is told.
    fn undo(&self, case: &Case) -> Result<()> {
        let undone: Vec<_> = case.undo.iter().map(|command| self.place.command(command)).collect();
        undone.into_iter().collect::<Result<()>>().context("cannot undo the set-up")
    }

    fn send(&self, case: &Case) -> Result<Seen> {
        let wanted = |capture: &Capture| capture.against_kernel(case).is_empty();
        self.send_until(case, wanted)
    }

    fn send_expecting(&self, case: &Case, kernel: &Capture) -> Result<Seen> {
        self.send_until(case, |capture| kernel.differences(capture, case.allowed).is_empty())
    }

    /// Sends the frames and captures until `complete`, and what comes beyond that within the time to linger.
    fn send_until(&self, case: &Case, complete: impl Fn(&Capture) -> bool) -> Result<Seen> {
        self.sockets.values().try_for_each(RawSocket::drain)?;
        let before = counts::kernel(self.place.router())?;
        let frames = (case.frames)();
        let sender = &self.sockets[&case.sender];
        pinned(|| frames.iter().try_for_each(|frame| sender.send(frame)))??;
        let mut capture = Capture::default();
        let sent = Instant::now();
        let mut completed = None;
        loop {
            for (&station, socket) in &self.sockets {
                for frame in socket.capture(compare::counts, usize::MAX, Duration::ZERO)? {
                    capture.add(station, frame);
                }
            }
            if completed.is_none() && complete(&capture) {
                completed = Some(Instant::now());
            }
            if completed.is_some_and(|when| when.elapsed() > self.options.linger)
                || sent.elapsed() > self.options.linger.max(Duration::from_secs(2))
            {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let kernel = counts::grown(&before, &counts::kernel(self.place.router())?);
        Ok(Seen { capture, kernel })
    }
}

/// What is wrong with the outcomes of a round, if anything. `stages` are the outcomes that frames that are forwarded have gone
/// through up to now.
fn unexpected(
    expectation: Plane,
    stages: &[&'static str],
    frames: u64,
    outcomes: &Growth,
) -> Option<String> {
    let of = |name: &str| outcomes.get(name).copied().unwrap_or_default();
    let (is_right, wanted) = match (expectation, stages) {
        // Frames to one destination: the first makes the clone.
        (Plane::Forwarded, ["forwarded_route"]) => (
            of("forwarded_route") > 0 && of("forwarded_route") + of("forwarded_clone") == frames,
            "forwarded_route",
        ),
        // What was just a clone may be a flow already.
        (Plane::Forwarded, [_, "forwarded_clone"]) => {
            (of("forwarded_clone") + of("forwarded_flow") == frames, "forwarded_clone")
        }
        (Plane::Forwarded, [.., last]) => (of(last) == frames, *last),
        (Plane::Forwarded, []) => (false, "no outcome, as there are none to go through"),
        (Plane::Passed(name), _) => (of(name) == frames, name),
        (Plane::Unseen, _) => (outcomes.is_empty(), "no outcome"),
    };
    // Hosts answer for themselves when the kernel asks who has an address.
    let stray = outcomes.keys().any(|name| match expectation {
        Plane::Passed(expected) => name != expected && name != "pass_ethertype",
        Plane::Forwarded => !name.starts_with("forwarded") && name != "pass_ethertype",
        Plane::Unseen => true,
    });
    (!is_right || stray)
        .then(|| format!("{frames} frames were to end in {wanted}, and ended in {outcomes:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(of: &[(&str, u64)]) -> Growth {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn the_outcome_has_to_be_the_one_expected() {
        let (route, clone, flow, ttl) =
            ("forwarded_route", "forwarded_clone", "forwarded_flow", "pass_ttl");
        let all = [route, clone, flow];
        let judge = |plane, stage: usize, of: &[(&str, u64)]| {
            unexpected(plane, &all[..=stage], 2, &outcomes(of))
        };
        assert_eq!(judge(Plane::Forwarded, 0, &[(route, 1), (clone, 1)]), None);
        assert_eq!(judge(Plane::Forwarded, 1, &[(clone, 2)]), None);
        assert_eq!(judge(Plane::Forwarded, 2, &[(flow, 2)]), None);
        assert_eq!(judge(Plane::Passed(ttl), 1, &[(ttl, 2)]), None);
        assert_eq!(judge(Plane::Passed(ttl), 1, &[(ttl, 2), ("pass_ethertype", 1)]), None);
        assert_eq!(judge(Plane::Unseen, 0, &[]), None);
        for (plane, stage, of) in [
            (Plane::Forwarded, 0, [(clone, 2)].as_slice()),
            (Plane::Forwarded, 1, &[(clone, 1), (route, 1)]),
            (Plane::Forwarded, 2, &[(clone, 1), (flow, 1)]),
            (Plane::Forwarded, 0, &[(ttl, 2)]),
            (Plane::Forwarded, 1, &[("pass_ethertype", 2)]),
            (Plane::Forwarded, 1, &[]),
            (Plane::Passed(ttl), 0, &[(ttl, 1)]),
            (Plane::Passed(ttl), 0, &[("pass_mtu", 2)]),
            (Plane::Passed(ttl), 0, &[(ttl, 2), (clone, 1)]),
            (Plane::Unseen, 0, &[(ttl, 1)]),
        ] {
            assert!(judge(plane, stage, of).is_some(), "{plane:?} {stage} {of:?}");
        }
    }
}
