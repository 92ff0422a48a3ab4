//! The headers as they lie in a frame: 16-bit words in network byte order.
//!
//! Words of 16 bits, because an Ethernet frame starts at an even address and the IPv4 header then does, too: loads
//! and stores of this size are aligned on every machine, and the Internet checksum is a sum of them.

use route_cache_common::Address4;

/// Ethertype of IPv4 (RFC 894).
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// Protocol numbers (IANA).
pub const PROTOCOL_ICMP: u8 = 1;
/// TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// Ethernet II header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    /// Destination and source MAC address.
    pub addresses: [u16; 6],
    ethertype: u16,
}

impl Ethernet {
    /// Bytes of the header.
    pub const LEN: usize = 14;

    /// Destination MAC address.
    #[inline(always)]
    pub fn destination(&self) -> [u16; 3] {
        [self.addresses[0], self.addresses[1], self.addresses[2]]
    }

    /// Whether the destination is a group address (IEEE 802, I/G bit: the lowest of the first byte).
    #[inline(always)]
    pub fn is_group(&self) -> bool {
        self.addresses[0].to_ne_bytes()[0] & 1 != 0
    }

    /// Ethertype, host byte order.
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        u16::from_be(self.ethertype)
    }
}

/// IPv4 header without options (RFC 791), as ten words.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    words: [u16; 10],
}

impl Ipv4 {
    /// Bytes of the header.
    pub const LEN: usize = 20;

    /// Version and header length: 0x45 for IPv4 without options.
    #[inline(always)]
    pub fn version_ihl(&self) -> u8 {
        self.words[0].to_ne_bytes()[0]
    }

    /// Total length in bytes, host byte order.
    #[inline(always)]
    pub fn total_len(&self) -> u16 {
        u16::from_be(self.words[1])
    }

    /// Whether it is a fragment, the first one included.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
        u16::from_be(self.words[3]) & MORE_FRAGMENTS_OR_OFFSET != 0
    }

    /// Time to live.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        self.words[4].to_ne_bytes()[0]
    }

    /// Protocol number.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.words[4].to_ne_bytes()[1]
    }

    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> Address4 {
        address(self.words[6], self.words[7])
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(&self) -> Address4 {
        address(self.words[8], self.words[9])
    }

    /// Whether the header checksum is right (RFC 1071: the sum over the header is all ones).
    #[inline(always)]
    pub fn checksum_is_right(&self) -> bool {
        let mut sum = 0;
        for word in self.words {
            sum += u32::from(word);
        }
        fold(sum) == 0xffff
    }

    /// The folded, un-complemented sum over the pseudo header of TCP and UDP (RFC 9293, section 3.1).
    ///
    /// Memory byte order, like the checksum field itself: one's complement sums do not care (RFC 1071, section 2B).
    #[inline(always)]
    pub fn pseudo_header_sum(&self) -> u16 {
        let payload = self.total_len() - Self::LEN as u16;
        let mut sum = u32::from(u16::from(self.protocol()).to_be()) + u32::from(payload.to_be());
        for word in &self.words[6..] {
            sum += u32::from(*word);
        }
        fold(sum)
    }

    /// Counts the TTL down and the checksum up, to the bit as the kernel does it (`ip_decrease_ttl`,
    /// include/net/ip.h; RFC 1624). The TTL must not be 0.
    #[inline(always)]
    pub fn decrease_ttl(&mut self) {
        let [ttl, protocol] = self.words[4].to_ne_bytes();
        self.words[4] = u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]);
        let check = u32::from(self.words[5]) + u32::from(0x0100u16.to_be());
        self.words[5] = (check + u32::from(check >= 0xffff)) as u16;
    }
}

/// An Ethernet frame with an IPv4 datagram, up to the end of the IPv4 header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame4 {
    /// Link-layer header.
    pub ethernet: Ethernet,
    /// Network-layer header.
    pub ip: Ipv4,
}

const _: () = {
    assert!(size_of::<Ethernet>() == Ethernet::LEN);
    assert!(size_of::<Ipv4>() == Ipv4::LEN);
    assert!(size_of::<Frame4>() == Ethernet::LEN + Ipv4::LEN);
    assert!(align_of::<Frame4>() == 2);
};

/// Folds a sum of 16-bit words into 16 bits with end-around carry.
#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[inline(always)]
fn address(high: u16, low: u16) -> Address4 {
    let ([a, b], [c, d]) = (high.to_ne_bytes(), low.to_ne_bytes());
    [a, b, c, d]
}
