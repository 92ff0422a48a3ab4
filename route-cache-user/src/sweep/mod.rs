//! The sweeper: walks the clones of each CPU and removes those whose time has come.
//!
//! One task per CPU table with a timer of its own (S10), so that none waits for another and a walk that still runs is
//! not started twice (S19). The walk itself runs off the event loop: it never delays the promise to the data plane.

pub(crate) mod policy;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use route_cache_common::{Address4, Route};
use tokio::sync::Notify;

use self::policy::{Fate, Reason};
use crate::{agent::Shared, maps::CloneTable};

/// Clones visited and deleted at a time.
const BATCH: usize = 4096;

/// What the sweeper of one CPU table has done, and how it is called early.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    expired: [AtomicU64; Reason::ALL.len()],
    call: Notify,
}

/// What one walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walk {
    found: u64,
    killed: u64,
    first_expiry: Option<u64>,
}

impl Sweeper {
    /// Clones removed for a reason since start.
    pub(crate) fn expired(&self, reason: Reason) -> u64 {
        self.expired[reason as usize].load(Ordering::Relaxed)
    }

    /// Asks for a walk within a second.
    pub(crate) fn call(&self) {
        self.call.notify_one();
    }

    fn walk(&self, table: &CloneTable, shared: &Shared) -> std::io::Result<Walk> {
        let clock = &shared.clock;
        let timeout = clock.from_seconds(shared.options.rtexpire_seconds);
        let mut walk = Walk { found: 0, killed: 0, first_expiry: None };
        let mut dying: [Vec<Address4>; Reason::ALL.len()] = Default::default();
        table.visit(BATCH, |destinations, clones| {
            let state = shared.read();
            let now = clock.now();
            for (destination, clone) in destinations.iter().zip(clones) {
                walk.found += 1;
                let route = Route::unpack(clone.route);
                let is_current = state.fib.slots.generation(route.slot) == Some(route.generation);
                match policy::judge(clone, now, timeout, is_current) {
                    Fate::Keep(expiry) => {
                        walk.first_expiry = Some(walk.first_expiry.map_or(expiry, |first| first.min(expiry)));
                    }
                    Fate::Expire(reason) => dying[reason as usize].push(*destination),
                }
            }
        })?;
        for (reason, destinations) in Reason::ALL.into_iter().zip(&dying) {
            for batch in destinations.chunks(BATCH) {
                let killed = table.delete(batch)?;
                self.expired[reason as usize].fetch_add(killed, Ordering::Relaxed);
                walk.killed += killed;
            }
        }
        Ok(walk)
    }
}

/// Sweeps one CPU's table until the runtime ends; the first walk is at once.
pub(crate) async fn run(shared: Arc<Shared>, index: usize) {
    let second = Duration::from_secs(1);
    loop {
        let (for_walk, clock) = (Arc::clone(&shared), &shared.clock);
        let walked = tokio::task::spawn_blocking(move || {
            let table = &for_walk.clones[index];
            for_walk.sweepers[index].walk(table, &for_walk)
        });
        let first_expiry = match walked.await {
            Ok(Ok(walk)) => {
                tracing::debug!("swept the clones of CPU {index}: {} found, {} killed", walk.found, walk.killed);
                walk.first_expiry
            }
            Ok(Err(error)) => {
                tracing::warn!("cannot sweep the clones of CPU {index}: {error}");
                None
            }
            Err(error) => {
                tracing::error!("the sweep of CPU {index} broke off: {error}");
                None
            }
        };
        let interval = clock.from_seconds(shared.options.sweep_interval_seconds);
        let wait = policy::until_next_walk(first_expiry, clock.now(), clock.hz(), interval);
        let wait = Duration::from_secs_f64(clock.to_seconds(wait));
        // However often it is called, a second lies between two walks.
        tokio::time::sleep(second.min(wait)).await;
        let _called_or_due = tokio::time::timeout(wait.saturating_sub(second), shared.sweepers[index].call.notified()).await;
    }
}
