//! The sweeper: walks the clones of each CPU and removes those whose time has come.
//!
//! One task per CPU table with a timer of its own (S10), so that none waits for another and a walk that still runs is
//! not started twice (S19). The walk itself runs off the event loop: it never delays the promise to the data plane.
//!
//! What is decided is decided in [`life`], without I/O and clock: [`cpu`] says who may walk, [`timeout`] and [`history`]
//! when a clone expires, [`policy`] what becomes of it, [`pressure`] how hard memory presses, [`exempt`] which interfaces
//! purge nothing. `tests` holds it to the seed's rules.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "set, drain and pressure come from the control socket and PSI")
)]

mod cpu;
mod exempt;
mod history;
pub(crate) mod life;
pub(crate) mod policy;
mod pressure;
mod settings;
mod timeout;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use route_cache_common::{Address4, Route};
use tokio::sync::Notify;

use self::{
    cpu::Purpose,
    life::{Better, Life},
    policy::{Fate, Reason, Walk},
    settings::{Seconds, Settings},
};
use crate::{agent::Shared, maps::CloneTable};

/// Clones visited and deleted at a time.
const BATCH: usize = 4096;

/// The policy, shared by the sweepers of all CPUs.
pub(crate) struct Policy(RwLock<Life>);

impl Policy {
    /// As the options say.
    pub(crate) fn new(shared: &Shared) -> Self {
        let options = &shared.options;
        let settings = Settings {
            rtexpire: Seconds(options.rtexpire.as_secs()),
            sweep_interval: Seconds(options.sweep_interval.as_secs()),
            ..Settings::for_capacity(options.clones_per_cpu)
        };
        let (cpus, clock) = (shared.clones.len(), &shared.clock);
        Self(RwLock::new(Life::new(cpus, clock.hz(), settings, Better::ALL, clock.now())))
    }

    fn read(&self) -> RwLockReadGuard<'_, Life> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Life> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the sweeper of one CPU table has done, and how it is called early.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    expired: [AtomicU64; Reason::ALL.len()],
    call: Notify,
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

    fn walk(
        &self,
        table: &CloneTable,
        shared: &Shared,
        policy: &Policy,
        purpose: Purpose,
    ) -> io::Result<Walk> {
        let mut walk = Walk::default();
        let mut dying: [Vec<Address4>; Reason::ALL.len()] = Default::default();
        table.visit(BATCH, |destinations, clones| {
            let (state, life) = (shared.read(), policy.read());
            let now = shared.clock.now();
            for (destination, clone) in destinations.iter().zip(clones) {
                walk.found += 1;
                let route = Route::unpack(clone.route);
                let is_current = state.fib.slots.generation(route.slot) == Some(route.generation);
                let stale = (!is_current).then_some(Reason::Route);
                match life.judge(purpose, clone.last_used, stale, now) {
                    Fate::Keep(expiry) => walk.note_expiry(expiry),
                    Fate::Expire(reason) => dying[reason as usize].push(*destination),
                }
            }
        })?;
        for (reason, destinations) in Reason::ALL.into_iter().zip(&dying) {
            for batch in destinations.chunks(BATCH) {
                match table.delete(batch) {
                    Ok(killed) => {
                        self.expired[reason as usize].fetch_add(killed, Ordering::Relaxed);
                        walk.killed += killed;
                    }
                    Err(error) => {
                        tracing::warn!("cannot delete clones of CPU {}: {error}", table.cpu);
                        walk.note_expiry(shared.clock.now());
                    }
                }
            }
        }
        Ok(walk)
    }
}

/// Sweeps one CPU's table until the runtime ends; the first walk is at once.
pub(crate) async fn run(shared: Arc<Shared>, policy: Arc<Policy>, index: usize) {
    let clock = &shared.clock;
    loop {
        let ticket = policy.write().begin_walk(index, clock.now());
        let Some(ticket) = ticket else {
            let wake = policy.read().wake(index);
            let wait = wake.map_or(clock.hz(), |wake| wake.saturating_sub(clock.now()).max(1));
            let wait = Duration::from_secs_f64(clock.to_seconds(wait));
            let called = shared.sweepers[index].call.notified();
            if tokio::time::timeout(wait, called).await.is_ok() {
                policy.write().call(index, clock.now());
            }
            continue;
        };
        let (for_walk, its_policy, purpose) =
            (Arc::clone(&shared), Arc::clone(&policy), ticket.purpose());
        // The ticket stays here: it is given back even if the walk panics.
        let walked = tokio::task::spawn_blocking(move || {
            let table = &for_walk.clones[index];
            for_walk.sweepers[index].walk(table, &for_walk, &its_policy, purpose)
        });
        match walked.await {
            Ok(Ok(walk)) => {
                let next = policy.write().end_walk(ticket, walk, clock.now());
                tracing::debug!(
                    "swept the clones of CPU {index}: {} found, {} killed",
                    walk.found,
                    walk.killed
                );
                if let Some(adjustment) = next.adjusted {
                    tracing::info!("rtexpire: {} to {}", adjustment.from, adjustment.to);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!("cannot sweep the clones of CPU {index}: {error}");
                policy.write().break_off(ticket, clock.now());
            }
            Err(error) => {
                tracing::error!("the sweep of CPU {index} broke off: {error}");
                policy.write().break_off(ticket, clock.now());
            }
        }
    }
}
