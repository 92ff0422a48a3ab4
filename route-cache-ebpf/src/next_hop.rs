//! Step: the next hop by its id.

use route_cache_common::{NextHop, NextHopId, Outcome, next_hop::NextHopVersion};

use crate::maps;

/// A consistent copy of the next hop with this id, if frames may be sent to it.
///
/// `PassRace` says that the id is not current: what led here is older than the tables.
#[inline(always)]
pub fn take(id: NextHopId) -> Result<NextHopVersion, Outcome> {
    let Some(hop) = maps::next_hop(id) else {
        return Err(Outcome::PassRace);
    };
    let version = copy(hop)?;
    if version.id != id.0 {
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

/// What stands at this id now, whether or not frames may be sent to it; all zeros if that is somebody else's or unclear.
#[inline(always)]
pub fn peek(id: NextHopId) -> NextHopVersion {
    match maps::next_hop(id).map(copy) {
        Some(Ok(version)) if version.id == id.0 => version,
        _ => NextHopVersion::default(),
    }
}

/// See [`NextHop`] for the protocol between writer and reader.
#[inline(always)]
fn copy(hop: maps::NextHopRef) -> Result<NextHopVersion, Outcome> {
    let before = hop.current();
    let version = hop.version((before & 1) as usize);
    if hop.current() != before {
        return Err(Outcome::PassRace);
    }
    Ok(version)
}

const _: () = assert!(size_of::<NextHop>() == 64, "a next hop is one cache line");
