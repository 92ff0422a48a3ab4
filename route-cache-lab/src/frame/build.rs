//! Making a frame, in which everything is right unless it was asked to be wrong.

use std::net::Ipv4Addr;

use super::{
    DONT_FRAGMENT, ETHERTYPE_IPV4, ICMP, MORE_FRAGMENTS, TCP, UDP,
    checksum::{checksum, pseudo_header, sum},
    checksum_offset,
};
use crate::{Host, link::Mac};

/// A frame in the making: Ethernet, IPv4, transport header and payload.
#[derive(Debug, Clone)]
#[must_use]
pub struct Frame {
    destination_mac: Mac,
    source_mac: Mac,
    vlan: Option<u16>,
    ethertype: u16,
    version: u8,
    header_words: Option<u8>,
    tos: u8,
    total_length: Option<u16>,
    id: u16,
    flags_and_offset: u16,
    ttl: u8,
    protocol: u8,
    header_checksum: Option<u16>,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    options: Vec<u8>,
    /// Transport header, with 0 for its checksum, and payload.
    transport: Vec<u8>,
    transport_checksum: TransportChecksum,
    pad_to: usize,
    truncate_to: usize,
}

#[derive(Debug, Clone, Copy)]
enum TransportChecksum {
    Complete,
    Partial,
    Fixed(u16),
}

impl Frame {
    /// A UDP datagram.
    pub fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Self {
        let mut transport = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        transport.extend((8 + payload.len() as u16).to_be_bytes());
        transport.extend([0, 0]);
        transport.extend(payload);
        Self::ipv4(source.0, destination.0, UDP, &transport)
    }

    /// A TCP segment with the flag ACK (and PSH if there is a payload).
    pub fn tcp(
        source: (Ipv4Addr, u16),
        destination: (Ipv4Addr, u16),
        sequence: u32,
        payload: &[u8],
    ) -> Self {
        let mut transport = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        transport.extend(sequence.to_be_bytes());
        transport.extend(1_u32.to_be_bytes());
        let flags = if payload.is_empty() { 0x10 } else { 0x18 };
        transport.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        transport.extend(payload);
        Self::ipv4(source.0, destination.0, TCP, &transport)
    }

    /// An ICMP echo request.
    pub fn ping(source: Ipv4Addr, destination: Ipv4Addr, sequence: u16, payload: &[u8]) -> Self {
        let mut transport = vec![8, 0, 0, 0, 0x52, 0x43];
        transport.extend(sequence.to_be_bytes());
        transport.extend(payload);
        Self::ipv4(source, destination, ICMP, &transport)
    }

    /// A packet of any protocol. A checksum is filled in only for ICMP, TCP and UDP.
    pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, transport: &[u8]) -> Self {
        Self {
            destination_mac: [0; 6],
            source_mac: [0; 6],
            vlan: None,
            ethertype: ETHERTYPE_IPV4,
            version: 4,
            header_words: None,
            tos: 0,
            total_length: None,
            id: 0x1234,
            flags_and_offset: DONT_FRAGMENT,
            ttl: 64,
            protocol,
            header_checksum: None,
            source,
            destination,
            options: Vec::new(),
            transport: transport.to_vec(),
            transport_checksum: TransportChecksum::Complete,
            pad_to: 0,
            truncate_to: usize::MAX,
        }
    }

    /// Sent by a host to its router, by their link-layer addresses.
    pub fn sent_by(self, host: &Host) -> Self {
        self.macs(host.mac, host.gateway_mac)
    }

    /// Link-layer addresses.
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// With an 802.1Q tag of this tag control information.
    pub fn vlan(mut self, control: u16) -> Self {
        self.vlan = Some(control);
        self
    }

    /// Another EtherType than that of IPv4.
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = ethertype;
        self
    }

    /// Another version than 4.
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// A header length, in 32-bit words, other than the true one.
    pub fn header_words(mut self, words: u8) -> Self {
        self.header_words = Some(words);
        self
    }

    /// Type of service: DSCP and ECN.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// A total length other than the true one.
    pub fn total_length(mut self, length: u16) -> Self {
        self.total_length = Some(length);
        self
    }

    /// Identification.
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Flags and fragment offset, as the 16 bits that they are.
    pub fn flags_and_offset(mut self, bits: u16) -> Self {
        self.flags_and_offset = bits;
        self
    }

    /// A fragment at this offset in units of 8 bytes.
    pub fn fragment(self, offset: u16, more: bool) -> Self {
        self.flags_and_offset(offset | if more { MORE_FRAGMENTS } else { 0 })
    }

    /// Time to live.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Header options, a multiple of 4 bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// A header checksum other than the right one.
    pub fn header_checksum(mut self, checksum: u16) -> Self {
        self.header_checksum = Some(checksum);
        self
    }

    /// This value for the transport checksum; 0 is "none" in UDP.
    pub fn transport_checksum(mut self, checksum: u16) -> Self {
        self.transport_checksum = TransportChecksum::Fixed(checksum);
        self
    }

    /// The folded, un-complemented sum of the pseudo header for the transport checksum, as a local sender leaves it
    /// to the hardware to complete.
    pub fn partial_checksum(mut self) -> Self {
        self.transport_checksum = TransportChecksum::Partial;
        self
    }

    /// Zeros behind the packet up to this length of the frame, as Ethernet pads short frames.
    pub fn pad_to(mut self, length: usize) -> Self {
        self.pad_to = length;
        self
    }

    /// Cuts the frame off at this length.
    pub fn truncate_to(mut self, length: usize) -> Self {
        self.truncate_to = length;
        self
    }

    /// The bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.destination_mac, self.source_mac].concat();
        if let Some(control) = self.vlan {
            frame.extend(0x8100_u16.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(self.ethertype.to_be_bytes());
        frame.extend(self.header());
        frame.extend(&self.options);
        frame.extend(self.checksummed_transport());
        frame.resize(frame.len().max(self.pad_to), 0);
        frame.truncate(self.truncate_to);
        frame
    }

    /// The IPv4 header without its options.
    fn header(&self) -> Vec<u8> {
        let length = 20 + self.options.len();
        let words = self.header_words.unwrap_or((length / 4) as u8);
        let total = self.total_length.unwrap_or((length + self.transport.len()) as u16);
        let mut header = vec![self.version << 4 | words & 0x0f, self.tos];
        for field in [total, self.id, self.flags_and_offset] {
            header.extend(field.to_be_bytes());
        }
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        let right = checksum(&[&header, &self.options]);
        let field = self.header_checksum.unwrap_or(right);
        header[10..12].copy_from_slice(&field.to_be_bytes());
        header
    }

    fn checksummed_transport(&self) -> Vec<u8> {
        let mut transport = self.transport.clone();
        let length = transport.len() as u16;
        let pseudo = pseudo_header(self.source, self.destination, self.protocol, length);
        let pseudo = if self.protocol == ICMP { Vec::new() } else { pseudo };
        let field = match self.transport_checksum {
            TransportChecksum::Fixed(value) => value,
            TransportChecksum::Partial => sum(&[&pseudo]),
            TransportChecksum::Complete => match checksum(&[&pseudo, &transport]) {
                // 0 would mean "no checksum"; both are zero in one's complement.
                0 if self.protocol == UDP => 0xffff,
                right => right,
            },
        };
        if let Some(place) =
            checksum_offset(self.protocol).and_then(|offset| transport.get_mut(offset..offset + 2))
        {
            place.copy_from_slice(&field.to_be_bytes());
        }
        transport
    }
}
