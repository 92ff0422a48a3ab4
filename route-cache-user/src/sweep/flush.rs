//! Removes clones that the operator chose. The kernel's tables are as they were, so a packet clones its route again.

use std::io;

use ipnet::IpNet;
use route_cache_common::{Action, ClonedRoute, NextHopId, Route, V4, V6};

use super::{BATCH, policy::Reason};
use crate::{
    agent::{Shared, State},
    fib::{
        family::{IpFamily, NetFamily},
        message::Ifindex,
    },
};

/// Which clones.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// To destinations inside this prefix.
    pub(crate) prefix: Option<IpNet>,
    /// Of this family.
    pub(crate) family: Option<IpFamily>,
    /// Through this interface.
    pub(crate) ifindex: Option<Ifindex>,
}

impl Choice {
    fn fits<F: NetFamily>(&self, state: &State, to: F::Address, clone: &ClonedRoute) -> bool {
        let is_inside = self.prefix.is_none_or(|prefix| prefix.contains(&F::ip(to)));
        is_inside && self.ifindex.is_none_or(|ifindex| may_go_through(state, clone, ifindex))
    }
}

/// Whether the next hop is behind an interface, or one of several is.
fn may_go_through(state: &State, clone: &ClonedRoute, ifindex: Ifindex) -> bool {
    let fib = &state.fib;
    let is_behind =
        |key| matches!(fib.tables.neighbour_of(key), Ok((behind, _)) if behind == ifindex);
    match Route::unpack(clone.route).action {
        Action::Group(number) => fib
            .groups
            .of(number)
            .is_some_and(|group| group.members.iter().any(|member| is_behind(member.key))),
        Action::Via(_) | Action::OnLink(_) | Action::Pass(_) => {
            fib.hops.of(NextHopId(clone.route[0])).is_some_and(|(key, _)| is_behind(*key))
        }
    }
}

/// Removes the clones of all CPUs that are chosen, for this reason. Returns how many. Blocks.
///
/// # Errors
///
/// If a table cannot be read or written.
pub(crate) fn flush(shared: &Shared, choice: &Choice, reason: Reason) -> io::Result<u64> {
    Ok(flush_family::<V4>(shared, choice, reason)? + flush_family::<V6>(shared, choice, reason)?)
}

fn flush_family<F: NetFamily>(shared: &Shared, choice: &Choice, reason: Reason) -> io::Result<u64> {
    if choice.family.is_some_and(|family| family != F::FAMILY) {
        return Ok(0);
    }
    let mut removed = 0;
    for (table, sweeper) in F::clones(&shared.clones).iter().zip(&shared.sweepers[F::FAMILY]) {
        let mut chosen: Vec<F::Address> = Vec::new();
        table.visit(BATCH, |destinations, clones| {
            let state = shared.read();
            let seen = destinations.iter().zip(clones);
            chosen.extend(
                seen.filter(|(to, clone)| choice.fits::<F>(&state, **to, clone)).map(|(to, _)| to),
            );
        })?;
        for batch in chosen.chunks(BATCH) {
            let killed = table.delete(batch)?;
            sweeper.count(reason, killed);
            removed += killed;
        }
    }
    Ok(removed)
}

/// Removes clones of one table, for this reason.
///
/// # Errors
///
/// If the table cannot be written.
pub(crate) fn remove<F: NetFamily>(
    shared: &Shared,
    table: usize,
    destinations: &[F::Address],
    reason: Reason,
) -> io::Result<()> {
    let (tables, sweepers) = (F::clones(&shared.clones), &shared.sweepers[F::FAMILY]);
    if let (Some(clones), Some(sweeper)) = (tables.get(table), sweepers.get(table)) {
        sweeper.count(reason, clones.delete(destinations)?);
    }
    Ok(())
}
