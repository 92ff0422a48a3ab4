//! Removes clones that the operator chose. The kernel's tables are as they were, so a packet clones its route again.

use std::{io, net::Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use route_cache_common::{Address4, Clone4, NextHopId};

use super::{BATCH, policy::Reason};
use crate::{
    agent::{Shared, State},
    fib::message::Ifindex,
};

/// Which clones.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// To destinations inside this prefix.
    pub(crate) prefix: Option<IpNet>,
    /// Through this interface.
    pub(crate) ifindex: Option<Ifindex>,
}

impl Choice {
    fn fits(&self, state: &State, destination: Address4, clone: &Clone4) -> bool {
        let is_inside = match self.prefix {
            None => true,
            Some(IpNet::V4(prefix)) => Ipv4Net::contains(&prefix, &Ipv4Addr::from(destination)),
            Some(IpNet::V6(_)) => false,
        };
        is_inside && self.ifindex.is_none_or(|ifindex| goes_through(state, clone) == Some(ifindex))
    }
}

fn goes_through(state: &State, clone: &Clone4) -> Option<Ifindex> {
    let (key, _) = state.fib.hops.of(NextHopId(clone.route[0]))?;
    state.fib.tables.neighbour_of(*key).ok().map(|(ifindex, _)| ifindex)
}

/// Removes the clones of all CPUs that are chosen, for this reason. Returns how many. Blocks.
///
/// # Errors
///
/// If a table cannot be read or written.
pub(crate) fn flush(shared: &Shared, choice: &Choice, reason: Reason) -> io::Result<u64> {
    let mut removed = 0;
    for (table, sweeper) in shared.clones.iter().zip(&shared.sweepers) {
        let mut chosen: Vec<Address4> = Vec::new();
        table.visit(BATCH, |destinations, clones| {
            let state = shared.read();
            let seen = destinations.iter().zip(clones);
            chosen.extend(
                seen.filter(|(destination, clone)| choice.fits(&state, **destination, clone))
                    .map(|(destination, _)| destination),
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
pub(crate) fn remove(
    shared: &Shared,
    table: usize,
    destinations: &[Address4],
    reason: Reason,
) -> io::Result<()> {
    if let (Some(clones), Some(sweeper)) = (shared.clones.get(table), shared.sweepers.get(table)) {
        sweeper.count(reason, clones.delete(destinations)?);
    }
    Ok(())
}
