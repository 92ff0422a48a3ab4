//! Step: the network route that covers the destination.

use route_cache_common::{Action, Outcome, Route};

use crate::{
    family::Datapath,
    maps,
    way::{Found, Way},
};

/// Longest match in this CPU's trie. A destination on the link is its own next hop; a group is asked by the flow's hash.
#[inline(always)]
pub fn find<F: Datapath>(destination: F::Key, hash: impl FnOnce() -> u32) -> Result<Way, Outcome> {
    let Some(words) = F::route(destination) else {
        return Err(Outcome::PassNoRoute);
    };
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
    Ok(Way { route, found: Found::Route, id })
}
