//! IPv4.

use route_cache_common::{Address4, Outcome};

use super::{Header, PROTOCOL_TCP, PROTOCOL_UDP, Transport, fold};

const PROTOCOL_ICMP: u8 = 1;
const VERSION_WITHOUT_OPTIONS: u8 = 0x45;

/// IPv4 header without options (RFC 791), as ten words.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    words: [u16; 10],
}

impl Ipv4 {
    /// Version and header length: 0x45 for IPv4 without options.
    #[inline(always)]
    fn version_ihl(&self) -> u8 {
        self.words[0].to_ne_bytes()[0]
    }

    /// Total length in bytes, host byte order.
    #[inline(always)]
    fn total_len(&self) -> u16 {
        u16::from_be(self.words[1])
    }

    /// Whether it is a fragment, the first one included.
    #[inline(always)]
    fn is_fragment(&self) -> bool {
        const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
        u16::from_be(self.words[3]) & MORE_FRAGMENTS_OR_OFFSET != 0
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.words[4].to_ne_bytes()[1]
    }
}

impl Header for Ipv4 {
    type Address = Address4;
    /// RFC 894.
    const ETHERTYPE: u16 = 0x0800;
    const LEN: usize = 20;

    #[inline(always)]
    fn check(&self) -> Result<(), Outcome> {
        match self.version_ihl() {
            VERSION_WITHOUT_OPTIONS => Ok(()),
            0x46..=0x4f => Err(Outcome::PassOptions),
            _ => Err(Outcome::PassMalformed),
        }
    }

    #[inline(always)]
    fn datagram_len(&self) -> usize {
        usize::from(self.total_len())
    }

    /// RFC 1071: the sum over the header is all ones.
    #[inline(always)]
    fn is_intact(&self) -> bool {
        let mut sum = 0;
        for word in self.words {
            sum += u32::from(word);
        }
        fold(sum) == 0xffff
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.words[4].to_ne_bytes()[0]
    }

    /// The checksum goes up, to the bit as the kernel does it (`ip_decrease_ttl`, include/net/ip.h; RFC 1624).
    #[inline(always)]
    fn decrement(&mut self) {
        let [ttl, protocol] = self.words[4].to_ne_bytes();
        self.words[4] = u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]);
        let check = u32::from(self.words[5]) + u32::from(0x0100u16.to_be());
        self.words[5] = (check + u32::from(check >= 0xffff)) as u16;
    }

    #[inline(always)]
    fn source(&self) -> Address4 {
        address(self.words[6], self.words[7])
    }

    #[inline(always)]
    fn destination(&self) -> Address4 {
        address(self.words[8], self.words[9])
    }

    #[inline(always)]
    fn transport(&self) -> Transport {
        match self.protocol() {
            PROTOCOL_ICMP => Transport::Icmp,
            PROTOCOL_TCP | PROTOCOL_UDP if self.is_fragment() => Transport::Fragment,
            protocol => Transport::of(protocol),
        }
    }

    #[inline(always)]
    fn pseudo_header_sum(&self) -> u16 {
        let payload = self.total_len() - Self::LEN as u16;
        let mut sum = u32::from(u16::from(self.protocol()).to_be()) + u32::from(payload.to_be());
        for word in &self.words[6..] {
            sum += u32::from(*word);
        }
        fold(sum)
    }
}

#[inline(always)]
fn address(high: u16, low: u16) -> Address4 {
    let ([a, b], [c, d]) = (high.to_ne_bytes(), low.to_ne_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: [u8; 20]) -> Ipv4 {
        let mut words = [0; 10];
        for (word, pair) in words.iter_mut().zip(bytes.chunks(2)) {
            *word = u16::from_ne_bytes([pair[0], pair[1]]);
        }
        Ipv4 { words }
    }

    /// The example of RFC 1071's followers, as tcpdump shows it: checksum 0xb861.
    const EXAMPLE: [u8; 20] =
        [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1, 192, 168, 0, 199];

    #[test]
    fn the_fields_stand_where_they_stand() {
        let ip = header(EXAMPLE);
        assert_eq!(
            (ip.version_ihl(), ip.total_len(), ip.hop_limit(), ip.protocol()),
            (0x45, 115, 64, 17)
        );
        assert_eq!((ip.source(), ip.destination()), ([192, 168, 0, 1], [192, 168, 0, 199]));
        assert!(!ip.is_fragment(), "don't-fragment is no fragment");
        for (byte, value) in [(6, 0x20), (6, 0x1f), (7, 1)] {
            let mut fragment = EXAMPLE;
            fragment[byte] = value;
            assert!(header(fragment).is_fragment());
        }
    }

    #[test]
    fn row_4_one_bit_makes_a_checksum_wrong() {
        assert!(header(EXAMPLE).is_intact());
        for bit in 0..160 {
            let mut bytes = EXAMPLE;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!header(bytes).is_intact(), "bit {bit}");
        }
    }

    #[test]
    fn row_7_a_decreased_ttl_has_a_right_checksum() {
        for ttl in 1..=255 {
            for id in 0..=u16::MAX {
                let [high, low] = id.to_be_bytes();
                let mut bytes = EXAMPLE;
                (bytes[4], bytes[5], bytes[8]) = (high, low, ttl);
                bytes[10..12].copy_from_slice(&[0, 0]);
                let sum: u32 =
                    bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
                bytes[10..12].copy_from_slice(&(!fold(sum)).to_be_bytes());
                let mut ip = header(bytes);
                ip.decrement();
                assert_eq!(ip.hop_limit(), ttl - 1);
                assert!(ip.is_intact(), "TTL {ttl}, identification {id}");
                assert_ne!(ip.words[5], 0xffff, "zero is written 0x0000, as a sum computed anew");
            }
        }
    }

    #[test]
    fn row_39a_the_pseudo_header_is_summed_as_rfc_9293_says() {
        // Addresses, protocol 17, 95 bytes: c0a8 + 0001 + c0a8 + 00c7 + 0011 + 005f, the carry brought round.
        assert_eq!(u16::from_be(header(EXAMPLE).pseudo_header_sum()), 0x8289);
    }
}
