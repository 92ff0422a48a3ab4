//! Step: what kind of frame is this, and where are its parts (forwarding.md rows 3, 5, 6, 45).

use route_cache_common::Outcome;

use crate::{
    headers::{ETHERTYPE_IPV4, Ethernet, Frame4, Ipv4},
    packet::Packet,
};

/// An IPv4 datagram in a frame.
pub struct Datagram<'a> {
    /// Link-layer header.
    pub ethernet: &'a Ethernet,
    /// Network-layer header; it has no options.
    pub ip: &'a Ipv4,
    /// Bytes of the frame behind the datagram: Ethernet pads frames to 60 bytes.
    pub padding: usize,
}

const VERSION4_WITHOUT_OPTIONS: u8 = 0x45;

/// Finds the IPv4 datagram.
#[inline(always)]
pub fn ipv4<'a>(packet: &'a Packet<'_>) -> Result<Datagram<'a>, Outcome> {
    let Some(ethernet) = packet.get::<Ethernet>(0) else {
        return Err(Outcome::PassMalformed);
    };
    if ethernet.ethertype() != ETHERTYPE_IPV4 {
        return Err(Outcome::PassEthertype);
    }
    let Some(Frame4 { ethernet, ip }) = packet.get::<Frame4>(0) else {
        return Err(Outcome::PassMalformed);
    };
    if ip.version_ihl() != VERSION4_WITHOUT_OPTIONS {
        return Err(match ip.version_ihl() {
            0x46..=0x4f => Outcome::PassOptions,
            _ => Outcome::PassMalformed,
        });
    }
    let total_len = usize::from(ip.total_len());
    let room = packet.len() - Ethernet::LEN;
    if total_len < Ipv4::LEN || total_len > room {
        return Err(Outcome::PassMalformed);
    }
    Ok(Datagram { ethernet, ip, padding: room - total_len })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::testing::{Bytes, datagram};

    fn parse(mut bytes: Bytes) -> Result<usize, Outcome> {
        ipv4(&bytes.packet()).map(|datagram| datagram.padding)
    }

    #[test]
    fn row_5_padding_is_measured_and_a_length_beyond_the_frame_passes() {
        assert_eq!(parse(datagram()), Ok(0));
        assert_eq!(parse(datagram().padded(6)), Ok(6));
        assert_eq!(parse(datagram().byte(17, 255)), Err(Outcome::PassMalformed));
        assert_eq!(parse(datagram().byte(17, 19)), Err(Outcome::PassMalformed));
    }

    #[test]
    fn row_3_a_wrong_version_or_header_length_passes() {
        for version_ihl in [0x00, 0x44, 0x55, 0x65, 0xf5] {
            assert_eq!(parse(datagram().byte(14, version_ihl)), Err(Outcome::PassMalformed));
        }
    }

    #[test]
    fn row_6_options_pass() {
        for version_ihl in 0x46..=0x4f {
            assert_eq!(parse(datagram().byte(14, version_ihl)), Err(Outcome::PassOptions));
        }
    }

    #[test]
    fn row_45_other_ethertypes_pass() {
        for ethertype in [0x0806u16, 0x86dd, 0x8100, 0x88a8, 0x88cc, 0x888e, 0x8847, 0x8864, 0x0026] {
            let [high, low] = ethertype.to_be_bytes();
            let frame = datagram().byte(12, high).byte(13, low);
            assert_eq!(parse(frame), Err(Outcome::PassEthertype), "{ethertype:#x}");
        }
    }

    #[test]
    fn every_truncation_passes() {
        for len in 0..34 {
            assert_eq!(parse(datagram().cut(len)), Err(Outcome::PassMalformed), "{len} bytes");
        }
    }
}
