//! The task that asks about a few clones each second.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::{Suspect, ask::Asker, examine::ingresses, first_look, look, settle};
use crate::agent::Shared;

/// How often.
const PERIOD: Duration = Duration::from_secs(1);

/// Tables looked into each time: to find nothing in a large one takes long, too.
const TABLES: usize = 4;

/// Suspects kept; while there are as many, no further clone is asked about.
const SUSPECTS: usize = 1024;

/// Where the walk through the tables is, and what is to be asked about again.
#[derive(Default)]
struct Sampler {
    asker: Option<Asker>,
    table: usize,
    position: Option<u32>,
    suspects: Vec<Suspect>,
}

/// Asks until the runtime ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sampler = Sampler::default();
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed: Option<String> = None;
    loop {
        tick.tick().await;
        let rate = shared.options().audit_rate as usize;
        if rate == 0 {
            sampler = Sampler::default();
            continue;
        }
        let for_round = Arc::clone(&shared);
        // Off the event loop: a question takes as long as the kernel's locks are held by others.
        let round = tokio::task::spawn_blocking(move || {
            let done = sampler.round(&for_round, rate);
            (sampler, done)
        });
        let done = match round.await {
            Ok((kept, done)) => {
                sampler = kept;
                done.map_err(|error| format!("{error:#}"))
            }
            Err(error) => {
                sampler = Sampler::default();
                Err(error.to_string())
            }
        };
        let error = done.err();
        if let Some(error) = &error {
            // A socket that failed is of no use any more.
            sampler.asker = None;
            if failed.as_ref() != Some(error) {
                tracing::warn!("cannot audit the clones: {error}");
            }
        }
        failed = error;
    }
}

impl Sampler {
    fn round(&mut self, shared: &Arc<Shared>, rate: usize) -> Result<()> {
        let asker = match &mut self.asker {
            Some(asker) => asker,
            none => none.insert(Asker::open().context("cannot open a netlink socket")?),
        };
        let is_due = |suspect: &mut Suspect| shared.audit.caught_up.has_come(suspect.due);
        let due: Vec<_> = self.suspects.extract_if(.., is_due).collect();
        let _told = settle(shared, asker, &due)?;
        let from = ingresses(&shared.read().fib);
        let mut left = rate;
        for _ in 0..TABLES.min(shared.clones.len()) {
            let Some(table) = shared.clones.get(self.table) else {
                break;
            };
            let some = table
                .some(&mut self.position, left)
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
            left = left.saturating_sub(some.len());
            let state = shared.read();
            let seen: Vec<_> = some
                .into_iter()
                .map(|(key, clone)| look(shared, &state, self.table, key, &clone))
                .collect::<Result<_>>()?;
            drop(state);
            for seen in seen.into_iter().flatten() {
                // One that is asked about already is not asked about twice.
                if self.suspects.len() < SUSPECTS
                    && !self.suspects.iter().any(|suspect| suspect.seen == seen)
                {
                    self.suspects.extend(first_look(shared, asker, &from, seen)?);
                }
            }
            if self.position.is_none() {
                self.table = (self.table + 1) % shared.clones.len();
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}
