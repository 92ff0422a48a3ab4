//! Step: the next hop by its id.

use route_cache_common::{NextHop, NextHopId, Outcome, next_hop::NextHopVersion};

use crate::maps;

/// A consistent copy of the next hop with this id, if frames may be sent to it. See [`NextHop`] for the protocol between
/// writer and reader.
///
/// `PassRace` says that the id is not current: what led here is older than the tables.
#[inline(always)]
pub fn take(id: NextHopId) -> Result<NextHopVersion, Outcome> {
    let Some(hop) = maps::next_hop(id) else {
        return Err(Outcome::PassRace);
    };
    let current = hop.current();
    let version = hop.version(current);
    if hop.current() != current || version.id != id.0 {
        return Err(Outcome::PassRace);
    }
    if version.flags & NextHopVersion::USABLE == 0 {
        return Err(Outcome::from_code(version.pass).unwrap_or(Outcome::PassNeighbour));
    }
    if version.flags & NextHopVersion::STALE != 0 {
        maps::mark_touched(id);
    }
    Ok(version)
}

/// Whether the id is still its holder's. [`take`] has the last word.
#[inline(always)]
pub fn is_current(id: NextHopId) -> bool {
    maps::next_hop(id).is_some_and(|hop| hop.id(hop.current()) == id.0)
}

/// The interface of the next hop with this id, usable or not; 0 if the id is no longer current.
#[inline(always)]
pub fn device(id: NextHopId) -> u32 {
    match maps::next_hop(id) {
        Some(hop) if is_current(id) => hop.device(hop.current()),
        _ => 0,
    }
}

const _: () = assert!(size_of::<NextHop>() == 64, "a next hop is one cache line");
