//! Making a case that shows a difference as small as it gets.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    case::{Case, Step},
    known::Known,
    world::World,
};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// The smallest case found that still shows a difference, with that difference. Nothing if it does not show it again.
///
/// # Errors
/// If a router cannot be used any more.
pub fn shrink(
    world: &mut World,
    case: &Case,
    known: &Known,
) -> Result<Option<(Case, Vec<String>)>> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = Vec::new();
    let mut differs = |case: &Case| {
        let differences = world.run(case, known)?;
        let does = !differences.is_empty();
        if does {
            last = differences;
        }
        anyhow::Ok(does)
    };
    if !differs(case)? {
        return Ok(None);
    }
    let mut case = case.clone();
    // Twice: with fewer commands, fewer frames may do.
    for _ in 0..2 {
        for what in [frames as fn(&mut Step) -> Part<'_>, commands] {
            fewer(&mut case, what, deadline, &mut differs)?;
        }
    }
    case.steps.retain(|step| !step.commands.is_empty() || !step.frames.is_empty());
    differs(&case)?;
    Ok(Some((case, last)))
}

/// A list that is shortened.
trait List {
    fn len(&self) -> usize;
    fn cut(&mut self, from: usize, to: usize);
}

impl<T> List for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.drain(from..to);
    }
}

type Part<'a> = &'a mut dyn List;

fn frames(step: &mut Step) -> Part<'_> {
    &mut step.frames
}

fn commands(step: &mut Step) -> Part<'_> {
    &mut step.commands
}

/// Leaves out whatever is not needed of one list of each step, the largest parts first (Zeller, Hildebrandt 2002).
fn fewer(
    case: &mut Case,
    list: fn(&mut Step) -> Part<'_>,
    deadline: Instant,
    differs: &mut impl FnMut(&Case) -> Result<bool>,
) -> Result<()> {
    for index in (0..case.steps.len()).rev() {
        let mut size = list(&mut case.steps[index]).len();
        while size > 0 {
            let mut from = 0;
            while from < list(&mut case.steps[index]).len() && Instant::now() < deadline {
                let mut shorter = case.clone();
                let part = list(&mut shorter.steps[index]);
                let to = (from + size).min(part.len());
                part.cut(from, to);
                if differs(&shorter)? {
                    *case = shorter;
                } else {
                    from = to;
                }
            }
            size /= 2;
        }
    }
    Ok(())
}
