//! The task that asks about a few clones each second.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use route_cache_common::{V4, V6};

use super::{
    Suspect,
    ask::{Asker, Ingress},
    examine::ingresses,
    first_look, look, settle,
};
use crate::{agent::Shared, fib::family::NetFamily};

/// How often.
const PERIOD: Duration = Duration::from_secs(1);

/// Tables of a family looked into each time: to find nothing in a large one takes long, too.
const TABLES: usize = 4;

/// Suspects of a family kept; while there are as many, no further clone is asked about.
const SUSPECTS: usize = 1024;

/// A walk through the clones of each family.
#[derive(Default)]
struct Sampler {
    asker: Option<Asker>,
    v4: Walk<V4>,
    v6: Walk<V6>,
    /// IPv6 goes first this time, so that neither family takes all of the rate.
    is_six_first: bool,
}

/// Where the walk through the tables of a family is, and what is to be asked about again.
struct Walk<F: NetFamily> {
    table: usize,
    position: Option<u32>,
    suspects: Vec<Suspect<F>>,
}

impl<F: NetFamily> Default for Walk<F> {
    fn default() -> Self {
        Self { table: 0, position: None, suspects: Vec::new() }
    }
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
    fn round(&mut self, shared: &Shared, rate: usize) -> Result<()> {
        let asker = match &mut self.asker {
            Some(asker) => asker,
            none => none.insert(Asker::open().context("cannot open a netlink socket")?),
        };
        self.v4.settle(shared, asker)?;
        self.v6.settle(shared, asker)?;
        let from = ingresses(&shared.read().fib);
        self.is_six_first = !self.is_six_first;
        if self.is_six_first {
            let left = self.v6.advance(shared, asker, &from, rate)?;
            self.v4.advance(shared, asker, &from, left)?;
        } else {
            let left = self.v4.advance(shared, asker, &from, rate)?;
            self.v6.advance(shared, asker, &from, left)?;
        }
        Ok(())
    }
}

impl<F: NetFamily> Walk<F> {
    fn settle(&mut self, shared: &Shared, asker: &mut Asker) -> Result<()> {
        let is_due = |suspect: &mut Suspect<F>| shared.audit.caught_up.has_come(suspect.due);
        let due: Vec<_> = self.suspects.extract_if(.., is_due).collect();
        settle(shared, asker, &due).map(|_told| ())
    }

    /// Asks about `left` clones or so. Returns how many of them there were not.
    fn advance(
        &mut self,
        shared: &Shared,
        asker: &mut Asker,
        from: &[Ingress],
        mut left: usize,
    ) -> Result<usize> {
        let tables = F::clones(&shared.clones);
        for _ in 0..TABLES.min(tables.len()) {
            if left == 0 {
                break;
            }
            let Some(table) = tables.get(self.table) else {
                break;
            };
            let some = table
                .some(&mut self.position, left)
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
            left = left.saturating_sub(some.len());
            let state = shared.read();
            let seen: Vec<_> = some
                .into_iter()
                .map(|(key, clone)| look::<F>(shared, &state, self.table, key, &clone))
                .collect::<Result<_>>()?;
            drop(state);
            for seen in seen.into_iter().flatten() {
                // One that is asked about already is not asked about twice.
                if self.suspects.len() < SUSPECTS
                    && !self.suspects.iter().any(|suspect| suspect.seen == seen)
                {
                    self.suspects.extend(first_look(shared, asker, from, seen)?);
                }
            }
            if self.position.is_none() {
                self.table = (self.table + 1) % tables.len();
            }
        }
        Ok(left)
    }
}
