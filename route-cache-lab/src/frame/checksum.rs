//! The Internet checksum (RFC 1071).

use std::net::Ipv4Addr;

/// The one's complement sum of 16-bit words, folded and not complemented. A last odd byte counts as a high one.
#[must_use]
pub fn sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What goes into a checksum field over bytes in which that field is 0; over bytes with the field, 0 if it is right.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    !sum(parts)
}

/// The pseudo header of TCP and UDP over IPv4, `length` being that of transport header and payload.
#[must_use]
pub fn pseudo_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    length: u16,
) -> Vec<u8> {
    let mut header = [source.octets(), destination.octets()].concat();
    header.extend([0, protocol]);
    header.extend(length.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn sum_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&[&bytes]), 0xddf2);
        assert_eq!(checksum(&[&bytes]), 0x220d);
    }

    /// A header whose checksum, 0xb861, is widely used as an example.
    #[test]
    fn checksum_of_a_known_header() {
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&[&header]), 0xb861);
        header[10..12].copy_from_slice(&[0xb8, 0x61]);
        assert_eq!(checksum(&[&header]), 0);
    }

    #[test]
    fn a_last_odd_byte_is_a_high_one() {
        assert_eq!(sum(&[&[0x01]]), 0x0100);
        assert_eq!(sum(&[&[0x12, 0x34, 0x56]]), 0x1234 + 0x5600);
    }

    #[test]
    fn carries_are_folded_to_the_end() {
        assert_eq!(sum(&[&[0xff, 0xff, 0x00, 0x01]]), 1);
        assert_eq!(sum(&[&[0xff; 4000]]), 0xffff);
    }
}
