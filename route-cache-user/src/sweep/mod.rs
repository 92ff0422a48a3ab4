//! The sweeper: walks the clones of each CPU and removes those whose time has come.
//!
//! One task per CPU table (each CPU has one for each family) with a timer of its own (S10), so that none waits for another and a walk that still runs is
//! not started twice (S19). The walk itself runs off the event loop: it never delays the promise to the data plane.
//!
//! What is decided is decided in [`life`], without I/O and clock: [`cpu`] says who may walk, [`timeout`] and [`history`]
//! when a clone expires, [`policy`] what becomes of it, [`pressure`] how hard memory presses, [`exempt`] which interfaces
//! purge nothing. `tests` holds it to the seed's rules.

mod cpu;
pub(crate) mod exempt;
pub(crate) mod flush;
mod history;
pub(crate) mod life;
pub(crate) mod policy;
pub(crate) mod pressure;
pub(crate) mod psi;
pub(crate) mod settings;
mod timeout;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::{
    cpu::Purpose,
    exempt::Exempt,
    life::{Better, Life},
    policy::{Fate, Reason, Walk},
    settings::{Seconds, Settings},
};
use crate::{
    agent::Shared, cli::AgentOptions, control::protocol::Walked, dataplane::clock::Clock,
    events::Event, fib::family::NetFamily, maps::CloneTable, turns,
};

/// Clones visited and deleted at a time.
const BATCH: usize = 4096;

/// Clones that a walk names when it tells what it removed; the others it counts.
const NAMED: usize = 128;

/// The policy, shared by the sweepers of all tables. What it calls a CPU is the table of one family on one.
pub(crate) struct Policy(RwLock<Life>);

impl Policy {
    /// As the options say, for so many tables.
    pub(crate) fn new(options: &AgentOptions, tables: usize, clock: &Clock) -> Self {
        let settings = Settings {
            rtexpire: Seconds(options.rtexpire.as_secs()),
            rtminexpire: Seconds(options.rtminexpire.as_secs()),
            rtmaxcache: options.rtmaxcache.into(),
            sweep_interval: Seconds(options.sweep_interval.as_secs()),
        };
        Self(RwLock::new(Life::new(tables, clock.hz(), settings, Better::ALL, clock.now())))
    }

    /// For reading. Hold it briefly.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Life> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For writing. Hold it briefly.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Life> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the sweeper of one CPU table has done, and how it is called early.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    expired: [AtomicU64; Reason::ALL.len()],
    call: Notify,
    look: Notify,
    last: [AtomicU64; 2],
}

impl Sweeper {
    /// Clones removed for a reason since start.
    pub(crate) fn expired(&self, reason: Reason) -> u64 {
        self.expired[reason as usize].load(Ordering::Relaxed)
    }

    fn count(&self, reason: Reason, clones: u64) {
        self.expired[reason as usize].fetch_add(clones, Ordering::Relaxed);
    }

    /// What the last walk came to.
    pub(crate) fn last_walk(&self) -> Walked {
        let [found, killed] = self.last.each_ref().map(|count| count.load(Ordering::Relaxed));
        Walked { found, killed }
    }

    /// Asks for a walk within a second.
    pub(crate) fn call(&self) {
        self.call.notify_one();
    }

    /// Has the sweeper look at when the next walk is due, which may have changed.
    pub(crate) fn wake(&self) {
        self.look.notify_one();
    }

    fn walk<F: NetFamily>(
        &self,
        table: &CloneTable<F>,
        shared: &Shared,
        purpose: Purpose,
    ) -> io::Result<Walk> {
        let exempt = Exempt::new(shared.options().exempt_interfaces.clone());
        let mut walk = Walk::default();
        let mut dying: [Vec<F::Address>; Reason::ALL.len()] = Default::default();
        let mut named: Vec<Event> = Vec::new();
        table.visit(BATCH, |destinations, clones| {
            let (state, life) = (shared.read(), shared.policy.read());
            let now = shared.clock.now();
            for (destination, clone) in destinations.iter().zip(clones) {
                walk.found += 1;
                let stale = state.fib.stale(clone, |interface| exempt.spares(interface, false));
                match life.judge(purpose, clone.last_used, stale, now) {
                    Fate::Keep(expiry) => walk.note_expiry(expiry),
                    Fate::Expire(reason) => {
                        if named.len() < NAMED {
                            let idle = now.saturating_sub(clone.last_used);
                            named.push(Event::CloneExpired {
                                dst: F::ip(*destination),
                                cpu: table.cpu,
                                reason: reason.name().into(),
                                idle_seconds: shared.clock.to_seconds(idle),
                            });
                        }
                        dying[reason as usize].push(*destination);
                    }
                }
            }
        })?;
        for (reason, destinations) in Reason::ALL.into_iter().zip(&dying) {
            for batch in destinations.chunks(BATCH) {
                match table.delete(batch) {
                    Ok(killed) => {
                        self.count(reason, killed);
                        walk.killed += killed;
                    }
                    Err(error) => {
                        tracing::warn!("cannot delete clones of CPU {}: {error}", table.cpu);
                        walk.note_expiry(shared.clock.now());
                    }
                }
            }
        }
        self.tell(table.cpu, named, dying.each_ref().map(Vec::len), shared);
        Ok(walk)
    }

    /// Puts down what a walk removed: some by name, the others by number.
    fn tell(
        &self,
        cpu: u32,
        named: Vec<Event>,
        dying: [usize; Reason::ALL.len()],
        shared: &Shared,
    ) {
        for (reason, all) in Reason::ALL.into_iter().zip(dying) {
            let is_of = |event: &&Event| matches!(event, Event::CloneExpired { reason: named, .. } if *named == reason.name());
            let count = (all - named.iter().filter(is_of).count()) as u64;
            if count > 0 {
                let reason = reason.name().into();
                shared.journal.push(Event::ClonesExpired { cpu, reason, count });
            }
        }
        named.into_iter().for_each(|event| shared.journal.push(event));
    }
}

/// Sweeps the table of a family on one CPU until the runtime ends; the first walk is at once.
pub(crate) async fn run<F: NetFamily>(shared: Arc<Shared>, cpu: usize) {
    let (clock, policy) = (&shared.clock, &shared.policy);
    let index = shared.table_index(F::FAMILY, cpu);
    let sweeper = &shared.sweepers[F::FAMILY][cpu];
    let title = F::FAMILY.title();
    loop {
        let ticket = policy.write().begin_walk(index, clock.now());
        let Some(ticket) = ticket else {
            let wake = policy.read().wake(index);
            let wait = wake.map_or(clock.hz(), |wake| wake.saturating_sub(clock.now()).max(1));
            let wait = Duration::from_secs_f64(clock.to_seconds(wait));
            tokio::select! {
                () = sweeper.call.notified() => policy.write().call(index, clock.now()),
                () = sweeper.look.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            continue;
        };
        let (for_walk, purpose) = (Arc::clone(&shared), ticket.purpose());
        let began = Instant::now();
        // The ticket stays here: it is given back even if the walk panics.
        let walked = tokio::task::spawn_blocking(move || {
            let table = &F::clones(&for_walk.clones)[cpu];
            turns::in_long(|| for_walk.sweepers[F::FAMILY][cpu].walk(table, &for_walk, purpose))
        });
        match walked.await {
            Ok(Ok(walk)) => {
                shared.measured.sweep.observe(began.elapsed().as_secs_f64());
                let last = &sweeper.last;
                last[0].store(walk.found, Ordering::Relaxed);
                last[1].store(walk.killed, Ordering::Relaxed);
                let next = policy.write().end_walk(ticket, walk, clock.now());
                tracing::debug!(
                    "swept the {title} clones of CPU {cpu}: {} found, {} killed",
                    walk.found,
                    walk.killed
                );
                if let Some(adjustment) = next.adjusted {
                    shared.note_adjustment(adjustment);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!("cannot sweep the {title} clones of CPU {cpu}: {error}");
                policy.write().break_off(ticket, clock.now());
            }
            Err(error) => {
                tracing::error!("the {title} sweep of CPU {cpu} broke off: {error}");
                policy.write().break_off(ticket, clock.now());
            }
        }
    }
}
