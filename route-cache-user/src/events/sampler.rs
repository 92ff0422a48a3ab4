//! Which of many expired clones are named, and how many are only counted.

use std::{borrow::Cow, collections::BTreeMap};

use super::Event;

/// Most clones that are named within one second.
const NAMED_A_SECOND: u32 = 100;

/// Lets the first of each second through and counts the others. Is told the time, in whole seconds.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    second: u64,
    named: u32,
    left_out: BTreeMap<(u32, Cow<'static, str>), u64>,
}

impl Sampler {
    /// Starts another second if one has begun; returns what was left out before.
    #[must_use]
    pub(super) fn tick(&mut self, second: u64) -> Vec<Event> {
        if second <= self.second {
            return Vec::new();
        }
        (self.second, self.named) = (second, 0);
        std::mem::take(&mut self.left_out)
            .into_iter()
            .map(|((cpu, reason), count)| Event::ClonesExpired { cpu, reason, count })
            .collect()
    }

    /// The event, or nothing if it is only counted.
    #[must_use]
    pub(super) fn sample(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::CloneExpired { cpu, reason, .. } if self.named >= NAMED_A_SECOND => {
                *self.left_out.entry((cpu, reason)).or_default() += 1;
                None
            }
            Event::CloneExpired { .. } => {
                self.named += 1;
                Some(event)
            }
            event => Some(event),
        }
    }
}
