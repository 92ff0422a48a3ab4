//! Random packets and random tables for two routers that are the same but for Route Cache in one of them. What comes out
//! of their ports must be the same, byte for byte: "as the kernel would have, or left to it" is exactly that.
//!
//! ```text
//!            ┌ router with the agent ┐
//!  frames ───┤                       ├── outputs, equal port by port
//!            └ router without        ┘
//! ```
//!
//! A configuration is a set of random tables, frames, random changes, frames, and so on; all of it follows from its seed.
//! After a change the frames wait until the agent has taken it in. A difference is made small and told as a [`Case`] that
//! can be run again.

pub mod case;
pub mod compare;
mod frames;
pub mod known;
mod random;
mod rules;
mod shrink;
mod side;
mod tables;
mod topology;
mod world;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

pub use crate::case::Case;
use crate::{
    case::{Step, hex},
    known::Known,
    random::Random,
    tables::Tables,
    world::{Altered, World},
};

/// Of all packets at least one in so many has to be forwarded by XDP; else little was tested.
const SHARE: u64 = 4;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary of the agent.
    pub agent: PathBuf,
    /// The seed of the first configuration; the next has the next.
    pub seed: u64,
    /// When to stop, at the latest.
    pub duration: Duration,
    /// How many configurations, at most.
    pub configurations: u64,
    /// Frames of a configuration.
    pub frames: usize,
    /// Whether to go on after a difference.
    pub keep_going: bool,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Configurations that were run.
    pub configurations: u64,
    /// Changes between frames.
    pub changes: u64,
    /// Frames sent into each router.
    pub sent: u64,
    /// Packets that the cache has seen, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Configurations whose frames were nearly all left to the kernel.
    pub idle: u64,
    /// How long it took.
    pub duration: Duration,
    /// The differences, each with a case that shows it.
    pub found: Vec<String>,
}

impl Report {
    /// Packets forwarded by XDP.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        let is_forwarded = |name: &str| name.starts_with("forwarded");
        self.outcomes.iter().filter(|(name, _)| is_forwarded(name)).map(|(_, count)| count).sum()
    }

    /// Whether enough was forwarded by XDP for the run to mean anything.
    #[must_use]
    pub fn is_meaningful(&self) -> bool {
        self.forwarded() >= self.sent / SHARE && self.idle <= self.configurations / 5
    }

    /// The figures in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let seen: u64 = self.outcomes.values().sum();
        let forwarded = self.forwarded();
        format!(
            "{} packets into each router, {} configurations ({} of them nearly all passed), {} changes; {forwarded} \
             forwarded by XDP, {} passed (requests that end a batch among them); {} differences; {:.0} s",
            self.sent,
            self.configurations,
            self.idle,
            self.changes,
            seen - forwarded,
            self.found.len(),
            self.duration.as_secs_f64(),
        )
    }
}

/// Runs configurations until time or their number is over.
///
/// # Errors
/// If the routers cannot be built or used.
pub fn run(options: &Options, mut tell: impl FnMut(&str)) -> Result<Report> {
    let start = Instant::now();
    let mut world = World::new(&options.agent)?;
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut report = Report::default();
    for number in 0..options.configurations {
        if start.elapsed() >= options.duration {
            break;
        }
        let seed = options.seed.wrapping_add(number);
        world::pin(number as usize % cpus)?;
        let case = configuration(seed, options.frames);
        let known = Known::of(&case);
        let mut before = world.outcomes()?;
        let mut ran = world.run(&case, &known);
        if ran.as_ref().is_err_and(|error| error.is::<Altered>()) {
            world = World::new(&options.agent)?;
            tell(&format!(
                "seed {seed}: with new routers, as the old ones could not be brought back to the start"
            ));
            before = world.outcomes()?;
            ran = world.run(&case, &known);
        }
        let differences = ran.with_context(|| format!("in the configuration of seed {seed}"))?;
        let grown = grown(&before, &world.outcomes()?);
        report.take(&case, &grown);
        if !differences.is_empty() {
            tell(&format!(
                "seed {seed}: {} differences, the first {}; making the case small",
                differences.len(),
                differences[0]
            ));
            report.found.push(story(&mut world, seed, &case, &known, &differences)?);
            if !options.keep_going {
                break;
            }
        }
        if report.configurations % 25 == 0 {
            report.duration = start.elapsed();
            tell(&report.summary());
        }
    }
    report.duration = start.elapsed();
    Ok(report)
}

impl Report {
    fn take(&mut self, case: &Case, outcomes: &BTreeMap<String, u64>) {
        let frames = case.frames() as u64;
        self.configurations += 1;
        self.changes += case.steps.len() as u64 - 1;
        self.sent += frames;
        let before = self.forwarded();
        for (name, count) in outcomes {
            *self.outcomes.entry(name.clone()).or_default() += count;
        }
        self.idle += u64::from((self.forwarded() - before) * 20 < frames);
    }
}

/// Runs cases that were kept. Returns the differences of those that show one.
///
/// # Errors
/// If one cannot be read, or the routers cannot be built or used.
pub fn replay(agent: &Path, cases: &[PathBuf]) -> Result<Vec<String>> {
    let mut world = World::new(agent)?;
    let mut differences = Vec::new();
    for path in cases {
        let what = || format!("in {}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        let case = Case::parse(&text).with_context(what)?;
        let found = world.run(&case, &Known::of(&case)).with_context(what)?;
        differences.extend(found.iter().map(|found| format!("{}: {found}", path.display())));
    }
    Ok(differences)
}

/// The configuration of a seed.
fn configuration(seed: u64, frames: usize) -> Case {
    let mut random = Random::new(seed);
    let mut tables = Tables::default();
    let mut steps = Vec::new();
    let count = 3 + random.below(5);
    for index in 0..count {
        let commands =
            if index == 0 { tables.set_up(&mut random) } else { tables.change(&mut random) };
        let frames = frames::batch(&mut random, &tables, frames / count);
        steps.push(Step { commands, frames });
    }
    Case { steps }
}

fn grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let by = |(name, count): (&String, &u64)| {
        let was = before.get(name).copied().unwrap_or_default();
        (*count > was).then(|| (name.clone(), count - was))
    };
    after.iter().filter_map(by).collect()
}

/// A difference, with the smallest case that shows it, and what came of that.
fn story(
    world: &mut World,
    seed: u64,
    case: &Case,
    known: &Known,
    differences: &[String],
) -> Result<String> {
    let mut story = format!("# seed {seed}\n");
    // Writing to a string does not fail.
    let Some((small, differences)) = shrink::shrink(world, case, known)? else {
        let _ = writeln!(story, "# not seen again when run from the start; the differences were:");
        differences.iter().for_each(|line| {
            let _ = writeln!(story, "# {line}");
        });
        return Ok(story + &case.to_string());
    };
    differences.iter().for_each(|line| {
        let _ = writeln!(story, "# {line}");
    });
    let _ = write!(story, "{}{small}", world.history());
    world.reset()?;
    for step in &small.steps {
        let (cache, kernel) = world.outputs(step)?;
        for (name, output) in [("with the cache", cache), ("kernel alone", kernel)] {
            for (port, frames) in output.iter().enumerate() {
                for frame in frames {
                    let _ = writeln!(story, "# {name}, out of p{port}: {}", hex(frame));
                }
            }
        }
    }
    Ok(story)
}
