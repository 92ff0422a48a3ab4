//! IPv4.

use route_cache_common::{Address4, Outcome};

use super::{Header, PROTOCOL_TCP, PROTOCOL_UDP, Transport, fold, is_all_ones};

const PROTOCOL_ICMP: u8 = 1;
const VERSION_WITHOUT_OPTIONS: u8 = 0x45;

/// IPv4 header without options (RFC 791), as the five rows of its picture.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ipv4 {
    rows: [u32; 5],
}

impl Ipv4 {
    /// Version and header length: 0x45 for IPv4 without options.
    #[inline(always)]
    fn version_ihl(&self) -> u8 {
        self.byte(0, 0)
    }

    /// Total length in bytes, host byte order.
    #[inline(always)]
    fn total_len(&self) -> u16 {
        u16::from_be_bytes([self.byte(0, 2), self.byte(0, 3)])
    }

    /// Whether it is a fragment, the first one included.
    #[inline(always)]
    fn is_fragment(&self) -> bool {
        const MORE_FRAGMENTS_OR_OFFSET: u32 = u32::from_ne_bytes([0, 0, 0x3f, 0xff]);
        self.rows[1] & MORE_FRAGMENTS_OR_OFFSET != 0
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.byte(2, 1)
    }

    #[inline(always)]
    fn byte(&self, row: usize, byte: usize) -> u8 {
        self.rows[row].to_ne_bytes()[byte]
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
        for row in self.rows {
            sum += u64::from(row);
        }
        is_all_ones(sum)
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.byte(2, 0)
    }

    /// The checksum goes up, to the bit as the kernel does it (`ip_decrease_ttl`, include/net/ip.h; RFC 1624).
    #[inline(always)]
    fn decrement(&mut self) {
        let [ttl, protocol, high, low] = self.rows[2].to_ne_bytes();
        let check = u32::from(u16::from_ne_bytes([high, low])) + u32::from(0x0100u16.to_be());
        let [high, low] = ((check + u32::from(check >= 0xffff)) as u16).to_ne_bytes();
        self.rows[2] = u32::from_ne_bytes([ttl.wrapping_sub(1), protocol, high, low]);
    }

    #[inline(always)]
    fn source(&self) -> Address4 {
        self.rows[3].to_ne_bytes()
    }

    #[inline(always)]
    fn destination(&self) -> Address4 {
        self.rows[4].to_ne_bytes()
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
        let protocol = u16::from(self.protocol());
        let sum = u64::from(protocol.to_be()) + u64::from(payload.to_be());
        fold(sum + u64::from(self.rows[3]) + u64::from(self.rows[4]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: [u8; 20]) -> Ipv4 {
        let mut rows = [0; 5];
        for (row, quad) in rows.iter_mut().zip(bytes.chunks(4)) {
            *row = u32::from_ne_bytes([quad[0], quad[1], quad[2], quad[3]]);
        }
        Ipv4 { rows }
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
                bytes[10..12].copy_from_slice(&(!fold(sum.into())).to_be_bytes());
                let mut ip = header(bytes);
                ip.decrement();
                assert_eq!(ip.hop_limit(), ttl - 1);
                assert!(ip.is_intact(), "TTL {ttl}, identification {id}");
                assert_ne!(
                    ip.rows[2].to_ne_bytes()[2..],
                    [0xff, 0xff],
                    "zero is written 0x0000, as a sum computed anew"
                );
            }
        }
    }

    #[test]
    fn row_39a_the_pseudo_header_is_summed_as_rfc_9293_says() {
        // Addresses, protocol 17, 95 bytes: c0a8 + 0001 + c0a8 + 00c7 + 0011 + 005f, the carry brought round.
        assert_eq!(u16::from_be(header(EXAMPLE).pseudo_header_sum()), 0x8289);
    }
}
