//! Frames: [`Frame`] makes them, right or deliberately wrong, and [`Ipv4View`] takes them apart.

mod build;
pub mod checksum;
mod view;

pub use build::Frame;
pub use view::Ipv4View;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// IPv4 protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IPv4 protocol number of TCP.
pub const TCP: u8 = 6;
/// IPv4 protocol number of UDP.
pub const UDP: u8 = 17;

/// The bit "don't fragment" in the flags and fragment offset of IPv4.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The bit "more fragments" in the flags and fragment offset of IPv4.
pub const MORE_FRAGMENTS: u16 = 0x2000;

/// Where the checksum stands in the header of a transport protocol.
fn checksum_offset(protocol: u8) -> Option<usize> {
    match protocol {
        ICMP => Some(2),
        TCP => Some(16),
        UDP => Some(6),
        _ => None,
    }
}
