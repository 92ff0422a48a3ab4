//! Making IPv6 frames, in which everything is right unless it was asked to be wrong.

use std::net::Ipv6Addr;

use route_cache_lab::{
    frame::{UDP, checksum::checksum},
    link::Mac,
};

/// Next-header number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// A frame in the making: Ethernet, IPv6, extension headers, transport header and payload.
#[derive(Debug, Clone)]
#[must_use]
pub struct Frame6 {
    destination_mac: Mac,
    source_mac: Mac,
    vlan: Option<u16>,
    version_class_flow: u32,
    payload_length: Option<u16>,
    hop_limit: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    /// Number and bytes of each; the first byte becomes the number of what follows.
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: u8,
    transport: Vec<u8>,
    pad_to: usize,
    truncate_to: usize,
}

impl Frame6 {
    /// A UDP datagram from port 4000 to 4001.
    pub fn udp(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Self {
        let mut transport = vec![0x0f, 0xa0, 0x0f, 0xa1];
        transport.extend((8 + payload.len() as u16).to_be_bytes());
        transport.extend([0, 0]);
        transport.extend(payload);
        Self::of(source, destination, UDP, transport, 6)
    }

    /// An echo request.
    pub fn ping(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        let transport = vec![128, 0, 0, 0, 0x52, 0x43, 0, 1, 1, 2, 3, 4];
        Self::of(source, destination, ICMPV6, transport, 2)
    }

    fn of(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: u8,
        mut transport: Vec<u8>,
        checksum_at: usize,
    ) -> Self {
        let mut pseudo = [source.octets(), destination.octets()].concat();
        pseudo.extend((transport.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        let sum = checksum(&[&pseudo, &transport]);
        transport[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        Self {
            destination_mac: [0; 6],
            source_mac: [0; 6],
            vlan: None,
            version_class_flow: 0x6000_0000,
            payload_length: None,
            hop_limit: 64,
            source,
            destination,
            extensions: Vec::new(),
            protocol,
            transport,
            pad_to: 0,
            truncate_to: usize::MAX,
        }
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

    /// The first 32 bits: version, traffic class and flow label.
    pub fn first_word(mut self, word: u32) -> Self {
        self.version_class_flow = word;
        self
    }

    /// A payload length other than the true one.
    pub fn payload_length(mut self, length: u16) -> Self {
        self.payload_length = Some(length);
        self
    }

    /// Hop limit.
    pub fn hop_limit(mut self, limit: u8) -> Self {
        self.hop_limit = limit;
        self
    }

    /// An extension header behind those there are; its first byte is filled in.
    pub fn extension(mut self, number: u8, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// The upper-layer checksum zeroed, which IPv6 does not allow of UDP and routers do not look at.
    pub fn without_checksum(mut self) -> Self {
        self.transport[6..8].fill(0);
        self
    }

    /// The folded, un-complemented sum of the pseudo header, as a local sender leaves it to the hardware to complete.
    pub fn partial_checksum(mut self) -> Self {
        let mut pseudo = [self.source.octets(), self.destination.octets()].concat();
        pseudo.extend((self.transport.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, self.protocol]);
        let sum = !checksum(&[&pseudo]);
        self.transport[6..8].copy_from_slice(&sum.to_be_bytes());
        self
    }

    /// Zeros behind the packet up to this length of the frame.
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
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.destination_mac, self.source_mac].concat();
        if let Some(control) = self.vlan {
            frame.extend(0x8100_u16.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(0x86dd_u16.to_be_bytes());
        frame.extend(self.version_class_flow.to_be_bytes());
        let mut payload = Vec::new();
        for (index, (_, bytes)) in self.extensions.iter().enumerate() {
            let mut bytes = bytes.clone();
            bytes[0] = self.extensions.get(index + 1).map_or(self.protocol, |next| next.0);
            payload.extend(bytes);
        }
        payload.extend(&self.transport);
        let length = self.payload_length.unwrap_or(payload.len() as u16);
        frame.extend(length.to_be_bytes());
        frame.push(self.extensions.first().map_or(self.protocol, |first| first.0));
        frame.push(self.hop_limit);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(payload);
        frame.resize(frame.len().max(self.pad_to), 0);
        frame.truncate(self.truncate_to);
        frame
    }
}
