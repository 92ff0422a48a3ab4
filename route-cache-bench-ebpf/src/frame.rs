//! The headers of a frame: 16-bit words in network byte order.

/// Ethernet and IPv4 header.
#[repr(C)]
pub struct Frame {
    addresses: [u16; 6],
    ethertype: u16,
    ip: [u16; 10],
}

/// Words of the IPv4 header.
const TTL_AND_PROTOCOL: usize = 4;
const CHECKSUM: usize = 5;
const DESTINATION: usize = 8;

/// TTL of the frames, and their protocol, UDP.
const FRESH: u16 = u16::from_ne_bytes([64, 17]);

impl Frame {
    /// Makes it the frame that it was, but to this destination (in network byte order).
    #[inline(always)]
    pub fn restore(&mut self, addresses: [u16; 6], header_sum: u32, destination: u32) {
        let bytes = destination.to_ne_bytes();
        let words =
            [u16::from_ne_bytes([bytes[0], bytes[1]]), u16::from_ne_bytes([bytes[2], bytes[3]])];
        // Word by word: as a whole they are copied by a call of `memmove`, a loop over bytes.
        let [a, b, c, d, e, f] = addresses;
        self.addresses = [a, b, c, d, e, f];
        self.ip[TTL_AND_PROTOCOL] = FRESH;
        self.ip[CHECKSUM] = !fold(header_sum + u32::from(words[0]) + u32::from(words[1]));
        self.ip[DESTINATION] = words[0];
        self.ip[DESTINATION + 1] = words[1];
    }

    /// Destination address, in network byte order.
    #[inline(always)]
    pub fn destination(&self) -> u32 {
        self.address(DESTINATION)
    }

    /// Source address, in network byte order.
    #[inline(always)]
    pub fn source(&self) -> u32 {
        self.address(DESTINATION - 2)
    }

    /// Total length, in host byte order.
    #[inline(always)]
    pub fn total_len(&self) -> u16 {
        u16::from_be(self.ip[1])
    }

    /// New addresses, TTL less one (RFC 1624).
    #[inline(always)]
    pub fn send_to(&mut self, addresses: [u16; 6]) {
        // Word by word: as a whole they are copied by a call of `memmove`, a loop over bytes.
        let [a, b, c, d, e, f] = addresses;
        self.addresses = [a, b, c, d, e, f];
        let [ttl, protocol] = self.ip[TTL_AND_PROTOCOL].to_ne_bytes();
        self.ip[TTL_AND_PROTOCOL] = u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]);
        let check = u32::from(self.ip[CHECKSUM]) + u32::from(0x0100u16.to_be());
        self.ip[CHECKSUM] = (check + u32::from(check >= 0xffff)) as u16;
    }

    #[inline(always)]
    fn address(&self, word: usize) -> u32 {
        let [high, low] = [self.ip[word].to_ne_bytes(), self.ip[word + 1].to_ne_bytes()];
        u32::from_ne_bytes([high[0], high[1], low[0], low[1]])
    }
}

#[inline(always)]
fn fold(mut sum: u32) -> u16 {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
