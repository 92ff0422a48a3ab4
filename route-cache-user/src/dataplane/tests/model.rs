//! What must become of a frame, written plainly over its bytes.

/// The Internet checksum's sum, un-complemented (RFC 1071): 16-bit numbers in network byte order, carries brought round
/// at once. An odd byte counts as the high half.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) * 256 + u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

/// The pseudo header of TCP and UDP (RFC 9293, section 3.1).
pub(super) fn pseudo_header(
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&source[..], &destination, &[0, protocol], &len].concat()
}

/// The frame as it must leave: cut to the datagram, new addresses, one hop less, a checksum computed anew.
pub(super) fn forwarded(frame: &[u8], to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let total_len = usize::from(frame[16]) * 256 + usize::from(frame[17]);
    let mut out = frame[..14 + total_len].to_vec();
    out[0..6].copy_from_slice(&to);
    out[6..12].copy_from_slice(&from);
    out[22] -= 1;
    out[24..26].copy_from_slice(&[0, 0]);
    let checksum = !sum(&out[14..34]);
    out[24..26].copy_from_slice(&checksum.to_be_bytes());
    out
}

/// `ip_decrease_ttl` (include/net/ip.h), as a little-endian machine does it: the new checksum.
pub(super) fn kernel_decrease_ttl(checksum: u16) -> u16 {
    let htons = u16::swap_bytes;
    let mut check = u32::from(htons(checksum));
    check += u32::from(htons(0x0100));
    htons((check + u32::from(check >= 0xffff)) as u16)
}
