//! Step: the frame becomes the next hop's. MAC addresses, TTL, header checksum; nothing else.

use route_cache_common::next_hop::NextHopVersion;

use crate::headers::Frame4;

/// Rewrites an IPv4 frame for its next hop.
#[inline(always)]
pub fn ipv4(frame: &mut Frame4, next_hop: &NextHopVersion) {
    frame.ethernet.addresses = next_hop.addresses;
    frame.ip.decrease_ttl();
}
