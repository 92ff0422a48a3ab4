//! IPv6.

use route_cache_common::Outcome;

use super::{Header, Transport, fold};
use crate::maps::Words6;

const NEXT_HEADER_HOP_BY_HOP: u8 = 0;
const NEXT_HEADER_FRAGMENT: u8 = 44;
const NEXT_HEADER_ICMPV6: u8 = 58;

/// IPv6 header (RFC 8200), as the ten rows of its picture.
#[repr(C, packed(2))]
#[derive(Clone, Copy)]
pub struct Ipv6 {
    rows: [u32; 2],
    source: Words6,
    destination: Words6,
}

impl Ipv6 {
    #[inline(always)]
    fn next_header(&self) -> u8 {
        self.byte(1, 2)
    }

    #[inline(always)]
    fn byte(&self, row: usize, byte: usize) -> u8 {
        self.rows[row].to_ne_bytes()[byte]
    }
}

impl Header for Ipv6 {
    type Address = Words6;
    /// RFC 2464.
    const ETHERTYPE: u16 = 0x86dd;
    const LEN: usize = 40;

    /// Hop-by-hop options are for every router. A payload length of 0 that means "see there" comes with them (RFC 2675).
    #[inline(always)]
    fn check(&self) -> Result<(), Outcome> {
        if self.byte(0, 0) >> 4 != 6 {
            return Err(Outcome::PassMalformed);
        }
        if self.next_header() == NEXT_HEADER_HOP_BY_HOP {
            return Err(Outcome::PassOptions);
        }
        Ok(())
    }

    #[inline(always)]
    fn datagram_len(&self) -> usize {
        Self::LEN + usize::from(u16::from_be_bytes([self.byte(1, 0), self.byte(1, 1)]))
    }

    #[inline(always)]
    fn is_intact(&self) -> bool {
        true
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.byte(1, 3)
    }

    #[inline(always)]
    fn decrement(&mut self) {
        let [high, low, next_header, hop_limit] = self.rows[1].to_ne_bytes();
        self.rows[1] = u32::from_ne_bytes([high, low, next_header, hop_limit.wrapping_sub(1)]);
    }

    #[inline(always)]
    fn source(&self) -> Words6 {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> Words6 {
        self.destination
    }

    #[inline(always)]
    fn transport(&self) -> Transport {
        match self.next_header() {
            NEXT_HEADER_FRAGMENT => Transport::Fragment,
            NEXT_HEADER_ICMPV6 => Transport::Icmp,
            next_header => Transport::of(next_header),
        }
    }

    #[inline(always)]
    fn pseudo_header_sum(&self) -> u16 {
        let payload = u16::from_ne_bytes([self.byte(1, 0), self.byte(1, 1)]);
        let mut sum = u64::from(u16::from(self.next_header()).to_be()) + u64::from(payload);
        for address in [self.source, self.destination] {
            for row in address {
                sum += u64::from(row);
            }
        }
        fold(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UDP from 2001:db8:1::2 to 2001:db8:2::2, 12 bytes, hop limit 64.
    fn example() -> Ipv6 {
        Ipv6 {
            rows: [0x6001_2345, 0x000c_1140].map(u32::to_be),
            source: [0x2001_0db8, 0x0001_0000, 0, 2].map(u32::to_be),
            destination: [0x2001_0db8, 0x0002_0000, 0, 2].map(u32::to_be),
        }
    }

    #[test]
    fn the_fields_stand_where_they_stand() {
        let ip = example();
        assert_eq!(ip.check(), Ok(()));
        assert_eq!((ip.datagram_len(), ip.hop_limit(), ip.transport()), (52, 64, Transport::Udp));
        let address = |net: u32| [0x2001_0db8, net << 16, 0, 2].map(u32::to_be);
        assert_eq!((ip.source(), ip.destination()), (address(1), address(2)));
    }

    #[test]
    fn row_7_the_hop_limit_goes_down_and_nothing_else() {
        for hop_limit in 1..=255u32 {
            let mut ip = example();
            ip.rows[1] = (0x000c_1100 | hop_limit).to_be();
            ip.decrement();
            assert_eq!({ ip.rows }[1], (0x000c_1100 | (hop_limit - 1)).to_be());
            assert_eq!({ ip.rows }[0], { example().rows }[0]);
            assert_eq!(
                (ip.source(), ip.destination()),
                (example().source(), example().destination())
            );
        }
    }

    #[test]
    fn rows_3_and_27_another_version_and_hop_by_hop_options_pass() {
        for version in [0u32, 4, 5, 7, 15] {
            let mut ip = example();
            ip.rows[0] = (version << 28).to_be();
            assert_eq!(ip.check(), Err(Outcome::PassMalformed));
        }
        let mut ip = example();
        ip.rows[1] = 0x000c_0040u32.to_be();
        assert_eq!(ip.check(), Err(Outcome::PassOptions));
    }

    #[test]
    fn row_39a_the_pseudo_header_is_summed_as_rfc_8200_says() {
        // 2001 + 0db8 + 1 + 2, 2001 + 0db8 + 2 + 2, 12, 17.
        assert_eq!(u16::from_be(example().pseudo_header_sum()), 0x5b96);
    }
}
