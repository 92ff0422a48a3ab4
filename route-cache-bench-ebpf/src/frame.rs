//! The headers of a frame, in network byte order. As wide as the forwarders read them: a load that finds two halves in
//! the store buffer waits for both, and that would be the generator's doing.

use route_cache_common::MacAddresses;

/// Ethernet and IPv4 header.
#[repr(C, packed(2))]
pub struct Frame {
    addresses: MacAddresses,
    ethertype: u16,
    ip: [u32; 5],
}

/// Rows of the IPv4 header.
const LENGTH: usize = 0;
const TTL_PROTOCOL_CHECKSUM: usize = 2;
const SOURCE: usize = 3;
const DESTINATION: usize = 4;

/// TTL of the frames, and their protocol, UDP.
const TTL: u8 = 64;
const UDP: u8 = 17;

impl Frame {
    /// Makes it the frame that it was, but to this destination (in network byte order).
    #[inline(always)]
    pub fn restore(&mut self, addresses: &MacAddresses, header_sum: u32, destination: u32) {
        self.addresses.set(addresses);
        let [high, low] = (!fold(u64::from(header_sum) + u64::from(destination))).to_ne_bytes();
        self.ip[TTL_PROTOCOL_CHECKSUM] = u32::from_ne_bytes([TTL, UDP, high, low]);
        self.ip[DESTINATION] = destination;
    }

    /// Destination address, in network byte order.
    #[inline(always)]
    pub fn destination(&self) -> u32 {
        self.ip[DESTINATION]
    }

    /// Source address, in network byte order.
    #[inline(always)]
    pub fn source(&self) -> u32 {
        self.ip[SOURCE]
    }

    /// Total length, in host byte order.
    #[inline(always)]
    pub fn total_len(&self) -> u16 {
        let [_, _, high, low] = self.ip[LENGTH].to_ne_bytes();
        u16::from_be_bytes([high, low])
    }

    /// New addresses, TTL less one (RFC 1624).
    #[inline(always)]
    pub fn send_to(&mut self, addresses: &MacAddresses) {
        self.addresses.set(addresses);
        let [ttl, protocol, high, low] = self.ip[TTL_PROTOCOL_CHECKSUM].to_ne_bytes();
        let check = u32::from(u16::from_ne_bytes([high, low])) + u32::from(0x0100u16.to_be());
        let [high, low] = ((check + u32::from(check >= 0xffff)) as u16).to_ne_bytes();
        self.ip[TTL_PROTOCOL_CHECKSUM] =
            u32::from_ne_bytes([ttl.wrapping_sub(1), protocol, high, low]);
    }
}

#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
