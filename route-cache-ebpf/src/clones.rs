//! Step: the host routes that this CPU cloned on first use.

use route_cache_common::{
    Address4, Clone4, Config, NextHopId, Outcome, Route, Tally, next_hop::NextHopVersion,
    route::RouteWords,
};

use crate::{
    admission,
    maps::{self, CloneRef},
    next_hop,
};

/// The way a packet will go: where it was found, and what it found there.
pub struct Way {
    /// Destination address.
    pub destination: Address4,
    /// Next hop, slot, generation and MTU, with the next hop resolved.
    pub route: RouteWords,
    /// The clone it was found in, or `None` if it was found in the routes.
    pub clone: Option<CloneRef>,
    /// The version of the next hop to use.
    pub next_hop: NextHopVersion,
}

impl Way {
    /// The route's own MTU, or 0.
    #[inline(always)]
    pub fn route_mtu(&self) -> u16 {
        Route::unpack(self.route).mtu
    }
}

/// The way of this destination's clone; nothing if it has none that is still valid.
///
/// A clone is valid while its slot has its generation and its next hop has its id. A neighbour that was forgotten and
/// found again has a new id; the route, and with it the generation, may have stayed the same.
#[inline(always)]
pub fn find(destination: Address4) -> Option<Result<Way, Outcome>> {
    let clone = maps::clone(destination)?;
    let route = clone.route();
    if !maps::is_current(route) {
        return None;
    }
    match next_hop::take(NextHopId(route[0])) {
        Ok(next_hop) => Some(Ok(Way { destination, route, clone: Some(clone), next_hop })),
        Err(Outcome::PassRace) => None,
        Err(pass) => Some(Err(pass)),
    }
}

/// Counts the packet on its clone, or clones the route it was found in.
///
/// A table that is full, or a destination that is not admitted yet, costs the clone and nothing else: the packet is on
/// its way. Where none is to be kept, none is made, and none is counted as deferred.
#[inline(always)]
pub fn record(way: &Way, now: u64, bytes: u64) -> Outcome {
    if let Some(clone) = &way.clone {
        clone.touch(now, bytes);
        return Outcome::ForwardedClone;
    }
    let Some(config) = maps::config().filter(|config| config.flags & Config::KEEP_NONE == 0) else {
        return Outcome::ForwardedRoute;
    };
    if !admission::admits(config, way.destination, now) {
        maps::tally(Tally::CloneDeferred);
        return Outcome::ForwardedRoute;
    }
    let made = maps::insert_clone(way.destination, Clone4::new(way.route, now, bytes));
    maps::tally(match made {
        Ok(maps::Inserted::New) => Tally::CloneCreated,
        Ok(maps::Inserted::Replaced) => Tally::CloneReplaced,
        Err(_) => Tally::CloneRefused,
    });
    Outcome::ForwardedRoute
}
