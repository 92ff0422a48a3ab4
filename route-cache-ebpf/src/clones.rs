//! Step: the host routes that this CPU cloned on first use.

use route_cache_common::{
    Address4, Clone4, NextHopId, Outcome, Route, Tally, next_hop::NextHopVersion, route::RouteWords,
};

use crate::maps::{self, CloneRef};

/// The way a packet will go: where it was found, and what it found there.
pub struct Way {
    /// Destination address.
    pub destination: Address4,
    /// Next hop, slot, generation and MTU, with the next hop resolved.
    pub route: RouteWords,
    /// The clone it was found in, or `None` if it was found in the routes.
    pub clone: Option<CloneRef>,
    /// The version of the next hop to use; set by its step.
    pub next_hop: NextHopVersion,
    /// Bytes to cut off the end of the frame.
    pub padding: usize,
}

impl Way {
    /// A way that still lacks its next hop.
    #[inline(always)]
    pub fn new(destination: Address4, route: RouteWords, clone: Option<CloneRef>) -> Self {
        Self { destination, route, clone, next_hop: NextHopVersion::default(), padding: 0 }
    }

    /// Id of the next hop.
    #[inline(always)]
    pub fn next_hop_id(&self) -> NextHopId {
        NextHopId(self.route[0])
    }

    /// The route's own MTU, or 0.
    #[inline(always)]
    pub fn route_mtu(&self) -> u16 {
        Route::unpack(self.route).mtu
    }
}

/// The clone of this destination, if it has one that is still valid.
#[inline(always)]
pub fn find(destination: Address4) -> Option<Way> {
    let clone = maps::clone(destination)?;
    let route = clone.route();
    maps::is_current(route).then(|| Way::new(destination, route, Some(clone)))
}

/// Counts the packet on its clone, or clones the route it was found in.
///
/// A table that is full refuses the clone and nothing else: the packet is on its way.
#[inline(always)]
pub fn record(way: &Way, now: u64, bytes: u64) -> Outcome {
    if let Some(clone) = &way.clone {
        clone.touch(now, bytes);
        return Outcome::ForwardedClone;
    }
    let made = maps::insert_clone(way.destination, Clone4::new(way.route, now, bytes));
    maps::tally(match made {
        Ok(maps::Inserted::New) => Tally::CloneCreated,
        Ok(maps::Inserted::Replaced) => Tally::CloneReplaced,
        Err(_) => Tally::CloneRefused,
    });
    Outcome::ForwardedRoute
}
