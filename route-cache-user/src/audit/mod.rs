//! The audit: asks the kernel where it would send packets to the destinations that have a clone, and compares.
//!
//! ```text
//! clone ─► examine (what it says, by the mirror) ─┐
//!                                                 ├─► compare ─► suspect ─► asked again ─► counted, told, removed
//! kernel ─► ask (RTM_GETROUTE) ───────────────────┘
//! ```
//!
//! The mirror may be a message behind, so that one disagreement means nothing. One that stands is this: the kernel says
//! something else; later the mirror has taken in all that the kernel had said by then; and the clone, its route and its
//! next hop are what they were, and the kernel still says something else.
//!
//! A task of its own asks about a few clones a second (`audit_rate`), one after the other through all tables, on a socket
//! of its own; `route-cache audit` asks about all at once. Neither makes the event loop wait.

pub(crate) mod ask;
mod caught_up;
pub(crate) mod compare;
pub(crate) mod examine;
pub(crate) mod route_get;
mod sampler;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use route_cache_common::{ClonedRoute, V4, V6};

pub(crate) use self::sampler::run;
use self::{
    ask::{Asker, Ingress},
    caught_up::CaughtUp,
    compare::{Answer, Difference, Named},
    examine::{Seen, ask, ingresses},
};
use crate::{
    agent::{Shared, State},
    control::protocol::{AuditReport, AuditedClone},
    events::Event,
    fib::family::NetFamily,
    sweep::{flush::remove, policy::Reason},
};

/// Clones read at a time for `route-cache audit`.
const BATCH: usize = 256;

/// Disagreements that are named in log and journal each time; the others are counted.
const NAMED: usize = 16;

/// For the mirror to catch up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the audit has come to, and what it waits for.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Raised by the event loop.
    pub(crate) caught_up: CaughtUp,
    audits: AtomicU64,
    mismatches: AtomicU64,
}

impl Audit {
    /// Clones about which the kernel was asked since start.
    pub(crate) fn audits(&self) -> u64 {
        self.audits.load(Ordering::Relaxed)
    }

    /// Clones that were found to disagree with it.
    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }
}

/// A clone that the kernel seems to disagree with.
#[derive(Debug)]
struct Suspect<F: NetFamily> {
    seen: Seen<F>,
    /// When it may be asked about again.
    due: u64,
}

/// Asks about one clone for the first time.
fn first_look<F: NetFamily>(
    shared: &Shared,
    asker: &mut Asker,
    ingresses: &[Ingress],
    seen: Seen<F>,
) -> Result<Option<Suspect<F>>> {
    shared.audit.audits.fetch_add(1, Ordering::Relaxed);
    let differs = ask(asker, &seen.ours, ingresses).context("cannot ask the kernel for a route")?;
    Ok(differs.map(|_| Suspect { seen, due: shared.audit.caught_up.after_now() }))
}

/// Asks again, when the mirror has caught up. Nothing if the clone is not what it was, or the kernel agrees by now.
fn second_look<F: NetFamily>(
    shared: &Shared,
    asker: &mut Asker,
    ingresses: &[Ingress],
    suspect: &Suspect<F>,
) -> Result<Option<(Difference, Answer)>> {
    if !is_unchanged(shared, &suspect.seen)? {
        return Ok(None);
    }
    let differs = ask(asker, &suspect.seen.ours, ingresses);
    let differs = differs.context("cannot ask the kernel for a route")?;
    Ok(differs.filter(|_| is_unchanged(shared, &suspect.seen).unwrap_or(false)))
}

/// What a clone says, if the data plane uses it.
fn look<F: NetFamily>(
    shared: &Shared,
    state: &State,
    table: usize,
    key: F::Address,
    clone: &ClonedRoute,
) -> Result<Option<Seen<F>>> {
    Seen::new((&state.fib, &shared.generations), table, key, clone)
        .context("cannot read a generation")
}

/// Whether the clone, its route and its next hop are what they were.
fn is_unchanged<F: NetFamily>(shared: &Shared, seen: &Seen<F>) -> Result<bool> {
    let Some(table) = F::clones(&shared.clones).get(seen.table) else {
        return Ok(false);
    };
    let clone =
        table.get(seen.key).with_context(|| format!("cannot read a clone of CPU {}", table.cpu))?;
    let Some(clone) = clone else {
        return Ok(false);
    };
    let now = look(shared, &shared.read(), seen.table, seen.key, &clone)?;
    Ok(now.as_ref() == Some(seen))
}

/// Looks again at suspects; those that stand are counted, told and removed.
fn settle<F: NetFamily>(
    shared: &Shared,
    asker: &mut Asker,
    suspects: &[Suspect<F>],
) -> Result<Vec<AuditedClone>> {
    let mut differences = Vec::new();
    if suspects.is_empty() {
        return Ok(differences);
    }
    let from = ingresses(&shared.read().fib);
    let looked = suspects.iter().try_for_each(|suspect| {
        let Some((difference, answer)) = second_look(shared, asker, &from, suspect)? else {
            return Ok(());
        };
        differences.push(in_words(shared, &suspect.seen, difference, &answer));
        let Seen { table, key, ours, .. } = &suspect.seen;
        remove::<F>(shared, *table, &[*key], Reason::Audit)
            .with_context(|| format!("cannot remove the clone of {}", ours.dst))
    });
    // What was found until something failed was found.
    tell(shared, &differences);
    looked.map(|()| differences)
}

fn in_words<F: NetFamily>(
    shared: &Shared,
    seen: &Seen<F>,
    difference: Difference,
    answer: &Answer,
) -> AuditedClone {
    let state = shared.read();
    let name = |ifindex| state.fib.tables.link_name(ifindex);
    AuditedClone {
        dst: seen.ours.dst,
        cpu: F::clones(&shared.clones).get(seen.table).map_or(0, |table| table.cpu),
        difference: difference.name().into(),
        clone: Named(&seen.ours, &name).to_string(),
        kernel: Named(answer, &name).to_string(),
    }
}

fn tell(shared: &Shared, differences: &[AuditedClone]) {
    shared.audit.mismatches.fetch_add(differences.len() as u64, Ordering::Relaxed);
    for AuditedClone { dst, cpu, clone, kernel, .. } in differences.iter().take(NAMED) {
        tracing::warn!(
            "the clone of {dst} on CPU {cpu} says {clone}, the kernel says {kernel}: removed the clone"
        );
        shared.journal.push(Event::AuditMismatch {
            dst: *dst,
            cpu: *cpu,
            clone: clone.clone(),
            kernel: kernel.clone(),
        });
    }
    if differences.len() > NAMED {
        tracing::warn!(
            "removed {} more clones that say else than the kernel",
            differences.len() - NAMED
        );
    }
}

/// Asks about every clone there is. Blocks, for as long as it takes.
///
/// # Errors
///
/// If a table cannot be read, or the kernel does not answer.
pub(crate) fn all(shared: &Arc<Shared>) -> Result<AuditReport> {
    let mut asker = Asker::open().context("cannot open a netlink socket")?;
    let mut report = AuditReport::default();
    let v4 = suspects::<V4>(shared, &mut asker, &mut report)?;
    let v6 = suspects::<V6>(shared, &mut asker, &mut report)?;
    let last = v4.iter().map(|suspect| suspect.due).chain(v6.iter().map(|suspect| suspect.due));
    if let Some(last) = last.max()
        && !shared.audit.caught_up.wait(last, PATIENCE)
    {
        report.unsure = (v4.len() + v6.len()) as u64;
        return Ok(report);
    }
    report.differences = settle(shared, &mut asker, &v4)?;
    report.differences.extend(settle(shared, &mut asker, &v6)?);
    Ok(report)
}

/// Asks about every clone of a family for the first time.
fn suspects<F: NetFamily>(
    shared: &Shared,
    asker: &mut Asker,
    report: &mut AuditReport,
) -> Result<Vec<Suspect<F>>> {
    let from = ingresses(&shared.read().fib);
    let mut suspects = Vec::new();
    for (index, table) in F::clones(&shared.clones).iter().enumerate() {
        let mut failed = None;
        table
            .visit(BATCH, |destinations, clones| {
                if failed.is_some() {
                    return;
                }
                let state = shared.read();
                let both = destinations.iter().zip(clones);
                let seen: Vec<_> = both
                    .map(|(key, clone)| look::<F>(shared, &state, index, *key, clone))
                    .collect();
                drop(state);
                for seen in seen {
                    let suspect = match seen {
                        Ok(None) => {
                            report.void += 1;
                            continue;
                        }
                        Ok(Some(seen)) => first_look(shared, asker, &from, seen),
                        Err(error) => Err(error),
                    };
                    report.checked += 1;
                    match suspect {
                        Ok(suspect) => suspects.extend(suspect),
                        Err(error) => return failed = Some(error),
                    }
                }
            })
            .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(suspects)
}
