//! Step: the frame becomes the next hop's. MAC addresses, VLAN tag, TTL or hop limit, header checksum; nothing else.

use route_cache_common::next_hop::NextHopVersion;

use crate::{
    headers::{Frame, Header, TaggedFrame},
    packet::Packet,
};

/// Rewrites a frame that begins where it is to begin. Nothing if it is too short, which was excluded long before.
#[inline(always)]
pub fn frame<H: Header>(packet: &mut Packet<'_>, next_hop: &NextHopVersion) -> Option<()> {
    if next_hop.vlan == 0 {
        let frame = packet.first_mut::<Frame<H>>()?;
        frame.ethernet.addresses.set(&next_hop.addresses);
        frame.ip.decrement();
    } else {
        let frame = packet.first_mut::<TaggedFrame<H>>()?;
        frame.ethernet.addresses.set(&next_hop.addresses);
        frame.ethernet.set_vlan(next_hop.vlan);
        frame.ip.decrement();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        headers::{Ipv4, Ipv6},
        packet::testing::{Bytes, datagram, datagram6},
    };

    use route_cache_common::MacAddresses;

    const TO: [u8; 6] = [2, 0, 0, 0, 9, 9];
    const FROM: [u8; 6] = [2, 0, 0, 0, 8, 8];

    fn rewrite<H: Header>(mut bytes: Bytes, vlan: u16) -> Vec<u8> {
        let addresses = MacAddresses::new(TO, FROM);
        let next_hop = NextHopVersion { addresses, vlan, ..NextHopVersion::default() };
        frame::<H>(&mut bytes.packet(), &next_hop).expect("it is long enough");
        bytes.bytes()
    }

    #[test]
    fn addresses_ttl_and_checksum_change_and_nothing_else() {
        let mut wanted = datagram().bytes();
        wanted[..6].copy_from_slice(&TO);
        wanted[6..12].copy_from_slice(&FROM);
        wanted[22] -= 1;
        // 0x1196 and 0x0100 less in the sum.
        wanted[24..26].copy_from_slice(&[0x12, 0x96]);
        assert_eq!(rewrite::<Ipv4>(datagram(), 0), wanted);
    }

    #[test]
    fn addresses_and_hop_limit_change_and_nothing_else() {
        let mut wanted = datagram6().bytes();
        wanted[..6].copy_from_slice(&TO);
        wanted[6..12].copy_from_slice(&FROM);
        wanted[21] -= 1;
        assert_eq!(rewrite::<Ipv6>(datagram6(), 0), wanted);
    }

    #[test]
    fn row_35_the_tag_is_the_next_hops() {
        let mut wanted = datagram6().tagged(77).bytes();
        wanted[..6].copy_from_slice(&TO);
        wanted[6..12].copy_from_slice(&FROM);
        // Priority 0, as the kernel's without a map from priorities.
        wanted[12..16].copy_from_slice(&[0x81, 0, 0x0a, 0xbc]);
        wanted[25] -= 1;
        assert_eq!(rewrite::<Ipv6>(datagram6().tagged(77), 0xabc), wanted);
        // Where a tag is to come, there is any rubbish.
        let room = datagram6().tagged(77).byte(12, 9).byte(13, 9);
        assert_eq!(rewrite::<Ipv6>(room, 0xabc), wanted);
    }
}
