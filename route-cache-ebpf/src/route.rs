//! Step: the network route that covers the destination.

use route_cache_common::{Action, Config, Outcome, Route, route::RouteWords};

use crate::{family::Datapath, maps, way::Way};

/// Longest match, by the index where it knows. A destination on the link is its own next hop; a group is asked by the
/// flow's hash.
#[inline(always)]
pub fn find<F: Datapath>(
    destination: F::Key,
    config: &Config,
    hash: impl FnOnce() -> u32,
) -> Result<Way, Outcome> {
    match F::indexed_route(destination, config).or_else(|| F::route(destination)) {
        Some(words) => resolve::<F>(words, destination, hash),
        None => Err(Outcome::PassNoRoute),
    }
}

/// What a clone of the route to this destination says. The index knows no slots: the trie is asked.
#[inline(always)]
pub fn to_clone<F: Datapath>(destination: F::Key, words: RouteWords) -> Option<RouteWords> {
    if Route::unpack(words).slot != Route::NO_SLOT {
        return Some(words);
    }
    resolve::<F>(F::route(destination)?, destination, || 0).ok().map(|way| way.route)
}

#[inline(always)]
fn resolve<F: Datapath>(
    words: RouteWords,
    destination: F::Key,
    hash: impl FnOnce() -> u32,
) -> Result<Way, Outcome> {
    let (route, id) = match Route::unpack(words).action {
        Action::Pass(outcome) => return Err(outcome),
        Action::Via(id) => (words, id),
        Action::OnLink(ifindex) => match F::neighbour(ifindex, destination) {
            Some(id) => (Route::resolved(words, id), id),
            None => return Err(Outcome::PassNeighbour),
        },
        Action::Group(group) => match maps::group_member(group, hash()) {
            Some(id) => (words, id),
            None => return Err(Outcome::PassRoute),
        },
    };
    Ok(Way { route, clone: None, id })
}
