//! Step: the host routes that this CPU cloned on first use.

use route_cache_common::{
    Action, ClonedRoute, Outcome, Route, Tally, next_hop::NextHopVersion, route::RouteWords,
};

use crate::{
    admission,
    family::Datapath,
    maps::{self, CloneRef},
    next_hop,
};

/// The way a packet will go: where it was found, and what it found there.
pub struct Way<F: Datapath> {
    /// Destination address.
    pub destination: F::Address,
    /// Next hop or group, slot, generation and MTU.
    pub route: RouteWords,
    /// The clone it was found in, or `None` if it was found in the routes.
    pub clone: Option<CloneRef>,
    /// The version of the next hop to use.
    pub next_hop: NextHopVersion,
}

impl<F: Datapath> Way<F> {
    /// The route's own MTU, or 0.
    #[inline(always)]
    pub fn route_mtu(&self) -> u16 {
        Route::unpack(self.route).mtu
    }
}

/// The way of this destination's clone; nothing if it has none that is still valid.
///
/// A clone is valid while its slot has its generation and its next hop has its id. A neighbour that was forgotten and
/// found again has a new id; the route, and with it the generation, may have stayed the same. The clone of a route by
/// several next hops names their group, out of which `hash` picks.
#[inline(always)]
pub fn find<F: Datapath>(
    destination: F::Address,
    hash: impl FnOnce() -> u32,
) -> Option<Result<Way<F>, Outcome>> {
    let clone = F::clone_of(destination)?;
    let route = clone.route();
    if !maps::is_current(route) {
        return None;
    }
    let id = match Route::unpack(route).action {
        Action::Via(id) => id,
        Action::Group(group) => maps::group_member(group, hash())?,
        Action::OnLink(_) | Action::Pass(_) => return None,
    };
    match next_hop::take(id) {
        Ok(next_hop) => Some(Ok(Way { destination, route, clone: Some(clone), next_hop })),
        Err(Outcome::PassRace) => None,
        Err(pass) => Some(Err(pass)),
    }
}

/// Counts the packet on its clone, or clones the route it was found in.
///
/// A table that is full, or a destination that is not admitted yet, costs the clone and nothing else: the packet is on
/// its way.
#[inline(always)]
pub fn record<F: Datapath>(way: &Way<F>, now: u64, bytes: u64) -> Outcome {
    if let Some(clone) = &way.clone {
        clone.touch(now, bytes);
        return Outcome::ForwardedClone;
    }
    let tag = F::fold(way.destination);
    if !maps::config().is_some_and(|config| admission::admits(config, tag, now)) {
        maps::tally(Tally::CloneDeferred);
        return Outcome::ForwardedRoute;
    }
    let made = F::insert_clone(way.destination, ClonedRoute::new(way.route, now, bytes));
    maps::tally(match made {
        Ok(maps::Inserted::New) => Tally::CloneCreated,
        Ok(maps::Inserted::Replaced) => Tally::CloneReplaced,
        Err(_) => Tally::CloneRefused,
    });
    Outcome::ForwardedRoute
}
