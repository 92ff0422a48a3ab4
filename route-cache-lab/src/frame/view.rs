//! Taking a captured frame apart.

use std::net::Ipv4Addr;

use super::{
    ETHERTYPE_IPV4, ICMP, UDP,
    checksum::{checksum, pseudo_header, sum},
    checksum_offset,
};
use crate::link::Mac;

const ETHERNET: usize = 14;

/// An untagged IPv4 packet in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4View<'a> {
    frame: &'a [u8],
}

impl<'a> Ipv4View<'a> {
    /// The view, if the frame holds a whole IPv4 header and all that this header says belongs to the packet.
    #[must_use]
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        let view = Self { frame };
        let is_ipv4 = frame.len() >= ETHERNET + 20
            && view.word(12) == ETHERTYPE_IPV4
            && frame[ETHERNET] >> 4 == 4;
        let is_whole = is_ipv4
            && view.header_length() >= 20
            && usize::from(view.total_length()) >= view.header_length()
            && frame.len() >= ETHERNET + usize::from(view.total_length());
        is_whole.then_some(view)
    }

    /// Destination link-layer address.
    #[must_use]
    pub fn destination_mac(self) -> Mac {
        self.bytes(0)
    }

    /// Source link-layer address.
    #[must_use]
    pub fn source_mac(self) -> Mac {
        self.bytes(6)
    }

    /// Header length in bytes, options included.
    #[must_use]
    pub fn header_length(self) -> usize {
        usize::from(self.frame[ETHERNET] & 0x0f) * 4
    }

    /// Type of service.
    #[must_use]
    pub fn tos(self) -> u8 {
        self.frame[ETHERNET + 1]
    }

    /// Total length in bytes.
    #[must_use]
    pub fn total_length(self) -> u16 {
        self.word(ETHERNET + 2)
    }

    /// Identification.
    #[must_use]
    pub fn id(self) -> u16 {
        self.word(ETHERNET + 4)
    }

    /// Flags and fragment offset.
    #[must_use]
    pub fn flags_and_offset(self) -> u16 {
        self.word(ETHERNET + 6)
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(self) -> u8 {
        self.frame[ETHERNET + 8]
    }

    /// Protocol.
    #[must_use]
    pub fn protocol(self) -> u8 {
        self.frame[ETHERNET + 9]
    }

    /// Header checksum.
    #[must_use]
    pub fn header_checksum(self) -> u16 {
        self.word(ETHERNET + 10)
    }

    /// Source address.
    #[must_use]
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::from(self.bytes::<4>(ETHERNET + 12))
    }

    /// Destination address.
    #[must_use]
    pub fn destination(self) -> Ipv4Addr {
        Ipv4Addr::from(self.bytes::<4>(ETHERNET + 16))
    }

    /// The IPv4 header, options included.
    #[must_use]
    pub fn header(self) -> &'a [u8] {
        &self.frame[ETHERNET..ETHERNET + self.header_length()]
    }

    /// Transport header and payload, without padding.
    #[must_use]
    pub fn transport(self) -> &'a [u8] {
        &self.frame[ETHERNET + self.header_length()..ETHERNET + usize::from(self.total_length())]
    }

    /// Source and destination port of TCP or UDP.
    #[must_use]
    pub fn ports(self) -> Option<(u16, u16)> {
        let word = |at: usize| {
            let bytes = self.transport().get(at..at + 2)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        Some((word(0)?, word(2)?))
    }

    /// Whether the header checksum is right.
    #[must_use]
    pub fn header_checksum_holds(self) -> bool {
        checksum(&[self.header()]) == 0
    }

    /// Whether the transport checksum is right, or UDP's "none"; not for fragments.
    #[must_use]
    pub fn transport_checksum_holds(self) -> bool {
        let transport = self.transport();
        let Some(field) = self.transport_checksum() else {
            return checksum_offset(self.protocol()).is_none();
        };
        let pseudo = if self.protocol() == ICMP { Vec::new() } else { self.pseudo_header() };
        field == 0 && self.protocol() == UDP || checksum(&[&pseudo, transport]) == 0
    }

    /// Whether the transport checksum is one that is left to be completed (row 39a).
    #[must_use]
    pub fn transport_checksum_is_partial(self) -> bool {
        self.protocol() != ICMP && self.transport_checksum() == Some(sum(&[&self.pseudo_header()]))
    }

    fn transport_checksum(self) -> Option<u16> {
        let offset = checksum_offset(self.protocol())?;
        let bytes = self.transport().get(offset..offset + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn pseudo_header(self) -> Vec<u8> {
        let length = self.transport().len() as u16;
        pseudo_header(self.source(), self.destination(), self.protocol(), length)
    }

    fn word(self, at: usize) -> u16 {
        u16::from_be_bytes(self.bytes(at))
    }

    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.frame[at..at + N]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, TCP};

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

    #[test]
    fn what_is_built_reads_back() {
        let frame =
            Frame::udp((A, 7), (B, 9), b"odd").macs([1; 6], [2; 6]).tos(0xb8).ttl(3).build();
        let view = Ipv4View::of(&frame).unwrap();
        assert_eq!((view.source_mac(), view.destination_mac()), ([1; 6], [2; 6]));
        assert_eq!((view.source(), view.destination(), view.ports()), (A, B, Some((7, 9))));
        assert_eq!((view.tos(), view.ttl(), view.total_length()), (0xb8, 3, 31));
        assert_eq!((view.id(), view.flags_and_offset()), (0x1234, 0x4000));
    }

    #[test]
    fn checksums_are_right_by_default() {
        let frames = [
            Frame::udp((A, 7), (B, 9), b"odd"),
            Frame::tcp((A, 7), (B, 9), 1, b"segment"),
            Frame::ping(A, B, 1, b"data"),
            Frame::udp((A, 7), (B, 9), b"").options(&[1, 1, 1, 0]).pad_to(60),
        ];
        for frame in frames {
            let bytes = frame.build();
            let view = Ipv4View::of(&bytes).unwrap();
            assert!(view.header_checksum_holds() && view.transport_checksum_holds(), "{frame:?}");
            assert!(!view.transport_checksum_is_partial(), "{frame:?}");
        }
    }

    #[test]
    fn checksums_are_wrong_when_asked_to_be() {
        let wrong =
            Frame::udp((A, 7), (B, 9), b"x").header_checksum(0).transport_checksum(1).build();
        let view = Ipv4View::of(&wrong).unwrap();
        assert!(!view.header_checksum_holds() && !view.transport_checksum_holds());

        let none = Frame::udp((A, 7), (B, 9), b"x").transport_checksum(0).build();
        assert!(Ipv4View::of(&none).unwrap().transport_checksum_holds());
    }

    /// The sum over 10.0.1.2, 10.0.2.2, protocol 6 and length 20 by hand.
    #[test]
    fn a_partial_checksum_is_the_sum_of_the_pseudo_header() {
        let frame = Frame::tcp((A, 7), (B, 9), 1, b"").partial_checksum().build();
        let view = Ipv4View::of(&frame).unwrap();
        assert_eq!(view.protocol(), TCP);
        let expected = 0x0a00 + 0x0102 + 0x0a00 + 0x0202 + 6 + 20;
        assert_eq!(view.transport()[16..18], u16::to_be_bytes(expected));
        assert!(view.transport_checksum_is_partial() && !view.transport_checksum_holds());
    }

    #[test]
    fn a_cut_frame_has_no_view() {
        let frame = Frame::udp((A, 7), (B, 9), b"payload");
        assert!(Ipv4View::of(&frame.build()).is_some());
        assert!(Ipv4View::of(&frame.truncate_to(40).build()).is_none());
    }
}
