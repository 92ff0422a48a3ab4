//! The frame that the generator restores and readdresses: in IPv4 64 bytes with the checksum of Ethernet, which is not in
//! it.

use std::net::Ipv6Addr;

use route_cache_common::MacAddresses;

use crate::routes::{Family, OWN6};

/// MAC address of the router's ingress interface.
pub(crate) const IN_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// MAC address of the router's egress interface.
pub(crate) const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
const SOURCE: [u8; 4] = [10, 1, 0, 2];
const SOURCE6: Ipv6Addr = Ipv6Addr::new(OWN6 as u16, 1, 0, 0, 0, 0, 0, 2);

/// MAC address of a gateway.
pub(crate) const fn gateway_mac(number: u32) -> [u8; 6] {
    [2, 0, 0, 0, 2, 0x10 + number as u8]
}

/// Ethernet, IP and UDP, the latter without a checksum; IPv4 has 60 bytes, IPv6 as many more as its header is longer.
pub(crate) fn template(family: Family) -> Vec<u8> {
    const PAYLOAD: u8 = 18;
    const UDP: [u8; 8] = [0x10, 0, 0x20, 0, 0, 8 + PAYLOAD, 0, 0];
    let (ethertype, ip) = match family {
        Family::V4 => {
            let datagram = 20 + 8 + PAYLOAD;
            let fixed = [0x45, 0, 0, datagram, 0, 0, 0x40, 0, 64, 17, 0, 0];
            ([8, 0], [&fixed[..], &SOURCE, &[0; 4]].concat())
        }
        Family::V6 => {
            let fixed = [0x60, 0, 0, 0, 0, 8 + PAYLOAD, 17, 64];
            ([0x86, 0xdd], [&fixed[..], &SOURCE6.octets(), &[0; 16]].concat())
        }
    };
    let payload = [0; PAYLOAD as usize];
    [&IN_MAC[..], &SENDER_MAC, &ethertype, &ip, &UDP, &payload].concat()
}

/// Sum over the IPv4 header in the byte order of the machine; checksum and destination are 0 in the template.
pub(crate) fn header_sum() -> u32 {
    let words = template(Family::V4);
    words[14..34].chunks(2).map(|b| u32::from(u16::from_ne_bytes([b[0], b[1]]))).sum()
}

/// Its MAC addresses.
pub(crate) fn addresses() -> MacAddresses {
    MacAddresses::new(IN_MAC, SENDER_MAC)
}

/// `struct xdp_md` (include/uapi/linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index,
/// egress_ifindex.
pub(crate) fn context(len: usize, ingress: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&ingress.to_ne_bytes());
    context
}
