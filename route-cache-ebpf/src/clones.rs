//! Step: the host routes that this CPU cloned on first use.

use route_cache_common::{Action, ClonedRoute, Config, Outcome, Route, Tally, route::RouteWords};

use crate::{
    admission,
    family::Datapath,
    maps::{self, CloneRef},
    next_hop, route,
    way::Way,
};

/// The way of this destination's clone; nothing if it has none that is still valid.
///
/// A clone is valid while its slot has its generation and its next hop has its id. A neighbour that was forgotten and
/// found again has a new id; the route, and with it the generation, may have stayed the same. The clone of a route by
/// several next hops names their group, out of which `hash` picks.
#[inline(always)]
pub fn find<F: Datapath>(destination: F::Key, hash: impl FnOnce() -> u32) -> Option<Way> {
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
    next_hop::is_current(id).then_some(Way { route, clone: Some(clone), id })
}

/// Whether this packet's clone is looked for, or made. Under a flood most packets have none, and looking costs more than
/// it saves: then an eighth of the destinations is served, another one every 64 jiffies.
#[inline(always)]
pub fn are_wanted<F: Datapath>(config: &Config, tag: u32, now: u64) -> bool {
    const EIGHTH: u32 = 7;
    match config.flags & (Config::NO_CLONES | F::BY_ROUTES | Config::FEW_CLONES) {
        0 => true,
        Config::FEW_CLONES => (tag.wrapping_mul(0x9e37_79b1) >> 29) == (now >> 6) as u32 & EIGHTH,
        _ => false,
    }
}

/// Clones the route a packet went by, if its destination is admitted.
///
/// A table that is full, or a destination that is not admitted yet, costs the clone and nothing else: the packet is on
/// its way.
#[inline(always)]
pub fn make<F: Datapath>(
    destination: F::Key,
    route: RouteWords,
    config: &Config,
    now: u64,
    bytes: u64,
) -> Outcome {
    if config.flags & (Config::NO_CLONES | F::BY_ROUTES) != 0 {
        return Outcome::ForwardedRoute;
    }
    let tag = F::fold(destination);
    let tally = if !are_wanted::<F>(config, tag, now) || !admission::admits(config, tag, now) {
        Tally::CloneDeferred
    } else if let Some(route) = route::to_clone::<F>(destination, route) {
        match F::insert_clone(destination, ClonedRoute::new(route, now, bytes)) {
            Ok(maps::Inserted::New) => Tally::CloneCreated,
            Ok(maps::Inserted::Replaced) => Tally::CloneReplaced,
            Err(_) => Tally::CloneRefused,
        }
    } else {
        Tally::CloneDeferred
    };
    maps::tally(tally);
    Outcome::ForwardedRoute
}

/// Counts a packet on its clone. True if the clone is in lively use.
#[inline(always)]
pub fn count(clone: &CloneRef, now: u64, bytes: u64) -> bool {
    let is_lively = crate::flows::is_soon(clone.last_used(), now);
    clone.touch(now, bytes);
    is_lively
}
