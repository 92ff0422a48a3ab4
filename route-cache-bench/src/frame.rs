//! The frame that the generator restores and readdresses: 64 bytes with the checksum of Ethernet, which is not in it.

use route_cache_common::MacAddresses;

/// MAC address of the router's ingress interface.
pub(crate) const IN_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// MAC address of the router's egress interface.
pub(crate) const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
const SOURCE: [u8; 4] = [10, 1, 0, 2];

/// Bytes of the frame.
pub(crate) const LEN: usize = 60;

/// MAC address of a gateway.
pub(crate) const fn gateway_mac(number: u32) -> [u8; 6] {
    [2, 0, 0, 0, 2, 0x10 + number as u8]
}

/// Ethernet, IPv4 and UDP, the latter without a checksum, which IPv4 allows.
pub(crate) fn template() -> [u8; LEN] {
    let mut frame = [0; LEN];
    let datagram = (LEN - 14) as u8;
    frame[..6].copy_from_slice(&IN_MAC);
    frame[6..12].copy_from_slice(&SENDER_MAC);
    frame[12..26].copy_from_slice(&[8, 0, 0x45, 0, 0, datagram, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame[26..30].copy_from_slice(&SOURCE);
    frame[34..42].copy_from_slice(&[0x10, 0, 0x20, 0, 0, datagram - 20, 0, 0]);
    frame
}

/// Sum over its IPv4 header in the byte order of the machine; checksum and destination are 0 in the template.
pub(crate) fn header_sum() -> u32 {
    template()[14..34].chunks(2).map(|b| u32::from(u16::from_ne_bytes([b[0], b[1]]))).sum()
}

/// Its MAC addresses.
pub(crate) fn addresses() -> MacAddresses {
    MacAddresses::new(IN_MAC, SENDER_MAC)
}

/// `struct xdp_md` (include/uapi/linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index,
/// egress_ifindex.
pub(crate) fn context(ingress: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(LEN as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ingress.to_ne_bytes());
    context
}
