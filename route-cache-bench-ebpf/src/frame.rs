//! The headers of a frame, in network byte order. As wide as the forwarders read them: a load that finds two halves in
//! the store buffer waits for both, and that would be the generator's doing.

use route_cache_common::MacAddresses;

/// Ethernet and network-layer header.
#[repr(C)]
pub struct Frame<H> {
    addresses: MacAddresses,
    ethertype: u16,
    /// Network-layer header.
    pub ip: H,
}

/// A network-layer header, the only one of its protocol that the generator makes.
pub trait Header {
    /// An address, in network byte order.
    type Address: Copy + 'static;
    /// `AF_INET` or `AF_INET6`.
    const FAMILY: u8;
    /// Words of 32 bits in an address.
    const WORDS: usize;

    /// Makes it what it was, but to this destination. `sum` is that over the template's header, without checksum and
    /// destination.
    fn restore(&mut self, sum: u32, destination: Self::Address);
    /// Destination address.
    fn destination(&self) -> Self::Address;
    /// Source and destination as `bpf_fib_lookup` wants them.
    fn endpoints(&self) -> [[u32; 4]; 2];
    /// Length of the datagram, in host byte order.
    fn total_len(&self) -> u16;
    /// TTL or hop limit less one.
    fn decrement(&mut self);
    /// A destination out of words in network byte order.
    fn address(words: [u32; 4]) -> Self::Address;
    /// A random destination that is in none of the networks of the bench's own links, as words in network byte order.
    fn anywhere(random: u64) -> [u32; 4];
    /// A key of flows.
    fn flow_key(destination: Self::Address) -> route_cache_common::FlowKey;
}

impl<H: Header> Frame<H> {
    /// Makes it the frame that it was, but to this destination.
    #[inline(always)]
    pub fn restore(&mut self, addresses: &MacAddresses, sum: u32, destination: H::Address) {
        self.addresses.set(addresses);
        self.ip.restore(sum, destination);
    }

    /// New addresses, TTL less one.
    #[inline(always)]
    pub fn send_to(&mut self, addresses: &MacAddresses) {
        self.addresses.set(addresses);
        self.ip.decrement();
    }
}

/// TTL of the frames, and their protocol, UDP.
const TTL: u8 = 64;
const UDP: u8 = 17;

/// IPv4, as the rows of its picture.
#[repr(C, packed(2))]
pub struct Ipv4([u32; 5]);

impl Header for Ipv4 {
    type Address = u32;
    const FAMILY: u8 = 2;
    const WORDS: usize = 1;

    #[inline(always)]
    fn restore(&mut self, sum: u32, destination: u32) {
        let [high, low] = (!fold(u64::from(sum) + u64::from(destination))).to_ne_bytes();
        self.0[2] = u32::from_ne_bytes([TTL, UDP, high, low]);
        self.0[4] = destination;
    }

    #[inline(always)]
    fn destination(&self) -> u32 {
        self.0[4]
    }

    #[inline(always)]
    fn endpoints(&self) -> [[u32; 4]; 2] {
        [[self.0[3], 0, 0, 0], [self.0[4], 0, 0, 0]]
    }

    #[inline(always)]
    fn total_len(&self) -> u16 {
        let [_, _, high, low] = self.0[0].to_ne_bytes();
        u16::from_be_bytes([high, low])
    }

    /// RFC 1624.
    #[inline(always)]
    fn decrement(&mut self) {
        let [ttl, protocol, high, low] = self.0[2].to_ne_bytes();
        let check = u32::from(u16::from_ne_bytes([high, low])) + u32::from(0x0100u16.to_be());
        let [high, low] = ((check + u32::from(check >= 0xffff)) as u16).to_ne_bytes();
        self.0[2] = u32::from_ne_bytes([ttl.wrapping_sub(1), protocol, high, low]);
    }

    #[inline(always)]
    fn address(words: [u32; 4]) -> u32 {
        words[0]
    }

    #[inline(always)]
    fn anywhere(random: u64) -> [u32; 4] {
        let random = random as u32;
        let first = 1 + (random >> 24) * 222 / 255;
        let first = if first == 10 || first == 127 { first + 1 } else { first };
        [(first << 24 | random & 0x00ff_ffff).to_be(), 0, 0, 0]
    }

    #[inline(always)]
    fn flow_key(destination: u32) -> route_cache_common::FlowKey {
        [u64::from(destination), 0]
    }
}

/// IPv6, as the rows of its picture.
#[repr(C, packed(2))]
pub struct Ipv6 {
    rows: [u32; 2],
    source: [u32; 4],
    destination: [u32; 4],
}

impl Header for Ipv6 {
    type Address = [u32; 4];
    const FAMILY: u8 = 10;
    const WORDS: usize = 4;

    #[inline(always)]
    fn restore(&mut self, _sum: u32, destination: [u32; 4]) {
        let [high, low, ..] = self.rows[1].to_ne_bytes();
        self.rows[1] = u32::from_ne_bytes([high, low, UDP, TTL]);
        let [a, b, c, d] = destination;
        self.destination = [a, b, c, d];
    }

    #[inline(always)]
    fn destination(&self) -> [u32; 4] {
        self.destination
    }

    #[inline(always)]
    fn endpoints(&self) -> [[u32; 4]; 2] {
        [self.source, self.destination]
    }

    #[inline(always)]
    fn total_len(&self) -> u16 {
        let [high, low, ..] = self.rows[1].to_ne_bytes();
        40 + u16::from_be_bytes([high, low])
    }

    #[inline(always)]
    fn decrement(&mut self) {
        let [high, low, next_header, hop_limit] = self.rows[1].to_ne_bytes();
        self.rows[1] = u32::from_ne_bytes([high, low, next_header, hop_limit.wrapping_sub(1)]);
    }

    #[inline(always)]
    fn address(words: [u32; 4]) -> [u32; 4] {
        words
    }

    /// In 2400::/6, where none of the bench's links is.
    #[inline(always)]
    fn anywhere(random: u64) -> [u32; 4] {
        let first = 0x2400_0000 | random as u32 & 0x03ff_ffff;
        [first.to_be(), (random >> 32) as u32, 0, random as u32]
    }

    #[inline(always)]
    fn flow_key([a, b, c, d]: [u32; 4]) -> route_cache_common::FlowKey {
        [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
    }
}

#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
