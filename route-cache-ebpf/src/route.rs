//! Step: the network route that covers the destination.

use route_cache_common::{Action, Address4, NextHopId, Outcome, Route};

use crate::{clones::Way, maps, next_hop};

/// Longest match in this CPU's trie. A destination on the link is its own next hop.
#[inline(always)]
pub fn find(destination: Address4) -> Result<Way, Outcome> {
    let Some(words) = maps::route(destination) else {
        return Err(Outcome::PassNoRoute);
    };
    let id = match Route::unpack(words).action {
        Action::Pass(outcome) => return Err(outcome),
        Action::Via(id) => id,
        Action::OnLink(ifindex) => match maps::neighbour(ifindex, destination) {
            Some(id) => NextHopId(id),
            None => return Err(Outcome::PassNeighbour),
        },
    };
    let next_hop = next_hop::take(id)?;
    Ok(Way { destination, route: Route::resolved(words, id), clone: None, next_hop })
}
