//! Steps: what kind of frame is this, and where are its parts (forwarding.md rows 3, 5, 6, 27, 34, 45).

use route_cache_common::Outcome;

use crate::{
    family::Datapath,
    headers::{ETHERTYPE_VLAN, Ethernet, Frame, Header, TAG_LEN, TaggedEthernet},
    packet::Packet,
};

/// What the link-layer header says. Whole words, because the verifier follows no undefined bytes.
#[derive(Clone, Copy)]
pub struct Link {
    /// Bytes of the VLAN tag: [`TAG_LEN`] or 0.
    pub tag_len: usize,
    /// The VLAN id in the tag; 0 if there is none.
    pub vlan: u32,
    /// Ethertype of the payload.
    pub ethertype: u32,
}

/// Looks behind a VLAN tag, if there is one. A second one is an ethertype that nobody here knows.
#[inline(always)]
pub fn link(packet: &Packet<'_>) -> Result<Link, Outcome> {
    let Some(ethernet) = packet.get::<Ethernet>(0) else {
        return Err(Outcome::PassMalformed);
    };
    if ethernet.ethertype() != ETHERTYPE_VLAN {
        return Ok(Link { tag_len: 0, vlan: 0, ethertype: u32::from(ethernet.ethertype()) });
    }
    let Some(tagged) = packet.get::<TaggedEthernet>(0) else {
        return Err(Outcome::PassMalformed);
    };
    let (vlan, ethertype) = (u32::from(tagged.vlan()), u32::from(tagged.ethertype()));
    Ok(Link { tag_len: TAG_LEN, vlan, ethertype })
}

/// A datagram in a frame.
pub struct Datagram<'a, F: Datapath> {
    /// Network-layer header.
    pub ip: &'a F::Header,
    /// Bytes of the frame behind the datagram: Ethernet pads frames to 60 bytes.
    pub padding: usize,
}

/// Finds the datagram in an untagged frame.
#[inline(always)]
pub fn datagram<'a, F: Datapath>(packet: &'a Packet<'_>) -> Result<Datagram<'a, F>, Outcome> {
    let Some(Frame { ip, .. }) = packet.get::<Frame<F::Header>>(0) else {
        return Err(Outcome::PassMalformed);
    };
    ip.check()?;
    let len = ip.datagram_len();
    let room = packet.len() - Ethernet::LEN;
    if len < F::Header::LEN || len > room {
        return Err(Outcome::PassMalformed);
    }
    Ok(Datagram { ip, padding: room - len })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        headers::{Ipv4, Ipv6},
        packet::testing::{Bytes, datagram as udp, datagram6 as udp6},
    };
    use route_cache_common::{V4, V6};

    /// The padding of the datagram.
    fn parse<F: Datapath>(mut bytes: Bytes) -> Result<usize, Outcome> {
        let packet = bytes.packet();
        let link = link(&packet)?;
        datagram::<F>(&packet.behind(link.tag_len)).map(|datagram| datagram.padding)
    }

    #[test]
    fn row_5_padding_is_measured_and_a_length_beyond_the_frame_passes() {
        assert_eq!(parse::<V4>(udp()), Ok(0));
        assert_eq!(parse::<V4>(udp().padded(6)), Ok(6));
        assert_eq!(parse::<V4>(udp().tagged(10).padded(6)), Ok(6));
        assert_eq!(parse::<V4>(udp().byte(17, 255)), Err(Outcome::PassMalformed));
        assert_eq!(parse::<V4>(udp().byte(17, 19)), Err(Outcome::PassMalformed));
        assert_eq!(parse::<V6>(udp6()), Ok(0));
        assert_eq!(parse::<V6>(udp6().padded(6)), Ok(6));
        assert_eq!(parse::<V6>(udp6().tagged(10)), Ok(0));
        assert_eq!(parse::<V6>(udp6().byte(19, 0)), Ok(12));
        assert_eq!(parse::<V6>(udp6().byte(19, 13)), Err(Outcome::PassMalformed));
        assert_eq!(parse::<V6>(udp6().tagged(10).byte(23, 13)), Err(Outcome::PassMalformed));
    }

    #[test]
    fn row_3_a_wrong_version_or_header_length_passes() {
        for version_ihl in [0x00, 0x44, 0x55, 0x65, 0xf5] {
            assert_eq!(parse::<V4>(udp().byte(14, version_ihl)), Err(Outcome::PassMalformed));
        }
        for version in [0x00, 0x40, 0x50, 0x70] {
            assert_eq!(parse::<V6>(udp6().byte(14, version)), Err(Outcome::PassMalformed));
        }
    }

    #[test]
    fn row_6_options_pass() {
        for version_ihl in 0x46..=0x4f {
            assert_eq!(parse::<V4>(udp().byte(14, version_ihl)), Err(Outcome::PassOptions));
        }
    }

    #[test]
    fn row_27_hop_by_hop_options_pass_and_other_extension_headers_do_not() {
        assert_eq!(parse::<V6>(udp6().byte(20, 0)), Err(Outcome::PassOptions));
        for next_header in [43, 44, 50, 51, 60, 135, 59] {
            assert_eq!(parse::<V6>(udp6().byte(20, next_header)), Ok(0), "{next_header}");
        }
    }

    #[test]
    fn rows_34_and_45_the_ethertype_is_found_behind_one_tag() {
        let read = |mut bytes: Bytes| {
            let packet = bytes.packet();
            link(&packet)
                .map(|link| ((link.tag_len != 0).then_some(link.vlan), link.ethertype as u16))
        };
        assert_eq!(read(udp()), Ok((None, Ipv4::ETHERTYPE)));
        assert_eq!(read(udp6()), Ok((None, Ipv6::ETHERTYPE)));
        assert_eq!(read(udp().tagged(0xabc)), Ok((Some(0xabc), Ipv4::ETHERTYPE)));
        assert_eq!(read(udp6().tagged(1)), Ok((Some(1), Ipv6::ETHERTYPE)));
        assert_eq!(read(udp().tagged(7).tagged(9)), Ok((Some(9), ETHERTYPE_VLAN)));
        for ethertype in [0x0806u16, 0x88a8, 0x88cc, 0x888e, 0x8847, 0x8864, 0x0026] {
            let [high, low] = ethertype.to_be_bytes();
            assert_eq!(read(udp().byte(12, high).byte(13, low)), Ok((None, ethertype)));
        }
    }

    #[test]
    fn every_truncation_passes() {
        for len in 0..34 {
            assert_eq!(parse::<V4>(udp().cut(len)), Err(Outcome::PassMalformed), "{len} bytes");
        }
        for len in 0..38 {
            let tagged = udp().tagged(10).cut(len);
            assert_eq!(parse::<V4>(tagged), Err(Outcome::PassMalformed), "{len} bytes");
        }
        for len in 0..54 {
            assert_eq!(parse::<V6>(udp6().cut(len)), Err(Outcome::PassMalformed), "{len} bytes");
        }
    }
}
