//! Step: the network route that covers the destination.

use route_cache_common::{Action, Outcome, Route};

use crate::{clones::Way, family::Datapath, maps, next_hop};

/// Longest match in this CPU's trie. A destination on the link is its own next hop; a group is asked by the flow's hash.
#[inline(always)]
pub fn find<F: Datapath>(
    destination: F::Address,
    hash: impl FnOnce() -> u32,
) -> Result<Way<F>, Outcome> {
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
    let next_hop = next_hop::take(id)?;
    Ok(Way { destination, route, clone: None, next_hop })
}
