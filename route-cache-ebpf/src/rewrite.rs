//! Step: the frame becomes the next hop's. MAC addresses, TTL, header checksum; nothing else.

use route_cache_common::next_hop::NextHopVersion;

use crate::headers::Frame4;

/// Rewrites an IPv4 frame for its next hop.
#[inline(always)]
pub fn ipv4(frame: &mut Frame4, next_hop: &NextHopVersion) {
    frame.ethernet.addresses = next_hop.addresses;
    frame.ip.decrease_ttl();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::testing::datagram;

    #[test]
    fn addresses_ttl_and_checksum_change_and_nothing_else() {
        let (to, from) = ([2, 0, 0, 0, 9, 9], [2, 0, 0, 0, 8, 8]);
        let next_hop = NextHopVersion {
            addresses: NextHopVersion::addresses(to, from),
            ..NextHopVersion::default()
        };
        let mut bytes = datagram();
        ipv4(bytes.packet().into_frame().expect("it is long enough"), &next_hop);
        let (before, after) = (datagram().bytes(), bytes.bytes());
        assert_eq!(after[..6], to);
        assert_eq!(after[6..12], from);
        assert_eq!(after[22], before[22] - 1);
        // 0x1196 and 0x0100 less in the sum.
        assert_eq!(after[24..26], [0x12, 0x96]);
        for unchanged in [12..22, 23..24, 26..before.len()] {
            assert_eq!(after[unchanged.clone()], before[unchanged]);
        }
    }
}
