//! Step: the next hop by its id.

use route_cache_common::{NextHop, Outcome, next_hop::NextHopVersion};

use crate::{clones::Way, maps};

/// Takes a consistent copy of the next hop, and checks that it can be used by a packet from `ingress`.
#[inline(always)]
pub fn take(way: &mut Way, ingress: u32) -> Result<(), Outcome> {
    let id = way.next_hop_id();
    let Some(hop) = maps::next_hop(id) else {
        return Err(Outcome::PassNeighbour);
    };
    let version = copy(hop)?;
    if version.id != id.0 {
        // The index has another holder: what led here is older than the tables.
        return Err(Outcome::PassRace);
    }
    if version.flags & NextHopVersion::USABLE == 0 {
        return Err(Outcome::from_code(version.pass as u8).unwrap_or(Outcome::PassNeighbour));
    }
    if version.ifindex == ingress {
        return Err(Outcome::PassSameInterface);
    }
    if version.flags & NextHopVersion::STALE != 0 {
        maps::mark_touched(id);
    }
    way.next_hop = version;
    Ok(())
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
