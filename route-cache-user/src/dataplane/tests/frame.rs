//! Frames, built field by field. What is not set otherwise is right.

use super::{
    bench::{IN_MAC, SENDER_MAC},
    model,
};

/// An Ethernet frame with an IPv4 datagram.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Destination MAC address.
    pub(super) to: [u8; 6],
    /// Ethertype.
    pub(super) ethertype: u16,
    /// Version and header length.
    pub(super) version_ihl: u8,
    /// Identification.
    pub(super) id: u16,
    /// Flags and fragment offset.
    pub(super) fragment: u16,
    /// Time to live.
    pub(super) ttl: u8,
    /// Protocol.
    pub(super) protocol: u8,
    /// Source address.
    pub(super) source: [u8; 4],
    /// Destination address.
    pub(super) destination: [u8; 4],
    /// What stands behind the header, options included.
    pub(super) payload: Vec<u8>,
    /// Total length, if not that of the datagram.
    pub(super) total_len: Option<u16>,
    /// Header checksum, if not the right one.
    pub(super) checksum: Option<u16>,
    /// What stands behind the datagram.
    pub(super) padding: Vec<u8>,
}

/// How a transport checksum is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Complete.
    Complete,
    /// The sum over the pseudo header: the rest is left to a device.
    Partial,
    /// This value, in network byte order.
    Set(u16),
}

impl Frame {
    /// A UDP datagram of a few bytes from 10.1.0.2 to 10.2.0.2.
    pub(super) fn udp() -> Self {
        Self::udp_to_port(8192, Transport::Complete)
    }

    /// The same with another destination port and checksum.
    pub(super) fn udp_to_port(port: u16, checksum: Transport) -> Self {
        let [high, low] = port.to_be_bytes();
        let header = [0x10, 0x00, high, low, 0, 13, 0, 0];
        Self::of(17, [&header[..], b"hello"].concat()).with_checksum(6, checksum)
    }

    /// A TCP segment.
    pub(super) fn tcp(checksum: Transport) -> Self {
        let header = [4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0];
        Self::of(6, [&header[..], b"GET / HTTP/1.1"].concat()).with_checksum(16, checksum)
    }

    /// Any protocol.
    pub(super) fn of(protocol: u8, payload: Vec<u8>) -> Self {
        Self {
            to: IN_MAC,
            ethertype: 0x0800,
            version_ihl: 0x45,
            id: 0x1234,
            fragment: 0x4000,
            ttl: 64,
            protocol,
            source: [10, 1, 0, 2],
            destination: [10, 2, 0, 2],
            payload,
            total_len: None,
            checksum: None,
            padding: Vec::new(),
        }
    }

    /// A datagram of so many bytes in all, the IPv4 header included.
    pub(super) fn of_size(total: usize) -> Self {
        Self::of(17, (0..total - 20).map(|i| i as u8).collect())
    }

    /// To another destination.
    pub(super) fn to(destination: [u8; 4]) -> Vec<u8> {
        Self { destination, ..Self::udp() }.bytes()
    }

    fn with_checksum(mut self, offset: usize, checksum: Transport) -> Self {
        let pseudo =
            model::pseudo_header(self.source, self.destination, self.protocol, &self.payload);
        let value = match checksum {
            Transport::Complete => !model::sum(&[&pseudo[..], &self.payload].concat()),
            Transport::Partial => model::sum(&pseudo),
            Transport::Set(value) => value,
        };
        self.payload[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
        self
    }

    /// The bytes of the frame.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut header = vec![self.version_ihl, 0];
        let total_len = self.total_len.unwrap_or(20 + self.payload.len() as u16);
        header.extend(total_len.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source);
        header.extend(self.destination);
        let options = usize::from(self.version_ihl & 15).saturating_sub(5) * 4;
        let covered = [&header[..], &self.payload[..options.min(self.payload.len())]].concat();
        let checksum = self.checksum.unwrap_or(!model::sum(&covered));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let ethernet = [&self.to[..], &SENDER_MAC, &self.ethertype.to_be_bytes()].concat();
        [&ethernet[..], &header, &self.payload, &self.padding].concat()
    }
}
